"""What follows the matmuls: cycles and bytes of POST by kind, from the compiler's cost table and the unit timings."""

from dataclasses import dataclass

import numpy as np

from celosia.hw.post.layouts import GROUP_PERIOD
from celosia.sw.compiler.cost import NORM_SLOTS, RESIDUAL_SLOTS, SUM_SLOTS
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After
from celosia.sw.mapper.space import Floats, Ints
from celosia.sw.performance.timings import ROW_START, timings


@dataclass(frozen=True)
class Finish:
    """`before`, `after`: cycles for `lanes` results before the row unit knows a row's factors (if there is one), and
    after it. `written`, `read`: bytes a result, to memory and, of residuals, from it."""

    before: int
    after: int
    written: int
    read: int

    @property
    def slots(self) -> int:
        """Cycles for `lanes` results."""
        return self.before + self.after


FINISHES = {
    After.REQUANT: Finish(0, 1, 1, 0),
    After.SOFTMAX: Finish(0, 1, 1, 0),
    After.LAYERNORM: Finish(RESIDUAL_SLOTS, NORM_SLOTS, 3, 2),
}
"""Fused, or needing no rows. Of softmax: the row's sum is for the matmul with V."""
SUMS = Finish(RESIDUAL_SLOTS, SUM_SLOTS, 2, 2)
"""Of a LayerNorm that is not fused, behind the matmuls: int16 sums."""
PASS = Finish(RESIDUAL_SLOTS, NORM_SLOTS, 3, 2)
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


def cycles(nest: Nest, rows: Ints, outputs: Ints | int, field: str) -> Floats:
    """Of POST for `rows` times `outputs` results; `field`: of `Finish`.

    A group of lanes that belongs to rows with statistics takes GROUP_PERIOD at least, however few rows it has.
    """
    config, slots = nest.padded.config, pick(nest, field)
    least = 0 if nest.padded.operator.after is After.REQUANT else GROUP_PERIOD
    taken: Floats = np.where(slots * rows > 0, np.maximum(slots * rows, least), 0) * outputs / config.post.lanes
    return taken


def row_cycles(nest: Nest, rows: Ints) -> Ints:
    """Of the row unit, from the last sums of `rows` rows of a LayerNorm to their factors; else none."""
    if nest.padded.operator.after is not After.LAYERNORM:
        return np.zeros_like(rows)
    times = timings(nest.padded.config)
    return times.sums + ROW_START + times.norm_row + (rows - 1) * times.norm_period
