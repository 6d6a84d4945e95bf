"""Blocks to masks: thetas wait here until the cut of their row is known."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.sram import Sram
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import Group, Masks, Setting, spread_over


class Waiting(wiring.Component):
    """Ring of groups, and of the cuts of their rows: a group comes out once its row's cut has come.

    Ports: `i`: `Group`. `cuts`: one a row, in order. `group`, `cut`: out, at most one a cycle. `empty`: nothing is in
    it. `overflow`: more than `depth - 1` groups were in it once; held until reset.
    """

    def __init__(self, config: EngineConfig, depth: int) -> None:
        self.config, self.depth = config, depth
        self.bits = config.theta.bits
        super().__init__(
            {
                "i": In(stream.Signature(Group(config), always_ready=True)),
                "cuts": In(stream.Signature(self.bits, always_ready=True)),
                "group": Out(stream.Signature(Group(config))),
                "cut": Out(self.bits),
                "empty": Out(1),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layout = Group(self.config)
        m.submodules.groups = groups = Sram(self.depth, layout.size)
        m.submodules.cuts = cuts = Sram(self.depth, self.bits)
        written, read, decided, row = (
            Signal(ceil_log2(self.depth), name=name) for name in ("written", "read", "decided", "row")
        )
        # Of the group that was read last: what follows it is of the same row.
        inside, take = Signal(), Signal()
        within = inside & ~self.group.p.end_row
        m.d.comb += [
            take.eq((within | (row != decided)) & (self.group.ready | ~self.group.valid)),
            groups.read_en.eq(take),
            groups.read_address.eq(read),
            groups.write_en.eq(self.i.valid),
            groups.write_address.eq(written),
            groups.write_data.eq(self.i.payload),
            cuts.read_en.eq(take & ~within),
            cuts.read_address.eq(row),
            cuts.write_en.eq(self.cuts.valid),
            cuts.write_address.eq(decided),
            cuts.write_data.eq(self.cuts.payload),
            self.group.payload.eq(groups.read_data),
            self.cut.eq(cuts.read_data),
            self.empty.eq((written == read) & ~self.group.valid),
        ]
        m.d.sync += [written.eq(written + self.i.valid), decided.eq(decided + self.cuts.valid)]
        with m.If(self.group.ready | ~self.group.valid):
            m.d.sync += self.group.valid.eq(take)
        with m.If(take):
            m.d.sync += [read.eq(read + 1), row.eq(row + ~within), inside.eq(1)]
        with m.If(self.i.valid & ~take & ((written + 1)[: len(read)] == read)):
            m.d.sync += self.overflow.eq(1)
        return m


class Comparison(wiring.Component):
    """Masks of groups: blocks that exist and are not below the cut.

    Ports: `i`: `Group`, `cut` with it. `setting`. `o`: `Masks`, two cycles later. `empty`: nothing is under way.
    Throughput: a group a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(Group(config))),
                "cut": In(config.theta.bits),
                "o": Out(stream.Signature(Masks(config))),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self.config.lanes
        valid, ends = Signal(), Signal(2, reset_less=True)
        exists, keep = Signal(lanes, reset_less=True), Signal(lanes, reset_less=True)
        group, masks, first = self.i.p, self.o.p, Signal(init=1)
        moves = Signal()
        m.d.comb += [
            moves.eq(self.o.ready | ~self.o.valid),
            self.i.ready.eq(moves | ~valid),
            self.empty.eq(~valid & ~self.o.valid),
        ]
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                ends.eq(Cat(group.end_row, group.end_head)),
                exists.eq(group.exists),
                keep.eq(Cat(group.exists[k] & (group.theta[k] >= self.cut) for k in range(lanes))),
            ]
        with m.If(moves):
            m.d.sync += self.o.valid.eq(valid)
        with m.If(moves & valid):
            m.d.sync += [
                Cat(masks.end_row, masks.end_head).eq(ends),
                masks.exists.eq(spread_over(self.config, self.setting.wide, exists)),
                masks.keep.eq(spread_over(self.config, self.setting.wide, keep)),
                masks.kept.eq(sum(keep, Const(0)) + Mux(first, 0, masks.kept)),
                first.eq(ends[0]),
            ]
        return m
