"""From integer scores to the list of kept blocks."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import Queue
from celosia.hw.hdp.core.config import BLOCK, HEADS, CoreConfig
from celosia.hw.hdp.core.heads import Pairs, may_be_pruned
from celosia.hw.hdp.core.layouts import Group, HeadSignature, Listed, Sums
from celosia.hw.hdp.core.queue import SramQueue
from celosia.hw.hdp.engine import SparsityEngine
from celosia.hw.hdp.layouts import Beat, Head, Setting


class Beats(wiring.Component):
    """Sums of two cycles, of `rate` keys and both queries each, to two beats of one query each.

    Ports: `i`: `Sums`, an even number a pair of queries. `o`: `Beat`s, the first one a cycle after the second sums.
    Throughput: sums in every cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(Sums(config), always_ready=True)),
                "o": Out(stream.Signature(Beat(config.engine), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        rate, sums, beat = self.config.rate, self.i.p, self.o.p
        second, behind = Signal(), Signal()
        early = Signal(Sums(self.config), reset_less=True)
        queries = [Signal(Beat(self.config.engine), name=f"query{q}") for q in range(BLOCK)]
        for q, query in enumerate(queries):
            for k, part in enumerate((early, sums)):
                m.d.comb += [query.scores[k * rate + key].eq(part.scores[key][q]) for key in range(rate)]
            valid = Cat(part.tag.valid[BLOCK * key + q] for part in (early, sums) for key in range(rate))
            m.d.comb += query.valid.eq(valid)
        m.d.comb += [
            queries[1].last.eq(1),
            queries[1].end_row.eq(sums.tag.last),
            queries[1].end_head.eq(sums.tag.end_head),
        ]
        other = Signal.like(queries[1], name="other", reset_less=True)
        m.d.sync += [behind.eq(self.i.valid & second), self.o.valid.eq((self.i.valid & second) | behind)]
        with m.If(self.i.valid):
            m.d.sync += second.eq(~second)
        with m.If(self.i.valid & ~second):
            m.d.sync += early.eq(sums)
        with m.If(self.i.valid & second):
            m.d.sync += [beat.eq(queries[0]), other.eq(queries[1])]
        with m.Else():
            m.d.sync += beat.eq(other)
        return m


class DenseMasks(wiring.Component):
    """Masks of a head of which nothing is pruned, as if the engine had made them.

    Ports: `head`, whose `over` is not driven; `on`: it is such a head. `o`: `Group`s, one a cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({"head": Out(HeadSignature(config)), "on": In(1), "o": Out(stream.Signature(Group(config)))})

    def elaborate(self, platform) -> Module:
        m = Module()
        config, o = self.config, self.o
        m.submodules.pairs = pairs = Pairs(config)
        number = Signal(range(config.groups))
        done, blocks = o.valid & o.ready, (pairs.keys + 1) >> 1
        low = ceil_log2(config.rate)
        full = blocks >> low
        # Behind the full groups, all blocks but the last one of a group can be there.
        rest = Cat(k < blocks[:low] for k in range(config.rate - 1)) & (number == full).replicate(config.rate - 1)
        m.d.comb += [
            pairs.job.eq(self.head.job),
            pairs.step.eq(done & o.p.end_row),
            o.valid.eq(self.on),
            o.p.keep.eq((number < full).replicate(config.rate) | rest),
            o.p.end_row.eq(number + 1 == (pairs.keys + (config.group - 1)) >> ceil_log2(config.group)),
            o.p.end_head.eq(o.p.end_row & pairs.last),
        ]
        with m.If(done):
            m.d.sync += number.eq(Mux(o.p.end_row, 0, number + 1))
        return m


class Walker(wiring.Component):
    """Masks to kept blocks, in ascending order.

    Of a head that may be pruned nothing is listed before its verdict; of one that is pruned, and of a row that keeps
    nothing, a row has one entry `none`.

    Ports: `head`; `masks`: of heads that are not dense; `verdicts`: one a head that is not dense, there before the last
    masks of it are taken. `o`; `complete`: the last block of a row is taken.
    Throughput: a block a cycle; a group without any takes a cycle, and the end of a row another one. Latency: two.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "masks": In(stream.Signature(Group(config))),
                "verdicts": In(stream.Signature(1)),
                "o": Out(stream.Signature(Listed(config))),
                "complete": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, job = self.config, self.head.job
        m.submodules.dense = dense = DenseMasks(config)
        group, left = Signal(Group(config), reset_less=True), Signal(config.rate, reset_less=True)
        rest, number, there = Signal(config.rate), Signal(range(config.groups)), Signal()
        found, ends, moves, free = Signal(), Signal(), Signal(), Signal()
        known, some, block = Signal(), Signal(), Signal(ceil_log2(config.pairs), reset_less=True)
        m.d.comb += [
            rest.eq(left & (left - 1)),
            found.eq(there & left.any()),
            ends.eq(there & ~left.any() & group.end_row),
            # Each block is held until it is known whether it is the last one of its row.
            self.o.valid.eq((found & some) | ends),
            self.o.p.block.eq(Mux(some, block, 0)),
            self.o.p.none.eq(~some),
            self.o.p.last.eq(ends),
            moves.eq(~self.o.valid | self.o.ready),
            self.complete.eq(ends & self.o.ready),
            self.head.over.eq(self.complete & group.end_head),
            known.eq(self.head.available & (job.dense | ~may_be_pruned(config, job) | self.verdicts.valid)),
            free.eq((~there | (moves & ~rest.any() & (~group.end_row | ends))) & ~(ends & group.end_head)),
            self.verdicts.ready.eq(self.head.over & ~self.head.job.dense),
            dense.head.available.eq(self.head.available),
            dense.head.job.eq(self.head.job),
            dense.on.eq(self.head.available & self.head.job.dense),
        ]
        with m.If(moves):
            m.d.sync += some.eq((some | found) & ~ends)
            with m.If(found):
                m.d.sync += [left.eq(rest), block.eq(Cat(_number(left), number))]
            with m.If(there & ~rest.any() & (~group.end_row | ends)):
                m.d.sync += [there.eq(0), number.eq(Mux(ends, 0, number + 1))]
        self._take(m, dense, known & free, group, left, there)
        return m

    def _take(self, m: Module, dense: DenseMasks, ready, group, left, there) -> None:
        """The next group, from the engine's masks or as if it had made them."""
        masks, job = self.masks, self.head.job
        source = Signal(Group(self.config))
        pruned = may_be_pruned(self.config, job) & ~job.dense & ~self.verdicts.p
        m.d.comb += [
            masks.ready.eq(ready & ~job.dense),
            dense.o.ready.eq(ready),
            source.eq(Mux(job.dense, dense.o.p, masks.p)),
        ]
        with m.If(ready & Mux(job.dense, dense.o.valid, masks.valid)):
            m.d.sync += [there.eq(1), group.eq(source), left.eq(source.keep & (~pruned).replicate(len(left)))]


def _number(left: Signal):
    """The lowest bit that is set."""
    bits = ceil_log2(len(left))
    lowest = left & -left
    return Cat(Cat(lowest[k] for k in range(len(left)) if k >> bit & 1).any() for bit in range(bits))


class Decide(wiring.Component):
    """Integer scores to kept blocks: beats, the sparsity engine, its masks, and what is listed of them.

    Ports: `head`, `setting`: of the heads whose scores come. `sums`. `popped`: a group of masks has left its queue, of
    `mask_words`, whose room the one who makes the sums looks after. `ended`: all masks of a head are in it. `listed`:
    kept blocks, `complete`: those of a row are on their way. `verdict`: of every head that is not dense.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "setting": In(Setting(config.engine)),
                "sums": In(stream.Signature(Sums(config), always_ready=True)),
                "popped": Out(1),
                "ended": Out(1),
                "listed": Out(stream.Signature(Listed(config))),
                "complete": Out(1),
                "verdict": Out(stream.Signature(Head(), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.beats = beats = Beats(config)
        m.submodules.engine = engine = SparsityEngine(config.engine)
        m.submodules.masks = masks = SramQueue(Group(config), config.mask_words)
        # Verdicts of all heads that the walker has yet to do.
        m.submodules.verdicts = verdicts = Queue(1, HEADS + 1)
        m.submodules.walker = walker = Walker(config)
        m.submodules.lists = lists = SramQueue(Listed(config), config.list_words)
        connect(m, flipped(self.sums), beats.i)
        connect(m, beats.o, engine.i)
        connect(m, masks.o, walker.masks)
        connect(m, verdicts.o, walker.verdicts)
        connect(m, walker.head, flipped(self.head))
        connect(m, walker.o, lists.i)
        connect(m, lists.o, flipped(self.listed))
        decided = engine.masks.p
        m.d.comb += [
            engine.setting.eq(self.setting),
            engine.masks.ready.eq(1),
            masks.i.valid.eq(engine.masks.valid),
            masks.i.p.keep.eq(decided.keep),
            masks.i.p.end_row.eq(decided.end_row),
            masks.i.p.end_head.eq(decided.end_head),
            self.popped.eq(masks.o.valid & masks.o.ready),
            self.ended.eq(engine.masks.valid & decided.end_head),
            self.complete.eq(walker.complete),
            self.verdict.valid.eq(engine.head.valid),
            self.verdict.p.eq(engine.head.p),
            verdicts.i.valid.eq(engine.head.valid),
            verdicts.i.payload.eq(engine.head.p.keep),
        ]
        return m
