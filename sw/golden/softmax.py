"""Base-2 softmax, un-normalised (docs/numerics.md, "Softmax")."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import ACC_BITS, EXP_BITS, EXP_FRACTION, EXP_SEGMENTS, exp2_table
from celosia.sw.golden.rounding import IntArray, integers, rshift

BoolArray = npt.NDArray[np.bool_]
WeightFunction = Callable[[npt.ArrayLike], IntArray]
"""u8 weight of an exponent `u` in Q5.8: 255 * 2^-(u / 256), as a kernel computes it."""

_SEGMENT_SHIFT = EXP_FRACTION - (EXP_SEGMENTS.bit_length() - 1)
_TABLE = np.array(exp2_table(), dtype=np.int64)


def valid_columns(m_rows: int, n_columns: int, length: int, diagonal: int | None = None) -> BoolArray:
    """Mask [m_rows, n_columns]: column c of row m is valid iff `c < length`, and `c <= m + diagonal` where given."""
    column = np.arange(n_columns)[None, :]
    valid = np.broadcast_to(column < length, (m_rows, n_columns))
    if diagonal is None:
        return valid.copy()
    return valid & (column <= np.arange(m_rows)[:, None] + diagonal)


def row_max(scores: npt.ArrayLike, mask: npt.ArrayLike) -> IntArray:
    """Largest score of each row [..., M] over its valid columns; the int32 minimum for a row that has none."""
    lowest = -(1 << (ACC_BITS - 1))
    result: IntArray = np.where(np.asarray(mask, dtype=bool), integers(scores), lowest).max(axis=-1, initial=lowest)
    return result


def exp2_weight(u: npt.ArrayLike) -> IntArray:
    """u8 weight `255 * 2^-(u / 256)`, piecewise linear. `u` is Q5.8. Errors: ValueError when u is not in 0..8191."""
    exponent = integers(u)
    if np.any((exponent < 0) | (exponent >> EXP_BITS)):
        raise ValueError(f"u must be from 0 to {(1 << EXP_BITS) - 1}")
    whole = exponent >> EXP_FRACTION
    segment = (exponent >> _SEGMENT_SHIFT) & (EXP_SEGMENTS - 1)
    low = exponent & ((1 << _SEGMENT_SHIFT) - 1)
    step = _TABLE[segment] - _TABLE[segment + 1]
    return rshift(_TABLE[segment] - ((step * low) >> _SEGMENT_SHIFT), whole + 7)


def softmax_weights(
    scores: npt.ArrayLike,
    rowmax: npt.ArrayLike,
    mask: npt.ArrayLike,
    mult: npt.ArrayLike,
    shift: npt.ArrayLike,
    weight_of: WeightFunction = exp2_weight,
) -> tuple[IntArray, IntArray]:
    """u8 weights [..., M, N] and their row sums [..., M].

    `scores` int32 [..., M, N]; `rowmax` [..., M] of `row_max`; `mask` as `valid_columns`; `mult`, `shift` turn a score
    difference into an exponent with 8 fraction bits. A masked column has weight 0; a row with none valid sums to 0.
    `weight_of`: the kernel.
    """
    valid = np.asarray(mask, dtype=bool)
    # Masked columns may exceed the maximum; they are set to it here and to weight 0 below.
    difference = np.where(valid, integers(scores) - integers(rowmax)[..., None], 0)
    u = np.minimum(-rshift(difference * integers(mult), shift), (1 << EXP_BITS) - 1)
    weights = np.where(valid, weight_of(u), 0)
    return weights, weights.sum(axis=-1)
