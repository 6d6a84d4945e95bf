"""Formats of HDP, and range and width of everything that its decisions rest on (docs/hdp.md, "Widths")."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

CODE_BITS = 8
"""Width of a code of Q or K, signed."""
RHO_FRACTION = 8
"""Fraction bits of rho and of tau."""
RHO_ONE = 1 << RHO_FRACTION
"""rho = 1: only the largest of a row is kept. -RHO_ONE: nothing is pruned."""
RHO_BITS = RHO_FRACTION + 2
"""Width of rho, signed."""
HEAD_BITS = 32
"""Width of a head's importance and of the limit that it is compared with, signed."""


class Importance(enum.StrEnum):
    """What a block's importance theta is, over its valid integer scores A."""

    ABS_SUM = "abs-sum"
    """Sum of |A|, as published."""
    SUM = "sum"
    """Sum of A."""
    MAX = "max"
    """Largest A."""
    MEAN_MAX = "mean-max"
    """Sum over the block's rows of each row's largest A: the mean of the maxima without the division, which is the same
    for all blocks of a row of blocks. A row without a valid score adds nothing."""


@dataclass(frozen=True)
class Range:
    """Least and greatest value of an intermediate; both are reached, except where the table says otherwise."""

    low: int
    high: int

    @property
    def signed(self) -> bool:
        """Whether it can be negative."""
        return self.low < 0

    @property
    def bits(self) -> int:
        """Bits of two's complement, or of an unsigned number where nothing is negative."""
        if self.signed:
            return max((-self.low - 1).bit_length(), self.high.bit_length()) + 1
        return max(self.high.bit_length(), 1)

    def times(self, *factors: int) -> "Range":
        """Range of a product with any of the factors."""
        return hull(x * factor for x in (self.low, self.high) for factor in factors)


def hull(values: Iterable[int]) -> Range:
    """The range of some values."""
    found = list(values)
    return Range(min(found), max(found))


def largest_code(fraction: int = 4) -> int:
    """The code at which codes saturate before they are split: the largest with an integer part of 8 - fraction bits.

    Errors: ValueError unless 1 <= fraction <= 6.
    """
    if not 1 <= fraction <= CODE_BITS - 2:
        raise ValueError(f"fraction must be from 1 to {CODE_BITS - 2} bits, not {fraction!r}")
    return (1 << (CODE_BITS - 1)) - 1 - (1 << (fraction - 1))


def parts(fraction: int = 4) -> tuple[Range, Range]:
    """Ranges of a code's integer and fraction parts: all of their two's complement. Errors: as `largest_code`."""
    largest_code(fraction)
    whole, part = 1 << (CODE_BITS - 1 - fraction), 1 << (fraction - 1)
    return Range(-whole, whole - 1), Range(-part, part - 1)


def decision_widths(
    head_width: int, length: int, height: int, width: int, rule: Importance, fraction: int = 4
) -> dict[str, Range]:
    """Ranges by name, for blocks of `height` by `width`, heads of `head_width` channels and up to `length` tokens.

    Names: score_integer (A), theta, row_extreme (min and max), row_sum, row_count, product (theta * count * 256, and
    the threshold and each of its two terms), head (its importance; tau must fit it).
    """
    whole, _ = parts(fraction)
    a = whole.times(whole.low, whole.high).times(head_width)
    columns, rows = -(-length // width), -(-length // height)
    theta = _theta(a, height, width, rule)
    row_sum = theta.times(1, columns)
    return {
        "score_integer": a,
        "theta": theta,
        "row_extreme": theta,
        "row_sum": row_sum,
        "row_count": Range(0, columns),
        "product": row_sum.times(RHO_ONE),
        "head": row_sum.times(1, rows),
    }


def _theta(a: Range, height: int, width: int, rule: Importance) -> Range:
    area = height * width
    if rule is Importance.ABS_SUM:
        return Range(0, max(-a.low, a.high) * area)
    return a.times(1, {Importance.SUM: area, Importance.MAX: 1, Importance.MEAN_MAX: height}[rule])
