"""Row maxima, gathered while the last tiles of a matmul are written."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import exceeds
from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.interfaces import ReadPortSignature
from celosia.hw.memory.ports import ReadPort
from celosia.hw.numerics import ACC_BITS


class MaximumRow(data.StructLayout):
    """A finished row: `values`, of which those with a bit in `counts` count; into `stat_row`, afresh with `init`."""

    def __init__(self, config: Config) -> None:
        columns = config.array.columns
        super().__init__(
            {
                "init": 1,
                "counts": columns,
                "stat_row": ceil_log2(config.accumulator.stat_rows),
                "values": data.ArrayLayout(signed(ACC_BITS), columns),
            }
        )


def tree_latency(config: Config) -> int:
    """Cycles from a row to its maximum: a comparison each."""
    return ceil_log2(config.array.columns)


class MaximumTree(wiring.Component):
    """The largest of the values that count, int32 minimum if there is none.

    Ports: `i`: `MaximumRow`, one a cycle. `o`: int32, `latency` cycles later; stale without a row.
    """

    def __init__(self, config: Config) -> None:
        self.columns = config.array.columns
        self.latency = tree_latency(config)
        super().__init__({"i": In(stream.Signature(MaximumRow(config), always_ready=True)), "o": Out(signed(ACC_BITS))})

    def elaborate(self, platform) -> Module:
        m = Module()
        level: list[Signal] = []
        for column in range(self.columns):
            masked = Signal(signed(ACC_BITS), name=f"masked{column}")
            value = self.i.payload["values"][column].as_unsigned()
            counts = self.i.payload.counts[column]
            # The smallest number without a multiplexer of constants: the sign set, the rest clear.
            m.d.comb += masked.eq(Cat(Mux(counts, value[:-1], 0), value[-1] | ~counts))
            level.append(masked)
        # Later stages follow the first one without looking at `valid`: nobody reads what comes out without a row.
        enable = self.i.valid
        for depth in range(self.latency):
            following = []
            for index, (left, right) in enumerate(zip(level[::2], level[1::2], strict=True)):
                larger = Signal(signed(ACC_BITS), name=f"level{depth}_{index}", reset_less=True)
                with m.If(enable):
                    m.d.sync += larger.eq(Mux(exceeds(left, right), left, right))
                following.append(larger)
            level, enable = following, Const(1)
        m.d.comb += self.o.eq(level[0])
        return m


class Maxima(wiring.Component):
    """Row maxima: `stat_rows` int32, updated by finished rows.

    Ports: `i`: `MaximumRow`, one a cycle. `maxima`: read port. A row is visible to addresses sent `latency` cycles
    after it came. Rows of the same statistics row are at least `MINIMUM_DISTANCE` cycles apart.
    Two copies of the memory, so that updating takes no cycle from the reader.
    """

    MINIMUM_DISTANCE = 4

    def __init__(self, config: Config) -> None:
        self.config = config
        self.address_bits = ceil_log2(config.accumulator.stat_rows)
        self.latency = tree_latency(config) + 2
        super().__init__(
            {
                "i": In(stream.Signature(MaximumRow(config), always_ready=True)),
                "maxima": In(ReadPortSignature(self.address_bits, ACC_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.config.accumulator.stat_rows
        m.submodules.tree = tree = MaximumTree(self.config)
        m.submodules.own = own = Sram(depth, ACC_BITS)
        m.submodules.copy = copy = Sram(depth, ACC_BITS)
        m.submodules.port = port = ReadPort(self.address_bits, ACC_BITS)
        connect(m, flipped(self.i), tree.i)
        connect(m, flipped(self.maxima), port.port)
        m.d.comb += [
            port.request.ready.eq(1),
            copy.read_en.eq(port.request.valid),
            copy.read_address.eq(port.request.payload),
            port.response.payload.eq(copy.read_data),
        ]
        m.d.sync += port.response.valid.eq(port.request.valid)
        self._update(m, tree, own, copy)
        return m

    def _update(self, m: Module, tree: MaximumTree, own: Sram, copy: Sram) -> None:
        """Old maximum, read and kept so that it is there with the tree's result; compared in that cycle and written in
        the next."""
        tag = data.StructLayout({"valid": 1, "init": 1, "stat_row": unsigned(self.address_bits)})
        stages = [Signal(tag, name=f"stage{index}") for index in range(self.latency)]
        m.d.comb += [
            stages[0].valid.eq(self.i.valid),
            stages[0].init.eq(self.i.payload.init),
            stages[0].stat_row.eq(self.i.payload.stat_row),
        ]
        for before, after in pairwise(stages):
            m.d.sync += after.eq(before)
        ask, known, write = stages[-4], stages[-2], stages[-1]
        old, new, largest = Signal(signed(ACC_BITS)), Signal(signed(ACC_BITS)), Signal(signed(ACC_BITS))
        m.d.comb += [
            own.read_en.eq(ask.valid & ~ask.init),
            own.read_address.eq(ask.stat_row),
            new.eq(tree.o),
        ]
        m.d.sync += [old.eq(own.read_data), largest.eq(Mux(known.init | exceeds(new, old), new, old))]
        for memory in (own, copy):
            m.d.comb += [
                memory.write_en.eq(write.valid),
                memory.write_address.eq(write.stat_row),
                memory.write_data.eq(largest),
            ]
