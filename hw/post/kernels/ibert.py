"""I-BERT's kernels (Kim et al., "I-BERT: Integer-only BERT Quantization", 2021) in the places of the default ones.

Exponential: the first scaling brings ln 2 to 2^8 steps, so that I-BERT's division by ln 2 is a slice; its polynomial
follows. GELU: `q * (erf + 1)` by the polynomial of erf, at the scale of the input; then one more scaling, to the scale
and zero point of the output. Both leave their last rounding to the lane.
"""

import math
from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data

from celosia.hw import isa
from celosia.hw.numerics import EXP_BITS, EXP_FRACTION
from celosia.hw.post.kernels.interface import Kernel
from celosia.hw.post.layouts import RAW_BITS, VALUE_BITS
from celosia.hw.post.shift import RoundShift, saturate

_EXP = (0.3585, 1.353, 0.344)
_ERF = (-0.2888, -1.769, 1.0)
EXP_SHIFT = 23
"""Fraction bits of the exponential's last multiplier, the largest that keep its product within the lane's value."""
_OFFSET_SHIFT = 24
"""Largest shift of a zero point that fits an int32."""


def exp_constants() -> tuple[int, int, int]:
    """`(b, c, mult)`: `(b - low)^2 + c` goes as 2^-(low / 2^8); `mult * 2^-EXP_SHIFT` makes 255 of its largest."""
    a, b, c = _EXP
    step = math.log(2) / (1 << EXP_FRACTION)
    qb, qc = math.floor(b / step), math.floor(c / (a * step * step))
    return qb, qc, math.floor(255 * (1 << EXP_SHIFT) / (qb * qb + qc) + 0.5)


class GeluConstants(data.Struct):
    """The `constants` of REQUANT with activation TABLE under `post.gelu` = "ibert".

    `b`, `c`: magnitudes of erf's polynomial at the input's scale. `pre`: shift of the product to 16 bits. `mult`,
    `shift`: to the output's scale; `offset`: its zero point, shifted by `shift`.
    """

    b: 12
    c: 24
    pre: 6
    mult: 16
    shift: 6
    offset: signed(32)


def gelu_constants(s_in: float, s_out: float, zero: int, bits: int) -> dict[str, int]:
    """Fields of `GeluConstants`: inputs of `bits` bits at scale `s_in`, outputs at `s_out` with zero point `zero`.

    Errors: ValueError when a scale is out of the constants' range.
    """
    a, b, _ = _ERF
    step = s_in / math.sqrt(2)
    qb, qc = -math.floor(b / step), -math.floor(1 / (a * step * step))
    if qb >> 12 or qc >> 24 or qb < 1:
        raise ValueError(f"s_in must be from about 0.0007 to 2.5, not {s_in!r}")
    pre = max(0, (qc << bits).bit_length() - (RAW_BITS - 1))
    # The product q * c stands for s_in * (1 + erf) / 2 * q: its scale is s_in * s_erf / 2, and 1 / s_erf is c.
    factor = s_in * -(a * step * step) / 2 * 2.0**pre / s_out
    shift = min(15 - math.floor(math.log2(factor)), _OFFSET_SHIFT)
    mult = math.floor(factor * 2.0**shift + 0.5)
    if mult >> 16:
        mult, shift = mult >> 1, shift - 1
    if shift < 0 or not mult:
        raise ValueError(f"s_out must be closer to s_in, not {s_out!r} for {s_in!r}")
    return {"b": qb, "c": qc, "pre": pre, "mult": mult, "shift": shift, "offset": zero << shift}


class IBertExp(Kernel):
    """`((b - low)^2 + c) * mult`, to be shifted by EXP_SHIFT and the octave, of `u = min(-i, 2^13 - 1)`."""

    LATENCY: ClassVar[int] = 4

    def elaborate(self, platform) -> Module:
        m = Module()
        b, c, mult = exp_constants()
        minus, u = Signal(RAW_BITS + 1), Signal(EXP_BITS)
        base = Signal(range(b + 1), reset_less=True)
        square = Signal(range(b * b + 1), reset_less=True)
        total = Signal(range(b * b + c + 1), reset_less=True)
        value = Signal(range((b * b + c) * mult + 1), reset_less=True)
        octaves = [Signal(EXP_BITS - EXP_FRACTION, name=f"octave{k}", reset_less=True) for k in range(3)]
        m.d.comb += [
            minus.eq(-self.i),
            u.eq(Mux(minus[EXP_BITS:].any(), (1 << EXP_BITS) - 1, minus)),
            self.value.eq(value),
        ]
        with m.If(self.advance[0]):
            m.d.sync += [base.eq(b - u[:EXP_FRACTION]), octaves[0].eq(u[EXP_FRACTION:])]
        with m.If(self.advance[1]):
            m.d.sync += [square.eq(base * base), octaves[1].eq(octaves[0])]
        with m.If(self.advance[2]):
            m.d.sync += [total.eq(square + c), octaves[2].eq(octaves[1])]
        with m.If(self.advance[3]):
            m.d.sync += [value.eq(total * mult), self.shift.eq(octaves[2] + EXP_SHIFT)]
        return m


class IBertGelu(Kernel):
    """None, ReLU, or GELU of `q = sat_table_bits(i)`: `sat16(rshift(q * (c + sign(q) * erf), pre)) * mult + offset`.

    erf is `c - (b - min(|q|, b))^2`; the constants must stand still while such an element is inside.
    """

    LATENCY: ClassVar[int] = 8
    CONSTANTS: ClassVar[bool] = True

    def elaborate(self, platform) -> Module:
        m = Module()
        raw, mode = self._carry(m)
        product = self._product(m)
        constants = GeluConstants(self.constants)
        m.submodules.pre = pre = RoundShift(len(product), RAW_BITS)
        value, shift = Signal(signed(VALUE_BITS), reset_less=True), Signal(len(self.shift), reset_less=True)
        rectified = Mux((mode == isa.Activation.RELU) & raw[-1], 0, raw)
        function = mode == isa.Activation.TABLE
        m.d.comb += [
            pre.i.eq(product),
            pre.shift.eq(constants.pre),
            pre.advance.eq(self.advance[4:7]),
            self.value.eq(value),
            self.shift.eq(shift),
        ]
        with m.If(self.advance[7]):
            m.d.sync += [
                value.eq(Mux(function, pre.o * constants.mult + constants.offset, rectified)),
                shift.eq(Mux(function, constants.shift, 0)),
            ]
        return m

    def _carry(self, m: Module) -> tuple[Signal, Signal]:
        """The element as it came, and its mode, for the other activations."""
        raw, mode = self.i, self.mode
        for k in range(self.LATENCY - 1):
            next_raw = Signal(signed(RAW_BITS), name=f"raw{k}", reset_less=True)
            next_mode = Signal(isa.Activation, name=f"mode{k}", reset_less=True)
            with m.If(self.advance[k]):
                m.d.sync += [next_raw.eq(raw), next_mode.eq(mode)]
            raw, mode = next_raw, next_mode
        return raw, mode

    def _product(self, m: Module) -> Signal:
        """`q * (c + sign(q) * erf)`, after four stages."""
        bits, constants = self.config.post.table_bits, GeluConstants(self.constants)
        q, magnitude = Signal(signed(bits)), Signal(bits)
        below = Signal(len(constants.b), reset_less=True)
        square = Signal(2 * len(constants.b), reset_less=True)
        total = Signal(len(constants.c) + 1, reset_less=True)
        erf = Signal(signed(len(constants.c) + 1))
        qs = [Signal(signed(bits), name=f"q{k}", reset_less=True) for k in range(3)]
        product = Signal(signed(bits + len(total)), reset_less=True)
        m.d.comb += [
            q.eq(saturate(self.i, bits)),
            magnitude.eq(Mux(q < 0, -q, q)),
            erf.eq(constants.c - square),
        ]
        with m.If(self.advance[0]):
            m.d.sync += [below.eq(Mux(magnitude < constants.b, constants.b - magnitude, 0)), qs[0].eq(q)]
        with m.If(self.advance[1]):
            m.d.sync += [square.eq(below * below), qs[1].eq(qs[0])]
        with m.If(self.advance[2]):
            m.d.sync += [total.eq(Mux(qs[1] < 0, constants.c - erf, constants.c + erf)), qs[2].eq(qs[1])]
        with m.If(self.advance[3]):
            m.d.sync += product.eq(qs[2] * total)
        return product
