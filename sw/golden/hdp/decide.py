"""Which blocks and heads are kept (docs/hdp.md, "Threshold" and "Heads"): what the sparsity engine does.

Source: HDP, arXiv 2407.12893. The threshold is compared without a division, so that it is exact.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celosia.hw.hdp.widths import HEAD_BITS, RHO_FRACTION, RHO_ONE
from celosia.sw.golden.rounding import IntArray, integers
from celosia.sw.golden.softmax import BoolArray


@dataclass(frozen=True)
class RowOfBlocks:
    """Running statistics of rows of blocks [..., block rows]: least, greatest and summed theta, and `count` blocks."""

    low: IntArray
    high: IntArray
    total: IntArray
    count: IntArray


def row_of_blocks(theta: npt.ArrayLike, exists: npt.ArrayLike) -> RowOfBlocks:
    """Statistics over the blocks that exist of `theta` [..., block rows, block columns]; 0 for a row without any."""
    value = integers(theta)
    there = np.broadcast_to(np.asarray(exists, dtype=bool), value.shape)
    limit = np.iinfo(np.int64)
    count = there.sum(axis=-1)
    low = np.where(there, value, limit.max).min(axis=-1, initial=limit.max)
    high = np.where(there, value, limit.min).max(axis=-1, initial=limit.min)
    none = count == 0
    return RowOfBlocks(
        np.where(none, 0, low), np.where(none, 0, high), np.where(there, value, 0).sum(axis=-1), integers(count)
    )


def check_rho(rho: int) -> int:
    """`rho` in 256ths. Errors: ValueError when it is not from -256 to 256."""
    if not -RHO_ONE <= rho <= RHO_ONE:
        raise ValueError(f"rho must be from -1 to 1 in steps of 1/{RHO_ONE}, not {rho}/{RHO_ONE}")
    return rho


def keep_blocks(theta: npt.ArrayLike, exists: npt.ArrayLike, rho: int) -> BoolArray:
    """Kept blocks [..., block rows, block columns]: those that exist and are not below the threshold of their row.

    `rho` = R in 256ths. Pruned where `theta * count * 256 < R * count * max + (256 - R) * sum`, or for R < 0 where
    `theta * count * 256 < -R * count * min + (256 + R) * sum`: theta below `|rho| * extreme + (1 - |rho|) * mean`. Ties
    are kept, so a row of blocks always keeps its greatest. Errors: ValueError for a rho out of range.
    """
    value, row = integers(theta), row_of_blocks(theta, exists)
    weight = abs(check_rho(rho))
    extreme = row.low if rho < 0 else row.high
    threshold = weight * row.count * extreme + (RHO_ONE - weight) * row.total
    left = value * (row.count * RHO_ONE)[..., None]
    return np.asarray(exists, dtype=bool) & ~(left < threshold[..., None])


def check_fill(fill: int) -> int:
    """`fill`: keys of a tile. Errors: ValueError unless it is 0 (no fill) or a power of two."""
    if type(fill) is not int or fill < 0 or fill & (fill - 1):
        raise ValueError(f"fill must be 0 or a power of two, not {fill!r}")
    return fill


def fill_blocks(
    kept: npt.ArrayLike, theta: npt.ArrayLike, exists: npt.ArrayLike, keys: npt.ArrayLike, fill: int
) -> BoolArray:
    """`kept` [..., block rows, block columns] of a threshold, and the next ones as far as the last tile has room.

    A row of blocks that keeps n of the `keys` (`block_keys`) may keep N, n rounded up to a multiple of `fill`: its
    blocks down to the least theta at which no more than N keys are in blocks of that theta or a greater one. So equals
    are all kept or none is. `fill` = 0 changes nothing. Errors: ValueError as `check_fill`.
    """
    before = np.asarray(kept, dtype=bool)
    if not check_fill(fill):
        return before
    there = np.broadcast_to(np.asarray(exists, dtype=bool), before.shape)
    sizes = np.where(there, np.broadcast_to(integers(keys), before.shape), 0)
    room = -(-np.where(before, sizes, 0).sum(axis=-1, keepdims=True) // fill) * fill
    most = np.iinfo(np.int64).max
    rank = np.where(there, -np.broadcast_to(integers(theta), before.shape), most)
    order = np.argsort(rank, axis=-1, kind="stable")
    ranked = np.take_along_axis(rank, order, axis=-1)
    # Keys down to each block and its equals: the sum behind the last of them.
    reach = np.take_along_axis(sizes, order, axis=-1).cumsum(axis=-1)
    reach[..., :-1] = np.where(ranked[..., :-1] == ranked[..., 1:], most, reach[..., :-1])
    reach = np.flip(np.minimum.accumulate(np.flip(reach, axis=-1), axis=-1), axis=-1)
    result = np.empty(before.shape, dtype=bool)
    np.put_along_axis(result, order, reach <= room, axis=-1)
    return there & result


def head_importance(theta: npt.ArrayLike, exists: npt.ArrayLike) -> IntArray:
    """Sum of theta [...] over the blocks that exist of heads [..., block rows, block columns].

    Errors: OverflowError when it does not fit HEAD_BITS bits.
    """
    result: IntArray = np.where(np.asarray(exists, dtype=bool), integers(theta), 0).sum(axis=(-2, -1))
    half = 1 << (HEAD_BITS - 1)
    if np.any((result < -half) | (result >= half)):
        raise OverflowError(f"the importance of a head does not fit {HEAD_BITS} bits")
    return result


def tau_limit(tau: int, length: int) -> int:
    """`tau * length^2` as the integer that heads are compared with; `tau` in 256ths of a unit of A per score.

    Rounded half up. Errors: ValueError when it does not fit HEAD_BITS bits.
    """
    limit = (tau * length * length + (RHO_ONE >> 1)) >> RHO_FRACTION
    if not -(1 << (HEAD_BITS - 1)) <= limit < 1 << (HEAD_BITS - 1):
        raise ValueError(
            f"tau = {tau}/{RHO_ONE} times a length of {length} squared is {limit}, which does not fit {HEAD_BITS} bits"
        )
    return limit


def keep_heads(head: npt.ArrayLike, limit: int) -> BoolArray:
    """Kept heads [...]: pruned where the importance is below `limit`, so that one at exactly tau is kept."""
    kept: BoolArray = integers(head) >= limit
    return kept


def keep_top_blocks(theta: npt.ArrayLike, exists: npt.ArrayLike, share: int) -> BoolArray:
    """Comparator: the most important blocks of each row of blocks, `ceil(count * (256 - share) / 256)`, at least one.

    `share`: of blocks to prune, in 256ths. Of equals, the one further left is kept. Errors: ValueError for a share
    outside 0..256.
    """
    if not 0 <= share <= RHO_ONE:
        raise ValueError(f"the share to prune must be from 0 to 1 in steps of 1/{RHO_ONE}, not {share}/{RHO_ONE}")
    value = integers(theta)
    there = np.broadcast_to(np.asarray(exists, dtype=bool), value.shape)
    count = there.sum(axis=-1, keepdims=True)
    kept = np.maximum(-(-(count * (RHO_ONE - share)) // RHO_ONE), 1)
    order = np.argsort(np.where(there, -value, np.iinfo(np.int64).max), axis=-1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), axis=-1)
    return there & (place < kept)


def head_magnitude(context: npt.ArrayLike, mask: npt.ArrayLike) -> IntArray:
    """Comparator: what a layer adds to the importance of its heads in SpAtten (arXiv 2012.09852): [..., heads].

    Sum of magnitudes of a head's context [..., heads, l, dh] over rows with a valid column in `mask` [..., l, l].
    (The probabilities of a row sum to one whatever the head: it is their product with V that tells heads apart.)
    """
    rows = np.asarray(np.asarray(mask, dtype=bool).any(axis=-1))
    result: IntArray = np.where(rows[..., None], np.abs(integers(context)), 0).sum(axis=(-2, -1))
    return result


def keep_top_heads(accumulated: npt.ArrayLike, pruned: int) -> BoolArray:
    """Comparator: all heads but the `pruned` least important by `accumulated` [..., heads]; of equals the first goes.

    Errors: ValueError unless there are more heads than are to be pruned.
    """
    value = integers(accumulated)
    heads = value.shape[-1]
    if not 0 <= pruned < heads:
        raise ValueError(f"heads to prune must be from 0 to {heads - 1}, not {pruned!r}")
    kept = np.ones(value.shape, dtype=bool)
    np.put_along_axis(kept, np.argsort(value, axis=-1, kind="stable")[..., :pruned], False, axis=-1)
    return kept
