"""Sums over lanes, and over the rows' visits."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.post.jobs import rows_wait
from celosia.hw.post.layouts import RAW_BITS, Geometry
from celosia.hw.post.timeline import TREE_LEVELS, tree_latency


class AdderTree(wiring.Component):
    """Sum of `inputs` ints of `width` bits, `tree_latency(inputs)` stages.

    Ports: `i`: terms. `advance[k]`: the registers of stage k load. `o`: the sum.
    """

    def __init__(self, inputs: int, width: int) -> None:
        self.inputs, self.width = inputs, width
        self.stages = tree_latency(inputs)
        super().__init__(
            {
                "i": In(data.ArrayLayout(signed(width), inputs)),
                "advance": In(self.stages),
                "o": Out(signed(width + (inputs - 1).bit_length())),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        terms = [self.i[k] for k in range(self.inputs)]
        width = self.width
        for stage in range(self.stages):
            for level in range(TREE_LEVELS):
                if len(terms) == 1:
                    break
                width += 1
                sums = [Signal(signed(width), name=f"s{stage}_{level}_{k}") for k in range(len(terms) // 2)]
                m.d.comb += [s.eq(terms[2 * k] + terms[2 * k + 1]) for k, s in enumerate(sums)]
                terms = sums
            held = [Signal(signed(width), name=f"r{stage}_{k}", reset_less=True) for k in range(len(terms))]
            with m.If(self.advance[stage]):
                m.d.sync += [r.eq(term) for r, term in zip(held, terms, strict=True)]
            terms = held
        m.d.comb += self.o.eq(terms[0])
        return m


class SumVisit(data.StructLayout):
    """A slot's share of a row: `total`, `squares`. `more`: another slot of this beat follows. `fresh`: the row's sums
    start here."""

    def __init__(self, config: Config) -> None:
        geometry = Geometry(config)
        lanes = (geometry.lanes - 1).bit_length()
        super().__init__(
            {
                "stat": geometry.stat_address,
                "total": signed(RAW_BITS + lanes),
                "squares": 2 * RAW_BITS - 1 + lanes,
                "more": 1,
                "fresh": 1,
            }
        )


class RowSums(wiring.Component):
    """Sum and sum of squares of each statistics row.

    A visit adds to its row in three cycles; visits of the same row must be `GROUP_PERIOD` cycles apart (slots of one
    beat: in succession). Ports: `visit`. `read_en`, `read_stat`: read a row, when no visit comes; `total`, `squares`:
    a cycle later, held. Where jobs of the row unit wait, `taken`: a visit reads what it adds to, and nobody else may.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.geometry = g = Geometry(config)
        super().__init__(
            {
                "visit": In(stream.Signature(SumVisit(config), always_ready=True)),
                "read_en": In(1),
                "read_stat": In(g.stat_address),
                "total": Out(signed(g.sum_bits)),
                "squares": Out(g.square_bits),
                **({"taken": Out(1)} if rows_wait(config) else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        g, visit, reads = self.geometry, self.visit.p, self.visit.valid
        if rows_wait(self.config):
            reads = self.taken
            m.d.comb += reads.eq(self.visit.valid & ~visit.fresh)
        m.submodules.sums = sums = Sram(self.config.accumulator.stat_rows, g.sum_bits + g.square_bits)
        adding, writing = Signal(), Signal()
        fresh, stat, write_stat = Signal(), Signal(g.stat_address), Signal(g.stat_address)
        total, squares = Signal(signed(g.sum_bits)), Signal(g.square_bits)
        new_total, new_squares = Signal(signed(g.sum_bits)), Signal(g.square_bits)
        # The sums of a beat's earlier slot wait here for its last.
        waiting = Signal()
        m.d.comb += [
            Cat(self.total, self.squares).eq(sums.read_data),
            sums.read_en.eq(self.read_en | reads),
            sums.read_address.eq(Mux(reads, visit.stat, self.read_stat)),
            sums.write_en.eq(writing),
            sums.write_address.eq(write_stat),
            sums.write_data.eq(Cat(new_total, new_squares)),
        ]
        m.d.sync += [adding.eq(self.visit.valid & ~visit.more), writing.eq(adding)]
        with m.If(self.visit.valid):
            m.d.sync += [
                total.eq(visit.total + Mux(waiting, total, 0)),
                squares.eq(visit.squares + Mux(waiting, squares, 0)),
                waiting.eq(visit.more),
                fresh.eq(visit.fresh),
                stat.eq(visit.stat),
            ]
        with m.If(adding):
            m.d.sync += [
                new_total.eq(total + Mux(fresh, 0, self.total)),
                new_squares.eq(squares + Mux(fresh, 0, self.squares)),
                write_stat.eq(stat),
            ]
        return m
