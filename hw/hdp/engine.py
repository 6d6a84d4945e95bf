"""The sparsity engine of hybrid dynamic pruning."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.decision import Comparison, Waiting
from celosia.hw.hdp.fill import ROWS, Filling
from celosia.hw.hdp.importance import Gather, RowTerms
from celosia.hw.hdp.keyterms import KeyTerms, terms_latency
from celosia.hw.hdp.layouts import Head, Masks, Setting, beat_layout
from celosia.hw.hdp.statistics import RowStatistics, tree_latency
from celosia.hw.hdp.threshold import Threshold, cut_latency


def theta_latency(config: EngineConfig) -> int:
    """Cycles from a group's last beat to its thetas."""
    return terms_latency(config) if config.stream else 2


def engine_latency(config: EngineConfig) -> int:
    """Cycles from a row of blocks' last beat to its first masks, but for the passes of fill."""
    cut = Threshold.PRODUCTS + cut_latency(config.theta.bits) + (Filling.EXTRA if config.fill else 0)
    return theta_latency(config) + tree_latency(config) + 1 + cut + 1 + 3


def head_latency(config: EngineConfig) -> int:
    """Cycles from a head's last beat to its verdict."""
    return theta_latency(config) + tree_latency(config) + 2


def cut_wait(config: EngineConfig) -> int:
    """Cycles from a group's place in the ring to where it can be read: row, cut, and the counter of cuts."""
    return tree_latency(config) + 1 + Threshold.PRODUCTS + cut_latency(config.theta.bits) + 1


def ring_depth(config: EngineConfig) -> int:
    """Groups that the ring is built for, one more than it holds."""
    rows = ROWS if config.fill else 1
    return 1 << (rows * config.groups + cut_wait(config) + config.slack).bit_length()


class SparsityEngine(wiring.Component):
    """Decides which blocks and heads of attention are computed, from integer scores (docs/hdp.md).

    Ports: `i`: `Beat`, one in any cycle: the rows of the first keys, then those of the next; or, where keys stream,
    `KeyBeat`, the keys of a row of blocks one after another. `setting`: `Setting`, the same as long as `busy`.
    `masks`: `Masks`, a group each. `head`: `Head`, valid for a cycle. `busy`: a head has begun and not all of its masks
    are taken. `overflow`: masks waited too long (below); they are wrong from here to a reset.

    Latency, to the cycle from a row of blocks' last beat: `latency` to its first masks, `head_latency` to the head.
    Throughput: a beat a cycle in, masks of a group a cycle out. Rows and heads of any lengths may follow one another
    without a pause: masks of a row take at most the cycles that its beats took, and overlap with the beats of the next.
    Room: a ring of `depth` groups. Thetas wait for their row, and `wait` cycles more for its cut, so that with `masks`
    always ready no more than `groups + wait` wait. Every cycle in which masks stand may add a group, if one came in it:
    in blocks of h rows, one in h, and where keys stream one in as many beats as a group has. `depth - 1 - groups -
    wait`, at least `slack`, is what may add up.
    With fill, masks of a group come every other cycle whatever the setting, and rows may come faster than their cuts
    are lowered: the sender sees to it that no more than `depth - 1` groups, `ROWS` longest rows and more, are on their
    way from first beat to taken masks. A row whose cut is lowered takes up to `most_passes` passes of `pass_cycles`
    each, after those of the row before.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.terms = KeyTerms(config) if config.stream else RowTerms(config)
        self.gather, self.statistics = None if config.stream else Gather(config), RowStatistics(config)
        self.threshold, self.comparison = Threshold(config), Comparison(config)
        self.head_latency = head_latency(config)
        self.wait, self.latency, self.depth = cut_wait(config), engine_latency(config), ring_depth(config)
        self.waiting: Waiting | Filling = (Filling if config.fill else Waiting)(config, self.depth)
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(beat_layout(config), always_ready=True)),
                "masks": Out(stream.Signature(Masks(config))),
                "head": Out(stream.Signature(Head(), always_ready=True)),
                "busy": Out(1),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.terms = terms = self.terms
        if self.gather is not None:
            m.submodules.gather = self.gather
        m.submodules.statistics = statistics = self.statistics
        m.submodules.threshold = threshold = self.threshold
        m.submodules.waiting = waiting = self.waiting
        m.submodules.comparison = comparison = self.comparison
        connect(m, flipped(self.i), terms.i)
        blocks, parts = terms.o, [terms]
        if self.gather is not None:
            connect(m, terms.o, self.gather.i)
            blocks, parts = self.gather.o, [terms, self.gather]
        users: list = [*parts, statistics, comparison, *([waiting] if self.config.fill else [])]
        m.d.comb += [part.setting.eq(self.setting) for part in users]
        for user in (statistics, waiting):
            m.d.comb += [user.i.valid.eq(blocks.valid), user.i.payload.eq(blocks.payload)]
        connect(m, statistics.row, threshold.i)
        connect(m, statistics.head, flipped(self.head))
        connect(m, threshold.o, waiting.cuts)
        connect(m, waiting.group, comparison.i)
        connect(m, comparison.o, flipped(self.masks))
        m.d.comb += [
            threshold.rho.eq(self.setting.rho),
            comparison.cut.eq(waiting.cut),
            self.overflow.eq(waiting.overflow),
        ]
        inside, beat = Signal(), self.i.p
        busy, last = inside, beat.end_row & beat.end_head
        if self.gather is not None:
            last = beat.last & beat.end_row & beat.end_head
        with m.If(self.i.valid):
            m.d.sync += inside.eq(~last)
        for under_way in (terms.busy,) if self.config.stream else (terms.o.valid, blocks.valid):
            busy |= under_way
        quiet = waiting.empty & comparison.empty
        m.d.comb += self.busy.eq(busy | ~quiet)
        return m
