"""What every part of the lowering shares: tensors of the tiling, constants, and the order of the steps."""

from collections import Counter, deque

from celosia.hw.config import Config
from celosia.hw.isa import Unit
from celosia.sw.compiler.buffers import Buffer, Ref, Step
from celosia.sw.compiler.constants import Constants
from celosia.sw.compiler.mapping import Tiling
from celosia.sw.compiler.sizes import acc_rows
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Tensor


class Builder:
    """Collects the steps of one network.

    Steps that are deferred stand between later steps of the array. Each step that is the last one to use a piece of the
    accumulator says so (`Step.frees`), so that the builder knows how much of it is taken: deferred steps come early
    where there would be no room.
    """

    def __init__(self, config: Config, tiling: Tiling) -> None:
        self.config, self.tiling = config, tiling
        self.constants = Constants(config)
        self.steps: list[Step] = []
        self.deferred: deque[Step] = deque()
        self._awaited: Counter[Buffer] = Counter()  # in how many of the deferred steps
        self._reserved = 0  # accumulator rows that deferred steps will take
        self._held: set[Buffer] = set()
        self._rows_held = 0

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
        return acc_rows(self.config, rows, channels)

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
        while self.deferred and self._must_follow(step):
            self._resume()
        self._append(step)
        if self.deferred and step.unit is Unit.ARRAY:
            self._resume()

    def defer(self, step: Step) -> None:
        """Append a step some time later, in the order in which steps are deferred."""
        self.deferred.append(step)
        self._awaited.update(step.buffers)

    def reserve(self, rows: int) -> None:
        """Until the last of the deferred steps has come, they take up to `rows` of the accumulator at once."""
        self._reserved = max(self._reserved, rows)

    def flush(self) -> None:
        """Append all deferred steps."""
        while self.deferred:
            self._resume()

    def _must_follow(self, step: Step) -> bool:
        """Whether a deferred step must come before `step`: one that it needs, or because there would be no room."""
        rows = self._rows_held + self._reserved + self._new_rows(step)
        return rows > self.config.acc_rows or not self._awaited.keys().isdisjoint(step.buffers)

    def _resume(self) -> None:
        step = self.deferred.popleft()
        self._append(step)
        self._awaited.subtract(step.buffers)
        for buffer in step.buffers:
            if not self._awaited[buffer]:
                del self._awaited[buffer]
        if not self.deferred:
            self._reserved = 0

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        new = self._new_rows(step)
        if new:
            self._held.update(access.buffer for access in step.writes if access.buffer.space is Space.ACCUMULATOR)
            self._rows_held += new
        if step.frees is not None:
            self._held.remove(step.frees)
            self._rows_held -= step.frees.size

    def _new_rows(self, step: Step) -> int:
        """Accumulator rows that `step` is the first to use."""
        rows = 0
        for access in step.writes:
            buffer = access.buffer
            if buffer.space is Space.ACCUMULATOR and buffer not in self._held:
                rows += buffer.size
        return rows
