"""The kernels of softmax and GELU by the names that a configuration gives them."""

from collections.abc import Mapping

import numpy.typing as npt

from celosia.hw.config import SOFTMAX_KERNELS
from celosia.sw.golden.ibert import exp_weight, gelu_requant
from celosia.sw.golden.requant import table_lookup
from celosia.sw.golden.rounding import IntArray, sat
from celosia.sw.golden.softmax import WeightFunction, exp2_weight

WEIGHTS: dict[str, WeightFunction] = dict(zip(SOFTMAX_KERNELS, (exp2_weight, exp_weight), strict=True))
"""For each `post.softmax` the weight of an exponent."""


def activate(
    kernel: str, value: IntArray, table_bits: int, table: npt.ArrayLike, constants: Mapping[str, int]
) -> IntArray:
    """int8 activation of requantised integers by the kernel that `post.gelu` names.

    "table" looks the value up in `table`; "ibert" computes it with `constants` (see `gelu_requant`).
    """
    index = sat(value, table_bits)
    return table_lookup(index, table, table_bits) if kernel == "table" else gelu_requant(index, constants)
