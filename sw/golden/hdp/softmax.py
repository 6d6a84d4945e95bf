"""Softmax and P.V over kept blocks (docs/hdp.md, "Pruned scores" and "The published softmax")."""

import enum

import numpy as np
import numpy.typing as npt

from celosia.hw.hdp.published import EXP_SCALE, RECIPROCAL_SLOPE, RECIPROCAL_START, second_order
from celosia.hw.numerics import DEN_BITS, EXP_BITS, EXP_FRACTION, MULT_BITS
from celosia.sw.golden.factor import row_factor, row_factor_by
from celosia.sw.golden.matmul import check_int32, matmul
from celosia.sw.golden.requant import requant
from celosia.sw.golden.rounding import IntArray, integers, rshift, sat
from celosia.sw.golden.softmax import WeightFunction, exp2_weight, row_max, softmax_weights


class Pruned(enum.StrEnum):
    """What the softmax sees of a pruned score."""

    EXCLUDED = "excluded"
    """Nothing: minus infinity, weight 0."""
    ZERO = "zero"
    """A score of 0: it has a weight, the same for all of a row, but no product of its own with V."""


def pruned_softmax(
    scores: npt.ArrayLike,
    kept: npt.ArrayLike,
    mask: npt.ArrayLike,
    score: tuple[int, int],
    value: npt.ArrayLike,
    pruned: Pruned = Pruned.EXCLUDED,
    weight_of: WeightFunction = exp2_weight,
) -> tuple[IntArray, IntArray]:
    """int32 sums `P V` [..., l, dh] of un-normalised weights, and the sum of the weights [..., l].

    `scores` int32 [..., l, l] of kept blocks; `kept`, `mask` [..., l, l]: true where a score's block is kept, and where
    it is valid; `score`: (mult, shift) as for `softmax_weights`; `value` int8 [..., l, dh].
    ZERO: with w0 the weight of a score of 0, `P V = w0 * sum V + sum over kept of (w - w0) V`, where `sum V` is over
    the row's valid keys; the sum of weights adds w0 for every pruned one. The maximum includes 0 where one is pruned.
    A row that keeps nothing has sums of 0.
    """
    valid = np.asarray(mask, dtype=bool)
    there = np.asarray(kept, dtype=bool) & valid
    operand = integers(value)
    if pruned is Pruned.EXCLUDED:
        weights, total = softmax_weights(scores, row_max(scores, there), there, *score, weight_of)
        return matmul(weights, operand), total
    absent = (valid & ~there).sum(axis=-1)
    top = row_max(scores, there)
    top = np.where(absent > 0, np.maximum(top, 0), top)
    weights, total = softmax_weights(scores, top, there, *score, weight_of)
    # The weight of a score of 0, where there is one: elsewhere 0 may lie above the maximum.
    zero, _ = softmax_weights(np.zeros_like(top)[..., None], top, (absent > 0)[..., None], *score, weight_of)
    everything = matmul(np.broadcast_to(valid, weights.shape).astype(np.int64), operand)
    return zero * everything + matmul(np.where(there, weights - zero, 0), operand), total + absent * zero[..., 0]


def pruned_context(
    scores: npt.ArrayLike,
    kept: npt.ArrayLike,
    mask: npt.ArrayLike,
    score: tuple[int, int],
    context: tuple[int, int],
    value: npt.ArrayLike,
    pruned: Pruned = Pruned.EXCLUDED,
    *,
    published: bool = False,
    weight_of: WeightFunction = exp2_weight,
) -> IntArray:
    """int8 context [..., l, dh]: `pruned_softmax`, row factors, requantisation.

    `context`: (mant, shift) as for `row_factor`. `published`: the published softmax, and not that of `weight_of`.
    Errors: OverflowError when a sum does not fit an accumulator.
    """
    weight = exp2_weight_second_order if published else weight_of
    sums, total = pruned_softmax(scores, kept, mask, score, value, pruned, weight)
    factor, shift = (linear_row_factor if published else row_factor)(*context, total)
    return sat(requant(check_int32(sums), 0, factor[..., None], shift[..., None]), 8)


def exp2_weight_second_order(u: npt.ArrayLike) -> IntArray:
    """u8 weight `255 * 2^-(u / 256)` by one polynomial of second order. `u` is Q5.8.

    Errors: ValueError when u is not in 0..8191. The published coefficients are not known; these are ours.
    """
    exponent = integers(u)
    if np.any((exponent < 0) | (exponent >> EXP_BITS)):
        raise ValueError(f"u must be from 0 to {(1 << EXP_BITS) - 1}")
    c0, c1, c2 = second_order()
    x = exponent & ((1 << EXP_FRACTION) - 1)
    power = c0 - rshift(((c1 << EXP_FRACTION) - c2 * x) * x, 2 * EXP_FRACTION)
    return rshift(power, (exponent >> EXP_FRACTION) + EXP_SCALE)


def linear_row_factor(mant: npt.ArrayLike, shift: npt.ArrayLike, den: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """`row_factor` with a reciprocal by one line instead of a division: `(q, s)`, q of 17 bits, at most 5.9 % off.

    `den` is normalised to m in [1, 2) with 15 fraction bits (truncated); `r = 24/17 - 8/17 m` has 16 fraction bits;
    `q = rshift(mant * r, 15)`. Operands, zeros and large shifts as for `row_factor`. Errors: ValueError likewise.
    """

    def quotient(mantissa: IntArray, normal: IntArray) -> IntArray:
        m = normal >> (DEN_BITS - MULT_BITS)
        return rshift(mantissa * (RECIPROCAL_START - rshift(RECIPROCAL_SLOPE * m, MULT_BITS - 1)), MULT_BITS - 1)

    return row_factor_by(quotient, mant, shift, den)
