"""Keys that the last tile has room for: the cut of a row of blocks is lowered as far as they fit (docs/hdp.md)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import SkidBuffer
from celosia.hw.common.sram import Sram
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import Group, Setting
from celosia.hw.hdp.search import KeyCounts, Search

ROWS = 3
"""Longest rows of blocks that the ring has room for: one that comes, one that waits, one whose cut is sought."""


class Cuts(wiring.Component):
    """Cuts of up to `depth - 1` rows (a power of two) that wait for their search. Ports: `i`, `o`. Latency: two
    cycles."""

    def __init__(self, bits: int, depth: int) -> None:
        self.bits, self.depth = bits, depth
        super().__init__({"i": In(stream.Signature(bits, always_ready=True)), "o": Out(stream.Signature(bits))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.cells = cells = Sram(self.depth, self.bits)
        written, read = Signal(ceil_log2(self.depth)), Signal(ceil_log2(self.depth))
        free, take = Signal(), Signal()
        m.d.comb += [
            free.eq(self.o.ready | ~self.o.valid),
            take.eq(free & (written != read)),
            cells.read_en.eq(take),
            cells.read_address.eq(read),
            cells.write_en.eq(self.i.valid),
            cells.write_address.eq(written),
            cells.write_data.eq(self.i.p),
            self.o.p.eq(cells.read_data),
        ]
        m.d.sync += [written.eq(written + self.i.valid), read.eq(read + take)]
        with m.If(free):
            m.d.sync += self.o.valid.eq(take)
        return m


class Ring(wiring.Component):
    """Groups until their row's cut is known: its passes read them, and then they come out, with the cut.

    Ports: `i`: groups. `cuts`: one a row, when its passes are over; `next`: in that cycle. `begin`: a pass over the
    oldest row that has no cut. `passed`: its groups, from two cycles later on, those of the same row up to `end_row`.
    `on`: there are passes; without, `cuts` alone come. `group`, `cut`: out, only when `group` is taken at once, every
    other cycle at most, and before passes. `empty`: nothing is in it. `overflow`: more than `depth - 1` groups were in
    it once; held until reset.
    """

    def __init__(self, config: EngineConfig, depth: int) -> None:
        self.config, self.depth = config, depth
        bits, group = config.theta.bits, Group(config)
        super().__init__(
            {
                "on": In(1),
                "i": In(stream.Signature(group, always_ready=True)),
                "cuts": In(stream.Signature(bits)),
                "next": In(1),
                "begin": In(1),
                "passed": Out(stream.Signature(group, always_ready=True)),
                "group": Out(stream.Signature(group)),
                "cut": Out(bits),
                "empty": Out(1),
                "overflow": Out(1),
            }
        )
        self.written, self.read = Signal(ceil_log2(depth)), Signal(ceil_log2(depth))
        self.place = Signal(ceil_log2(depth))  # that a pass reads next
        self.running, self.reads = Signal(), Signal()  # a pass wants to read; it may in this cycle

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.groups = groups = Sram(self.depth, Group(self.config).size)
        inside, take, held = Signal(), Signal(), Signal()
        m.d.comb += [
            held.eq(self.group.valid & ~self.group.ready),
            take.eq((inside | self.cuts.valid) & self.group.ready & ~self.group.valid),
            self.reads.eq(~take & ~held),
            self.cuts.ready.eq(take & ~inside),
            groups.read_en.eq(take | (self.reads & self.running)),
            groups.read_address.eq(Mux(take, self.read, self.place)),
            groups.write_en.eq(self.i.valid),
            groups.write_address.eq(self.written),
            groups.write_data.eq(self.i.payload),
            self.group.payload.eq(groups.read_data),
            self.passed.payload.eq(groups.read_data),
            self.empty.eq((self.written == self.read) & ~self.group.valid),
        ]
        m.d.sync += [
            self.written.eq(self.written + self.i.valid),
            self.read.eq(self.read + take),
            self.group.valid.eq(take | held),
        ]
        with m.If(self.group.valid):
            m.d.sync += inside.eq(~self.group.p.end_row)
        with m.If(self.cuts.ready):
            m.d.sync += self.cut.eq(self.cuts.p)
        with m.If(self.i.valid & ~take & ((self.written + 1)[: len(self.read)] == self.read)):
            m.d.sync += self.overflow.eq(1)
        self._pass(m)
        return m

    def _pass(self, m: Module) -> None:
        """A pass reads on until it sees the end of its row: what it has read beyond that is dropped."""
        start, after, ends = Signal.like(self.place), Signal.like(self.place), Signal()
        m.d.comb += ends.eq(self.passed.valid & self.passed.p.end_row)
        m.d.sync += self.passed.valid.eq(self.running & self.reads & ~ends)
        with m.If(self.begin):
            m.d.sync += [self.running.eq(1), self.place.eq(start)]
        with m.Elif(self.running & self.reads):
            m.d.sync += self.place.eq(self.place + 1)
        with m.If(ends):
            m.d.sync += [self.running.eq(0), after.eq(self.place)]
        with m.If(~self.on):
            m.d.sync += start.eq(self.written)
        with m.Elif(self.next):
            m.d.sync += start.eq(after)


class Filling(wiring.Component):
    """A `Waiting` that lowers the cuts of rows as far as their last tile has room (`Setting.fill`).

    Ports: those of a `Waiting`, and `setting`; `group` comes every other cycle at most. A row whose cut is not lowered
    takes `EXTRA` cycles more than in a `Waiting`, another the cycles of its passes besides, in which groups of the rows
    before it may take a cycle each. Rows pile up behind one that takes long: whoever sends them must see to it that no
    more than `depth - 1` groups are under way.
    """

    EXTRA = 3
    """Cycles through cuts, search and buffer."""

    def __init__(self, config: EngineConfig, depth: int) -> None:
        self.config, self.depth = config, depth
        bits = config.theta.bits
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(Group(config), always_ready=True)),
                "cuts": In(stream.Signature(bits, always_ready=True)),
                "group": Out(stream.Signature(Group(config))),
                "cut": Out(bits),
                "empty": Out(1),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, bits = self.config, self.config.theta.bits
        m.submodules.cuts = cuts = Cuts(bits, self.depth)
        m.submodules.search = search = Search(config)
        m.submodules.counts = counts = KeyCounts(config)
        m.submodules.found = found = SkidBuffer(bits)
        m.submodules.ring = ring = Ring(config, self.depth)
        for source, sink in (
            (flipped(self.i), ring.i),
            (flipped(self.cuts), cuts.i),
            (cuts.o, search.i),
            (ring.passed, counts.i),
            (counts.o, search.counts),
            (search.o, found.i),
            (found.o, ring.cuts),
            (ring.group, flipped(self.group)),
        ):
            connect(m, source, sink)
        m.d.comb += [
            search.on.eq(self.setting.fill),
            ring.on.eq(self.setting.fill),
            counts.setting.eq(self.setting),
            counts.trials.eq(search.trials),
            ring.begin.eq(search.begin),
            ring.next.eq(search.o.valid & search.o.ready),
            self.cut.eq(ring.cut),
            self.empty.eq(ring.empty),
            self.overflow.eq(ring.overflow),
        ]
        return m
