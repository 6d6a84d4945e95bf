"""Rounding, saturation and scale factors (docs/numerics.md, "Rounding and saturation" and "Scale factors")."""

import math

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import MULT_BITS, SHIFT_BITS

IntArray = npt.NDArray[np.int64]
"""An array of int64: the carrier of every integer format here."""

MAX_SHIFT = (1 << SHIFT_BITS) - 1


def integers(x: npt.ArrayLike) -> IntArray:
    """`x` as int64. Errors: TypeError when it holds anything but integers (a float here is always a mistake)."""
    array = np.asarray(x)
    if array.dtype.kind not in "iu":
        raise TypeError(f"golden models take integers, not {array.dtype}")
    return array.astype(np.int64, copy=False)


def rshift(x: npt.ArrayLike, s: npt.ArrayLike) -> IntArray:
    """`x / 2^s` rounded half up; `s` is a scalar or broadcasts with `x`. Errors: ValueError unless 0 <= s <= 63."""
    value, shift = integers(x), integers(s)
    if np.any((shift < 0) | (shift > MAX_SHIFT)):
        raise ValueError(f"a shift must be from 0 to {MAX_SHIFT}")
    # floor((x + 2^(s-1)) / 2^s) = floor((floor(x / 2^(s-1)) + 1) / 2): the same number, but nothing leaves 64 bits.
    rounded = ((value >> np.maximum(shift - 1, 0)) + 1) >> 1
    return np.where(shift > 0, rounded, value)


def sat(x: npt.ArrayLike, bits: int) -> IntArray:
    """`x` clipped to the two's complement range of `bits` bits."""
    half = 1 << (bits - 1)
    return np.clip(integers(x), -half, half - 1)


def bit_length(x: npt.ArrayLike) -> IntArray:
    """Bits needed to write each `x >= 0` (0 for 0), as `int.bit_length`. Errors: ValueError for a negative number."""
    rest = integers(x)
    if np.any(rest < 0):
        raise ValueError("bit_length takes numbers that are not negative")
    length = np.zeros_like(rest)
    for step in (32, 16, 8, 4, 2, 1):
        large = rest >= np.int64(1) << step
        length += np.where(large, step, 0)
        rest = np.where(large, rest >> step, rest)
    return length + (rest > 0)


def scale(r: float) -> tuple[int, int]:
    """`(mult, shift)` with `r ~ mult * 2^-shift`, `2^15 <= mult < 2^16`; (0, 0) when r needs a shift above 63.

    Errors: ValueError when `r` is not positive and finite, or so large that the shift would be negative.
    """
    if not (r > 0 and math.isfinite(r)):
        raise ValueError(f"a scale factor must be positive and finite, not {r!r}")
    fraction, exponent = math.frexp(r)
    mult, shift = math.floor(fraction * (1 << MULT_BITS) + 0.5), MULT_BITS - exponent
    if mult == 1 << MULT_BITS:
        mult, shift = mult >> 1, shift - 1
    if shift < 0:
        raise ValueError(f"a scale factor must be below 2^{MULT_BITS}, not {r!r}")
    return (0, 0) if shift > MAX_SHIFT else (mult, shift)


def scale_int(n: int) -> tuple[int, int]:
    """`(mult, shift)` of an integer `n >= 1`: `shift = 15 - floor(log2 n)` but for a carry, and it may be negative.

    Errors: ValueError when `n` is not positive.
    """
    if n < 1:
        raise ValueError(f"scale_int takes a positive integer, not {n!r}")
    shift = MULT_BITS - n.bit_length()
    mult = n << shift if shift >= 0 else (n + (1 << (-shift - 1))) >> -shift
    return (mult >> 1, shift - 1) if mult == 1 << MULT_BITS else (mult, shift)


nscale = scale_int
"""`(nmant, nshift)` of a row's number of channels: LayerNorm's name for `scale_int`."""
