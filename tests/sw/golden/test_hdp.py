"""HDP's golden models against plain loops over elements, in fractions, written from docs/hdp.md."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from celosia.sw.golden import exp2_weight, hdp, matmul, row_factor, row_max, scale, softmax_weights, valid_columns
from celosia.sw.golden.hdp import BlockShape, Importance, Pruned

RULES = list(Importance)
SHAPES = st.builds(BlockShape, st.integers(1, 5), st.integers(1, 5))


@st.composite
def scores_and_masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Integer scores [l, l] in a small range, so that ties are common, and a mask: padding, causal or neither."""
    length = draw(st.integers(1, 9))
    scores = draw(arrays(np.int64, (length, length), elements=st.integers(-6, 6)))
    valid = draw(st.integers(0, length))
    mask = valid_columns(length, length, valid, draw(st.sampled_from([None, 0, 1])))
    return scores, mask & (np.arange(length) < valid)[:, None]


def blocks_of(scores: np.ndarray, mask: np.ndarray, shape: BlockShape) -> list[list[list[list[int]]]]:
    """For each block its rows, each the list of its valid scores."""
    length = len(scores)
    return [
        [
            [
                [int(scores[i, j]) for j in range(left, min(left + shape.width, length)) if mask[i, j]]
                for i in range(top, min(top + shape.height, length))
            ]
            for left in range(0, length, shape.width)
        ]
        for top in range(0, length, shape.height)
    ]


def theta_of(rows: list[list[int]], rule: Importance) -> int:
    values = [value for row in rows for value in row]
    if not values:
        return 0
    if rule is Importance.ABS_SUM:
        return sum(abs(value) for value in values)
    if rule is Importance.SUM:
        return sum(values)
    if rule is Importance.MAX:
        return max(values)
    return sum(max(row) for row in rows if row)


# Split and scores


@pytest.mark.parametrize("fraction", range(1, 7))
def test_every_code_splits_into_parts_that_fit(fraction: int) -> None:
    codes = np.arange(-128, 128)
    whole, part = hdp.split(codes, fraction)
    top = 127 - 2 ** (fraction - 1)
    for code, i, f in zip(codes.tolist(), whole.tolist(), part.tolist(), strict=True):
        code = min(code, top)
        assert i == math.floor(Fraction(code, 2**fraction) + Fraction(1, 2))
        assert f == code - i * 2**fraction
        assert -(2 ** (7 - fraction)) <= i < 2 ** (7 - fraction)
        assert -(2 ** (fraction - 1)) <= f < 2 ** (fraction - 1)
    assert hdp.largest_code(fraction) == top


def test_nibbles_by_hand() -> None:
    whole, part = hdp.split([-128, -9, -8, 7, 8, 119, 120, 127])
    assert whole.tolist() == [-8, -1, 0, 0, 1, 7, 7, 7]
    assert part.tolist() == [0, 7, -8, 7, -8, 7, 7, 7]


@given(arrays(np.int64, (3, 5), elements=st.integers(-128, 127)), st.integers(1, 6))
def test_kept_scores_leave_out_the_product_of_fractions(codes: np.ndarray, fraction: int) -> None:
    query, key = codes, codes[::-1, ::-1]
    found = hdp.kept_scores(query, key, fraction)
    exact = hdp.kept_scores(query, key, fraction, approximate=False)
    for m in range(3):
        for n in range(3):
            total = 0
            for x, y in zip(query[m].tolist(), key[n].tolist(), strict=True):
                (i, f), (j, g) = (tuple(int(p) for p in hdp.split(c, fraction)) for c in (x, y))
                total += (i * j << 2 * fraction) + ((f * j + i * g) << fraction)
            assert found[m, n] == total
            assert exact[m, n] == sum(x * y for x, y in zip(query[m].tolist(), key[n].tolist(), strict=True))


# Blocks


@given(scores_and_masks(), SHAPES, st.sampled_from(RULES))
def test_importance_by_definition(case: tuple[np.ndarray, np.ndarray], shape: BlockShape, rule: Importance) -> None:
    scores, mask = case
    blocks = blocks_of(scores, mask, shape)
    assert hdp.importance(scores, mask, shape, rule).tolist() == [[theta_of(b, rule) for b in row] for row in blocks]
    assert hdp.block_exists(mask, shape).tolist() == [[any(b) for b in row] for row in blocks]
    keys = [[sum(mask[i : i + shape.height, j].any() for j in range(left, min(left + shape.width, len(mask))))
             for left in range(0, len(mask), shape.width)] for i in range(0, len(mask), shape.height)]  # fmt: skip
    assert hdp.block_keys(mask, shape).tolist() == keys


@given(scores_and_masks(), SHAPES, st.sampled_from(RULES))
def test_padding_and_batches_change_no_importance(
    case: tuple[np.ndarray, np.ndarray], shape: BlockShape, rule: Importance
) -> None:
    scores, _ = case
    length = len(scores)
    wide = np.full((2, length + 3, length + 3), 99)
    wide[0, :length, :length] = scores
    mask = np.zeros((length + 3, length + 3), dtype=bool)
    mask[:length, :length] = True
    rows, columns = shape.grid(length, length)
    found = hdp.importance(wide, mask, shape, rule)
    assert found.shape == (2, *shape.grid(length + 3, length + 3))
    alone = hdp.importance(scores, np.ones_like(scores, dtype=bool), shape, rule)
    assert np.array_equal(found[0, :rows, :columns], alone)
    assert not found[:, rows:].any()
    assert not found[..., columns:].any()
    assert not hdp.block_exists(mask, shape)[rows:].any()


@given(st.integers(1, 9), SHAPES, st.data())
def test_blocks_spread_over_their_scores(length: int, shape: BlockShape, data: st.DataObject) -> None:
    blocks = data.draw(arrays(np.bool_, shape.grid(length, length)))
    found = hdp.spread(blocks, shape, length, length)
    for i in range(length):
        for j in range(length):
            assert found[i, j] == blocks[i // shape.height, j // shape.width]


@given(arrays(np.bool_, st.integers(0, 40)))
@example(np.ones(5, dtype=bool))
@example(np.arange(9) % 2 == 1)
def test_kept_keys_take_turns(kept: np.ndarray) -> None:
    """Each once; where an even one and an odd one are left, neither kind has two turns; each kind ascends."""
    keys = hdp.kept_keys(kept).tolist()
    assert sorted(keys) == np.flatnonzero(kept).tolist()
    for parity in (0, 1):
        kind = [key for key in keys if key % 2 == parity]
        assert kind == sorted(kind)
    fewer = min(sum(key % 2 == parity for key in keys) for parity in (0, 1))
    assert [key % 2 for key in keys[: 2 * fewer]] == [0, 1] * fewer


@pytest.mark.parametrize("side", [0, -1, 2.0, True])
def test_bad_block_shapes(side: object) -> None:
    with pytest.raises(ValueError, match=f"block height must be a positive integer, not {side!r}"):
        BlockShape(side, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="block width must be a positive integer"):
        BlockShape(2, side)  # type: ignore[arg-type]


# Decisions

THETAS = arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 8)), elements=st.integers(-9, 9))


def kept_of(thetas: list[int], there: list[bool], rho: Fraction) -> list[bool]:
    """The rule with its divisions."""
    values = [theta for theta, is_there in zip(thetas, there, strict=True) if is_there]
    if not values:
        return [False] * len(thetas)
    mean = Fraction(sum(values), len(values))
    threshold = rho * max(values) + (1 - rho) * mean if rho >= 0 else -rho * min(values) + (1 + rho) * mean
    return [is_there and theta >= threshold for theta, is_there in zip(thetas, there, strict=True)]


@given(THETAS, st.integers(-256, 256), st.data())
def test_threshold_is_the_rule_with_its_divisions(theta: np.ndarray, rho: int, data: st.DataObject) -> None:
    exists = data.draw(arrays(np.bool_, theta.shape))
    found = hdp.keep_blocks(theta, exists, rho)
    for row, there, kept in zip(theta.tolist(), exists.tolist(), found.tolist(), strict=True):
        assert kept == kept_of(row, there, Fraction(rho, 256))
        assert any(kept) == any(there), "the greatest of a row is always kept"


@given(THETAS)
def test_extremes_of_rho(theta: np.ndarray) -> None:
    exists = np.ones(theta.shape, dtype=bool)
    assert hdp.keep_blocks(theta, exists, -256).all()
    assert np.array_equal(hdp.keep_blocks(theta, exists, 256), theta == theta.max(axis=1, keepdims=True))
    assert hdp.keep_blocks(np.full_like(theta, 7), exists, 200).all(), "all equal: all are ties"
    assert hdp.keep_blocks(theta[:, :1], exists[:, :1], 256).all(), "a row of one block"
    for bad in (-257, 257):
        with pytest.raises(ValueError, match=f"rho must be from -1 to 1 in steps of 1/256, not {bad}/256"):
            hdp.keep_blocks(theta, exists, bad)


def filled_by_definition(thetas: list[int], keys: list[int], kept: list[bool], fill: int) -> list[bool]:
    """The least cut of all that there could be at which no more keys are kept than whole tiles have room for.

    `keys`: of each block, 0 where there is none. Nothing is kept where there is nothing.
    """
    there = [theta for theta, size in zip(thetas, keys, strict=True) if size]
    cuts = range(min(there, default=0) - 1, max(there, default=0) + 2)

    def count(cut: int) -> int:
        return sum(size for theta, size in zip(thetas, keys, strict=True) if theta >= cut)

    room = math.ceil(Fraction(sum(size for size, keep in zip(keys, kept, strict=True) if keep), fill)) * fill
    cut = min(cut for cut in cuts if count(cut) <= room)
    return [size > 0 and theta >= cut for theta, size in zip(thetas, keys, strict=True)]


@given(THETAS, st.integers(-256, 256), st.sampled_from([1, 2, 4, 16, 64]), st.data())
def test_fill_is_the_least_cut_that_fits(theta: np.ndarray, rho: int, fill: int, data: st.DataObject) -> None:
    keys = data.draw(arrays(np.int64, theta.shape, elements=st.integers(0, 3)))
    exists = keys > 0
    kept = hdp.keep_blocks(theta, exists, rho)
    found = hdp.fill_blocks(kept, theta, exists, keys, fill)
    for values, sizes, before, after in zip(theta.tolist(), keys.tolist(), kept.tolist(), found.tolist(), strict=True):
        assert after == filled_by_definition(values, sizes, before, fill)
    assert not (kept & ~found).any(), "fill never prunes"
    assert np.array_equal(hdp.fill_blocks(kept, theta, exists, keys, 0), kept)
    assert np.array_equal(hdp.fill_blocks(kept, theta, exists, keys, 1), kept), "every number is a multiple of one"


def test_fill_by_hand() -> None:
    """Twelve keys in blocks of two: equals that do not fit stay out, and so does all that is below them."""
    theta, ones = np.array([[9, 1, 8, 5, 5, 7]]), np.ones((1, 6), dtype=bool)
    two = np.full((1, 6), 2)

    def filled(kept: list[int], fill: int, keys: np.ndarray = two) -> list[int]:
        before = np.isin(np.arange(6), kept)[None]
        return np.flatnonzero(hdp.fill_blocks(before, theta, ones, keys, fill)).tolist()

    assert filled([0], 4) == [0, 2], "8 is next"
    assert filled([0, 2], 4) == [0, 2], "whole tiles already"
    assert filled([0, 2, 5], 4) == [0, 2, 5], "two blocks of 5, and room for one"
    assert filled([0, 2, 5], 16) == [0, 1, 2, 3, 4, 5], "everything fits"
    assert filled([0], 8) == [0, 2, 5], "one more block would fit, but not both"
    tail = np.array([[2, 2, 2, 2, 2, 1]])
    assert filled([0, 2], 8, tail) == [0, 2, 5], "a block that sticks out has fewer keys"
    for bad in (3, -4, 2.0, True):
        with pytest.raises(ValueError, match=f"fill must be 0 or a power of two, not {bad!r}"):
            hdp.fill_blocks(ones, theta, ones, two, bad)  # type: ignore[arg-type]


@given(THETAS, st.data())
def test_row_statistics(theta: np.ndarray, data: st.DataObject) -> None:
    exists = data.draw(arrays(np.bool_, theta.shape))
    row = hdp.row_of_blocks(theta, exists)
    for i, (values, there) in enumerate(zip(theta.tolist(), exists.tolist(), strict=True)):
        present = [value for value, is_there in zip(values, there, strict=True) if is_there]
        assert (row.low[i], row.high[i]) == (min(present, default=0), max(present, default=0))
        assert (row.total[i], row.count[i]) == (sum(present), len(present))
    assert hdp.head_importance(theta, exists) == sum(theta[exists].tolist())


@given(st.integers(-(2**20), 2**20), st.integers(1, 32))
def test_tau_does_not_depend_on_the_length(tau: int, length: int) -> None:
    limit = hdp.tau_limit(tau, length)
    assert limit == math.floor(Fraction(tau, 256) * length**2 + Fraction(1, 2))
    head = np.array([limit - 1, limit, limit + 1])
    assert hdp.keep_heads(head, limit).tolist() == [False, True, True], "a head at exactly tau is kept"


def test_heads_that_overflow() -> None:
    theta = np.array([[2**30, 2**30 - 1], [0, 1]])
    assert hdp.head_importance(theta, [[True, True], [True, False]]) == 2**31 - 1
    with pytest.raises(OverflowError, match="importance of a head does not fit 32 bits"):
        hdp.head_importance(theta, np.ones((2, 2), dtype=bool))


def test_tau_that_overflows() -> None:
    assert hdp.tau_limit(2**31 // 4 - 1, 32) == 2**31 - 4
    assert hdp.tau_limit(-(2**31) // 4, 32) == -(2**31)
    with pytest.raises(ValueError, match="length of 32 squared is 2147483648, which does not fit 32 bits"):
        hdp.tau_limit(2**31 // 4, 32)


@given(THETAS, st.integers(0, 256), st.data())
def test_top_k(theta: np.ndarray, share: int, data: st.DataObject) -> None:
    exists = data.draw(arrays(np.bool_, theta.shape))
    found = hdp.keep_top_blocks(theta, exists, share)
    for values, there, kept in zip(theta.tolist(), exists.tolist(), found.tolist(), strict=True):
        order = sorted((j for j, is_there in enumerate(there) if is_there), key=lambda j: (-values[j], j))
        wanted = max(1, math.ceil(len(order) * Fraction(256 - share, 256)))
        assert [j for j, keep in enumerate(kept) if keep] == sorted(order[:wanted])
    with pytest.raises(ValueError, match="share to prune must be from 0 to 1"):
        hdp.keep_top_blocks(theta, exists, -1)


@given(arrays(np.int64, (3, 6), elements=st.integers(0, 5)), st.integers(0, 5))
def test_top_heads(accumulated: np.ndarray, pruned: int) -> None:
    for values, kept in zip(accumulated.tolist(), hdp.keep_top_heads(accumulated, pruned).tolist(), strict=True):
        order = sorted(range(6), key=lambda h: (values[h], h))
        assert [h for h, keep in enumerate(kept) if not keep] == sorted(order[:pruned])
    with pytest.raises(ValueError, match="heads to prune must be from 0 to 5, not 6"):
        hdp.keep_top_heads(accumulated, 6)


def test_head_magnitude_leaves_out_padding() -> None:
    context = np.array([[[1, -2], [3, 4], [50, 60]], [[-7, 0], [0, 0], [9, 9]]])
    mask = np.array([[True, True, False], [True, True, False], [False, False, False]])
    assert hdp.head_magnitude(context, mask).tolist() == [10, 7]


# Softmax

SCORE = scale(0.3)


@st.composite
def softmax_cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores, kept, mask [l, l] and V [l, 3]."""
    length = draw(st.integers(1, 6))
    square = (length, length)
    scores = draw(arrays(np.int64, square, elements=st.integers(-3000, 3000)))
    value = draw(arrays(np.int64, (length, 3), elements=st.integers(-128, 127)))
    return scores, draw(arrays(np.bool_, square)), draw(arrays(np.bool_, square)), value


@given(softmax_cases(), st.sampled_from(list(Pruned)))
def test_softmax_without_the_identity(case: tuple[np.ndarray, ...], pruned: Pruned) -> None:
    """Pruned scores are put in as what they mean, and everything is computed for all of them."""
    scores, kept, mask, value = case
    sums, total = hdp.pruned_softmax(scores, kept, mask, SCORE, value, pruned)
    for i in range(len(scores)):
        seen = {
            j: int(scores[i, j]) if kept[i, j] else 0
            for j in range(len(scores))
            if mask[i, j] and (kept[i, j] or pruned is Pruned.ZERO)
        }
        top = max(seen.values(), default=0)
        weights = {j: int(exp2_weight(min(exponent_of(top - s), 8191))) for j, s in seen.items()}
        assert total[i] == sum(weights.values())
        assert sums[i].tolist() == [sum(w * int(value[j, c]) for j, w in weights.items()) for c in range(3)]


def exponent_of(difference: int) -> int:
    """`-rshift(-difference * mult, shift)`, in fractions."""
    mult, shift = SCORE
    return -math.floor(Fraction(-difference * mult, 2**shift) + Fraction(1, 2))


@given(softmax_cases(), st.sampled_from(list(Pruned)))
def test_all_kept_is_the_dense_softmax(case: tuple[np.ndarray, ...], pruned: Pruned) -> None:
    scores, _, mask, value = case
    sums, total = hdp.pruned_softmax(scores, np.ones_like(mask), mask, SCORE, value, pruned)
    weights, expected = softmax_weights(scores, row_max(scores, mask), mask, *SCORE)
    assert np.array_equal(total, expected)
    assert np.array_equal(sums, matmul(weights, value))


def test_second_order_exponential() -> None:
    u = np.arange(1 << 13)
    weight = hdp.exp2_weight_second_order(u)
    assert weight[0] == 255
    # Remainder of the parabola through three points half an octave apart, and the rounding of the weight.
    remainder = math.log(2) ** 3 / 6 * math.sqrt(3) / 36
    assert np.abs(weight - 255 * 2.0 ** (-u / 256)).max() < 255 * remainder + 0.5 + 0.01
    assert np.all(np.diff(weight) <= 0)
    with pytest.raises(ValueError, match="from 0 to 8191"):
        hdp.exp2_weight_second_order(1 << 13)


@given(st.integers(1 << 15, (1 << 16) - 1), st.integers(0, 30), st.integers(1, (1 << 24) - 1))
def test_linear_reciprocal(mant: int, shift: int, den: int) -> None:
    q, s = hdp.linear_row_factor(mant, shift, den)
    exact = Fraction(mant, den) / 2**shift
    ratio = Fraction(int(q), 2 ** int(s)) / exact
    m = Fraction(den, 2 ** (den.bit_length() - 1))
    assert abs(ratio - m * (Fraction(24, 17) - Fraction(8, 17) * m)) < Fraction(1, 8000)
    assert abs(ratio - 1) < Fraction(1, 17) + Fraction(1, 8000)
    assert 0 <= q < 1 << 17
    assert s == row_factor(mant, shift, den)[1]


def test_linear_reciprocal_of_nothing() -> None:
    assert [int(x) for x in hdp.linear_row_factor(1 << 15, 3, 0)] == [0, 0]
    assert [int(x) for x in hdp.linear_row_factor(1 << 15, 60, 100)] == [0, 0]
    for bad in ((1 << 16, 3, 1), (1 << 15, 3, 1 << 24), (1 << 15, -9, 1)):
        with pytest.raises(ValueError, match=r"must have at most|would be negative"):
            hdp.linear_row_factor(*bad)
