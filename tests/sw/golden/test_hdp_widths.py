"""Ranges and widths of hybrid dynamic pruning: they hold, and they are reached."""

import numpy as np
import pytest

from celosia.sw.golden import hdp, matmul, scale
from celosia.sw.golden.hdp import BlockShape, Importance, Pruned

RULES = list(Importance)
SCORE = scale(0.3)


@pytest.mark.parametrize("fraction", [3, 4, 5])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [BlockShape(2, 2), BlockShape(4, 1), BlockShape(3, 2)])
def test_ranges_hold_and_are_reached(shape: BlockShape, rule: Importance, fraction: int) -> None:
    length, head_width = 12, 4
    table = hdp.widths(head_width, length, shape, rule, fraction)
    seen: dict[str, set[int]] = {name: set() for name in table}
    top = hdp.largest_code(fraction)
    nearest = -(1 << (7 - fraction)) * (1 << fraction)
    rng = np.random.default_rng(1)
    extremes = [-128, nearest, top, 127, -128 + (1 << (fraction - 1)), top - (1 << fraction) + 1]
    mask = np.ones((length, length), dtype=bool)

    def note(name: str, *values: np.ndarray) -> None:
        seen[name] |= {int(x) for value in values for x in np.ravel(value)}

    cases = [(np.full((length, head_width), x), np.full((length, head_width), y)) for x in extremes for y in extremes]
    cases += [(rng.choice(extremes, (length, head_width)), rng.integers(-128, 128, (length, head_width)))]
    cases += [(np.full((length, head_width), code), np.full((length, head_width), -128)) for code in range(-128, 128)]
    for query, key in cases:
        (i_q, f_q), (i_k, f_k) = hdp.split(query, fraction), hdp.split(key, fraction)
        a = hdp.integer_scores(i_q, i_k)
        theta = hdp.importance(a, mask, shape, rule)
        exists = hdp.block_exists(mask, shape)
        row = hdp.row_of_blocks(theta, exists)
        note("integer", i_q, i_k)
        note("fraction", f_q, f_k)
        note("score_integer", a)
        note("cross", matmul(f_q, i_k.T) + matmul(i_q, f_k.T))
        note("score", hdp.kept_scores(query, key, fraction))
        note("theta", theta)
        note("row_extreme", row.low, row.high)
        note("row_sum", row.total)
        note("row_count", row.count)
        note("product", theta * (row.count * 256)[:, None], row.count * row.high * 256, row.total * 256)
        note("head", hdp.head_importance(theta, exists))
    exact = hdp.kept_scores(
        np.full((1, head_width), -128), np.array([[-128] * head_width, [127] * head_width]), approximate=False
    )
    limits = hdp.widths(head_width, length, shape, rule, fraction, approximate=False)["score"]
    assert (exact.min(), exact.max()) == (limits.low, limits.high)
    everything = set(table) - {"weight", "weight_difference", "weight_sum", "context"}
    for name in everything:
        assert table[name].low <= min(seen[name]), name
        assert max(seen[name]) <= table[name].high, name
        assert (1 << table[name].bits) >= table[name].high - table[name].low + 1
    for name in ("integer", "fraction", "score_integer", "theta", "row_extreme", "row_sum", "product", "head"):
        # Sums and products begin at 0; only an empty row or the first block reaches it.
        assert min(seen[name]) == table[name].low or table[name].low == 0, name
        assert max(seen[name]) == table[name].high, name
    assert max(seen["row_count"]) == table["row_count"].high


@pytest.mark.parametrize("pruned", list(Pruned))
def test_ranges_of_softmax_are_reached(pruned: Pruned) -> None:
    length = 9
    table = hdp.widths(32, length, BlockShape(2, 2), Importance.MAX)
    everything = np.ones((length, length), dtype=bool)
    scores = np.zeros((length, length), dtype=np.int64)
    for code in (-128, 127):
        sums, total = hdp.pruned_softmax(scores, everything, everything, SCORE, np.full((length, 4), code), pruned)
        assert set(total.tolist()) == {table["weight_sum"].high}
        assert set(sums.ravel().tolist()) == {table["context"].low if code < 0 else table["context"].high}
    assert table["weight_difference"].bits == 9


def test_widths_of_a_published_size() -> None:
    """By hand, for heads of 64 channels, 512 tokens, 2 x 2 blocks and sums of absolute values."""
    table = hdp.widths(64, 512, BlockShape(2, 2), Importance.ABS_SUM)
    assert (table["score_integer"].low, table["score_integer"].high, table["score_integer"].bits) == (-3584, 4096, 14)
    assert (table["theta"].high, table["theta"].bits) == (16384, 15)
    assert (table["row_sum"].bits, table["row_count"].bits, table["product"].bits) == (23, 9, 31)
    assert table["head"].bits == 31
