"""From the sums of P V to context codes."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.hdp.core.heads import Pairs
from celosia.hw.hdp.core.layouts import Context, Factor, HeadSignature
from celosia.hw.hdp.layouts import shape_of
from celosia.hw.hdp.widths import CODE_BITS
from celosia.hw.numerics import ROW_MULT_BITS, SHIFT_BITS
from celosia.hw.post.shift import STAGES, RoundShift


class Drain(wiring.Component):
    """Requantises the sums of a pair of queries, `lanes` channels a cycle: a row of context, and the other, if there
    is one.

    Ports: `head`; `factors`: of both queries; `full`: the sums are there; `shift`, `front`: of `Elements`; `drained`:
    they were all read. `o`: a row's codes, in channel order. Latency: `1 + STAGES` cycles. Throughput: a word a cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.words = config.context_words
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "factors": In(stream.Signature(data.ArrayLayout(Factor, BLOCK))),
                "full": In(1),
                "front": In(data.ArrayLayout(shape_of(config.context), config.lanes)),
                "shift": Out(1),
                "drained": Out(1),
                "o": Out(stream.Signature(Context(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.pairs = pairs = Pairs(self.config)
        word, second, full = Signal(range(self.words)), Signal(), Signal()
        end_row, moves, last = Signal(), Signal(), Signal()
        m.d.comb += [
            pairs.job.eq(self.head.job),
            pairs.step.eq(self.drained),
            moves.eq(~self.o.valid | self.o.ready),
            self.shift.eq(full & self.factors.valid & moves),
            end_row.eq(word == self.words - 1),
            last.eq(end_row & second),
            self.drained.eq(self.shift & last),
            self.factors.ready.eq(self.drained),
            self.head.over.eq(self.drained & pairs.last),
        ]
        with m.If(self.shift):
            m.d.sync += [word.eq(Mux(end_row, 0, word + 1)), second.eq(second ^ end_row)]
        with m.If(self.full):
            m.d.sync += full.eq(1)
        with m.Elif(self.drained):
            m.d.sync += full.eq(0)
        # A row that does not exist is read, and not given.
        lone = pairs.last & (pairs.limits[1] == 0)
        given = self.shift & ~(second & lone)
        self._scale(m, second, moves, (given, end_row, end_row & pairs.last & (second | lone)))
        return m

    def _scale(self, m: Module, second, moves, marks) -> None:
        """Codes, and beside them what is known of their word: there, `last`, `end_head`."""
        factor = Mux(second, self.factors.p[1].as_value(), self.factors.p[0].as_value())
        total = shape_of(self.config.context)
        shift = Signal(SHIFT_BITS, reset_less=True)
        held = marks
        for k in range(1 + STAGES):
            later = [Signal(name=f"mark{k}_{i}", reset_less=i > 0) for i in range(len(marks))]
            with m.If(moves):
                m.d.sync += [new.eq(old) for new, old in zip(later, held, strict=True)]
            held = later
        with m.If(moves):
            m.d.sync += shift.eq(factor[ROW_MULT_BITS:])
        for lane in range(self.config.lanes):
            product = Signal(signed(total.width + ROW_MULT_BITS + 1), name=f"product{lane}", reset_less=True)
            m.submodules[f"round{lane}"] = rounder = RoundShift(len(product), CODE_BITS)
            with m.If(moves):
                m.d.sync += product.eq(self.front[lane] * factor[:ROW_MULT_BITS])
            m.d.comb += [
                rounder.i.eq(product),
                rounder.shift.eq(shift),
                rounder.advance.eq(moves.replicate(STAGES)),
                self.o.p.codes[lane].eq(rounder.o),
            ]
        m.d.comb += [self.o.valid.eq(held[0]), self.o.p.last.eq(held[1]), self.o.p.end_head.eq(held[2])]
