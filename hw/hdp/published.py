"""Constants of the published softmax (docs/hdp.md, "The published softmax")."""

import functools
import math

from celosia.hw.numerics import MULT_BITS

EXP_SCALE = 7
"""Fraction bits of the second-order exponential, before its weight is rounded."""
RECIPROCAL_SLOPE, RECIPROCAL_START = (math.floor(8 * k / 17 * (1 << MULT_BITS) + 0.5) for k in (1, 3))
"""1/m ~ 24/17 - 8/17 m on [1, 2), with 16 fraction bits: the line of least greatest relative error, 1/17."""


@functools.cache
def second_order() -> tuple[int, int, int]:
    """`(c0, c1, c2)`: 255 * 2^7 * 2^-x ~ c0 - c1 x + c2 x^2 on [0, 1]; it meets 2^-x at 0, 1/2 and 1."""
    whole = 255 << EXP_SCALE
    # Through 1, 2^-0.5 and 1/2: the curvature is 4 (1/2 + 1/4 - 2^-0.5) = 3 - 2 sqrt 2.
    curvature = math.floor(whole * (3 - 2 * math.sqrt(2)) + 0.5)
    return whole, whole // 2 + curvature, curvature
