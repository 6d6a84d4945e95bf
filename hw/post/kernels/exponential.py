"""The base-2 exponential of softmax (docs/numerics.md, "Softmax")."""

from itertools import pairwise
from typing import ClassVar

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.utils import ceil_log2

from celosia.hw.numerics import EXP_BITS, EXP_FRACTION, EXP_SEGMENTS, exp2_table
from celosia.hw.post.kernels.interface import Kernel
from celosia.hw.post.layouts import RAW_BITS

LOW_BITS = EXP_FRACTION - ceil_log2(EXP_SEGMENTS)
"""Bits of the exponent's fraction within a segment."""
CORNER_SHIFT = 7
"""Fraction bits of the corners of `exp2_table` over the weights of 0..255."""


class Exp2(Kernel):
    """`exp2_weight(min(-i, 2^13 - 1))`, before its last shift: a corner less a share of its segment's fall."""

    LATENCY: ClassVar[int] = 2

    def elaborate(self, platform) -> Module:
        m = Module()
        corners = exp2_table()
        falls = [high - low for high, low in pairwise(corners)]
        minus, u = Signal(RAW_BITS + 1), Signal(EXP_BITS)
        segment = u[LOW_BITS:EXP_FRACTION]
        corner, fall = Signal(range(corners[0] + 1), reset_less=True), Signal(range(max(falls) + 1), reset_less=True)
        low, octave = Signal(LOW_BITS, reset_less=True), Signal(EXP_BITS - EXP_FRACTION, reset_less=True)
        value = Signal(len(corner), reset_less=True)
        m.d.comb += [
            minus.eq(-self.i),
            u.eq(Mux(minus[EXP_BITS:].any(), (1 << EXP_BITS) - 1, minus)),
            self.value.eq(value),
        ]
        with m.If(self.advance[0]):
            m.d.sync += [
                corner.eq(Array(Const(x, len(corner)) for x in corners[:-1])[segment]),
                fall.eq(Array(Const(x, len(fall)) for x in falls)[segment]),
                low.eq(u[:LOW_BITS]),
                octave.eq(u[EXP_FRACTION:]),
            ]
        with m.If(self.advance[1]):
            m.d.sync += [value.eq(corner - ((fall * low) >> LOW_BITS)), self.shift.eq(octave + CORNER_SHIFT)]
        return m
