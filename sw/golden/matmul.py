"""Matrix product (docs/numerics.md, "Tensors"): int8 or u8 operands, int32 sums."""

import functools
import math

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import ACC_BITS
from celosia.sw.golden.rounding import IntArray, integers

_MOST_PARTS = 3


def check_int32(x: npt.ArrayLike) -> IntArray:
    """`x`, known to fit an accumulator. Errors: OverflowError when a sum would wrap in the hardware."""
    value = integers(x)
    half = 1 << (ACC_BITS - 1)
    if value.size and (value.min() < -half or value.max() >= half):
        raise OverflowError(f"a sum from {value.min()} to {value.max()} does not fit an int{ACC_BITS} accumulator")
    return value


def matmul(a: npt.ArrayLike, b: npt.ArrayLike) -> IntArray:
    """`a` [..., M, K] x `b` [..., K, N], exact. Errors: OverflowError when a result does not fit int32."""
    left, right = np.asarray(a), np.asarray(b)
    if left.dtype.kind not in "iu" or right.dtype.kind not in "iu":
        raise TypeError(f"golden models take integers, not {left.dtype} and {right.dtype}")
    # Below 2^53 double precision is exact whatever the order of the sums, and BLAS is much faster than int64.
    pair = _magnitude(left) * _magnitude(right)
    bound = left.shape[-1] * pair
    if bound < 1 << 53:
        # One large product instead of a batch of small ones.
        rows = left.reshape(math.prod(left.shape[:-1]), left.shape[-1]) if right.ndim == 2 else left
        product = _product(rows, right, pair)
        return check_int32(product.reshape(*left.shape[:-1], right.shape[-1]) if right.ndim == 2 else product)
    if bound >= 1 << 63:
        raise OverflowError(f"products of up to {bound} do not fit an int{ACC_BITS} accumulator")
    return check_int32(integers(left) @ integers(right))


def _product(left: npt.NDArray[np.integer], right: npt.NDArray[np.integer], pair: int) -> IntArray:
    """The product in floating point, for products of two elements of at most `pair`."""
    depth = left.shape[-1]
    # 24 bits are exact in single precision, which is twice as fast: worth cutting the sums into a few parts.
    part = (1 << 24) // max(pair, 1)
    if part * _MOST_PARTS < depth:
        return (left.astype(np.float64) @ right.astype(np.float64)).astype(np.int64)
    # Straight from the operands' own widths: int64 on the way would cost more than the product of large weights.
    sums = [
        (left[..., k : k + part].astype(np.float32) @ right[..., k : k + part, :].astype(np.float32)).astype(np.int64)
        for k in range(0, max(depth, 1), max(part, 1))
    ]
    return functools.reduce(np.add, sums)


def _magnitude(x: npt.NDArray[np.integer]) -> int:
    return max(-int(x.min()), int(x.max())) if x.size else 0
