"""The row unit: from the sums of a row to the multiplier and shift that scale it (docs/numerics.md, "Row factor",
"LayerNorm")."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.numerics import (
    DEN_BITS,
    EPS_BITS,
    FACTOR_BITS,
    INVERSE_BITS,
    MEAN_FRACTION,
    MULT_BITS,
    NORM_FRACTION,
    ROW_MULT_BITS,
    SD_BITS,
    SHIFT_BITS,
)
from celosia.hw.post.jobs import WaitingJob, rows_wait
from celosia.hw.post.layouts import MEAN_BITS, RAW_BITS, Geometry, NormConstants, RowFactor, RowJob, SoftmaxConstants
from celosia.hw.post.serial import Divider, Normaliser, Root, Tagged
from celosia.hw.post.shift import STAGES, RoundShift

DIGIT = 15
"""Bits of the row unit's multiplier that are taken at a time: those of a number of channels."""


def moment_bits(config: Config) -> int:
    """Width of n^2 times the variance plus epsilon, made even, so that its top two bits are a digit of its root."""
    exact = max(2 * (ceil_log2(config.post.max_channels) + RAW_BITS - 1), EPS_BITS) + 1
    return exact + exact % 2


SOFTMAX_WALK = 3
"""Cycles in which the row unit asks for the sum of a row of EXP."""


def softmax_engines(config: Config) -> int:
    """Rows of EXP that are normalised and divided at once. At nibble rates above 1 the array is done with a row of
    blocks in fewer cycles than one divider takes for its rows: there are as many as the walk can feed."""
    return 3 if config.rate > 1 else 1


class Moments(wiring.Component):
    """Walks the rows: for EXP it passes on their sums; for RESIDUAL it computes mean and n * S2 - S1^2 + eps in
    eleven cycles.

    Ports: `start`, `job` (held). `read_en`, `read_stat`, `total`, `squares`: of `RowSums`. `mean_en`, `mean_stat`,
    `minus_mean`: to memory. `o`: what is to be normalised. Where jobs wait, `visit`: one reads the sums;
    `active`: rows are being walked.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.geometry = config, Geometry(config)
        g = self.geometry
        self.bits = moment_bits(config)
        super().__init__(
            {
                "start": In(1),
                "job": In(RowJob(g)),
                "read_en": Out(1),
                "read_stat": Out(g.stat_address),
                "total": In(signed(g.sum_bits)),
                "squares": In(g.square_bits),
                "mean_en": Out(1),
                "mean_stat": Out(g.stat_address),
                "minus_mean": Out(signed(MEAN_BITS)),
                "o": Out(stream.Signature(Tagged(g.stat_address, self.bits))),
                **({"visit": In(1), "active": Out(1)} if rows_wait(config) else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        active, phase, left, stat = Signal(), Signal(4), Signal(16), Signal(self.geometry.stat_address)
        moment, final = Signal(self.bits), Signal()
        total = Signal(signed(self.geometry.sum_bits), reset_less=True)
        step = active
        if rows_wait(self.config):
            # Others sum up meanwhile: they go first, and what was read has to be kept.
            m.d.comb += self.active.eq(active)
            step = active & ~((phase == 0) & self.visit)
            with m.If(phase == 1):
                m.d.sync += total.eq(self.total)
        else:
            m.d.sync += total.eq(self.total)
        self._multiply(m, phase, total, moment)
        m.d.comb += [
            # A sum is kept two cycles after it was asked for; moments take another eight.
            final.eq(active & (phase == Mux(self.job.softmax, SOFTMAX_WALK - 1, 10))),
            self.read_en.eq(active & (phase == 0)),
            self.read_stat.eq(stat),
            self.mean_stat.eq(stat),
            self.mean_en.eq(final & ~self.job.softmax),
            self.o.valid.eq(final),
            self.o.p.stat.eq(stat),
            self.o.p.value.eq(Mux(self.job.softmax, total, moment)),
        ]
        with m.If(self.start):
            m.d.sync += [active.eq(1), phase.eq(0), stat.eq(self.job.stat), left.eq(self.job.m)]
        with m.Elif(final), m.If(self.o.ready):
            m.d.sync += [phase.eq(0), stat.eq(stat + 1), left.eq(left - 1), active.eq(left != 1)]
        with m.Elif(step):
            m.d.sync += phase.eq(phase + 1)
        return m

    def _multiply(self, m: Module, phase, total, moment) -> None:
        """One multiplier, five products: operands in phases 2 to 6, a cycle later what multipliers of an FPGA make of
        them, another later the product, and another later the sums."""
        g, norm = self.geometry, NormConstants(self.job.constants)
        magnitude = Signal(g.sum_bits)
        a, b = Signal(signed(g.square_bits + 1), reset_less=True), Signal(DIGIT, reset_less=True)
        product = Signal(signed(g.square_bits + 1 + DIGIT), reset_less=True)
        scaled_bits = g.sum_bits + INVERSE_BITS
        scaled = Signal(signed(scaled_bits), reset_less=True)
        m.submodules.round = rounder = RoundShift(scaled_bits, MEAN_BITS)
        m.d.comb += [
            magnitude.eq(Mux(total < 0, -total, total)),
            rounder.i.eq(scaled),
            rounder.shift.eq(norm.inverse_shift),
            rounder.advance.eq(Cat(phase == 7 + stage for stage in range(STAGES))),
            self.minus_mean.eq(-rounder.o),
        ]
        parts = []
        for low in range(0, len(a), FACTOR_BITS):
            factor = a[low : low + FACTOR_BITS]
            factor = factor if low + FACTOR_BITS < len(a) else factor.as_signed()
            part = Signal.like(factor * b, name=f"part{low}", reset_less=True)
            m.d.sync += part.eq(factor * b)
            parts.append(part << low)
        m.d.sync += product.eq(sum(parts))
        with m.Switch(phase):
            with m.Case(2):
                m.d.sync += [a.eq(total), b.eq(norm.inverse[:DIGIT])]
            with m.Case(3):
                m.d.sync += b.eq(norm.inverse[DIGIT:])
            with m.Case(4):
                m.d.sync += [a.eq(magnitude), b.eq(magnitude[:DIGIT])]
            with m.Case(5):
                m.d.sync += [b.eq(magnitude[DIGIT:]), scaled.eq(product)]
            with m.Case(6):
                m.d.sync += [a.eq(self.squares), b.eq(norm.channels), scaled.eq(scaled + (product << DIGIT))]
            with m.Case(7):
                m.d.sync += moment.eq(norm.eps - product)
            with m.Case(8):
                m.d.sync += moment.eq(moment - (product << DIGIT))
            with m.Case(9):
                m.d.sync += moment.eq(moment + product)


class RowUnit(wiring.Component):
    """Computes row factors in the background: 11 cycles a row, for EXP and RESIDUAL alike; where there are several
    `softmax_engines`, 11 divided by them for EXP, whose rows go to them by turns.

    Ports: `prepare`: an instruction begins; `job`: its rows, a cycle later; `start`: their sums are complete. `busy`:
    from `prepare` until all factors are written. `read_en`, `read_stat`, `total`, `squares`: of `RowSums`. `lookup_en`,
    `lookup_stat`: read `factor` and `minus_mean` of a row, there a cycle later and held. Where jobs wait, `visit`: one
    reads the sums; `full`: no other rows may be summed up. Else they may not while `busy`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.geometry = g = Geometry(config)
        super().__init__(
            {
                "prepare": In(1),
                "job": In(RowJob(g)),
                "start": In(1),
                "busy": Out(1),
                "read_en": Out(1),
                "read_stat": Out(g.stat_address),
                "total": In(signed(g.sum_bits)),
                "squares": In(g.square_bits),
                "lookup_en": In(1),
                "lookup_stat": In(g.stat_address),
                "factor": Out(RowFactor),
                "minus_mean": Out(signed(MEAN_BITS)),
                **({"visit": In(1), "full": Out(1)} if rows_wait(config) else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        stat_bits, bits = self.geometry.stat_address, moment_bits(self.config)
        self.kept = Signal(RowJob(self.geometry))
        m.submodules.moments = moments = Moments(self.config)
        m.submodules.normaliser = normaliser = Normaliser(stat_bits, bits)
        m.submodules.root = root = Root(stat_bits)
        m.submodules.divider = divider = Divider(stat_bits)
        more = [(Normaliser(stat_bits, bits), Divider(stat_bits)) for _ in range(softmax_engines(self.config) - 1)]
        if rows_wait(self.config):
            self._wait(m, moments, [normaliser, *(one for one, _ in more)])
        else:
            self._take(m, moments)
        m.d.comb += [
            moments.job.eq(self.kept),
            self.read_en.eq(moments.read_en),
            self.read_stat.eq(moments.read_stat),
            moments.total.eq(self.total),
            moments.squares.eq(self.squares),
            normaliser.even.eq(~self.kept.softmax),
        ]
        if more:
            self._turns(m, moments, [normaliser, *(one for one, _ in more)])
        else:
            wiring.connect(m, moments.o, normaliser.i)
        self._route(m, normaliser, root, divider, bits)
        for index, (one, other) in enumerate(more):
            m.submodules[f"normaliser{index}"], m.submodules[f"divider{index}"] = one, other
            self._softmax(m, one, other, divider.mant, bits)
        self._means(m, moments)
        self._factors(m, self._results(m, [divider, *(other for _, other in more)]))
        return m

    def _take(self, m: Module, moments: Moments) -> None:
        """One job at a time."""
        here, self.prepared = Signal(), Signal()
        m.d.sync += [here.eq(self.prepare), self.prepared.eq(here)]
        with m.If(here):
            m.d.sync += self.kept.eq(self.job)
        m.d.comb += moments.start.eq(self.start)

    def _wait(self, m: Module, moments: Moments, normalisers: list[Normaliser]) -> None:
        """Rows of EXP go on while others are summed up. A divider takes all that it needs with a row, so that constants
        may change when no row is before it. A RESIDUAL has the sums for itself."""
        m.submodules.jobs = jobs = WaitingJob(self.config)
        self.prepared = jobs.taken
        idle = Cat(one.i.ready & ~one.o.valid for one in normalisers).all()
        m.d.comb += [
            jobs.prepare.eq(self.prepare),
            jobs.job.eq(self.job),
            jobs.start.eq(self.start),
            jobs.idle.eq(~moments.active & idle),
            self.kept.eq(jobs.kept),
            moments.start.eq(jobs.walk),
            moments.visit.eq(self.visit),
            self.full.eq(jobs.full | (self.busy & ~self.kept.softmax)),
        ]

    def _turns(self, m: Module, moments: Moments, normalisers: list[Normaliser]) -> None:
        """Rows of EXP go to one normaliser after another; others, to the first."""
        turn, softmax = Signal(range(len(normalisers))), self.kept.softmax
        for index, one in enumerate(normalisers):
            mine = turn == index
            m.d.comb += [one.i.valid.eq(moments.o.valid & mine), one.i.p.eq(moments.o.p)]
            with m.If(mine):
                m.d.comb += moments.o.ready.eq(one.i.ready)
        with m.If(self.prepared):
            m.d.sync += turn.eq(0)
        with m.Elif(moments.o.valid & moments.o.ready & softmax):
            m.d.sync += turn.eq(Mux(turn == len(normalisers) - 1, 0, turn + 1))

    def _softmax(self, m: Module, normaliser: Normaliser, divider: Divider, mant, bits: int) -> None:
        """Sums from a normaliser of its own to the divider."""
        m.d.comb += [
            normaliser.even.eq(0),
            divider.mant.eq(mant),
            divider.i.valid.eq(normaliser.o.valid),
            normaliser.o.ready.eq(divider.i.ready),
            divider.i.p.eq(normaliser.o.p),
            divider.i.p.value.eq(normaliser.o.p.value[bits - DEN_BITS :]),
            divider.i.p.shift.eq(self.base + (bits - normaliser.o.p.shift)[:7]),
        ]

    def _results(self, m: Module, dividers: list[Divider]):
        """One after another: of several that are there the first."""
        if len(dividers) == 1:
            return dividers[0].o
        result = stream.Signature(dividers[0].o.payload.shape(), always_ready=True).create()
        before = Signal()
        for one in dividers:
            m.d.comb += one.o.ready.eq(~before)
            with m.If(one.o.valid & ~before):
                m.d.comb += [result.valid.eq(1), result.payload.eq(one.o.payload)]
            now = Signal()
            m.d.comb += now.eq(before | one.o.valid)
            before = now
        return result

    def _route(self, m: Module, normaliser: Normaliser, root: Root, divider: Divider, bits: int) -> None:
        """Sums go from the normaliser to the divider; moments take the root on the way."""
        softmax, normal = self.kept.softmax, normaliser.o
        base, mant = self._mantissa(m)
        self.base = base
        length, halved = Signal(7), Signal(7)
        m.d.comb += [
            divider.mant.eq(mant),
            # The root's exponent: halved, and less what was cut off below the digits that the root takes.
            halved.eq(normal.p.shift >> 1),
            length.eq(bits - normal.p.shift),
            root.i.valid.eq(normal.valid & ~softmax),
            root.i.p.eq(normal.p),
            root.i.p.value.eq(normal.p.value[bits - 2 * SD_BITS :]),
            root.i.p.shift.eq(base + (bits // 2 - (NORM_FRACTION - MEAN_FRACTION)) - halved),
            normal.ready.eq(Mux(softmax, divider.i.ready, root.i.ready)),
            divider.i.valid.eq(Mux(softmax, normal.valid, root.o.valid)),
            root.o.ready.eq(divider.i.ready & ~softmax),
        ]
        with m.If(softmax):
            m.d.comb += [
                divider.i.p.eq(normal.p),
                divider.i.p.value.eq(normal.p.value[bits - DEN_BITS :]),
                divider.i.p.shift.eq(base + length),
            ]
        with m.Else():
            m.d.comb += [divider.i.p.eq(root.o.p), divider.i.p.value.eq(root.o.p.value << (DEN_BITS - SD_BITS))]

    def _mantissa(self, m: Module) -> tuple[Signal, Signal]:
        """Shift and mantissa of the dividend; the number of channels is normalised a bit a cycle, long before it is
        needed."""
        softmax, norm = SoftmaxConstants(self.kept.constants), NormConstants(self.kept.constants)
        mant, base = Signal(MULT_BITS), Signal(SHIFT_BITS)
        with m.If(self.prepared):
            m.d.sync += [
                mant.eq(Mux(self.kept.softmax, softmax.mant, norm.channels)),
                base.eq(Mux(self.kept.softmax, softmax.mant_shift, 0)),
            ]
        with m.Elif(~mant[-1] & ~self.kept.softmax):
            m.d.sync += [mant.eq(mant << 1), base.eq(base + 1)]
        return base, mant

    def _means(self, m: Module, moments: Moments) -> None:
        m.submodules.means = means = Sram(self.config.accumulator.stat_rows, MEAN_BITS)
        m.d.comb += [
            means.write_en.eq(moments.mean_en),
            means.write_address.eq(moments.mean_stat),
            means.write_data.eq(moments.minus_mean),
            means.read_en.eq(self.lookup_en),
            means.read_address.eq(self.lookup_stat),
            self.minus_mean.eq(means.read_data),
        ]

    def _factors(self, m: Module, result) -> None:
        m.submodules.factors = factors = Sram(self.config.accumulator.stat_rows, ROW_MULT_BITS + SHIFT_BITS)
        word, left, busy = Signal(RowFactor), Signal(16), Signal()
        with m.If(~(result.p.zero | result.p.shift[SHIFT_BITS])):
            m.d.comb += [word.mult.eq(result.p.value), word.shift.eq(result.p.shift)]
        m.d.comb += [
            *([result.ready.eq(1)] if softmax_engines(self.config) == 1 else []),
            factors.write_en.eq(result.valid),
            factors.write_address.eq(result.p.stat),
            factors.write_data.eq(word),
            factors.read_en.eq(self.lookup_en),
            factors.read_address.eq(self.lookup_stat),
            self.factor.eq(factors.read_data),
            self.busy.eq(busy),
        ]
        if rows_wait(self.config):
            here = Signal()
            m.d.sync += [
                here.eq(self.prepare),
                left.eq(left + Mux(here, self.job.m, 0) - result.valid),  # of both jobs
                busy.eq(self.prepare | here | (left > result.valid)),
            ]
        else:
            with m.If(self.prepare):
                m.d.sync += busy.eq(1)
            with m.If(self.prepared):
                m.d.sync += left.eq(self.kept.m)
            with m.Elif(result.valid):
                m.d.sync += [left.eq(left - 1), busy.eq(left != 1)]
