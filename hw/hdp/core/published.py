"""The published softmax in the places of the model's: an exponential of second order, a reciprocal by a line."""

from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In

from celosia.hw.hdp.published import EXP_SCALE, RECIPROCAL_SLOPE, RECIPROCAL_START, second_order
from celosia.hw.numerics import DEN_BITS, EXP_BITS, EXP_FRACTION, MULT_BITS, ROW_MULT_BITS
from celosia.hw.post.kernels.interface import Kernel
from celosia.hw.post.layouts import RAW_BITS
from celosia.hw.post.serial import Engine


class SecondOrder(Kernel):
    """`exp2_weight_second_order(min(-i, 2^13 - 1))`, before its last shift."""

    LATENCY: ClassVar[int] = 3

    def elaborate(self, platform) -> Module:
        m = Module()
        c0, c1, c2 = second_order()
        minus, u = Signal(RAW_BITS + 1), Signal(EXP_BITS)
        octaves = [Signal(EXP_BITS - EXP_FRACTION, name=f"octave{k}", reset_less=True) for k in range(2)]
        x, slope = Signal(EXP_FRACTION, reset_less=True), Signal(range((c1 << EXP_FRACTION) + 1), reset_less=True)
        product = Signal(len(slope) + EXP_FRACTION, reset_less=True)
        value, half = Signal(range(c0 + 1), reset_less=True), 1 << 2 * EXP_FRACTION - 1
        m.d.comb += [
            minus.eq(-self.i),
            u.eq(Mux(minus[EXP_BITS:].any(), (1 << EXP_BITS) - 1, minus)),
            self.value.eq(value),
        ]
        with m.If(self.advance[0]):
            low = u[:EXP_FRACTION]
            m.d.sync += [x.eq(low), slope.eq((c1 << EXP_FRACTION) - c2 * low), octaves[0].eq(u[EXP_FRACTION:])]
        with m.If(self.advance[1]):
            m.d.sync += [product.eq(slope * x), octaves[1].eq(octaves[0])]
        with m.If(self.advance[2]):
            m.d.sync += [value.eq(c0 - (product + half >> 2 * EXP_FRACTION)), self.shift.eq(octaves[1] + EXP_SCALE)]
        return m


class Line(Engine):
    """`linear_row_factor`'s quotient in the place of a `Divider`'s, for a value with its top bit set. Other fields pass
    through. Ports: `i`, `o`, `mant`."""

    STEPS: ClassVar[int] = 3

    def __init__(self, stat_bits: int) -> None:
        super().__init__(stat_bits, DEN_BITS, ROW_MULT_BITS, self.STEPS, {"mant": In(MULT_BITS)})

    def elaborate(self, platform) -> Module:
        m = Module()
        load, _, left = self._control(m)
        normal, mant = Signal(MULT_BITS, reset_less=True), Signal(MULT_BITS, reset_less=True)
        product = Signal(RECIPROCAL_SLOPE.bit_length() + MULT_BITS, reset_less=True)
        inverse, scaled = Signal(ROW_MULT_BITS, reset_less=True), Signal(ROW_MULT_BITS + MULT_BITS, reset_less=True)
        round_up = 1 << MULT_BITS - 2
        with m.If(load):
            m.d.sync += [normal.eq(self.i.p.value[DEN_BITS - MULT_BITS :]), mant.eq(self.mant)]
        with m.If(left == 3):
            m.d.sync += product.eq(normal * RECIPROCAL_SLOPE)
        with m.If(left == 2):
            m.d.sync += inverse.eq(RECIPROCAL_START - (product + round_up >> MULT_BITS - 1))
        with m.If(left == 1):
            m.d.sync += scaled.eq(mant * inverse)
        m.d.comb += self.o.p.value.eq(scaled + round_up >> MULT_BITS - 1)
        return m
