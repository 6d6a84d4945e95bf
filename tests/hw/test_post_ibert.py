"""I-BERT's kernels as POST builds them: against the published integer kernels, and against real functions."""

import math

import numpy as np
import pytest

from celosia.hw.numerics import EXP_BITS, EXP_FRACTION
from celosia.hw.post.kernels.ibert import EXP_SHIFT, exp_constants, gelu_constants
from celosia.hw.post.layouts import VALUE_BITS
from celosia.sw.golden import gelu
from celosia.sw.golden.ibert import exp_weight, gelu_requant, int_exp, int_gelu

U = np.arange(1 << EXP_BITS)


def test_polynomial_is_the_published_exponential() -> None:
    b, c, _ = exp_constants()
    mine = ((b - (U & 255)) ** 2 + c) >> (U >> EXP_FRACTION)
    # The published kernel at the scale where ln 2 is 2^8 steps; a hair less, so that its floor agrees.
    published, _ = int_exp(-U, math.log(2) / 256 * (1 - 1e-9))
    np.testing.assert_array_equal(mine, published)


def test_weights_are_exponentials() -> None:
    """Of all exponents: within I-BERT's error and half a step."""
    weights = exp_weight(U)
    expected = 255 * 2.0 ** (-U / 256)
    assert np.abs(weights - expected).max() < 0.5 + 255 * 0.0035
    assert weights[0] == 255


def test_exponential_fits() -> None:
    b, c, mult = exp_constants()
    assert (b * b + c) * mult < 1 << (VALUE_BITS - 1)
    assert b >= 255
    assert EXP_SHIFT + ((1 << EXP_BITS) - 1 >> EXP_FRACTION) < 64


@pytest.mark.parametrize(("s_in", "bits"), [(8 / 256, 8), (12 / 4096, 12), (0.02, 9), (0.06, 8)])
def test_gelu(s_in: float, bits: int) -> None:
    half = 1 << (bits - 1)
    q = np.arange(-half, half)
    s_out, zero = half * s_in / 200, -100
    fields = gelu_constants(s_in, s_out, zero, bits)
    b, c = fields["b"], fields["c"]
    published, _ = int_gelu(q, s_in)
    np.testing.assert_array_equal(-q * (c + np.sign(q) * (c - (b - np.minimum(np.abs(q), b)) ** 2)), published)
    got = gelu_requant(q, fields)
    expected = np.clip([gelu(x * s_in) / s_out + zero for x in q], -128, 127)
    # The published largest error, and a step.
    assert np.abs(got - expected).max() <= 0.02 / s_out + 1


def test_bad_scales() -> None:
    with pytest.raises(ValueError, match="s_in must be"):
        gelu_constants(1e-5, 1e-5, 0, 12)
    with pytest.raises(ValueError, match="s_out must be"):
        gelu_constants(0.01, 1e-9, 0, 8)


@pytest.mark.parametrize("bits", [8, 12])
def test_gelu_fits(bits: int) -> None:
    """Products and sums of every legal constant stay within their widths."""
    largest_c = (1 << 24) - 1
    assert (1 << (bits - 1)) * 2 * largest_c < 1 << (bits + 25 - 1)
    value = (1 << 15) * ((1 << 16) - 1) + (128 << 24)
    assert value <= 1 << (VALUE_BITS - 1)
    for s_in in (0.001, 0.01, 0.1, 1.0):
        b, c = (gelu_constants(s_in, s_in, 0, bits)[name] for name in ("b", "c"))
        # Between the tails, c + erf never falls below zero: it is unsigned in the lane.
        assert 2 * c >= b * b
