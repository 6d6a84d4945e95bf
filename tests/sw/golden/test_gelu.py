"""Tables against the functions they hold."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from celosia.sw.golden import build_table, gelu, table_lookup


def phi(x: np.ndarray) -> np.ndarray:
    return np.array([NormalDist().cdf(v) for v in x])


def test_gelu_is_the_exact_one() -> None:
    x = np.linspace(-6, 6, 101)
    assert np.allclose([gelu(v) for v in x], x * phi(x), atol=1e-15)


@pytest.mark.parametrize(("bits", "zero_in"), [(8, 0), (10, 100), (12, -300)])
def test_table_is_the_function_rounded(bits: int, zero_in: int) -> None:
    s_in, s_out, zero = 6 / (1 << bits), 0.03, -100
    table = build_table(gelu, s_in, s_out, zero, bits, zero_in)
    q = np.arange(-(1 << (bits - 1)), 1 << (bits - 1))
    found = table_lookup(q, table, bits)
    real = (q - zero_in) * s_in
    exact = np.clip(real * phi(real) / s_out + zero, -128, 127)
    assert np.abs(found - exact).max() <= 0.5 + 1e-9
    assert found.min() >= -128
    assert found.max() <= 127


def test_table_saturates_and_rounds_half_up() -> None:
    table = build_table(lambda x: x, 0.5, 1.0, 0, 10)
    assert table[[0, 1, 2, 3]].tolist() == [0, 1, 1, 2]
    assert table[1023] == 0, "-0.5 rounds up"
    assert table.min() == -128
    assert table.max() == 127
    assert math.isclose(gelu(0.0), 0.0)


def test_scales_must_be_positive() -> None:
    with pytest.raises(ValueError, match="scales must be positive"):
        build_table(gelu, 0, 1, 0, 8)
