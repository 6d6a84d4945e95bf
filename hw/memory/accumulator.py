"""The accumulator: int32 rows that the array adds to in place, and their row maxima."""

from itertools import pairwise

from amaranth.hdl import Assert, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.layouts import beat_layout
from celosia.hw.hdp.store import PAIRED_RATE, nibble_bits
from celosia.hw.interfaces import Done, PartialRow, ReadPortSignature, accumulator_read, accumulator_write
from celosia.hw.memory.banks import Banks
from celosia.hw.memory.maxima import Maxima, MaximumRow
from celosia.hw.memory.ports import ReadPort
from celosia.hw.numerics import ACC_BITS

ROW_DISTANCE = 4
"""Fewest cycles between two rows of one address of which the second accumulates: from a read to its visible write."""


class Accumulator(wiring.Component):
    """`accumulator.kib` KiB of rows of `columns` int32, interleaved row by row over `accumulator.banks` banks.

    Ports: `rows`: sums of `width` bits from the array, one row a cycle, before everybody else; written as they are or,
    with `accumulate`, added (no saturation). Two rows of one address, and two maxima of one statistics row, are at
    least `ROW_DISTANCE` cycles apart unless the second starts afresh.
    `read`, `write`: POST, when the banks are free. `maxima`: read port of the row maxima, of finished sums.
    `written`: the row with `done` set, its maximum, and everything before are visible to addresses sent from now on.
    `beats`, with HDP: sums of the rows with `decide`, four cycles after they came. Those that are not to be written
    (`through`) leave the banks to others.
    Latency: a row is visible, and `written` comes, four cycles after it came; or when its maximum is visible.
    Throughput: one row, one read and one write a cycle, less bank conflicts of the latter two (sequential streams fall
    into step).
    """

    def __init__(self, config: Config, width: int) -> None:
        self.config, self.width = config, width
        super().__init__(
            {
                "rows": In(stream.Signature(PartialRow(config, width), always_ready=True)),
                "read": In(accumulator_read(config)),
                "write": In(accumulator_write(config)),
                "maxima": In(ReadPortSignature(ceil_log2(config.accumulator.stat_rows), ACC_BITS)),
                "written": Out(stream.Signature(Done, always_ready=True)),
                **beats_out(config),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        signature = accumulator_read(config)
        m.submodules.banks = banks = Banks(
            words=config.acc_rows,
            width=signature.width,
            granules=config.array.columns,
            banks=config.accumulator.banks,
            readers=2,
            writers=2,
            fixed_reads=1,
            fixed_writes=1,
        )
        m.submodules.add = add = AddInPlace(config, self.width)
        m.submodules.maxima = maxima = Maxima(config)
        m.submodules.done = done = Completion(1 + maxima.latency)
        m.submodules.reader = reader = ReadPort(signature.address_bits, signature.width)
        connect(m, flipped(self.rows), add.rows)
        connect(m, add.read, banks.reads[0])
        connect(m, banks.words[0], add.word)
        connect(m, add.write, banks.writes[0])
        connect(m, add.maxima, maxima.i)
        connect(m, add.done, done.i)
        connect(m, flipped(self.written), done.o)
        connect(m, flipped(self.read), reader.port)
        connect(m, reader.request, banks.reads[1])
        connect(m, banks.words[1], reader.response)
        connect(m, flipped(self.write.write), banks.writes[1])
        connect(m, flipped(self.maxima), maxima.maxima)
        if config.hdp is not None:
            connect(m, add.beats, flipped(self.beats))
        return m


def beats_out(config: Config) -> dict[str, wiring.Member]:
    """The port of rows for the sparsity engine, if there is one."""
    if config.hdp is None:
        return {}
    return {"beats": Out(stream.Signature(beat_layout(engine_config(config)), always_ready=True))}


class Finished(data.Struct):
    """The last row of an instruction is written, with the units to signal; `late`: once its maximum is written too."""

    late: 1
    mask: isa.UNITS


class AddInPlace(wiring.Component):
    """The array's read-modify-write pipeline: ask in cycle t, read in t + 1, capture in t + 2, add and write in t + 3.

    Ports: `rows`; `read`, `word`, `write`: the banks, always granted. `done`: last rows of instructions, in the cycle
    of the write. `maxima`: finished rows whose maximum counts, a cycle later; `beats`: those to decide over.
    """

    def __init__(self, config: Config, width: int) -> None:
        self.config, self.width = config, width
        read, write = accumulator_read(config), accumulator_write(config)
        super().__init__(
            {
                "rows": In(stream.Signature(PartialRow(config, width), always_ready=True)),
                "read": read.members["address"],
                "word": In(stream.Signature(read.width, always_ready=True)),
                "write": write.members["write"],
                "maxima": Out(stream.Signature(MaximumRow(config), always_ready=True)),
                "done": Out(stream.Signature(Finished, always_ready=True)),
                **beats_out(config),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        columns = self.config.array.columns
        shape = PartialRow(self.config, self.width)
        tags = data.StructLayout({name: field.shape for name, field in shape if name != "sums"})
        sums = [Signal(shape["sums"].shape, name=f"sums{stage}", reset_less=True) for stage in (1, 2, 3)]
        old = Signal(data.ArrayLayout(signed(ACC_BITS), columns), reset_less=True)
        total = Signal(data.ArrayLayout(signed(ACC_BITS), columns))
        tag = [Signal(tags, name=f"tag{stage}", reset_less=True) for stage in range(5)]
        valid = Signal(4)
        self.counts = Signal(columns, reset_less=True)
        m.d.comb += [
            self.read.valid.eq(self.rows.valid & self.rows.payload.accumulate),
            self.read.payload.eq(self.rows.payload.address),
            *(tag[0][name].eq(self.rows.payload[name]) for name in tags.members),
            *(total[c].eq(old[c] + sums[-1][c]) for c in range(columns)),
        ]
        m.d.sync += [
            valid.eq(Cat(self.rows.valid, valid)),
            *(after.eq(before) for before, after in pairwise(tag)),
            sums[0].eq(self.rows.payload.sums),
            *(after.eq(before) for before, after in pairwise(sums)),
            old.eq(Mux(tag[2].accumulate, self.word.payload, 0)),
            self.counts.eq(Cat(column < tag[3].limit for column in range(columns))),
        ]
        # The contract of `rows`: what is read here is written nowhere in the pipeline.
        again = Cat(valid[stage - 1] & (tag[stage].address == tag[0].address) for stage in range(1, ROW_DISTANCE))
        m.d.sync += Assert(~(self.read.valid & again.any()), "a row is added to before it is written")
        self._write(m, valid[2], tag[3], total)
        self._maxima(m, valid[3], tag[4], total)
        return m

    def _write(self, m: Module, valid: Signal, tag, total: Signal) -> None:
        """Write the row, and tell of its end."""
        write = self.write.payload
        m.d.comb += [
            self.write.valid.eq(valid & ~tag.through if self.config.rate > 1 else valid),
            write.address.eq(tag.address),
            write.data.eq(total),
            write.mask.eq(~0),
            self.done.valid.eq(valid & tag.done),
            self.done.payload.late.eq(tag.maxima),
            self.done.payload.mask.eq(tag.mask),
        ]

    def _maxima(self, m: Module, valid: Signal, tag, total: Signal) -> None:
        """Hand the row to the maxima, from registers."""
        row = self.maxima.payload
        values = Signal.like(total, reset_less=True)
        m.d.sync += values.eq(total)
        m.d.comb += [
            self.maxima.valid.eq(valid & tag.maxima),
            row.init.eq(tag.init),
            row.counts.eq(self.counts),
            row.stat_row.eq(tag.stat_row),
            row["values"].eq(values),
        ]
        if self.config.hdp is not None:
            m.d.comb += [self.beats.valid.eq(valid & tag.decide), *self._beat(tag, values)]

    def _beat(self, tag, values) -> list:
        """A row of sums for the sparsity engine: scores of a query, or of a key or two."""
        beat = self.beats.p
        if self.config.rate == 1:
            return [
                beat.valid.eq(self.counts),
                *(beat[name].eq(tag[name]) for name in ("last", "end_row", "end_head")),
                *(score.eq(value) for score, value in zip(beat.scores, values, strict=True)),
            ]
        bits, there = nibble_bits(self.config.array.rows), self.counts
        scores: list[list] = [list(values)]
        if self.config.rate == PAIRED_RATE:
            scores = [
                [Mux(tag.pair, value[:bits].as_signed(), value) for value in values],
                [value[bits : 2 * bits].as_signed() for value in values],
            ]
        flags = ("pair", "end_row", "end_head") if self.config.rate == PAIRED_RATE else ("end_row", "end_head")
        return [
            *(beat[name].eq(tag[name]) for name in flags),
            *(valid.eq(there & (tag.pair | (k == 0)).replicate(len(there))) for k, valid in enumerate(beat.valid)),
            # Queries are in the first columns.
            *(key[q].eq(row[q]) for key, row in zip(beat.scores, scores, strict=True) for q in range(len(key))),
        ]


class Completion(wiring.Component):
    """Tells of the end of instructions, in order: at once, or `latency` cycles later if a maximum is to be written.

    Ports: `i`: in the cycle of the row's write, at most one a cycle. `o`: one cycle after that, or `latency` after it.
    """

    def __init__(self, latency: int) -> None:
        self.latency = latency
        super().__init__(
            {
                "i": In(stream.Signature(Finished, always_ready=True)),
                "o": Out(stream.Signature(Done, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        stages = [Signal(stream_stage, name=f"stage{index}") for index in range(self.latency)]
        waiting, late = Signal(), Signal()
        m.d.comb += [
            # What came earlier is told earlier.
            waiting.eq(Cat(stage.valid for stage in stages[:-1]).any()),
            late.eq(self.i.payload.late | waiting),
            self.o.valid.eq(stages[-1].valid),
            self.o.payload.mask.eq(stages[-1].mask),
        ]
        for before, after in pairwise(stages):
            m.d.sync += after.eq(before)
        m.d.sync += [stages[0].valid.eq(self.i.valid & late), stages[0].mask.eq(self.i.payload.mask)]
        with m.If(self.i.valid & ~late):
            m.d.sync += [stages[-1].valid.eq(1), stages[-1].mask.eq(self.i.payload.mask)]
        return m


stream_stage = data.StructLayout({"valid": 1, "mask": isa.UNITS})
