"""Element-wise functions by table (docs/numerics.md, "GELU")."""

import math
from collections.abc import Callable

import numpy as np

from celosia.sw.golden.rounding import IntArray


def gelu(x: float) -> float:
    """The exact GELU, `x * Phi(x)`, through erf."""
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def build_table(
    fn: Callable[[float], float], s_in: float, s_out: float, zero: int, bits: int, zero_in: int = 0
) -> IntArray:
    """int8 table [2^bits] of `fn`, indexed by the unsigned bit pattern of the signed input i.

    Entry: `sat_8(floor(fn((i - zero_in) * s_in) / s_out + 0.5) + zero)`. `s_in`, `s_out`: real value of one step;
    `zero`, `zero_in`: the integers that stand for 0. Errors: ValueError for a scale that is not positive.
    """
    if not (s_in > 0 and s_out > 0):
        raise ValueError(f"scales must be positive, not {s_in!r} and {s_out!r}")
    half = 1 << (bits - 1)
    signed = [i if i < half else i - 2 * half for i in range(2 * half)]
    entries = [math.floor(fn((i - zero_in) * s_in) / s_out + 0.5) + zero for i in signed]
    return np.clip(np.array(entries, dtype=np.int64), -128, 127)
