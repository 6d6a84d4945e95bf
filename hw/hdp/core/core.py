"""The core."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.context import Drain
from celosia.hw.hdp.core.datapath import Datapath
from celosia.hw.hdp.core.decide import Decide
from celosia.hw.hdp.core.heads import Heads
from celosia.hw.hdp.core.layouts import Context, HeadJob, Kind, Step, Work, Write
from celosia.hw.hdp.core.passes import IntegerPass, ScorePass, ValuePass
from celosia.hw.hdp.core.queue import Turns
from celosia.hw.hdp.core.softmax import Exponents, Factors, ScoreStore
from celosia.hw.hdp.layouts import Head


class Core(wiring.Component):
    """Attention of one head after another over 2 x 2 blocks, by the definition of docs/hdp.md, bit for bit.

    `2 * width` PEs of four nibble multipliers do three kinds of work in turn, a pair of queries each: integer scores of
    all keys (`rate` keys a cycle), scores of the kept ones (a key a cycle; two, where their integer scores were kept),
    and weights by V (a key a cycle). Whoever is further along goes first: context before scores before the integer
    pass of a later pair or head, which fills what is left; so the PEs wait for nobody in the middle of a head. The
    engine, the lists, softmax, row factors and requantisation work beside them.
    Fetch upon mask: fraction parts of K, and V, are read for kept blocks only.

    Ports: `write`: words for the local memories. A head's rows must be there before its job is given, and stay until
    its context is out. `jobs`: heads. `context`: rows of context, of the head's length, in order; a head is over with
    the word of `end_head`. `verdict`: importance of every head that is not dense, and whether it reached its limit.
    `work`: what happens in a cycle, to be counted.

    Errors: none are detected: a `length` of 0 or beyond `config.length`, and rows beyond the memories, are for the
    taker of instructions to refuse. A reset at any moment forgets the heads, and leaves the memories.
    Latency of a first pair, and throughput: docs/coprocessor.md.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(stream.Signature(Write(config), always_ready=True)),
                "jobs": In(stream.Signature(HeadJob(config))),
                "context": Out(stream.Signature(Context(config))),
                "verdict": Out(stream.Signature(Head(), always_ready=True)),
                "work": Out(Work),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.integers = integers = IntegerPass(config)
        m.submodules.scores = scores = ScorePass(config)
        m.submodules.values = values = ValuePass(config)
        m.submodules.turns = turns = Turns(Step(config), 3)
        m.submodules.datapath = datapath = Datapath(config)
        m.submodules.decide = decide = Decide(config)
        m.submodules.store = store = ScoreStore(config)
        m.submodules.exponents = exponents = Exponents(config)
        m.submodules.factors = factors = Factors(config)
        m.submodules.drain = drain = Drain(config)
        users = (integers, decide, scores, exponents, values, factors, drain)
        m.submodules.heads = heads = Heads(config, len(users))
        # The turns, by what goes first.
        for k, source in enumerate((values, scores, integers)):
            connect(m, source.o, turns.i[k])
            m.d.comb += turns.last[k].eq(source.last)
        for user, head in zip(users, heads.users, strict=True):
            connect(m, head, user.head)
        for source, sink in (
            (flipped(self.jobs), heads.i),
            (flipped(self.write), datapath.write),
            (turns.o, datapath.step),
            (datapath.integer, decide.sums),
            (decide.listed, scores.listed),
            (datapath.scores, store.i),
            (store.rows, exponents.rows),
            (exponents.o, values.weights),
            (exponents.totals, factors.totals),
            (factors.o, drain.factors),
            (drain.o, flipped(self.context)),
            (decide.verdict, flipped(self.verdict)),
        ):
            connect(m, source, sink)
        for signal, value in (
            (decide.setting, integers.setting),
            (integers.popped, decide.popped),
            (integers.ended, decide.ended),
            (integers.scored, scores.scored),
            (scores.complete, decide.complete),
            (scores.taken, exponents.taken),
            (store.read_en, exponents.read_en),
            (store.read_buffer, exponents.read_buffer),
            (store.read_place, exponents.read_place),
            (exponents.halves, store.halves),
            (exponents.drained, drain.drained),
            (values.drained, drain.drained),
            (drain.full, datapath.full),
            (drain.front, datapath.front),
            (datapath.shift, drain.shift),
        ):
            m.d.comb += signal.eq(value)
        self._count(m, turns)
        return m

    def _count(self, m: Module, turns: Turns) -> None:
        step, there, work = turns.o.p, turns.o.valid, self.work
        scored = there & step.fetch & (step.kind != Kind.INTEGER) & (step.kind != Kind.VALUE)
        m.d.comb += [
            work.integer.eq(there & (step.kind == Kind.INTEGER)),
            work.score.eq(there & ((step.kind == Kind.SCORE) | (step.kind == Kind.PAIR))),
            work.value.eq(there & (step.kind == Kind.VALUE)),
            work.fractions[0].eq(scored & (step.kind == Kind.SCORE)),
            work.fractions[1].eq(scored & (step.kind == Kind.PAIR)),
            work.values.eq(there & step.fetch & (step.kind == Kind.VALUE)),
        ]
