"""Nothing in lanes and row unit can overflow: intervals of exact integers, from the formats to the widths."""

from itertools import pairwise

import pytest
from amaranth.lib import data

from celosia.hw import isa
from celosia.hw.config import Config, PostConfig
from celosia.hw.numerics import DEN_BITS, EPS_BITS, EXP_BITS, MEAN_FRACTION, SHIFT_BITS, exp2_table
from celosia.hw.post import kernels
from celosia.hw.post.kernels.exponential import CORNER_SHIFT, LOW_BITS
from celosia.hw.post.lane import PRODUCT_BITS, SUM_BITS
from celosia.hw.post.layouts import MEAN_BITS, RAW_BITS, VALUE_BITS, Geometry
from celosia.hw.post.rows import DIGIT, moment_bits
from celosia.hw.post.serial import Tagged
from celosia.hw.post.shift import FINE_BITS
from celosia.sw.golden import mean_constants

INT16, INT32 = ((-(1 << (b - 1)), (1 << (b - 1)) - 1) for b in (16, 32))
ROW_MULT = 0, (1 << 17) - 1
CHANNELS = [64, 1024, 4096, 16384]


def _add(a, b):
    return a[0] + b[0], a[1] + b[1]


def _negative(a):
    return -a[1], -a[0]


def _times(a, b):
    products = [x * y for x in a for y in b]
    return min(products), max(products)


def _fits(a, bits: int) -> bool:
    return a[0] >= -(1 << (bits - 1)) and a[1] < 1 << (bits - 1)


def _mean(channels: int):
    """Exact: over all lengths of a row and its extreme sums."""
    found = []
    for n in range(1, channels + 1):
        inverse, shift = mean_constants(n)
        found += [(s * n * inverse + (1 << (shift - 1))) >> shift for s in INT16]
    return min(found), max(found)


def test_first_scaling() -> None:
    mean = _mean(16384)
    assert _fits(mean, MEAN_BITS)
    assert _fits(_negative(mean), MEAN_BITS)
    x = INT16[0] << MEAN_FRACTION, INT16[1] << MEAN_FRACTION
    for total in (_add(INT32, INT32), _add(INT32, _negative(INT32)), _add(x, _negative(mean))):
        assert _fits(total, SUM_BITS)
        assert _fits(_times(total, ROW_MULT), PRODUCT_BITS)


@pytest.mark.parametrize("bits", [RAW_BITS, MEAN_BITS])
def test_what_the_coarse_shift_cuts_off_saturates_anyway(bits: int) -> None:
    """A number that does not fit what is kept is, after the largest fine shift and its rounding, beyond the result."""
    keep = bits + 1 + (1 << FINE_BITS)
    largest_fine = (1 << FINE_BITS) - 1
    low, high = -(1 << (keep - 1)), (1 << (keep - 1)) - 1
    assert ((high >> largest_fine) + 1) >> 1 >= (1 << (bits - 1)) - 1
    assert ((low >> largest_fine) + 1) >> 1 <= -(1 << (bits - 1))


def test_last_scaling() -> None:
    affine = _add(_times(INT16, INT16), INT32)
    assert _fits(affine, VALUE_BITS)
    assert _fits(_times(INT16, INT16), 2 * RAW_BITS)
    assert _fits(INT16, VALUE_BITS)


def test_exponential() -> None:
    corners = exp2_table()
    falls = [a - b for a, b in pairwise(corners)]
    low = (1 << LOW_BITS) - 1
    values = [corner - (fall * low >> LOW_BITS) for corner, fall in zip(corners, falls, strict=False)]
    assert min(values) > 0
    assert _fits((min(values), max(corners)), VALUE_BITS)
    assert ((max(corners) >> (CORNER_SHIFT - 1)) + 1) >> 1 <= 255
    assert (((1 << EXP_BITS) - 1) >> 8) + CORNER_SHIFT < 1 << SHIFT_BITS
    # -i of the smallest int16 still fits the exponent's clip.
    assert -INT16[0] < 1 << (RAW_BITS + 1)


@pytest.mark.parametrize("channels", CHANNELS)
def test_row_sums(channels: int) -> None:
    g = Geometry(Config(post=PostConfig(max_channels=channels)))
    assert _fits((channels * INT16[0], channels * INT16[1]), g.sum_bits)
    assert _fits((0, 255 * channels), g.sum_bits)
    assert channels * INT16[0] ** 2 < 1 << g.square_bits
    assert (255 * channels).bit_length() <= DEN_BITS


@pytest.mark.parametrize("channels", CHANNELS)
def test_moments(channels: int) -> None:
    config = Config(post=PostConfig(max_channels=channels))
    g, bits = Geometry(config), moment_bits(config)
    largest = channels * channels * INT16[0] ** 2 + (1 << EPS_BITS) - 1
    assert largest < 1 << bits
    assert bits % 2 == 0
    assert bits >= 36
    # The digits of the multiplier: a number of channels, an inverse, the magnitude of a sum.
    fields = dict(data.Layout.cast(isa.Residual))
    assert fields["channels"].width <= DIGIT
    assert fields["inverse"].width <= 2 * DIGIT
    assert -channels * INT16[0] < 1 << 2 * DIGIT
    assert g.square_bits + 1 + DIGIT >= (channels * INT16[0] ** 2 * ((1 << DIGIT) - 1)).bit_length() + 1
    # Every shift on the way: the instruction's, or the normalised number of channels', and the value's own.
    shift = Tagged(1, 1)["shift"].width
    assert (1 << SHIFT_BITS) - 1 + bits < 1 << shift
    for length in range(1, bits + 1):
        moved = (bits - length) & ~1
        for base in (1, 15):
            assert 0 <= base + bits // 2 - 2 - moved // 2 < 1 << SHIFT_BITS


def test_row_factor_fits() -> None:
    assert ROW_MULT[1] >= (((1 << 16) - 1) << DEN_BITS) // (1 << (DEN_BITS - 1))


def test_kernels_are_as_late_as_the_timeline_says() -> None:
    config = Config()
    latency = kernels.latency(config)
    assert latency >= kernels.EXPONENTIALS[config.post.softmax].LATENCY
    assert latency >= kernels.ACTIVATIONS[config.post.gelu].LATENCY
