"""Delay lines around the array. Nothing is reset: what counts is told by bits that are."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


def line(m: Module, value, cycles: int, name: str) -> list[Signal]:
    """`value` delayed by 0, 1, ... `cycles` cycles."""
    taps = [value]
    for index in range(cycles):
        tap = Signal(value.shape(), name=f"{name}_{index}", reset_less=True)
        m.d.sync += tap.eq(taps[-1])
        taps.append(tap)
    return taps


class Skew(wiring.Component):
    """Delays lane i of `lanes` by i + 1 cycles, or with `reverse` by `lanes` - 1 - i.

    Ports: `i`, `o`: arrays of `lanes` values of `shape`.
    """

    def __init__(self, shape, lanes: int, *, reverse: bool = False) -> None:
        self.shape, self.lanes, self.reverse = shape, lanes, reverse
        layout = data.ArrayLayout(shape, lanes)
        super().__init__({"i": In(layout), "o": Out(layout)})

    def elaborate(self, platform) -> Module:
        m = Module()
        for lane in range(self.lanes):
            cycles = self.lanes - 1 - lane if self.reverse else lane + 1
            taps = line(m, self.i[lane], cycles, f"lane{lane}")
            m.d.comb += self.o[lane].eq(taps[-1])
        return m
