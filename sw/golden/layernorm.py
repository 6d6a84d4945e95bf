"""Residual addition and LayerNorm (docs/numerics.md, "Residual add and LayerNorm")."""

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import EPS_BITS, INVERSE_BITS, MEAN_FRACTION, NORM_FRACTION, SD_BITS
from celosia.sw.golden.factor import row_factor
from celosia.sw.golden.requant import requant
from celosia.sw.golden.rounding import IntArray, bit_length, integers, rshift, sat, scale_int

_X_BITS = 16


def residual_add(
    acc: npt.ArrayLike, bias: npt.ArrayLike, mult: npt.ArrayLike, shift: npt.ArrayLike, residual: npt.ArrayLike
) -> IntArray:
    """int16 `sat(sat(requant(acc)) + residual)`: `acc` int32 and `residual` int16 [M, N], parameters per channel."""
    return sat(sat(requant(acc, bias, mult, shift), _X_BITS) + integers(residual), _X_BITS)


def row_sums(x: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """`(S1, S2)`, each [..., M]: the sum and the sum of squares of each row of int16 `x` [..., M, N]."""
    value = integers(x)
    return value.sum(axis=-1), (value * value).sum(axis=-1)


def mean_constants(n: int) -> tuple[int, int]:
    """`(inv, inv_shift)` for rows of `n` channels: `inv ~ 2^(inv_shift + 8) / n` in 2^23..2^24-1.

    Errors: ValueError when n is not positive.
    """
    if n < 1:
        raise ValueError(f"n must be a positive integer, not {n!r}")
    inv_shift = INVERSE_BITS - 1 - MEAN_FRACTION + (n - 1).bit_length()
    return ((2 << (inv_shift + MEAN_FRACTION)) + n) // (2 * n), inv_shift


def eps_constant(eps: float, n: int, s_x: float) -> int:
    """The model's epsilon in units of n^2 times the variance of integers at scale `s_x`, at most 48 bits.

    Errors: ValueError when it does not fit.
    """
    units = int(eps * n * n / (s_x * s_x) + 0.5)
    if not 0 <= units < 1 << EPS_BITS:
        raise ValueError(f"epsilon {eps!r} needs more than {EPS_BITS} bits at scale {s_x!r}")
    return units


def row_stats(
    s1: npt.ArrayLike, s2: npt.ArrayLike, n: int, inv: int, inv_shift: int, eps: int
) -> tuple[IntArray, IntArray, IntArray]:
    """`(mean, q, shift)`, each [..., M], from the row sums: the mean with 8 fraction bits, and the row factor.

    Errors: ValueError when the sums cannot come from `n` channels (negative variance).
    """
    total, squares = integers(s1), integers(s2)
    mean = rshift(total * inv, inv_shift)
    variance = n * squares - total * total + eps
    if np.any(variance < 0):
        raise ValueError(f"the row sums are not those of {n} channels: the variance is negative")
    # An even exponent brings the square root to SD_BITS bits exactly, and halves without a remainder.
    e = (2 * SD_BITS - bit_length(variance)) & ~1
    v = np.where(e >= 0, variance << np.maximum(e, 0), variance >> np.maximum(-e, 0))
    v = np.where(variance == 0, 0, v)
    nmant, nshift = scale_int(n)
    q, shift = row_factor(nmant, nshift - (NORM_FRACTION - MEAN_FRACTION) - (e >> 1), isqrt(v))
    return mean, q, shift


def isqrt(v: npt.ArrayLike) -> IntArray:
    """floor(sqrt(v)) for `0 <= v < 2^52`. Errors: ValueError outside."""
    value = integers(v)
    if np.any((value < 0) | (value >> 52)):
        raise ValueError("isqrt takes numbers from 0 to 2^52 - 1")
    root = np.sqrt(value.astype(np.float64)).astype(np.int64)
    root -= root * root > value
    return root + ((root + 1) * (root + 1) <= value)


def normalise(x: npt.ArrayLike, mean: npt.ArrayLike, q: npt.ArrayLike, shift: npt.ArrayLike) -> IntArray:
    """int16 normalised values with 10 fraction bits: `x` int16 [..., M, N], the others [..., M] from `row_stats`."""
    centred = (integers(x) << MEAN_FRACTION) - integers(mean)[..., None]
    return sat(rshift(centred * integers(q)[..., None], integers(shift)[..., None]), _X_BITS)


def affine(norm: npt.ArrayLike, gamma: npt.ArrayLike, beta: npt.ArrayLike, shift: int, bits: int) -> IntArray:
    """`sat(rshift(norm * gamma + beta, shift))` to `bits` bits; `gamma` int16 and `beta` int32 per channel [N]."""
    return sat(rshift(integers(norm) * integers(gamma) + integers(beta), shift), bits)
