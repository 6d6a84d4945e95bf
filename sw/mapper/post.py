"""What follows the matmuls: cycles and bytes of POST by kind, from the compiler's cost table."""

from dataclasses import dataclass

import numpy as np

from celosia.sw.compiler.cost import NORM_SLOTS, RESIDUAL_SLOTS, ROW_CYCLES, SOFTMAX_ROW_CYCLES, SUM_SLOTS
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After
from celosia.sw.mapper.space import Ints


@dataclass(frozen=True)
class Finish:
    """`slots`: cycles for `lanes` results. `row_cycles`: of the row unit for a row. `written`, `read`: bytes a result,
    to memory and, of residuals, from it."""

    slots: int
    row_cycles: int
    written: int
    read: int


FINISHES = {
    After.REQUANT: Finish(1, 0, 1, 0),
    After.SOFTMAX: Finish(1, SOFTMAX_ROW_CYCLES, 1, 0),
    After.LAYERNORM: Finish(RESIDUAL_SLOTS + NORM_SLOTS, ROW_CYCLES, 3, 2),
}
"""Fused, or needing no rows."""
SUMS = Finish(RESIDUAL_SLOTS + SUM_SLOTS, 0, 2, 2)
"""Of a LayerNorm that is not fused, behind the matmuls: int16 sums."""
PASS = Finish(RESIDUAL_SLOTS + NORM_SLOTS, 0, 3, 2)
"""The same, later: LayerNorm of those sums, a pass of its own whose rows hide one another's statistics."""


def pick(nest: Nest, field: str) -> Ints:
    """A field of the `Finish` of each mapping [n]."""
    fused = getattr(FINISHES[nest.padded.operator.after], field)
    return np.where(nest.unfused_norm, getattr(SUMS, field), fused)


def result_bytes(nest: Nest) -> Ints:
    """Bytes a result behind the matmuls [n]."""
    return pick(nest, "written")


def residual_bytes(nest: Nest) -> Ints:
    """Bytes of residuals a result [n]."""
    return pick(nest, "read")
