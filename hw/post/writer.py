"""Results on their way to scratchpad or accumulator."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import PairBuffer, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.interfaces import Done, accumulator_write, scratchpad_write
from celosia.hw.numerics import ACC_BITS
from celosia.hw.post.lanes import Result
from celosia.hw.post.layouts import Geometry, Operation


class Writer(wiring.Component):
    """Makes a masked write of each slot's results: a byte or an int16 an element to the scratchpad, or an int32 to
    the accumulator.

    Two cycles of latency, a slot a cycle; `i.ready` comes from a register. Ports: `i`: results. `write`, `acc_write`:
    the memories. `done`: in the cycle after an instruction's last write was taken. `blocked`: a write waits.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.geometry = g = Geometry(config)
        super().__init__(
            {
                "i": In(stream.Signature(Result(g))),
                "write": Out(scratchpad_write(config)),
                "acc_write": Out(accumulator_write(config)),
                "done": Out(stream.Signature(Done, always_ready=True)),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # Side by side: the stage comes from registers, since arbiters look at it; elements hang on no ready.
        m.submodules.stages = buffer = SkidBuffer(self.i.p.stage.shape())
        m.submodules.elements = elements = PairBuffer(self.i.p.elements.shape())
        m.d.comb += [
            buffer.i.payload.eq(self.i.p.stage),
            elements.i.payload.eq(self.i.p.elements),
            buffer.i.valid.eq(self.i.valid),
            elements.i.valid.eq(self.i.valid),
            elements.o.ready.eq(buffer.o.ready),
            self.i.ready.eq(buffer.i.ready),
        ]
        stage = buffer.o.p
        back, taken = Signal(), Signal()
        write, acc_write = self.write.write, self.acc_write.write
        writes, goes = buffer.o.valid & ~back, Mux(back, acc_write.ready, write.ready)
        if self.geometry.hdp:
            writes, goes = writes & ~stage.silent, goes | stage.silent
        m.d.comb += [
            back.eq(stage.op == Operation.RESIDUAL),
            write.valid.eq(writes),
            acc_write.valid.eq(buffer.o.valid & back),
            buffer.o.ready.eq(goes),
            taken.eq(buffer.o.valid & buffer.o.ready),
            self.blocked.eq(buffer.o.valid & ~buffer.o.ready),
            write.p.address.eq(stage.address),
            acc_write.p.address.eq(stage.address),
        ]
        m.d.sync += [self.done.valid.eq(taken & stage.finish), self.done.p.mask.eq(stage.signal)]
        self._word(m, stage, elements.o.p, write.p)
        self._row(m, stage, elements.o.p, acc_write.p)
        return m

    def _word(self, m: Module, stage, results, write) -> None:
        """Elements are repeated over the word; the mask says where they go."""
        g = self.geometry
        elements = [results[k] for k in range(g.lanes)]
        narrow = Cat(element[:8] for element in elements).replicate(g.word_groups)
        if g.halves == 2:
            wide = Mux(stage.half, Cat(elements[g.lanes // 2 :]), Cat(elements[: g.lanes // 2]))
        else:
            wide = Cat(elements).replicate(g.half_groups)
        bytes_narrow = [_chosen(stage.sub, b // g.lanes, g.word_groups) for b in range(self.config.word_bytes)]
        bytes_wide = [_chosen(stage.sub, b // (2 * g.lanes), g.half_groups) for b in range(self.config.word_bytes)]
        m.d.comb += [
            write.data.eq(Mux(stage.wide, wide, narrow)),
            write.mask.eq(Mux(stage.wide, Cat(bytes_wide), Cat(bytes_narrow))),
        ]

    def _row(self, m: Module, stage, results, write) -> None:
        g = self.geometry
        columns = self.config.array.columns
        extended = [Signal(ACC_BITS, name=f"element{k}") for k in range(g.lanes)]
        m.d.comb += [x.eq(results[k]) for k, x in enumerate(extended)]
        mask = [_chosen(stage.sub, c // g.lanes, g.column_groups) & stage.mask[c % g.lanes] for c in range(columns)]
        m.d.comb += [write.data.eq(Cat(extended).replicate(g.column_groups)), write.mask.eq(Cat(mask))]


def _chosen(sub, place: int, places: int):
    """Whether group number `sub` is at `place` of the `places` in a word or row."""
    return (sub & (places - 1)) == place
