"""Golden models: one pure integer function per hardware operation, the definition of what the RTL does.

docs/numerics.md says the same in words. Everything is int64 numpy; a precondition that the hardware relies on is
checked, and its breach is an error rather than a wrapped number.
"""

from celosia.sw.golden.factor import row_factor
from celosia.sw.golden.gelu import build_table, gelu
from celosia.sw.golden.layernorm import (
    affine,
    eps_constant,
    isqrt,
    mean_constants,
    normalise,
    residual_add,
    row_stats,
    row_sums,
)
from celosia.sw.golden.matmul import check_int32, matmul
from celosia.sw.golden.requant import relu, requant, table_lookup
from celosia.sw.golden.rounding import bit_length, nscale, rshift, sat, scale, scale_int
from celosia.sw.golden.softmax import exp2_weight, row_max, softmax_weights, valid_columns

__all__ = [
    "affine",
    "bit_length",
    "build_table",
    "check_int32",
    "eps_constant",
    "exp2_weight",
    "gelu",
    "isqrt",
    "matmul",
    "mean_constants",
    "normalise",
    "nscale",
    "relu",
    "requant",
    "residual_add",
    "row_factor",
    "row_max",
    "row_stats",
    "row_sums",
    "rshift",
    "sat",
    "scale",
    "scale_int",
    "softmax_weights",
    "table_lookup",
    "valid_columns",
]
