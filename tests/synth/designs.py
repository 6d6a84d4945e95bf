"""Small designs whose cells can be counted by hand."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.sram import Sram

WIDTH, DEPTH = 8, 1024


class Leaf(wiring.Component):
    """A register behind an exclusive or, and a memory: `q` <= `d` ^ `e`; nothing that could be shared or dropped."""

    def __init__(self) -> None:
        super().__init__(
            {
                "d": In(WIDTH),
                "e": In(WIDTH),
                "q": Out(WIDTH),
                "address": In(10),
                "write": In(1),
                "read": Out(WIDTH),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Sram(DEPTH, WIDTH)
        m.d.sync += self.q.eq(self.d ^ self.e)
        m.d.comb += [
            memory.read_en.eq(1),
            memory.read_address.eq(self.address),
            memory.write_en.eq(self.write),
            memory.write_address.eq(self.address),
            memory.write_data.eq(self.d),
            self.read.eq(memory.read_data),
        ]
        return m


class Pair(wiring.Component):
    """Two leaves side by side, with a clock and a reset of their own names."""

    def __init__(self) -> None:
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "d": In(WIDTH),
                "e": In(WIDTH),
                "f": In(WIDTH),
                "g": In(WIDTH),
                "address": In(10),
                "write": In(1),
                "q": Out(WIDTH),
                "read": Out(WIDTH),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.core = core = Core()
        for name in ("d", "e", "f", "g", "address", "write"):
            m.d.comb += getattr(core, name).eq(getattr(self, name))
        m.d.comb += [self.q.eq(core.q), self.read.eq(core.read)]
        return m


class Core(wiring.Component):
    """The two leaves."""

    def __init__(self) -> None:
        super().__init__(
            {
                "d": In(WIDTH),
                "e": In(WIDTH),
                "f": In(WIDTH),
                "g": In(WIDTH),
                "address": In(10),
                "write": In(1),
                "q": Out(WIDTH),
                "read": Out(WIDTH),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.first = first = Leaf()
        m.submodules.second = second = Leaf()
        for leaf in (first, second):
            m.d.comb += [leaf.address.eq(self.address), leaf.write.eq(self.write)]
        m.d.comb += [
            first.d.eq(self.d),
            first.e.eq(self.e),
            second.d.eq(self.f),
            second.e.eq(self.g),
            self.q.eq(first.q ^ second.q),
            self.read.eq(first.read ^ second.read),
        ]
        return m
