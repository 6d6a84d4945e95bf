"""Range and width of every intermediate of HDP, derived (docs/hdp.md, "Widths")."""

from collections.abc import Iterable
from dataclasses import dataclass

from celosia.sw.golden.hdp.blocks import BlockShape, Importance
from celosia.sw.golden.hdp.decide import RHO_ONE
from celosia.sw.golden.hdp.split import CODE_BITS, largest_code, split

WEIGHT_MAX = 255
"""Largest softmax weight."""


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


def widths(
    head_width: int, length: int, shape: BlockShape, rule: Importance, fraction: int = 4, approximate: bool = True
) -> dict[str, Range]:
    """Ranges by name, for heads of `head_width` channels and up to `length` tokens.

    Names: integer, fraction, score_integer (A), cross (both cross products), score (of kept blocks), theta, row_extreme
    (min and max), row_sum, row_count, product (theta * count * 256, and the threshold and each of its two terms), head
    (its importance; tau must fit it), weight, weight_difference, weight_sum, context (P.V).
    """
    half = 1 << (CODE_BITS - 1)
    top = largest_code(fraction)
    parts = [split(code, fraction) for code in range(-half, top + 1)]
    i, f = hull(int(whole) for whole, _ in parts), hull(int(part) for _, part in parts)
    a = i.times(i.low, i.high).times(head_width)
    cross = _pair_range(fraction).times(head_width)
    count = -(-length // shape.width)
    theta = _theta(a, shape, rule)
    row_sum = theta.times(1, count)
    rows = -(-length // shape.height)
    return {
        "integer": i,
        "fraction": f,
        "score_integer": a,
        "cross": cross,
        "score": (_score_range(fraction) if approximate else Range(-half * (half - 1), half * half)).times(head_width),
        "theta": theta,
        "row_extreme": theta,
        "row_sum": row_sum,
        "row_count": Range(0, count),
        "product": row_sum.times(RHO_ONE),
        "head": row_sum.times(1, rows),
        "weight": Range(0, WEIGHT_MAX),
        "weight_difference": Range(-WEIGHT_MAX, WEIGHT_MAX),
        "weight_sum": Range(0, WEIGHT_MAX * length),
        "context": Range(-half, half - 1).times(WEIGHT_MAX * length),
    }


def _theta(a: Range, shape: BlockShape, rule: Importance) -> Range:
    area = shape.height * shape.width
    if rule is Importance.ABS_SUM:
        return Range(0, max(-a.low, a.high) * area)
    return a.times(1, {Importance.SUM: area, Importance.MAX: 1, Importance.MEAN_MAX: shape.height}[rule])


def _pair_range(fraction: int) -> Range:
    """Of the two cross products of one pair of codes."""
    half, top = 1 << (CODE_BITS - 1), largest_code(fraction)
    parts = [tuple(int(x) for x in split(code, fraction)) for code in range(-half, top + 1)]
    return hull(f_q * i_k + i_q * f_k for i_q, f_q in parts for i_k, f_k in parts)


def _score_range(fraction: int) -> Range:
    """Of one pair of codes' share in an approximate score."""
    half, top = 1 << (CODE_BITS - 1), largest_code(fraction)
    codes = [(code, int(split(code, fraction)[1])) for code in range(-half, top + 1)]
    return hull(x * y - f * g for x, f in codes for y, g in codes)
