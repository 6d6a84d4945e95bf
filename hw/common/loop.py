"""Counted loops."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Loop(wiring.Component):
    """Counts the turns of a loop, over and over; whether a turn is the last one comes from a register.

    Ports: `start`: the next turn is the first of `turns` (at least 1). `step`: the next turn begins; after the last one
    the first. `last`.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({"start": In(1), "turns": In(bits), "step": In(1), "last": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        turns, left = Signal(self.bits, reset_less=True), Signal(self.bits, reset_less=True)
        single = Signal(reset_less=True)
        one = self.turns == 1
        with m.If(self.start):
            m.d.sync += [turns.eq(self.turns), left.eq(self.turns), single.eq(one), self.last.eq(one)]
        with m.Elif(self.step):
            with m.If(self.last):
                m.d.sync += [left.eq(turns), self.last.eq(single)]
            with m.Else():
                m.d.sync += [left.eq(left - 1), self.last.eq(left == 2)]
        return m
