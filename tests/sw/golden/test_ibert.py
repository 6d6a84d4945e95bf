"""I-BERT's kernels against the float functions, with the published error bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.post.kernels.ibert import gelu_constants
from celosia.sw.golden.ibert import (
    exp_weight,
    gelu_requant,
    int_erf,
    int_exp,
    int_gelu,
    int_layernorm,
    int_softmax,
    int_sqrt,
)

S = 0.005


def erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x])


def test_exp_is_within_the_polynomials_error() -> None:
    q = -np.arange(int(12 / S))
    out, s_out = int_exp(q, S)
    # 1.9e-3 is the second-order polynomial's own error; ln2 and b rounded down to whole steps add the rest.
    assert np.abs(out * s_out - np.exp(q * S)).max() < 1e-2
    with pytest.raises(ValueError, match="q <= 0"):
        int_exp([1], S)
    with pytest.raises(ValueError, match="at most ln 2"):
        int_exp([0], 1.0)


def test_gelu_is_within_the_published_error() -> None:
    q = np.arange(-1600, 1601)
    out, s_out = int_gelu(q, S)
    exact = q * S * 0.5 * (1 + erf(q * S / math.sqrt(2)))
    assert np.abs(out * s_out - exact).max() < 0.018 + 2e-3  # 0.018 published, and floor((1 / S_erf)) of steps
    assert s_out < 0


def test_erf_is_odd_and_close() -> None:
    q = np.arange(-900, 901)
    out, s_out = int_erf(q, S)
    assert np.array_equal(out, -out[::-1])
    assert np.abs(out * s_out - erf(q * S)).max() < 0.12, "erf itself is the loose part: it is weighted by x in GELU"


def test_softmax_sums_to_one_and_follows_the_float() -> None:
    rng = np.random.default_rng(7)
    q = np.round(rng.normal(0, 2, (30, 24)) / S).astype(np.int64)
    exact = np.exp(q * S) / np.exp(q * S).sum(1, keepdims=True)
    p = int_softmax(q, S)
    assert np.abs(p / 256 - exact).max() < 1 / 256 + 0.01
    assert int_softmax([[0, -5000]], S).tolist() == [[255, 0]], "probability 1 saturates at 255"
    assert int_softmax([[9000, 0, 0], [1, 2, 3]], S, [[0, 1, 1], [0, 0, 0]]).tolist() == [[0, 127, 127], [0, 0, 0]], (
        "a half is 127 after two floors"
    )


@given(st.integers(0, 1 << 62))
def test_sqrt(n: int) -> None:
    assert int(int_sqrt(n)) == math.isqrt(n)


def test_layernorm_follows_the_float() -> None:
    rng = np.random.default_rng(8)
    x = np.round(rng.normal(100, 4000, (20, 384))).astype(np.int64)
    y, s = int_layernorm(x, 0)
    exact = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    assert np.abs(y * s - exact).max() < 5e-3
    y6, _ = int_layernorm(x, 6)
    assert np.abs(y6 * s - exact).max() < 0.1
    assert not int_layernorm(np.full((1, 8), 5), 0)[0].any()


def test_exp_weight_is_255_times_the_published_exponential() -> None:
    """At the scale where ln 2 is 2^8 steps: `int_exp` relative to its value at 0, within one step of u8."""
    u = np.arange(1 << 13)
    exact, _ = int_exp(-u, math.log(2) / 256 * (1 - 1e-9))
    weight = exp_weight(u)
    assert weight[0] == 255
    assert np.abs(weight - 255 * exact / exact[0]).max() <= 1
    assert np.all(np.diff(weight) <= 0)


@pytest.mark.parametrize("bits", [8, 10])
def test_gelu_requant_is_the_published_gelu_at_another_scale(bits: int) -> None:
    half, s_in = 1 << (bits - 1), 6.0 / (1 << (bits - 1))
    q, s_out, zero = np.arange(-half, half), 6.2 / 255, -121
    published, scale = int_gelu(q, s_in)
    found = gelu_requant(q, gelu_constants(s_in, s_out, zero, bits))
    assert np.abs(found - np.clip(published * scale / s_out + zero, -128, 127)).max() <= 1
