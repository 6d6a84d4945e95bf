"""Between words and beats."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Resize(wiring.Component):
    """Changes the width of a stream: gathers narrow parts into a wide one, or splits; the lowest part goes first.

    One narrow part a cycle, no latency: the last part of a gathered word passes in the cycle in which it comes.

    Ports: `i`: `i_bits` bits; `o`: `o_bits` bits. One width is a multiple of the other, by a power of two.
    """

    def __init__(self, i_bits: int, o_bits: int) -> None:
        if max(i_bits, o_bits) % min(i_bits, o_bits):
            raise ValueError(f"o_bits must be a multiple or a divisor of {i_bits}, not {o_bits!r}")
        self.i_bits, self.o_bits = i_bits, o_bits
        super().__init__({"i": In(stream.Signature(i_bits)), "o": Out(stream.Signature(o_bits))})

    def elaborate(self, platform) -> Module:
        m = Module()
        if self.i_bits < self.o_bits:
            self._gather(m, self.o_bits // self.i_bits)
        elif self.i_bits > self.o_bits:
            self._split(m, self.i_bits // self.o_bits)
        else:
            m.d.comb += [
                self.o.payload.eq(self.i.payload),
                self.o.valid.eq(self.i.valid),
                self.i.ready.eq(self.o.ready),
            ]
        return m

    def _gather(self, m: Module, parts: int) -> None:
        index, final = Signal(range(parts)), Signal()
        held = Signal(self.o_bits - self.i_bits)
        m.d.comb += [
            final.eq(index == parts - 1),
            self.o.payload.eq(Cat(held, self.i.payload)),
            self.o.valid.eq(self.i.valid & final),
            self.i.ready.eq(self.o.ready | ~final),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [index.eq(index + 1), held.eq(Cat(held, self.i.payload)[self.i_bits :])]

    def _split(self, m: Module, parts: int) -> None:
        index, final = Signal(range(parts)), Signal()
        m.d.comb += [
            final.eq(index == parts - 1),
            self.o.payload.eq(self.i.payload.word_select(index, self.o_bits)),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & final),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += index.eq(index + 1)
