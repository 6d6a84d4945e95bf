"""Statistics of rows of blocks, and of heads."""

from itertools import zip_longest

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import exceeds
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import Group, Head, Row, Setting
from celosia.hw.hdp.widths import HEAD_BITS

TREE_LEVELS = 2
"""Levels of the tree over a group's blocks between two registers."""


def tree_latency(config: EngineConfig) -> int:
    """Stages of the tree."""
    return -(-ceil_log2(config.lanes) // TREE_LEVELS)


class GroupStatistics(wiring.Component):
    """Greatest theta, sum and count of a group's blocks.

    Ports: `i`: `Group`. `invert`: the least instead. `o`: `Row` of this group alone, `tree_latency` cycles later; its
    extreme is inverted where it is the least. Throughput: a group a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "invert": In(1),
                "i": In(stream.Signature(Group(config), always_ready=True)),
                "o": Out(stream.Signature(Row(config), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = self.config.theta.bits
        level = []
        for lane in range(self.config.lanes):
            theta, there = self.i.p.theta[lane], self.i.p.exists[lane]
            level.append((theta ^ (self.invert & there).replicate(bits), theta, there))
        valid = self.i.valid
        for stage in range(tree_latency(self.config)):
            for _ in range(TREE_LEVELS):
                level = [self._join(*pair) for pair in zip_longest(level[::2], level[1::2])]
            held = [[Signal.like(term, name=f"stage{stage}", reset_less=True) for term in node] for node in level]
            m.d.sync += [
                new.eq(term)
                for node, terms in zip(held, level, strict=True)
                for new, term in zip(node, terms, strict=True)
            ]
            level, before, valid = held, valid, Signal(name=f"valid{stage}")
            m.d.sync += valid.eq(before)
        ((extreme, total, count),) = level
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.p.extreme.eq(extreme),
            self.o.p.total.eq(total),
            self.o.p.count.eq(count),
        ]
        return m

    def _join(self, left, right):
        if right is None:
            return left
        larger = Mux(exceeds(left[0], right[0]), left[0], right[0])
        return larger, left[1] + right[1], left[2] + right[2]


class RowStatistics(wiring.Component):
    """Extreme, sum and count of each row of blocks, and the importance of each head, which decides over it.

    Ports: `i`: `Group`. `setting`. `row`: `Row`, `tree_latency + 1` cycles after its last group. `head`: `Head`, one
    cycle after the head's last row. Throughput: a group a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(Group(config), always_ready=True)),
                "row": Out(stream.Signature(Row(config), always_ready=True)),
                "head": Out(stream.Signature(Head(), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.group = group = GroupStatistics(self.config)
        ends = Cat(self.i.p.end_row, self.i.p.end_head)
        for stage in range(tree_latency(self.config)):
            before, ends = ends, Signal(2, name=f"ends{stage}", reset_less=True)
            m.d.sync += ends.eq(before)
        invert = self.setting.rho[-1]
        wiring.connect(m, wiring.flipped(self.i), group.i)
        m.d.comb += group.invert.eq(invert)
        new, row = group.o.p, self.row.p
        first, best = Signal(init=1), Signal.like(row.extreme, reset_less=True)
        m.d.comb += row.extreme.eq(best ^ invert.replicate(len(best)))
        m.d.sync += self.row.valid.eq(group.o.valid & ends[0])
        with m.If(group.o.valid):
            m.d.sync += [
                first.eq(ends[0]),
                best.eq(Mux(first | exceeds(new.extreme, best), new.extreme, best)),
                row.total.eq(new.total + Mux(first, 0, row.total)),
                row.count.eq(new.count + Mux(first, 0, row.count)),
            ]
        self._head(m, group, ends)
        return m

    def _head(self, m: Module, group: GroupStatistics, ends) -> None:
        """The sum of all thetas of the head."""
        theta, new, head = self.config.theta, group.o.p, self.head.p
        first, ended, total = Signal(init=1), Signal(), Signal(signed(HEAD_BITS), reset_less=True)
        excess = Cat(Const(0, theta.bits - 1), new.count) if theta.signed else 0
        m.d.sync += [
            ended.eq(group.o.valid & ends.all()),
            self.head.valid.eq(ended),
            head.importance.eq(total),
            head.keep.eq(total >= self.setting.limit),
        ]
        with m.If(group.o.valid):
            m.d.sync += [first.eq(ends.all()), total.eq(Mux(first, 0, total) + new.total - excess)]
