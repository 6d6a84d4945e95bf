"""LayerNorm against a float LayerNorm, and its integer steps against Python's integers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.golden import (
    affine,
    eps_constant,
    isqrt,
    mean_constants,
    normalise,
    residual_add,
    row_stats,
    row_sums,
    scale,
)


def run(x: np.ndarray, eps: int = 0) -> np.ndarray:
    n = x.shape[-1]
    return normalise(x, *row_stats(*row_sums(x), n, *mean_constants(n), eps))


@given(st.integers(1, 16384))
def test_mean_constants(n: int) -> None:
    inv, inv_shift = mean_constants(n)
    assert 1 << 23 <= inv < 1 << 24
    assert abs(Fraction(inv) - Fraction(1 << (inv_shift + 8), n)) <= Fraction(1, 2)


@given(st.integers(0, (1 << 36) - 1))
def test_isqrt(v: int) -> None:
    assert int(isqrt(v)) == math.isqrt(v)


def test_isqrt_at_perfect_squares() -> None:
    roots = np.arange(1, 1 << 18, 37)
    assert isqrt(roots * roots).tolist() == roots.tolist()
    assert isqrt(roots * roots - 1).tolist() == (roots - 1).tolist()
    with pytest.raises(ValueError, match="isqrt takes"):
        isqrt(-1)


# Half a unit of rounding, 2^-9 units of the mean, and 2^-15 of a value of up to sqrt(n) at 2^10 a unit.
@pytest.mark.parametrize("n", [4, 64, 384, 768, 1000])
@pytest.mark.parametrize("deviation", [0.6, 20, 900, 9000])
def test_normalised_values_against_float(n: int, deviation: float) -> None:
    rng = np.random.default_rng(n)
    x = np.clip(np.round(rng.normal(deviation / 3, deviation, (50, n))), -32768, 32767).astype(np.int64)
    x = x[x.std(axis=1) > 0]
    exact = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True) * 1024
    slack = 0.5 + 2**-8 * 1024 / x.std(axis=1, keepdims=True) + np.abs(exact) * 2**-14
    assert np.all(np.abs(run(x) - exact) <= slack)


def test_one_large_channel_among_many() -> None:
    x = np.zeros((1, 900), dtype=np.int64)
    x[0, 5] = 32767
    exact = (x - x.mean()) / x.std() * 1024
    assert np.abs(run(x) - exact).max() < 3
    assert run(x)[0, 5] > 30000


def test_a_constant_row_normalises_to_zero() -> None:
    assert not run(np.array([[7, 7, 7, 7], [-5, -5, -5, -5]])).any()
    assert not run(np.zeros((1, 384), dtype=np.int64)).any()


def test_extreme_rows_stay_in_range() -> None:
    for n in (64, 4096, 16384):
        x = np.where(np.arange(n) % 2, 32767, -32768)[None, :]
        assert np.abs(np.abs(run(x)) - 1024).max() <= 1


def test_eps_has_the_weight_of_the_model() -> None:
    rng = np.random.default_rng(5)
    s_x, eps, n = 0.01, 0.05, 96
    x = np.round(rng.normal(0, 0.4, (20, n)) / s_x).astype(np.int64)
    real = x * s_x
    exact = (real - real.mean(1, keepdims=True)) / np.sqrt(real.var(1, keepdims=True) + eps) * 1024
    assert np.abs(run(x, eps_constant(eps, n, s_x)) - exact).max() < 1
    with pytest.raises(ValueError, match="more than 48 bits"):
        eps_constant(1e9, 16384, 1e-3)


def test_row_sums_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of 3 channels"):
        row_stats([8], [16], 3, *mean_constants(3), 0)


def test_residual_add_saturates_twice() -> None:
    one = (1 << 15, 15)
    assert residual_add([[40000, -40000, 5]], 0, *one, [[-1, 1, 7]]).tolist() == [[32766, -32767, 12]]
    assert residual_add([[30000]], 0, *one, [[30000]]).tolist() == [[32767]]


def test_layernorm_with_affine_against_float() -> None:
    rng = np.random.default_rng(6)
    n, s_out = 384, 0.02
    x = np.round(rng.normal(30, 2000, (40, n))).astype(np.int64)
    gamma, beta = rng.normal(1, 0.3, n), rng.normal(0, 0.2, n)
    shift = 14 + 10 - math.frexp(np.abs(gamma).max() / s_out)[1]
    g = np.round(gamma / s_out * 2.0 ** (shift - 10)).astype(np.int64)
    b = np.round(beta / s_out * 2.0**shift).astype(np.int64)
    exact = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) * gamma + beta) / s_out
    assert np.abs(affine(run(x), g, b, shift, 16) - exact).max() < 0.5 + 0.1
    assert np.abs(affine(run(x), g, b, shift, 8)).max() <= 128
    assert scale(s_out)[0] >= 1 << 15
