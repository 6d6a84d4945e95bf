"""Rounding shift and saturation."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.numerics import SHIFT_BITS

FINE_BITS = 3
STAGES = 3
"""Registers of a `RoundShift`: shifted by multiples of 8, shifted by the rest, rounded and clipped."""


def saturate(value, bits: int):
    """`value`, a signed expression, clipped to `bits` bits, as a signed expression."""
    width = len(value)
    if width <= bits:
        return value.as_signed()
    sign = value[-1]
    inside = value[bits - 1 :].all() | ~value[bits - 1 :].any()
    return Mux(inside, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


class RoundShift(wiring.Component):
    """`o = sat_bits(rshift(i, shift))`, or sat_8 with `narrow`: half up, exact for every shift. `STAGES` stages.

    Ports: `i`: int of `width` bits, `shift`: u6, with `advance[0]`; `narrow` with `advance[2]`; `o`: int of `bits`
    bits.
    """

    def __init__(self, width: int, bits: int = 16) -> None:
        self.width, self.bits = width, bits
        super().__init__(
            {
                "i": In(signed(width)),
                "shift": In(SHIFT_BITS),
                "narrow": In(1),
                "advance": In(STAGES),
                "o": Out(signed(bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # rshift(x, s) = ((2 x >> s) + 1) >> 1, for s = 0 as well. Between the coarse and the fine shift only as many
        # bits are kept as can decide the result: beyond them it saturates whatever the fine shift.
        keep = self.bits + 1 + (1 << FINE_BITS)
        doubled, coarse = Signal(signed(self.width + 1)), Signal(signed(self.width + 1))
        kept, fine = Signal(signed(min(keep, self.width + 1)), reset_less=True), Signal(FINE_BITS, reset_less=True)
        shifted, rounded = Signal(signed(keep), reset_less=True), Signal(signed(keep))
        whole, byte = Signal(signed(self.bits)), Signal(signed(self.bits))
        m.d.comb += [
            doubled.eq(self.i << 1),
            coarse.eq(doubled >> Cat(self.shift[:FINE_BITS] & 0, self.shift[FINE_BITS:])),
            rounded.eq((shifted + 1) >> 1),
            whole.eq(saturate(rounded, self.bits)),
            byte.eq(saturate(rounded, 8)),
        ]
        with m.If(self.advance[0]):
            m.d.sync += [kept.eq(saturate(coarse, keep)), fine.eq(self.shift[:FINE_BITS])]
        with m.If(self.advance[1]):
            m.d.sync += shifted.eq(kept >> fine)
        with m.If(self.advance[2]):
            m.d.sync += self.o.eq(Mux(self.narrow, byte, whole))
        return m
