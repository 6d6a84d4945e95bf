"""What gives the PEs their steps: the integer pass, scores, and context."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.hdp.core.config import BLOCK, ROWS_AHEAD, CoreConfig
from celosia.hw.hdp.core.heads import Pairs, may_be_pruned
from celosia.hw.hdp.core.layouts import HeadSignature, Kind, Listed, Step, Weighted
from celosia.hw.hdp.core.queue import Credits
from celosia.hw.hdp.layouts import Setting


def kept_apart(config: CoreConfig, job):
    """Whether the integer scores of a head wait for its kept blocks. Those of a head that may be pruned would all have
    to wait for its verdict, and a dense head has none."""
    return job.approximate & ~job.dense & ~may_be_pruned(config, job) if config.reuse else Const(0)


class IntegerPass(wiring.Component):
    """Steps INTEGER of one pair of queries after another: `rate` keys each, an even number of steps a pair.

    Ports: `head`; `o`, with `last`: of a pair. `setting`: of the engine, held until all its masks are there. `popped`:
    a group of masks has left its queue, which never overflows: a pair begins once there is room for its groups.
    `ended`: the masks of a head are all in the queue. `scored`: the integer scores of a pair are not needed any more.
    Latency: none. Throughput: a step a cycle; a dense head takes a cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "o": Out(stream.Signature(Step(config))),
                "last": Out(1),
                "setting": Out(Setting(config.engine)),
                "popped": In(1),
                "ended": In(1),
                "scored": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, job, step = self.config, self.head.job, self.o.p
        m.submodules.pairs = self.pairs = pairs = Pairs(config)
        m.submodules.room = self.room = room = Credits(config.mask_words, config.groups)
        m.submodules.kept = self.kept = kept = Credits(ROWS_AHEAD)
        self.count, self.groups = Signal(range(2 * config.groups)), Signal(range(config.groups + 1))
        self.inside, self.buffer = Signal(), Signal(2)
        done, keep = self.o.valid & self.o.ready, kept_apart(config, job)
        begins = done & ~self.inside
        m.d.comb += [
            pairs.job.eq(job),
            pairs.step.eq(done & self.last),
            self.groups.eq((pairs.keys + (config.group - 1)) >> ceil_log2(config.group)),
            self.last.eq(self.count == (self.groups << 1) - 1),
            self.head.over.eq(Mux(job.dense, self.head.available, done & self.last & pairs.last)),
            room.take.eq(Mux(begins, self.groups, 0)),
            room.give.eq(self.popped),
            kept.take.eq(begins & keep),
            kept.give.eq(self.scored),
            step.kind.eq(Kind.INTEGER),
            step.query.eq(job.query[1:] + pairs.pair),
            step.turn.eq(~self.inside),
            step.row.eq(job.key + (self.count << ceil_log2(config.rate))),
            step.fetch.eq(1),
            step.keep.eq(keep),
        ]
        with m.If(done):
            m.d.sync += [self.inside.eq(~self.last), self.count.eq(Mux(self.last, 0, self.count + 1))]
            m.d.sync += self.buffer.eq(self.buffer + (self.last & keep))
        self._begin(m, begins, keep)
        self._tag(m)
        return m

    def _begin(self, m: Module, begins, keep) -> None:
        """A pair begins when what it needs is free; a head, when the engine has its setting or may be given it."""
        job, pairs = self.head.job, self.pairs
        wanted, open_heads, same = Signal.like(self.setting), Signal(4), Signal()
        fields = ("absolute", "peak_columns", "peak_rows", "rho", "limit")
        m.d.comb += [
            *(wanted[name].eq(job[name]) for name in fields),
            same.eq(wanted.as_value() == self.setting.as_value()),
            self.o.valid.eq(
                self.inside
                | (
                    self.head.available
                    & ~job.dense
                    & (self.room.free >= self.groups)
                    & (~keep | (self.kept.free != 0))
                    & ((pairs.pair != 0) | same | (open_heads == 0))
                )
            ),
        ]
        first = begins & (pairs.pair == 0)
        m.d.sync += open_heads.eq(open_heads + first - self.ended)
        with m.If(first):
            m.d.sync += self.setting.eq(wanted)

    def _tag(self, m: Module) -> None:
        """Scores of keys that a query has are valid."""
        config, pairs, tag = self.config, self.pairs, self.o.p.tag
        low = ceil_log2(config.rate)
        for q in range(BLOCK):
            whole, rest = pairs.limits[q] >> low, pairs.limits[q][:low]
            for key in range(config.rate):
                # Behind the whole steps, all keys but the last one of a step can be there.
                some = (self.count == whole) & (key < rest) if key < config.rate - 1 else 0
                valid = (self.count < whole) | some
                m.d.comb += tag.valid[BLOCK * key + q].eq(valid)
        m.d.comb += [
            tag.first.eq(~self.inside),
            tag.last.eq(self.last),
            tag.end_head.eq(self.last & pairs.last),
            tag.block.eq(self.count << low >> 1),
            tag.buffer.eq(self.buffer),
        ]


class ScorePass(wiring.Component):
    """Steps SCORE, or PAIR where the integer scores were kept, of the kept blocks of one pair of queries after another.

    Ports: `head`; `listed`: kept blocks, `complete`: the last one of a row was put into the queue behind `listed`: a
    pair begins then, so that no step waits for a block. `o`, with `last`: of a pair. `scored`: the integer scores of a
    pair are not needed any more. `taken`: room for the scores of a pair is free again.
    Latency: none. Throughput: a step a cycle: a key, or with kept integer scores a block.
    """

    BUFFERS = 2
    """Pairs of queries whose scores there is room for."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "listed": In(stream.Signature(Listed(config))),
                "complete": In(1),
                "o": Out(stream.Signature(Step(config))),
                "last": Out(1),
                "scored": Out(1),
                "taken": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, job, step, entry = self.config, self.head.job, self.o.p, self.listed.p
        m.submodules.pairs = self.pairs = pairs = Pairs(config)
        m.submodules.room = room = Credits(self.BUFFERS)
        self.inside, self.second = Signal(), Signal()
        rows, buffer = Signal(range(config.list_words + 1)), Signal(2)
        pair, single, ends = Signal(), Signal(), Signal()
        done = self.o.valid & self.o.ready
        m.d.comb += [
            pairs.job.eq(job),
            pairs.step.eq(done & self.last),
            pair.eq(kept_apart(config, job)),
            single.eq(entry.none | (Cat(1, entry.block) >= pairs.keys)),
            ends.eq(pair | single | self.second),
            self.o.valid.eq(self.listed.valid & (self.inside | ((rows != 0) & (room.free != 0)))),
            self.listed.ready.eq(done & ends),
            self.last.eq(entry.last & ends),
            self.head.over.eq(done & self.last & pairs.last),
            self.scored.eq(done & self.last & pair),
            room.take.eq(done & ~self.inside),
            room.give.eq(self.taken),
            step.kind.eq(Mux(pair, Kind.PAIR, Kind.SCORE)),
            step.approximate.eq(job.approximate),
            step.query.eq(job.query[1:] + pairs.pair),
            step.turn.eq(~self.inside),
            step.row.eq(job.key + Cat(self.second, entry.block)),
            step.fetch.eq(~entry.none),
            step.tag.buffer.eq(buffer),
            step.tag.single.eq(single),
        ]
        m.d.sync += [rows.eq(rows + self.complete - (done & self.last)), buffer.eq(buffer + self.scored)]
        with m.If(done):
            m.d.sync += [self.inside.eq(~self.last), self.second.eq(~ends)]
        self._tag(m)
        return m

    def _tag(self, m: Module) -> None:
        pairs, tag, entry = self.pairs, self.o.p.tag, self.listed.p
        m.d.comb += [
            tag.first.eq(~self.inside),
            tag.last.eq(self.last),
            tag.end_head.eq(self.last & pairs.last),
            tag.block.eq(entry.block),
            tag.second.eq(self.second),
        ]
        for q in range(BLOCK):
            for key in range(BLOCK):
                number = Cat(self.second if key == 0 else 1, entry.block)
                m.d.comb += tag.valid[BLOCK * key + q].eq((number < pairs.limits[q]) & ~entry.none)


class ValuePass(wiring.Component):
    """Steps VALUE of one pair of queries after another.

    Ports: `head`; `weights`: a word a step; `o`, with `last`: of a pair. `drained`: the sums of a pair are read: the
    next one may begin.
    Latency: none. Throughput: a step a cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "weights": In(stream.Signature(Weighted(config))),
                "o": Out(stream.Signature(Step(config))),
                "last": Out(1),
                "drained": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step, entry = self.o.p, self.weights.p
        inside, full = Signal(), Signal()
        done = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.valid.eq(self.weights.valid & ~full),
            self.weights.ready.eq(self.o.ready & ~full),
            self.last.eq(entry.last),
            self.head.over.eq(done & entry.end_head),
            step.kind.eq(Kind.VALUE),
            step.row.eq(self.head.job.value + entry.key),
            step.fetch.eq(entry.fetch),
            step.weights.eq(entry.weights),
            step.tag.first.eq(~inside),
            step.tag.last.eq(entry.last),
        ]
        with m.If(done):
            m.d.sync += inside.eq(~entry.last)
        with m.If(self.drained):
            m.d.sync += full.eq(0)
        with m.Elif(done & entry.last):
            m.d.sync += full.eq(1)
        return m
