"""What a choice costs: cycles of the array and of POST, and bytes over the bus, from sizes alone.

An estimate, for comparing choices: each part of a layer takes as long as the slowest of array, POST and bus, which work
at the same time; waits are counted where units cannot work at the same time for want of room.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property

from celosia.hw.config import Config
from celosia.sw.compiler.mapping import Blocking, Queries, Tiling
from celosia.sw.compiler.schedule import activation_words

CONTENTION = 12
"""Exponent with which cycles of units that work at the same time add up: two that need as many take 6 % longer."""
MATMUL_CYCLES = 2
"""Of an instruction of the array, beyond its tiles."""
ROW_CYCLES = 30
"""Of POST's row unit for a row of LayerNorm."""
HEAD_CYCLES = 32
"""Of a block of a head in attention, beyond its matmuls: its steps wait for one another."""
SOFTMAX_ROW_CYCLES = 12
"""Of the row unit for a row of softmax."""
POST_LATENCY = 150
"""From a piece that is complete in the accumulator to the first of it that is in the scratchpad."""
RESIDUAL_SLOTS, NORM_SLOTS, SUM_SLOTS = 2, 3, 2
"""Cycles that POST takes for `lanes` channels of a row: residual add; NORM to int8 and int16; NORM to int16 alone."""


@dataclass(frozen=True)
class Cost:
    """`array`, `post`: cycles, `array` with its waits. `read`, `written`: bytes over the bus."""

    array: float = 0
    post: float = 0
    read: float = 0
    written: float = 0

    def cycles(self, bus: int) -> float:
        """As many as the slowest needs, and more where others need nearly as many: they wait for one another at times.

        `bus`: bytes a cycle, in each direction.
        """
        shares = (self.array, self.post, self.read / bus, self.written / bus)
        return float(sum(share**CONTENTION for share in shares) ** (1 / CONTENTION))


@dataclass(frozen=True)
class Costs:
    """Costs of the parts of a layer that is cut by `tiling`. None where a choice has no room on chip.

    `spare`: a share of the accumulator that is left free.
    """

    config: Config
    tiling: Tiling
    spare: float = 0

    @cached_property
    def pes(self) -> int:
        """Multiplications a cycle."""
        return self.config.array.rows * self.config.array.columns

    @cached_property
    def acc(self) -> int:
        """Elements of the accumulator."""
        return int(self.config.acc_rows * self.config.array.columns * (1 - self.spare))

    @cached_property
    def room(self) -> int:
        """Bytes of the scratchpad for what is used again."""
        return activation_words(self.config) * self.config.word_bytes

    def projection(self, blocking: Blocking) -> Cost | None:
        """Query, key and value: a linear part that waits for the LayerNorm of its first block."""
        t = self.tiling
        cost = self.linear(t.hidden, 3 * t.width, blocking)
        return None if cost is None else replace(cost, array=cost.array + self._norm_fill(blocking.rows))

    def ffn1(self, blocking: Blocking) -> Cost | None:
        """The first linear part of the FFN by itself."""
        t = self.tiling
        cost = self.linear(t.hidden, t.ffn, blocking)
        return None if cost is None else replace(cost, array=cost.array + self._norm_before(blocking.rows))

    def linear(self, inputs: int, outputs: int, blocking: Blocking) -> Cost | None:
        """A linear part with int8 results."""
        t = self.tiling
        drain = POST_LATENCY + min(blocking.rows, t.rows) * t.channels / self.config.post.lanes
        cost = self._matmuls(inputs, outputs, blocking, drain)
        if cost is None:
            return None
        results = t.tokens * outputs
        return Cost(cost.array, results / self.config.post.lanes, cost.read, results)

    def to_norm(self, inputs: int, blocking: Blocking) -> Cost | None:
        """A linear part, residual add and LayerNorm: fused when a block has all outputs, else without LayerNorm."""
        t, lanes = self.tiling, self.config.post.lanes
        fused = blocking.outputs >= t.hidden
        # Without LayerNorm: statistics of no use, and those that change nothing.
        stats = blocking.rows if fused else 2 * t.rows
        if stats > self.config.accumulator.stat_rows or (fused and blocking.resident):
            return None
        part = min(blocking.rows, t.rows)
        drain = POST_LATENCY + part * t.channels * (RESIDUAL_SLOTS + SUM_SLOTS) / lanes
        cost = self._matmuls(inputs, t.hidden, blocking, self._norm_wait(blocking.rows) if fused else drain)
        if cost is None:
            return None
        results, slots = t.tokens * t.hidden, NORM_SLOTS if fused else SUM_SLOTS
        post = (RESIDUAL_SLOTS + slots) * results / lanes
        if not fused:
            return Cost(cost.array, post, cost.read + 2 * results, 2 * results)
        again = self._parts_again(blocking.rows)
        return Cost(cost.array, post, cost.read + 2 * results + again, 3 * results + again)

    def attention_output(self, blocking: Blocking) -> Cost | None:
        """The linear part behind attention. What follows waits for LayerNorm of the first block, if it is the last."""
        last = _Blocks.of(self.tiling, blocking.rows).count == 1
        return self._before_tail(self.to_norm(self.tiling.width, blocking), blocking, last)

    def ffn2(self, blocking: Blocking) -> Cost | None:
        """The second linear part of the FFN by itself. Nothing of the layer hides the last block's LayerNorm."""
        return self._before_tail(self.to_norm(self.tiling.ffn, blocking), blocking, True)

    def feed_forward(self, rows: int) -> Cost | None:
        """Both linear parts of the FFN by turns, fused with LayerNorm."""
        t, lanes, stats = self.tiling, self.config.post.lanes, self.config.accumulator.stat_rows
        inner = rows * t.channels
        if rows * (t.hidden + t.channels) > self.acc or rows > stats or 4 * inner > self.room:
            return None
        blocks, results = _Blocks.of(t, rows).count, t.tokens * t.hidden
        weights = 2 * t.hidden * t.ffn
        array = self._array(rows, weights) + self._norm_tail(rows) + self._norm_before(rows)
        # The next block's first columns of ffn1 hide the wait for LayerNorm, if there is room for them.
        if rows * (t.hidden + 2 * t.channels) > self.acc:
            array += blocks * self._norm_wait(rows)
        again = self._again(rows * t.hidden, t.ffn // t.channels, 2 * inner)
        parts = self._parts_again(rows)
        read = blocks * (weights + again) + 3 * results + parts
        post = ((RESIDUAL_SLOTS + NORM_SLOTS) * results + t.tokens * t.ffn) / lanes
        return Cost(array, post, read, 3 * results + parts)

    def attention(self, queries: Queries) -> Cost | None:
        """Attention of all heads."""
        t, c, rows, ahead = self.tiling, self.config, queries.rows, queries.ahead
        scores, lanes = rows * t.keys, self.config.post.lanes
        # Without a block ahead, the weights of two tiles of keys are in use at a time.
        weights = (ahead + 1) * scores if ahead or queries.apart else 2 * rows * t.key_rows
        if (ahead + 1) * (scores + rows * t.head) > self.acc or (ahead + 1) * rows > c.accumulator.stat_rows:
            return None
        if 2 * weights > self.config.scratchpad_words * c.word_bytes:
            return None
        blocks, operands = _Blocks.of(t, rows), t.keys * t.head
        softmax = POST_LATENCY + SOFTMAX_ROW_CYCLES * rows + scores / lanes
        if queries.apart:
            wait = softmax + POST_LATENCY + rows * t.head / lanes
        elif ahead:
            wait = max(0.0, softmax - ahead * self._array(rows, operands) / blocks.count)
        else:
            wait = POST_LATENCY + rows * t.key_rows / lanes
        array = 2 * self._array(rows, operands) + blocks.count * (wait + HEAD_CYCLES)
        read = t.tokens * t.head + 2 * operands + self._again(2 * operands, blocks.count, weights)
        # Nothing hides the softmax of the last block.
        return Cost(t.heads * array + softmax, t.heads * t.tokens * t.keys / lanes, t.heads * read, t.tokens * t.width)

    def norm(self, rows: int) -> Cost | None:
        """LayerNorm as a pass of its own."""
        t = self.tiling
        if rows * t.hidden > self.acc or rows > min(t.rows, self.config.accumulator.stat_rows):
            return None
        results = t.tokens * t.hidden
        post = (RESIDUAL_SLOTS + NORM_SLOTS) * results / self.config.post.lanes
        # Rows of a block wait for their statistics, unless there is room for another block.
        wait = 0 if 2 * rows * t.hidden <= self.acc else POST_LATENCY + ROW_CYCLES * rows
        again = self._parts_again(rows)
        return Cost(0, post + wait * _Blocks.of(t, rows).count, 2 * results + again, 3 * results + again)

    def _matmuls(self, inputs: int, outputs: int, blocking: Blocking, drain: float) -> Cost | None:
        """The array's and the bus's share of a linear part.

        `drain`: cycles until the first piece of a block leaves the accumulator; the next block waits for that long if
        there is no room for another piece.
        """
        rows, t = blocking.rows, self.tiling
        part, columns = min(rows, t.rows), -(-outputs // blocking.outputs)
        piece, weights = part * t.channels, blocking.outputs * inputs if blocking.resident else 0
        held = piece if blocking.resident else rows * blocking.outputs
        if held > self.acc or weights > self.room:
            return None
        blocks = _Blocks.of(t, rows)
        waits = blocks.parts * outputs // t.channels if blocking.resident else blocks.count * columns
        array = self._array(rows, inputs * outputs) + (drain * waits if held + piece > self.acc else 0)
        if not blocking.resident or rows * inputs <= self.room - weights:
            again = blocks.count * self._again(rows * inputs, columns, weights)
        else:
            tiles = self._again(part * inputs, blocking.outputs // t.channels, weights)
            again = (columns - 1) * t.tokens * inputs + columns * blocks.parts * tiles
        return Cost(array, 0, blocks.count * inputs * outputs + t.tokens * inputs + again)

    def _array(self, rows: int, weights: int) -> float:
        """Cycles of the array for `weights` times all rows, in blocks of `rows`.

        A tile of weights takes its time to load, however few rows follow.
        """
        t, blocks = self.tiling, _Blocks.of(self.tiling, rows)
        chunks = weights / (t.channels * t.chunk_outputs)
        return blocks.streamed * weights / self.pes + MATMUL_CYCLES * blocks.parts * chunks

    def _norm_wait(self, rows: int) -> float:
        """Cycles from the last matmul of a block to the first normalised piece."""
        slots = RESIDUAL_SLOTS + NORM_SLOTS
        return POST_LATENCY + rows * (ROW_CYCLES + slots * self.tiling.channels / self.config.post.lanes)

    def _norm_tail(self, rows: int) -> float:
        """Cycles that LayerNorm of a block takes behind the last one's matmuls."""
        return rows * (ROW_CYCLES + NORM_SLOTS * self.tiling.hidden / self.config.post.lanes)

    def _before_tail(self, cost: Cost | None, blocking: Blocking, waits: bool) -> Cost | None:
        """With the wait for a block's LayerNorm, if it is fused and something `waits`."""
        if cost is None or not waits or blocking.outputs < self.tiling.hidden:
            return cost
        return replace(cost, array=cost.array + self._norm_tail(blocking.rows))

    def _norm_before(self, rows: int) -> float:
        """Cycles that blocks of `rows` wait for the LayerNorm before them: the first one, if it is the last as well."""
        return self._norm_tail(self.tiling.rows) if _Blocks.of(self.tiling, rows).count == 1 else 0.0

    def _norm_fill(self, rows: int) -> float:
        """Cycles that a pass of LayerNorm takes for the first block of what follows."""
        slots = RESIDUAL_SLOTS + NORM_SLOTS
        return rows * (ROW_CYCLES + slots * self.tiling.hidden / self.config.post.lanes)

    def _parts_again(self, rows: int) -> int:
        """Bytes that LayerNorm moves again, each way, where a block is a part of a tile and a row of tiles has no room:
        residual, and outputs of one and two bytes.
        """
        t = self.tiling
        tiles = -(-t.tokens // t.rows)
        return tiles * self._again(5 * t.rows * t.hidden, -(-t.rows // rows), 0)

    def _again(self, size: int, times: int, taken: int) -> int:
        """Bytes to load again when `size` bytes are read through `times` times; `taken`: room that is not for them."""
        return max(0, times - 1) * min(size, max(0, size - self.room + taken))


@dataclass(frozen=True)
class _Blocks:
    """How many blocks a height gives, how many parts of tiles, and how many rows the array spends its time on."""

    count: int
    parts: int
    streamed: int

    @staticmethod
    @cache
    def of(tiling: Tiling, rows: int) -> "_Blocks":
        """For blocks of `rows`."""
        blocks = tiling.blocks(rows)
        heights = [part.rows for block in blocks for part in block]
        return _Blocks(len(blocks), len(heights), sum(max(height, tiling.step) for height in heights))
