"""Range and width of every intermediate of HDP, derived (docs/hdp.md, "Widths")."""

from celosia.hw.hdp.widths import CODE_BITS, Importance, Range, decision_widths, hull, largest_code, parts
from celosia.sw.golden.hdp.blocks import BlockShape
from celosia.sw.golden.hdp.split import split

WEIGHT_MAX = 255
"""Largest softmax weight."""


def widths(
    head_width: int, length: int, shape: BlockShape, rule: Importance, fraction: int = 4, approximate: bool = True
) -> dict[str, Range]:
    """Ranges by name, for heads of `head_width` channels and up to `length` tokens.

    Names: integer, fraction, score_integer (A), cross (both cross products), score (of kept blocks), theta, row_extreme
    (min and max), row_sum, row_count, product (theta * count * 256, and the threshold and each of its two terms), head
    (its importance; tau must fit it), weight, weight_difference, weight_sum, context (P.V).
    """
    half = 1 << (CODE_BITS - 1)
    whole, part = parts(fraction)
    decisions = decision_widths(head_width, length, shape.height, shape.width, rule, fraction)
    return {
        "integer": whole,
        "fraction": part,
        "score_integer": decisions.pop("score_integer"),
        "cross": _pair_range(fraction).times(head_width),
        "score": (_score_range(fraction) if approximate else Range(-half * (half - 1), half * half)).times(head_width),
        **decisions,
        "weight": Range(0, WEIGHT_MAX),
        "weight_difference": Range(-WEIGHT_MAX, WEIGHT_MAX),
        "weight_sum": Range(0, WEIGHT_MAX * length),
        "context": Range(-half, half - 1).times(WEIGHT_MAX * length),
    }


def _pair_range(fraction: int) -> Range:
    """Of the two cross products of one pair of codes."""
    half, top = 1 << (CODE_BITS - 1), largest_code(fraction)
    pairs = [tuple(int(x) for x in split(code, fraction)) for code in range(-half, top + 1)]
    return hull(f_q * i_k + i_q * f_k for i_q, f_q in pairs for i_k, f_k in pairs)


def _score_range(fraction: int) -> Range:
    """Of one pair of codes' share in an approximate score."""
    half, top = 1 << (CODE_BITS - 1), largest_code(fraction)
    codes = [(code, int(split(code, fraction)[1])) for code in range(-half, top + 1)]
    return hull(x * y - f * g for x, f in codes for y, g in codes)
