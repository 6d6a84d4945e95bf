"""Softmax against the float exponential."""

import math

import numpy as np
import pytest

from celosia.sw.golden import (
    exp2_weight,
    matmul,
    requant,
    row_factor,
    row_max,
    sat,
    scale,
    softmax_weights,
    valid_columns,
)


def test_exp2_weight_is_within_one_of_the_exponential() -> None:
    u = np.arange(1 << 13)
    weight = exp2_weight(u)
    assert weight[0] == 255
    assert np.abs(weight - 255 * 2.0 ** (-u / 256)).max() < 1
    assert np.all(np.diff(weight) <= 0), "a larger distance never weighs more"
    assert np.all(weight[9 * 256 :] == 0)
    for bad in (-1, 1 << 13):
        with pytest.raises(ValueError, match="from 0 to 8191"):
            exp2_weight(bad)


def test_valid_columns_by_definition() -> None:
    for length in (0, 1, 3, 9):
        for diagonal in (None, -1, 0, 2):
            mask = valid_columns(4, 6, length, diagonal)
            for m in range(4):
                for c in range(6):
                    assert mask[m, c] == (c < length and (diagonal is None or c <= m + diagonal))


def test_masked_columns_and_empty_rows() -> None:
    scores = np.array([[1 << 30, 5, 4], [7, 7, 7]])
    mask = np.array([[False, True, True], [False, False, False]])
    top = row_max(scores, mask)
    assert top.tolist() == [5, -(1 << 31)]
    weights, total = softmax_weights(scores, top, mask, 1 << 15, 7)  # one score unit is one octave
    assert weights.tolist() == [[0, 255, 128], [0, 0, 0]]
    assert total.tolist() == [383, 0]


def test_extreme_differences_stay_in_range() -> None:
    scores = np.array([[-(1 << 31), (1 << 31) - 1]])
    mask = np.ones((1, 2), dtype=bool)
    weights, total = softmax_weights(scores, row_max(scores, mask), mask, (1 << 16) - 1, 0)
    assert weights.tolist() == [[0, 255]]
    assert total.tolist() == [255]


def relative_rms(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


@pytest.mark.parametrize(("length", "deviation"), [(128, 1), (128, 4), (512, 1), (512, 2), (512, 4)])
def test_relative_error_of_attention_times_v(length: int, deviation: float) -> None:
    rng = np.random.default_rng(2)
    s_score = 1e-3
    scores = np.round(rng.normal(0, deviation, (64, length)) / s_score).astype(np.int64)
    v = rng.integers(-127, 128, (length, 32))
    mask = np.ones(scores.shape, dtype=bool)
    mult, shift = scale(s_score * math.log2(math.e) * 256)
    weights, total = softmax_weights(scores, row_max(scores, mask), mask, mult, shift)
    p = np.exp(scores * s_score)
    exact = p / p.sum(axis=1, keepdims=True) @ v
    # The best that u8 weights can do: the float exponential, rounded. The kernel may add its eight lines (0.1 %) and
    # exponents in steps of 1/256 of an octave (0.15 %).
    ideal = np.floor(255 * p / p.max(axis=1, keepdims=True) + 0.5)
    limit = relative_rms(ideal / ideal.sum(axis=1, keepdims=True) @ v, exact) + 0.0025
    assert relative_rms(matmul(weights, v) / total[:, None], exact) < limit < 0.05


def test_the_row_factor_divides_by_the_sum() -> None:
    rng = np.random.default_rng(3)
    weights, v = rng.integers(0, 256, (16, 40)), rng.integers(-127, 128, (40, 8))
    total, ratio = weights.sum(axis=1), 1.7
    q, s = row_factor(*scale(ratio), total)
    found = sat(requant(matmul(weights, v), 0, q[:, None], s[:, None]), 8)
    exact = weights @ v / total[:, None] * ratio
    assert np.abs(found - exact).max() <= 0.5 + 127 * 2**-15 * 2
