"""Requantisation and activations (docs/numerics.md, "Requantise")."""

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import ACC_BITS, ROW_MULT_BITS
from celosia.sw.golden.rounding import IntArray, integers, rshift


def requant(acc: npt.ArrayLike, bias: npt.ArrayLike, mult: npt.ArrayLike, shift: npt.ArrayLike) -> IntArray:
    """`rshift((acc + bias) * mult, shift)`, exact in between and not yet saturated.

    `acc` [M, N] int32; `bias` int32, `mult` u17 and `shift` u6 broadcast with it: per channel [N], per row [M, 1] or
    one for all. Errors: ValueError when an operand is outside its format.
    """
    total, factor = integers(acc), integers(mult)
    addend = integers(bias)
    half = 1 << (ACC_BITS - 1)
    for name, operand in (("acc", total), ("bias", addend)):
        if np.any((operand < -half) | (operand >= half)):
            raise ValueError(f"{name} must be int{ACC_BITS}")
    if np.any((factor < 0) | (factor >> ROW_MULT_BITS)):
        raise ValueError(f"mult must have at most {ROW_MULT_BITS} bits, unsigned")
    return rshift((total + addend) * factor, shift)


def relu(x: npt.ArrayLike) -> IntArray:
    """`max(x, 0)`."""
    return np.maximum(integers(x), 0)


def table_lookup(x: npt.ArrayLike, table: npt.ArrayLike, table_bits: int) -> IntArray:
    """Entries of `table` [2^table_bits] at the unsigned bit pattern of the signed `x`.

    Errors: ValueError when the table has another size or `x` does not fit `table_bits` bits.
    """
    index, entries = integers(x), integers(table)
    half = 1 << (table_bits - 1)
    if entries.shape != (2 * half,):
        raise ValueError(f"a table of {table_bits} bits must have {2 * half} entries, not {entries.shape}")
    if np.any((index < -half) | (index >= half)):
        raise ValueError(f"x must fit {table_bits} bits, two's complement")
    result: IntArray = entries[index & (2 * half - 1)]
    return result
