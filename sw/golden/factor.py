"""Row factors: the one division that softmax and LayerNorm share (docs/numerics.md, "Row factor")."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import DEN_BITS, MULT_BITS
from celosia.sw.golden.rounding import MAX_SHIFT, IntArray, bit_length, integers


def row_factor(mant: npt.ArrayLike, shift: npt.ArrayLike, den: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """`(q, s)` with `q * 2^-s ~ mant * 2^-shift / den`, q of 17 bits; the arguments broadcast.

    `mant` is in 2^15..2^16-1 (or 0), `den` has at most 24 bits, `shift` may be negative. den = 0, or a resulting shift
    above 63, gives (0, 0). Errors: ValueError for an operand out of range or a negative resulting shift.
    """
    return row_factor_by(lambda mantissa, normal: (mantissa << DEN_BITS) // np.maximum(normal, 1), mant, shift, den)


def row_factor_by(
    quotient: Callable[[IntArray, IntArray], IntArray], mant: npt.ArrayLike, shift: npt.ArrayLike, den: npt.ArrayLike
) -> tuple[IntArray, IntArray]:
    """`row_factor` by another division: `quotient(mant, normal)`, where `normal` is `den` with its highest bit at
    DEN_BITS - 1 (0 for 0, where the quotient does not matter). Errors: ValueError likewise.
    """
    mantissa, divisor = integers(mant), integers(den)
    if np.any((mantissa < 0) | (mantissa >> MULT_BITS)):
        raise ValueError(f"mant must have at most {MULT_BITS} bits, unsigned")
    if np.any((divisor < 0) | (divisor >> DEN_BITS)):
        raise ValueError(f"den must have at most {DEN_BITS} bits, unsigned")
    length = bit_length(divisor)
    q = quotient(mantissa, divisor << (DEN_BITS - length))
    s = integers(shift) + length
    zero = (divisor == 0) | (s > MAX_SHIFT)
    if np.any(~zero & (s < 0)):
        raise ValueError("the factor is too large: its shift would be negative")
    return np.where(zero, 0, q), np.where(zero, 0, s)
