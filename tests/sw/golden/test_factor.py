"""Row factors against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.golden import row_factor

MANT = st.integers(1 << 15, (1 << 16) - 1)


@given(MANT, st.integers(-10, 39), st.integers(1, (1 << 24) - 1))
def test_row_factor_is_within_2_to_the_minus_16(mant: int, shift: int, den: int) -> None:
    if shift + den.bit_length() < 0:
        return
    q, s = (int(v) for v in row_factor(mant, shift, den))
    exact = Fraction(mant) * Fraction(2) ** -shift / den
    found = Fraction(q) * Fraction(2) ** -s
    assert 1 << 15 <= q < 1 << 17
    assert found <= exact
    assert exact - found <= exact / (1 << 15), "floor of a quotient of at least 2^15"


def test_row_factor_edges() -> None:
    assert [int(v) for v in row_factor(40000, 20, 0)] == [0, 0]
    assert [int(v) for v in row_factor(40000, 63, 1)] == [0, 0], "a shift of 64"
    assert [int(v) for v in row_factor(40000, 62, 1)] == [80000, 63]
    assert [int(v) for v in row_factor((1 << 16) - 1, 0, 1)] == [131070, 1], "the largest multiplier"
    q, s = row_factor(1 << 15, 15, np.array([1, 2, 3, 255]))
    assert np.allclose(q * 2.0**-s, [1, 1 / 2, 1 / 3, 1 / 255], rtol=2**-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1 << 16, 0, 1), "mant"), ((1 << 15, 0, 1 << 24), "den"), ((1 << 15, -2, 1), "negative")],
)
def test_row_factor_refuses_operands_out_of_range(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row_factor(*arguments)
