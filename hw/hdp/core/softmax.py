"""From scores to weights and row factors: the softmax of kept scores, un-normalised (docs/numerics.md, "Softmax")."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import Queue
from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.hdp.core.config import BLOCK, ROWS_IN_FLIGHT, CoreConfig
from celosia.hw.hdp.core.layouts import Factor, HeadSignature, ScoreRow, Scores, Totals, Weighted
from celosia.hw.hdp.core.passes import ScorePass
from celosia.hw.hdp.core.published import Line, SecondOrder
from celosia.hw.hdp.core.queue import Credits
from celosia.hw.hdp.layouts import shape_of
from celosia.hw.hdp.widths import CODE_BITS
from celosia.hw.numerics import DEN_BITS, MULT_BITS, SHIFT_BITS
from celosia.hw.post.kernels.exponential import Exp2
from celosia.hw.post.kernels.interface import Kernel
from celosia.hw.post.layouts import RAW_BITS
from celosia.hw.post.serial import Divider, Normaliser
from celosia.hw.post.shift import STAGES, RoundShift

SOFTMAX: dict[str, tuple[type[Kernel], type[Divider] | type[Line]]] = {
    "base2": (Exp2, Divider),
    "published": (SecondOrder, Line),
}
"""Exponential and division."""


class Half(data.StructLayout):
    """Scores of one key of a block, and which of them are valid."""

    def __init__(self, config: CoreConfig) -> None:
        score = data.ArrayLayout(shape_of(config.score), BLOCK)
        super().__init__({"scores": score, "valid": BLOCK, "block": ceil_log2(config.pairs)})


class ScoreStore(wiring.Component):
    """Keeps the scores of `ScorePass.BUFFERS` pairs of queries, a block a word, and finds the greatest of each query.

    Ports: `i`: scores, in any cycle. `rows`: a pair whose scores are all here, two cycles after the last of them.
    `read_en`, `read_buffer`, `read_place`: a word; `halves`: it, a cycle later, held.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(Scores(config), always_ready=True)),
                "rows": Out(stream.Signature(ScoreRow(config))),
                "read_en": In(1),
                "read_buffer": In(1),
                "read_place": In(ceil_log2(config.pairs)),
                "halves": Out(data.ArrayLayout(Half(config), BLOCK)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, new, tag = self.config, self.i.p, self.i.p.tag
        places = 1 << ceil_log2(config.pairs)
        m.submodules.words = words = Sram(ScorePass.BUFFERS * places, BLOCK * Half(config).size, BLOCK)
        m.submodules.queue = queue = Queue(ScoreRow(config), ScorePass.BUFFERS)
        connect(m, queue.o, flipped(self.rows))
        buffer, place, over = Signal(), Signal(ceil_log2(config.pairs)), Signal()
        word = Signal(data.ArrayLayout(Half(config), BLOCK))
        for key in range(BLOCK):
            own = tag.valid[BLOCK * key : BLOCK * (key + 1)]
            m.d.comb += [word[key].scores.eq(new.scores[key]), word[key].block.eq(tag.block)]
            # The second key of a score that comes alone is written after the first; until then it has none.
            m.d.comb += word[key].valid.eq(own if key == 0 else Mux(new.pair, own, Mux(tag.second, tag.valid, 0)))
        m.d.comb += [
            words.write_en.eq(Mux(self.i.valid, Mux(tag.second, 0b10, 0b11), 0)),
            words.write_address.eq(Cat(place, buffer)),
            words.write_data.eq(word),
            words.read_en.eq(self.read_en),
            words.read_address.eq(Cat(self.read_place, self.read_buffer)),
            self.halves.eq(words.read_data),
            over.eq(self.i.valid & tag.last),
        ]
        with m.If(over):
            m.d.sync += [place.eq(0), buffer.eq(~buffer)]
        with m.Elif(self.i.valid & (new.pair | tag.second | tag.single)):
            m.d.sync += place.eq(place + 1)
        row = queue.i.p
        m.d.sync += queue.i.valid.eq(over)
        with m.If(self.i.valid):
            m.d.sync += [row.last.eq(place), row.single.eq(tag.single), row.end_head.eq(tag.end_head)]
        self._maxima(m, row.maxima)
        return m

    def _maxima(self, m: Module, maxima) -> None:
        new, tag = self.i.p, self.i.p.tag
        lowest = Const(1 << shape_of(self.config.score).width - 1, shape_of(self.config.score).width).as_signed()
        for q in range(BLOCK):
            found = [Mux(tag.valid[BLOCK * key + q], new.scores[key][q], lowest) for key in range(BLOCK)]
            best = Mux(new.pair & (found[1] > found[0]), found[1], found[0])
            with m.If(self.i.valid & (tag.first | (best > maxima[q]))):
                m.d.sync += maxima[q].eq(best)


def weigh_latency(config: CoreConfig) -> int:
    """Cycles from a score to its weight."""
    return 2 + STAGES + SOFTMAX[config.softmax][0].LATENCY + STAGES


def exponents_latency(config: CoreConfig) -> int:
    """The same from where the score is read."""
    return 1 + weigh_latency(config)


class Weigh(wiring.Component):
    """Weights of a query: `exp2_weight` of a score's distance to the row's greatest.

    Ports: `score`, `greatest`; a cycle later `mult`, and two cycles later `shift`: of the exponent. `valid`: with the
    weight; without it the weight is 0. `o`: `latency` cycles after the score. Throughput: a score a cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.score_shape = shape_of(config.score)
        # The kernels are as in POST; what they take of a configuration is the shape of ports that are not used here.
        self.kernel = SOFTMAX[config.softmax][0](Config())
        self.latency = weigh_latency(config)
        super().__init__(
            {
                "score": In(self.score_shape),
                "greatest": In(self.score_shape),
                "mult": In(MULT_BITS),
                "shift": In(SHIFT_BITS),
                "valid": In(1),
                "o": Out(CODE_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        difference = Signal(signed(self.score_shape.width + 1), reset_less=True)
        product = Signal(signed(len(difference) + MULT_BITS), reset_less=True)
        m.submodules.exponent = exponent = RoundShift(len(product), RAW_BITS)
        m.submodules.kernel = kernel = self.kernel
        m.submodules.weight = weight = RoundShift(RAW_BITS + 1, CODE_BITS + 1)
        m.d.sync += [difference.eq(self.score - self.greatest), product.eq(difference * self.mult)]
        m.d.comb += [
            exponent.i.eq(product),
            exponent.shift.eq(self.shift),
            exponent.advance.eq(~0),
            kernel.i.eq(exponent.o),
            kernel.advance.eq(~0),
            weight.i.eq(kernel.value),
            weight.shift.eq(kernel.shift),
            weight.advance.eq(~0),
            self.o.eq(Mux(self.valid, weight.o, 0)),
        ]
        return m


class Exponents(wiring.Component):
    """Walks over the scores of a pair of queries: a key's weights a cycle, and the sums of all.

    Ports: `head`; `rows`; `read_*`, `halves`: of `ScoreStore`; `taken`: a pair's scores are read. `o`; `totals`: of a
    pair, always taken. `drained`: a pair of queries has left the core: no more than `ROWS_IN_FLIGHT` are behind here.
    Latency: `latency` cycles to the first weights. Throughput: a key a cycle.
    """

    DEPTH = 16
    """Weights under way or waiting: as many as it takes for a key a cycle."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.weighs = [Weigh(config) for _ in range(BLOCK)]
        self.latency = exponents_latency(config)
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "rows": In(stream.Signature(ScoreRow(config))),
                "read_en": Out(1),
                "read_buffer": Out(1),
                "read_place": Out(ceil_log2(config.pairs)),
                "halves": In(data.ArrayLayout(Half(config), BLOCK)),
                "taken": Out(1),
                "o": Out(stream.Signature(Weighted(config))),
                "totals": Out(stream.Signature(Totals(config), always_ready=True)),
                "drained": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        row, job = self.rows.p, self.head.job
        m.submodules.room = room = Credits(self.DEPTH)
        m.submodules.rows_free = rows_free = Credits(ROWS_IN_FLIGHT)
        m.submodules.queue = self.queue = queue = Queue(Weighted(self.config), self.DEPTH)
        connect(m, queue.o, flipped(self.o))
        inside, second, buffer, goes, last = Signal(), Signal(), Signal(), Signal(), Signal()
        end_block = second | ((self.read_place == row.last) & row.single)
        m.d.comb += [
            goes.eq(self.rows.valid & (room.free != 0) & (inside | (rows_free.free != 0))),
            last.eq(goes & end_block & (self.read_place == row.last)),
            room.take.eq(goes),
            room.give.eq(self.o.valid & self.o.ready),
            rows_free.take.eq(goes & ~inside),
            rows_free.give.eq(self.drained),
            self.rows.ready.eq(last),
            self.taken.eq(last),
            self.head.over.eq(last & row.end_head),
            self.read_en.eq(goes & ~second),
            self.read_buffer.eq(buffer),
        ]
        with m.If(goes):
            m.d.sync += [inside.eq(~last), second.eq(~end_block), buffer.eq(buffer ^ last)]
            with m.If(end_block):
                m.d.sync += self.read_place.eq(Mux(last, 0, self.read_place + 1))
        marks = Signal(4)
        m.d.comb += marks.eq(Cat(goes, last, last & row.end_head, goes & ~inside))
        self._weigh(m, second, marks, job)
        return m

    def _weigh(self, m: Module, second, marks, job) -> None:
        """Scores of both queries through the kernels, and beside them what else is known of them."""
        half, key = self.halves[0], Signal()
        maxima = Signal.like(self.rows.p.maxima, reset_less=True)
        scaling = [Signal(MULT_BITS + SHIFT_BITS, name=f"scaling{k}", reset_less=True) for k in range(3)]
        m.d.sync += [key.eq(second), maxima.eq(self.rows.p.maxima), scaling[0].eq(Cat(job.score_mult, job.score_shift))]
        m.d.sync += [new.eq(old) for new, old in zip(scaling[1:], scaling, strict=False)]
        chosen = Signal.like(half)
        m.d.comb += chosen.as_value().eq(Array(self.halves[k].as_value() for k in range(BLOCK))[key])
        behind = _delayed(m, marks, self.latency, "marks")
        known = _delayed(m, Cat(chosen.valid, key, chosen.block), self.latency - 1, "known", reset_less=True)
        there, last, end_head, first = behind[0], behind[1], behind[2], behind[3]
        out, totals = self.queue.i, self.totals.p
        for q, weigh in enumerate(self.weighs):
            m.submodules[f"weigh{q}"] = weigh
            m.d.comb += [
                weigh.score.eq(chosen.scores[q]),
                weigh.greatest.eq(maxima[q]),
                weigh.mult.eq(scaling[1][:MULT_BITS]),
                weigh.shift.eq(scaling[2][MULT_BITS:]),
                weigh.valid.eq(known[q]),
                out.p.weights[q].eq(weigh.o),
            ]
            with m.If(there):
                m.d.sync += totals.totals[q].eq(Mux(first, 0, totals.totals[q]) + weigh.o)
        m.d.comb += [
            out.valid.eq(there),
            out.p.key.eq(known[BLOCK:]),
            out.p.fetch.eq(known[:BLOCK].any()),
            out.p.last.eq(last),
            out.p.end_head.eq(end_head),
        ]
        m.d.sync += [self.totals.valid.eq(there & last), totals.end_head.eq(end_head)]


def _delayed(m: Module, value, cycles: int, name: str, *, reset_less: bool = False):
    """`value` some cycles later."""
    for k in range(cycles):
        later = Signal(len(value), name=f"{name}{k}", reset_less=reset_less)
        m.d.sync += later.eq(value)
        value = later
    return value


class Factors(wiring.Component):
    """Row factors of a pair of queries: `row_factor` of the head's scale by the sum of each query's weights.

    Ports: `head`; `totals`, never more than `ROWS_IN_FLIGHT` before their factors are taken; `o`: of both queries.
    Throughput: a pair in `PERIOD` cycles.
    """

    PERIOD = 30
    """At most: normalised and divided, one query behind the other."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "totals": In(stream.Signature(Totals(config), always_ready=True)),
                "o": Out(stream.Signature(data.ArrayLayout(Factor, BLOCK))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        job = self.head.job
        m.submodules.queue = queue = Queue(Totals(self.config), ROWS_IN_FLIGHT)
        m.submodules.normaliser = normaliser = Normaliser(1, DEN_BITS)
        m.submodules.divider = divider = SOFTMAX[self.config.softmax][1](1)
        m.d.comb += [queue.i.valid.eq(self.totals.valid), queue.i.p.eq(self.totals.p)]
        given, length = Signal(range(BLOCK + 1)), Signal(range(DEN_BITS + 1))
        normal, found = normaliser.o, divider.o
        m.d.comb += [
            normaliser.i.valid.eq(queue.o.valid & (given != BLOCK)),
            normaliser.i.p.stat.eq(given[0]),
            normaliser.i.p.value.eq(Array(queue.o.p.totals[q] for q in range(BLOCK))[given[0]]),
            length.eq(DEN_BITS - normal.p.shift),
            divider.i.valid.eq(normal.valid),
            normal.ready.eq(divider.i.ready),
            divider.i.p.eq(normal.p),
            divider.i.p.shift.eq(job.mant_shift + length),
            divider.mant.eq(job.mant),
            found.ready.eq(~self.o.valid),
            queue.o.ready.eq(found.valid & found.ready & found.p.stat),
            self.head.over.eq(queue.o.ready & queue.o.p.end_head),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(normaliser.i.valid & normaliser.i.ready):
            m.d.sync += given.eq(given + 1)
        with m.If(found.valid & found.ready):
            factor, none = self.o.p, found.p.zero | found.p.shift[SHIFT_BITS]
            for q in range(BLOCK):
                with m.If(found.p.stat == q):
                    m.d.sync += [
                        factor[q].mult.eq(Mux(none, 0, found.p.value)),
                        factor[q].shift.eq(Mux(none, 0, found.p.shift)),
                    ]
            with m.If(found.p.stat):
                m.d.sync += [self.o.valid.eq(1), given.eq(0)]
        return m
