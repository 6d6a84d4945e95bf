"""What every part of the lowering shares: tensors of the tiling, constants, and the order of the steps."""

from collections import deque

from celosia.hw.config import Config
from celosia.hw.isa import Unit
from celosia.sw.compiler.buffers import Buffer, Ref, Step
from celosia.sw.compiler.constants import Constants
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Tensor, spans
from celosia.sw.compiler.tiling import Tiling


class Builder:
    """Collects the steps of one network. `blocks`: (first row, rows) of each block of rows."""

    def __init__(self, config: Config, tiling: Tiling) -> None:
        self.config, self.tiling = config, tiling
        self.constants = Constants(config)
        self.steps: list[Step] = []
        self.deferred: deque[Step] = deque()
        self.blocks = list(spans(tiling.tokens, tiling.rows))

    def residual_tensor(self, name: str) -> Tensor:
        """int16 residual stream."""
        t = self.tiling
        return Tensor(self.config, name, t.tokens, t.hidden, t.rows, t.channels, "int16")

    def int8_tensor(self, name: str, channels: int) -> Tensor:
        """int8 activation that is a left operand."""
        t = self.tiling
        return Tensor(self.config, name, t.tokens, channels, t.rows, t.channels)

    def heads_tensor(self, name: str, operand: bool) -> Tensor:
        """int8 activation of all heads; `operand`: K or V, which are weight operands."""
        t = self.tiling
        rows, step = (t.key_rows, t.step) if operand else (t.rows, 1)
        return Tensor(self.config, name, t.tokens, t.width, rows, t.head_channels, row_step=step)

    def acc(self, rows: int, channels: int, label: str) -> Buffer:
        """Accumulator for `rows` x `channels` results."""
        return Buffer(Space.ACCUMULATOR, self.acc_rows(rows, channels), label)

    def acc_rows(self, rows: int, channels: int) -> int:
        """Accumulator rows of `rows` x `channels` results."""
        return rows * channels // self.config.array.columns

    def post_fields(
        self, acc: Buffer, offset: int, rows: int, channels: int, stats: Buffer | None = None
    ) -> dict[str, int | Ref]:
        """Fields that POST operations share: `rows` x `channels` results at `offset` of `acc`."""
        return {
            "acc_address": acc.at(offset),
            "acc_stride": rows,
            "m": rows,
            "groups": channels // self.config.post.lanes,
            "stat_row": stats.at() if stats else 0,
        }

    def add(self, step: Step) -> None:
        """Append a step, and one of the deferred ones behind each step of the array.

        So the steps of a LayerNorm take turns with the matmuls of the next block, and the array's queue never stands
        behind POST's. A deferred step comes no later than what needs it.
        """
        while any(not deferred.touched.isdisjoint(step.touched) for deferred in self.deferred):
            self.steps.append(self.deferred.popleft())
        self.steps.append(step)
        if step.unit is Unit.ARRAY and self.deferred:
            self.steps.append(self.deferred.popleft())

    def defer(self, step: Step) -> None:
        """Append a step some time later, in the order in which steps are deferred."""
        self.deferred.append(step)

    def flush(self) -> None:
        """Append all deferred steps."""
        self.steps.extend(self.deferred)
        self.deferred.clear()
