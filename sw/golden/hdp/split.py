"""Integer and fraction parts of int8 codes, and the products of them (docs/hdp.md, "Split" and "Scores").

Source: HDP, arXiv 2407.12893, whose integer and fraction parts these are; rounding and saturation are ours.
"""

import numpy as np
import numpy.typing as npt

from celosia.hw.hdp.widths import CODE_BITS, largest_code
from celosia.sw.golden.matmul import matmul
from celosia.sw.golden.rounding import IntArray, integers, rshift


def split(codes: npt.ArrayLike, fraction: int = 4) -> tuple[IntArray, IntArray]:
    """`(I, F)` with `min(code, largest_code) = I * 2^fraction + F`: I rounded half up, both two's complement.

    `codes` int8, any shape. I has `8 - fraction` bits, F `fraction` bits; at 4 both are -8..7. Codes above
    `largest_code` (119) saturate, so that the multiplier of a nibble has four bits and not five: nothing else would
    need the fifth. Errors: ValueError for a code outside int8 or a bad `fraction`.
    """
    value, top = integers(codes), largest_code(fraction)
    half = 1 << (CODE_BITS - 1)
    if np.any((value < -half) | (value >= half)):
        raise ValueError(f"codes must be int{CODE_BITS}")
    value = np.minimum(value, top)
    whole = rshift(value, fraction)
    return whole, value - (whole << fraction)


def integer_scores(query: npt.ArrayLike, key: npt.ArrayLike) -> IntArray:
    """The integer pass `A = I_Q I_K^T` [..., l, l] of integer parts [..., l, dh]: what every decision rests on."""
    return matmul(query, integers(key).swapaxes(-1, -2))


def kept_scores(query: npt.ArrayLike, key: npt.ArrayLike, fraction: int = 4, approximate: bool = True) -> IntArray:
    """Scores [..., l, l] of kept blocks at the scale of `Q K^T`, from int8 codes [..., l, dh].

    Approximate: `A * 2^2f + (F_Q I_K^T + I_Q F_K^T) * 2^f`, without the product of fractions, of saturated codes.
    Exact: `Q K^T` of the codes as they are, the dense product. Where a block is pruned, the value means nothing.
    """
    if not approximate:
        return matmul(query, integers(key).swapaxes(-1, -2))
    (i_q, f_q), (i_k, f_k) = split(query, fraction), split(key, fraction)
    # Both cross products as one product of twice the depth.
    cross = matmul(np.concatenate((f_q, i_q), -1), np.concatenate((i_k, f_k), -1).swapaxes(-1, -2))
    return (integer_scores(i_q, i_k) << 2 * fraction) + (cross << fraction)
