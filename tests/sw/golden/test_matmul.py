"""The matrix product against Python's own integers."""

import numpy as np
import pytest

from celosia.sw.golden import check_int32, matmul


def test_matmul_is_exact_for_signed_and_unsigned_operands() -> None:
    rng = np.random.default_rng(1)
    for low, high in ((-128, 128), (0, 256)):
        a, b = rng.integers(low, high, (5, 33)), rng.integers(-128, 128, (33, 7))
        expected = [[sum(int(x) * int(y) for x, y in zip(row, col, strict=True)) for col in b.T] for row in a]
        assert matmul(a, b).tolist() == expected


def test_matmul_keeps_the_last_bit_of_wide_operands() -> None:
    wide = (1 << 40) + 1
    a, b = np.array([[wide, -wide, 3]]), np.array([[wide], [wide - 1], [1]]) // np.array([[1], [1], [1]])
    with pytest.raises(OverflowError, match="do not fit an int32 accumulator"):
        matmul(a, b)
    narrow = np.array([[(1 << 27) + 1, -(1 << 27), 5]])
    assert matmul(narrow, np.array([[1 << 26], [(1 << 26)], [1]])).tolist() == [[(1 << 26) + 5]]


def test_a_sum_that_would_wrap_is_an_error() -> None:
    k = 1 << 17
    full = np.full((1, k), -128)
    with pytest.raises(OverflowError, match="does not fit an int32 accumulator"):
        matmul(full, full.T)
    assert matmul(full, np.full((k, 1), 127)).tolist() == [[-128 * 127 * k]]
    assert check_int32([-(1 << 31), (1 << 31) - 1]).tolist() == [-(1 << 31), (1 << 31) - 1]


def test_empty_reduction_is_zero() -> None:
    assert matmul(np.zeros((2, 0), int), np.zeros((0, 3), int)).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(("k", "low", "high"), [(2048, 127, 128), (1537, -128, 128), (5, 2400, 2500), (7, 4095, 4097)])
def test_sums_beyond_single_precision(k: int, low: int, high: int) -> None:
    """Sums just below and above 24 bits, where every product is odd or near the limit."""
    rng = np.random.default_rng(k)
    a, b = rng.integers(low, high, (3, k)), rng.integers(low, high, (k, 3))
    expected = [[sum(int(x) * int(y) for x, y in zip(row, col, strict=True)) for col in b.T] for row in a]
    assert matmul(a, b).tolist() == expected
    assert matmul(a[None, None], b).tolist() == [[expected]]
