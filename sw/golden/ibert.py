"""I-BERT's integer kernels (Kim et al., "I-BERT: Integer-only BERT Quantization", 2021), as a reference.

A tensor is integers q and a real scale S: its value is q * S. Constants that depend on S alone are fixed before a run,
so each kernel is integer arithmetic. Division is floor, rounding is half up (the published code rounds half to even).
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import EXP_BITS, EXP_FRACTION
from celosia.hw.post.kernels.ibert import EXP_SHIFT, exp_constants
from celosia.sw.golden.rounding import IntArray, bit_length, integers, rshift, sat

_EXP = (0.3585, 1.353, 0.344)
_ERF = (-0.2888, -1.769, 1.0)


def _constants(coefficients: tuple[float, float, float], s: float) -> tuple[int, int, float]:
    """(qb, qc, S_out) of a(x + b)^2 + c at input scale `s`: the polynomial is (q + qb)^2 + qc at scale S_out."""
    a, b, c = coefficients
    return math.floor(b / s), math.floor(c / (a * s * s)), a * s * s


def int_exp(q: npt.ArrayLike, s: float) -> tuple[IntArray, float]:
    """exp of `q <= 0` at scale `s`, and the scale of the result. Errors: ValueError when q > 0 or s > ln 2."""
    value = integers(q)
    q_ln2 = math.floor(math.log(2) / s)
    if np.any(value > 0) or q_ln2 < 1:
        raise ValueError("int_exp takes q <= 0 at a scale of at most ln 2")
    qb, qc, s_out = _constants(_EXP, s)
    z = -value // q_ln2
    p = value + z * q_ln2
    return ((p + qb) ** 2 + qc) >> np.minimum(z, 62), s_out


def int_softmax(q: npt.ArrayLike, s: float, mask: npt.ArrayLike | None = None) -> IntArray:
    """u8 probabilities at scale 1/256 (saturated at 255) over the last axis of `q`; a masked entry is 0."""
    value = integers(q)
    valid = np.broadcast_to(np.asarray(True if mask is None else mask, dtype=bool), value.shape)
    lowest = value.min(initial=0)
    top = np.where(valid, value, lowest).max(axis=-1, keepdims=True)
    exps, _ = int_exp(np.where(valid, value - top, 0), s)
    exps = np.where(valid, exps, 0)
    total = exps.sum(axis=-1, keepdims=True)
    factor = (1 << 32) // np.maximum(total, 1)
    result: IntArray = np.minimum((exps * factor) >> 24, 255)
    return result


def int_erf(q: npt.ArrayLike, s: float) -> tuple[IntArray, float]:
    """erf of `q` at scale `s`, and the scale of the result, which is negative."""
    value = integers(q)
    qb, qc, s_out = _constants(_ERF, s)
    return np.sign(value) * ((np.minimum(np.abs(value), -qb) + qb) ** 2 + qc), s_out


def int_gelu(q: npt.ArrayLike, s: float) -> tuple[IntArray, float]:
    """GELU of `q` at scale `s`, and the scale of the result, which is negative. Published maximum error: 0.018."""
    value = integers(q)
    erf, s_erf = int_erf(value, s / math.sqrt(2))
    return value * (erf + math.floor(1 / s_erf)), s * s_erf / 2


def int_sqrt(n: npt.ArrayLike) -> IntArray:
    """floor(sqrt(n)) by Newton's iteration from `2^ceil(bits(n) / 2)`. Errors: ValueError for a negative number."""
    value = integers(n)
    x = np.int64(1) << ((bit_length(value) + 1) >> 1)
    while True:
        following = (x + value // np.maximum(x, 1)) >> 1
        if not np.any(following < x):
            return np.where(value == 0, 0, x)
        x = np.minimum(x, following)


def int_layernorm(q: npt.ArrayLike, shift: int) -> tuple[IntArray, float]:
    """Normalised rows of `q` [..., n], and the scale sqrt(n) / 2^30 of the result; a constant row gives 0.

    `shift` scales the squares down so that their sum fits: the published code finds it by calibration.
    """
    value = integers(q)
    n = value.shape[-1]
    mean = (2 * value.sum(axis=-1, keepdims=True) + n) // (2 * n)
    y = value - mean
    variance = ((y >> shift) ** 2).sum(axis=-1, keepdims=True)
    std = int_sqrt(variance) << shift
    factor = np.where(std > 0, (1 << 31) // np.maximum(std, 1), 0)
    return (y * factor) >> 1, math.sqrt(n) / (1 << 30)


def exp_weight(u: npt.ArrayLike) -> IntArray:
    """u8 weight of an exponent `u` in Q5.8 (docs/numerics.md): `int_exp` at the scale where ln 2 is 2^8, 255 at u = 0.

    Errors: ValueError when u is not in 0..8191.
    """
    exponent = integers(u)
    if np.any((exponent < 0) | (exponent >> EXP_BITS)):
        raise ValueError(f"u must be from 0 to {(1 << EXP_BITS) - 1}")
    b, c, mult = exp_constants()
    polynomial = (b - (exponent & ((1 << EXP_FRACTION) - 1))) ** 2 + c
    return rshift(polynomial * mult, EXP_SHIFT + (exponent >> EXP_FRACTION))


def gelu_requant(q: npt.ArrayLike, constants: Mapping[str, int]) -> IntArray:
    """int8 GELU of integers `q`, at the output's scale and zero point.

    `constants`: the fields of `celosia.hw.post.kernels.ibert.GeluConstants`.
    """
    value = integers(q)
    b, c = constants["b"], constants["c"]
    erf = np.sign(value) * (c - (b - np.minimum(np.abs(value), b)) ** 2)
    scaled = sat(rshift(value * (c + erf), constants["pre"]), 16)
    return sat(rshift(scaled * constants["mult"] + constants["offset"], constants["shift"]), 8)
