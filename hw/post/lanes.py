"""The lanes, and the pipeline of what accompanies a slot."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import Config
from celosia.hw.numerics import RECORD_BYTES
from celosia.hw.post.lane import Lane, LaneControl
from celosia.hw.post.layouts import (
    BUFFERS,
    CONSTANT_BITS,
    MEAN_BITS,
    RAW_BITS,
    Geometry,
    Operation,
    RecordLoad,
    RowFactor,
    Scaling,
    Stage,
    TableLoad,
)
from celosia.hw.post.statistics import AdderTree, SumVisit
from celosia.hw.post.timeline import Timeline


class Result(data.StructLayout):
    """A slot's results: an int16 a lane, and where they go."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"stage": Stage(geometry), "elements": data.ArrayLayout(signed(RAW_BITS), geometry.lanes)})


class Lanes(wiring.Component):
    """`lanes` lanes in step: a slot a cycle, `Timeline.RESULT` cycles from entry to result.

    All registers stand still while `en` is low. Ports: `fire`, `stage`, `scaling`: from the entry, with `acc_row`, a
    row of the accumulator, `residual_word`, and `constants` of the instruction. `factor`, `minus_mean`: of the slot's
    row, a cycle after it entered (held). `record`, `table_load`. `free`: buffers of records that NORM used for the
    last time. `o`: results, taken when `en`. `visit`: sums, for RESIDUAL and EXP; `closes`: with the last visit of an
    instruction whose row factors are due. `busy`: a slot is inside, not counting one that enters.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.geometry = g = Geometry(config)
        self.time = Timeline(config)
        super().__init__(
            {
                "en": In(1),
                "fire": In(1),
                "stage": In(Stage(g)),
                "scaling": In(Scaling()),
                "constants": In(CONSTANT_BITS),
                "acc_row": In(8 * config.acc_row_bytes),
                "residual_word": In(8 * config.word_bytes),
                "factor": In(RowFactor),
                "minus_mean": In(signed(MEAN_BITS)),
                "record": In(RecordLoad(config, g)),
                "table_load": In(TableLoad(g)),
                "free": Out(BUFFERS),
                "o": Out(stream.Signature(Result(g), always_ready=True)),
                "visit": Out(stream.Signature(SumVisit(config), always_ready=True)),
                "closes": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._stages(m)
        self.control = Signal(LaneControl(self.config))
        self._control(m)
        self.lanes = [Lane(self.config) for _ in range(self.geometry.lanes)]
        residual = self._residual(m)
        for k, lane in enumerate(self.lanes):
            m.submodules[f"lane{k}"] = lane
            self._lane(m, k, lane, residual)
        self._results(m)
        self._sums(m)
        return m

    def _stages(self, m: Module) -> None:
        """`at[k]`: what accompanies the slot in stage k; `advance[k]`: stage k loads; `valid[k]`: a slot is there."""
        stages, shape = self.time.stages, Stage(self.geometry)
        self.valid, self.advance, held = Signal(stages), Signal(stages), Signal(stages - 1)
        self.at = [self.stage] + [Signal(shape, name=f"at{k}", reset_less=True) for k in range(1, stages)]
        m.d.comb += [
            self.valid[0].eq(self.fire),
            # One enable, from a register, for the whole pipeline: what is no slot is taken along.
            self.advance.eq(Cat(0, self.en.replicate(stages - 1))),
            self.valid[1:].eq(held),
            self.busy.eq(held.any()),
        ]
        with m.If(self.en):
            m.d.sync += held.eq(self.valid[:-1])
        for k in range(1, stages):
            with m.If(self.advance[k]):
                m.d.sync += self.at[k].eq(self.at[k - 1])

    def _control(self, m: Module) -> None:
        time, at, control = self.time, self.at, self.control
        scaling, own, minus_mean = Signal(Scaling()), control.operand_scaling, self.minus_mean
        with m.If(self.advance[time.OPERAND]):
            m.d.sync += scaling.eq(self.scaling)
        norm = at[time.OPERAND].op == Operation.NORM
        second, gamma, beta = at[time.SECOND], at[time.MIDDLE - 1], at[time.FACTORS]
        fine = at[time.LAST_FINE]
        m.d.comb += [
            control.advance.eq(self.advance),
            control.entry_buffer.eq(self.stage.buffer),
            own.records.eq(scaling.records),
            own.mult.eq(Mux(scaling.by_row, self.factor.mult, scaling.mult)),
            own.shift.eq(Mux(scaling.by_row, self.factor.shift, scaling.shift)),
            own.offset.eq(Mux(norm, minus_mean, scaling.offset)),
            control.operand_norm.eq(norm),
            control.raw_mode.eq(at[time.RAW].activation),
            control.gamma.eq(Cat(gamma.wide, gamma.buffer)),
            control.beta.eq(Cat(beta.wide, beta.buffer)),
            control.middle_residual.eq(at[time.MIDDLE].op == Operation.RESIDUAL),
            control.second_norm.eq(second.op == Operation.NORM),
            control.second_residual.eq(second.op == Operation.RESIDUAL),
            control.second_exp.eq(second.op == Operation.EXP),
            control.second_shift.eq(second.last_shift),
            control.fine_narrow.eq(~fine.wide & (fine.op != Operation.EXP)),
        ]
        if "constants" in control.shape().members:
            m.d.comb += control.constants.eq(self.constants)
        # The second set of records was read for the last time as the slot moves on from FACTORS.
        used = self.en & self.valid[time.FACTORS] & beta.group_finish & (beta.op == Operation.NORM)
        m.d.comb += self.free.eq(used << beta.buffer)

    def _residual(self, m: Module) -> Signal:
        """The slot's word of residuals, at MIDDLE."""
        word = self.residual_word
        for k in range(1, self.time.MIDDLE + 1):
            following = Signal(len(word), name=f"residual{k}", reset_less=True)
            with m.If(self.advance[k]):
                m.d.sync += following.eq(word)
            word = following
        return word

    def _lane(self, m: Module, k: int, lane: Lane, residual: Signal) -> None:
        g, time, word_bytes = self.geometry, self.time, self.config.word_bytes
        middle, record = self.at[time.MIDDLE], self.record
        accs = [self.acc_row.word_select(p * g.lanes + k, 32) for p in range(g.column_groups)]
        places = self.config.word_bytes // 2
        halves = [residual.word_select((p * g.lanes + k) % places, RAW_BITS) for p in range(g.half_groups)]
        low, high = RECORD_BYTES * k, RECORD_BYTES * k + RECORD_BYTES // 2
        m.d.comb += [
            lane.control.eq(self.control),
            lane.acc.eq(select(accs, self.stage.sub)),
            lane.residual.eq(select(halves, middle.sub)),
            lane.middle_mask.eq(middle.mask[k]),
            lane.second_mask.eq(self.at[time.SECOND].mask[k]),
            lane.table_load.eq(self.table_load),
            lane.record.low_en.eq(record.en & (record.index == low // word_bytes)),
            lane.record.high_en.eq(record.en & (record.index == high // word_bytes)),
            lane.record.buffer.eq(record.buffer),
            lane.record.second.eq(record.second),
            lane.record.low.eq(record.data[8 * (low % word_bytes) :]),
            lane.record.high.eq(record.data[8 * (high % word_bytes) :]),
        ]

    def _results(self, m: Module) -> None:
        result = self.time.RESULT
        m.d.comb += [
            self.o.valid.eq(self.valid[result]),
            self.o.p.stage.eq(self.at[result]),
        ]
        m.d.comb += [self.o.p.elements[k].eq(lane.result) for k, lane in enumerate(self.lanes)]

    def _sums(self, m: Module) -> None:
        time, lanes = self.time, self.geometry.lanes
        m.submodules.totals = totals = AdderTree(lanes, RAW_BITS)
        m.submodules.squares = squares = AdderTree(lanes, 2 * RAW_BITS)
        m.d.comb += [totals.i[k].eq(lane.result) for k, lane in enumerate(self.lanes)]
        m.d.comb += [squares.i[k].eq(lane.square) for k, lane in enumerate(self.lanes)]
        m.d.comb += [
            totals.advance.eq(self.advance[time.RESULT + 1 : time.SUMS + 1]),
            squares.advance.eq(self.advance[time.VALUE : time.VALUE + squares.stages]),
        ]
        square = squares.o
        for k in range(time.VALUE + squares.stages, time.SUMS + 1):
            following = Signal(squares.o.shape(), name=f"square{k}", reset_less=True)
            with m.If(self.advance[k]):
                m.d.sync += following.eq(square)
            square = following
        at = self.at[time.SUMS]
        gathers = (at.op == Operation.EXP) | (at.op == Operation.RESIDUAL)
        m.d.comb += [
            self.visit.valid.eq(self.en & self.valid[time.SUMS] & gathers),
            self.visit.p.stat.eq(at.stat),
            self.visit.p.total.eq(totals.o),
            self.visit.p.squares.eq(square),
            self.visit.p.more.eq(~at.beat_finish),
            self.visit.p.fresh.eq(at.fresh),
            self.closes.eq(self.visit.valid & at.closes),
        ]


def select(choices: list, index) -> Signal:
    """`choices[index]`, where the index may have more bits than a power of two of choices needs."""
    chosen = choices
    for bit in range((len(choices) - 1).bit_length()):
        chosen = [Mux(index[bit], high, low) for low, high in zip(chosen[::2], chosen[1::2], strict=True)]
    return chosen[0]
