"""Rounding and scale factors against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.golden import bit_length, nscale, relu, requant, rshift, sat, scale, scale_int, table_lookup

WIDE = st.integers(-(1 << 60), 1 << 60)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


@given(WIDE, st.integers(0, 63))
def test_rshift_rounds_half_up(x: int, s: int) -> None:
    assert int(rshift(x, s)) == half_up(Fraction(x, 1 << s))


def test_rshift_is_exhaustively_half_up_and_broadcasts() -> None:
    x, s = np.arange(-70, 70)[:, None], np.arange(8)[None, :]
    expected = [[half_up(Fraction(i, 1 << j)) for j in range(8)] for i in range(-70, 70)]
    assert rshift(x, s).tolist() == expected


@pytest.mark.parametrize("s", [-1, 64])
def test_rshift_refuses_other_shifts(s: int) -> None:
    with pytest.raises(ValueError, match="a shift must be from 0 to 63"):
        rshift(1, s)


def test_floats_are_refused() -> None:
    with pytest.raises(TypeError, match="golden models take integers, not float64"):
        rshift(np.array([1.0]), 1)


@given(WIDE, st.integers(2, 32))
def test_sat(x: int, bits: int) -> None:
    assert int(sat(x, bits)) == min(max(x, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


@given(st.integers(0, (1 << 63) - 1))
def test_bit_length(x: int) -> None:
    assert int(bit_length(x)) == x.bit_length()


@given(st.floats(2.0**-46, 60000, allow_nan=False))
def test_scale_is_the_nearest_normalised_multiplier(r: float) -> None:
    mult, shift = scale(r)
    assert 1 << 15 <= mult < 1 << 16
    assert abs(Fraction(mult, 1 << shift) - Fraction(r)) <= Fraction(1, 2 << shift)


def test_scale_edges() -> None:
    assert scale(1.0) == (1 << 15, 15)
    assert scale(2 - 2.0**-20) == (1 << 15, 14), "a carry to 2^16 costs one shift"
    assert scale(65535.0) == (65535, 0)
    assert scale(2.0**-48) == (1 << 15, 63)
    assert scale(2.0**-49) == (0, 0), "underflow"
    with pytest.raises(ValueError, match=r"below 2\^16"):
        scale(65536.0)
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            scale(bad)


@given(st.integers(1, 1 << 40))
def test_scale_int(n: int) -> None:
    mult, shift = scale_int(n)
    value = Fraction(mult) * Fraction(2) ** -shift
    assert 1 << 15 <= mult < 1 << 16
    assert abs(value - n) <= Fraction(n, 1 << 16)
    assert value == n or n >= 1 << 16


def test_nscale_shift_is_the_documented_one() -> None:
    for n in range(1, 1 << 16, 7):
        assert nscale(n) == (n << (15 - math.floor(math.log2(n))), 15 - math.floor(math.log2(n)))
    with pytest.raises(ValueError, match="positive integer"):
        scale_int(0)


INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@given(INT32, INT32, st.integers(0, (1 << 17) - 1), st.integers(0, 63))
def test_requant_is_exact_over_its_whole_range(acc: int, bias: int, mult: int, shift: int) -> None:
    assert int(requant(acc, bias, mult, shift)) == half_up(Fraction((acc + bias) * mult, 1 << shift))


def test_requant_broadcasts_by_channel_and_by_row() -> None:
    acc = np.array([[10, 20], [30, 40]])
    assert requant(acc, [1, 2], [1, 3], [0, 1]).tolist() == [[11, 33], [31, 63]]
    assert requant(acc, 0, [[1], [3]], [[0], [1]]).tolist() == [[10, 20], [45, 60]]


@pytest.mark.parametrize(
    ("operands", "message"),
    [((1 << 31, 0, 1, 0), "acc must be int32"), ((0, 1 << 31, 1, 0), "bias"), ((0, 0, 1 << 17, 0), "17 bits")],
)
def test_requant_refuses_operands_outside_their_format(operands: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        requant(*operands)


def test_relu_and_table() -> None:
    x = np.arange(-8, 8)
    assert relu(x).tolist() == [0] * 8 + list(range(8))
    table = np.array([i if i < 8 else i - 16 for i in range(16)])  # the identity, by unsigned bit pattern
    assert table_lookup(x, table, 4).tolist() == x.tolist()
    with pytest.raises(ValueError, match="must have 16 entries"):
        table_lookup(x, table[:8], 4)
    with pytest.raises(ValueError, match="must fit 4 bits"):
        table_lookup([8], table, 4)
