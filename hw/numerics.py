"""Numeric formats, and the constant tables of the kernels: written once for hardware, golden models and compiler.

docs/numerics.md is the definition in words.
"""

import math

MULT_BITS = 16
"""Width of a requantisation multiplier, normalised to [2^15, 2^16)."""
ROW_MULT_BITS = 17
"""Width of a row factor's multiplier: a 16-bit mantissa over a normalised denominator is below 2^17."""
SHIFT_BITS = 6
"""Width of every shift amount."""
FACTOR_BITS = 17
"""Width of an unsigned factor that one multiplier of an FPGA takes: wider ones are multiplied in parts."""
ACC_BITS = 32
"""Width of an accumulator and of a bias."""
DEN_BITS = 24
"""Width of a row factor's denominator after normalisation."""
EXP_FRACTION = 8
"""Fraction bits of a softmax exponent."""
EXP_BITS = 13
"""Width of a softmax exponent, Q5.8, unsigned."""
EXP_SEGMENTS = 8
"""Linear segments of 2^-fraction."""
MEAN_FRACTION = 8
"""Fraction bits of a LayerNorm row's mean."""
NORM_FRACTION = 10
"""Fraction bits of a normalised value."""
SD_BITS = 18
"""Width of a row's standard deviation after normalisation."""
INVERSE_BITS = 24
"""Width of the reciprocal of the number of channels."""
EPS_BITS = 48
"""Width of the epsilon added to n^2 times the variance."""
RECORD_BYTES = 8
"""Bytes of one parameter record (requantisation of a channel, or one affine output of LayerNorm)."""


def exp2_table() -> tuple[int, ...]:
    """255 * 2^7 * 2^(-i/8) for i = 0..8, rounded half up: the corners of the piecewise-linear 2^-fraction."""
    return tuple(math.floor(255 * 128 * 2 ** (-i / EXP_SEGMENTS) + 0.5) for i in range(EXP_SEGMENTS + 1))
