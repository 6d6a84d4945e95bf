"""A mapping of a matmul as a program, loop by loop: what the closed forms of `evaluate` are measured on."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sw.compiler import sizes
from celosia.sw.compiler.buffers import Buffer, Ref
from celosia.sw.compiler.compile import link
from celosia.sw.compiler.program import CONSTANTS, INPUTS, Program
from celosia.sw.compiler.sync import Space
from celosia.sw.mapper.operators import After, MapperError, Operator, Padded
from celosia.sw.mapper.space import ACTIVATIONS, CHANNELS, INDEXED_BY, OUTPUTS, ROWS, WEIGHTS, Mapping
from celosia.sw.performance.draft import Draft, Fields

Span = tuple[int, int]
"""From and to along an axis."""
Box = tuple[Span, ...]
"""Along each axis."""

LEAD = 2
"""Tiles of sums that leave before the array begins with the next rows; the others leave one by one, as others come."""


def compile_mapping(config: Config, operator: Operator, mapping: Mapping) -> Program:
    """A program that goes through the loops of `mapping`, on operands of zeros.

    What is kept is loaded tile by tile, before its first use, and its place is free after its last one; so the next
    part of a tensor comes as soon as there is room. Parameters of LayerNorm, which the closed forms do not count, are
    loaded for each of its blocks. Errors: MapperError for a convolution; CompileError when what is in use at once does
    not fit.
    """
    if operator.pitch > 1 or operator.kernel > 1:
        raise MapperError(f"only matmuls become programs, and {operator.name} is a convolution")
    draft = _Draft(config, operator, mapping)
    draft.loops()
    program = link(config, draft.steps, np.zeros(draft.sizes[CONSTANTS], np.uint8), draft.sizes[INPUTS])
    program.macs = operator.macs
    return program


class _Draft(Draft):
    """Steps of a mapping."""

    def __init__(self, config: Config, operator: Operator, mapping: Mapping) -> None:
        super().__init__(config)
        self.operator, self.mapping = operator, mapping
        self.whole: Box = tuple((0, size) for size in Padded(config, operator).sizes)
        self.kept: list[tuple[Box, dict[Box, Buffer]]] = [((), {}), ((), {})]  # of each operand, by tile
        self.homes: dict[tuple[int, Box], tuple[int, int]] = {}
        self.sums: dict[tuple[Span, Span], Buffer] = {}
        self.rows: dict[Span, Buffer] = {}  # statistics of rows whose results are not complete
        self.done: dict[Span, list[tuple[Span, Buffer]]] = {}  # the same, what is complete of them
        self.later: deque[Callable[[], None]] = deque()  # steps that work on complete rows

    def loops(self) -> None:
        """All of them, and the pass of a LayerNorm that is not fused."""
        for block in _boxes(self.whole, self.mapping.block, self.mapping.outer):
            for tile in _boxes(block, self.mapping.tile, self.mapping.inner):
                self._body(block, tile)
        self._finish(0)
        if self.operator.after is After.LAYERNORM and not self.mapping.fused:
            self.layernorm(self.operator.rows, self.operator.outputs)

    def _body(self, block: Box, tile: Box) -> None:
        rows, outputs, channels = tile[ROWS], tile[OUTPUTS], tile[CHANNELS]
        m, n, k = _size(rows), _size(outputs), _size(channels)
        x, weights = (self._operand(tensor, block, tile) for tensor in (ACTIVATIONS, WEIGHTS))
        first, last = channels[0] == 0, channels[1] == self.whole[CHANNELS][1]
        if first:
            self._finish(len(self.later) - 1)
            self.sums[rows, outputs] = self._acc(m, n)
        acc = self.sums[rows, outputs]
        fields = self._product(x, self._padded(m), weights, n, acc, m, n, k)
        fields |= {"transposed": 1, "accumulate": int(not first)}
        reads, writes = [x, weights, *([] if first else [acc])], [acc]
        if last and self.operator.after is After.SOFTMAX:
            stats = self._statistics(rows)
            fields |= {"maxima": 1, "maxima_init": int(outputs[0] == 0), "stat_row": stats.at()}
            fields |= {"length": self._valid(outputs)}
            writes.append(stats)
        self._add(Opcode.MATMUL, fields, reads, writes, "product")
        if last:
            records = weights.at(sizes.tile_words(self.config, n, k))
            self._complete(rows, outputs, self.sums.pop((rows, outputs)), weights, records)

    def _finish(self, left: int) -> None:
        """All steps but `left` that were put off."""
        while len(self.later) > max(0, left):
            self.later.popleft()()

    def _complete(self, rows: Span, outputs: Span, acc: Buffer, weights: Buffer, records: Ref) -> None:
        """A tile's sums are complete: results, or as much of them as does not need the rest of its rows."""
        if self.operator.after is After.REQUANT:
            self._requantise(rows, outputs, acc, weights, records)
            return
        if self.operator.after is After.LAYERNORM:
            self._residual(rows, outputs, acc, weights, records)
            if not self.mapping.fused:
                self._normalise(rows, outputs, acc, self.rows.pop(rows))
                return
        pieces = self.done.setdefault(rows, [])
        pieces.append((outputs, acc))
        if sum(_size(one) for one, _ in pieces) == self.whole[OUTPUTS][1]:
            stats, finish = self.rows.pop(rows), {After.SOFTMAX: self._softmax, After.LAYERNORM: self._normalise}
            for piece, sums in self.done.pop(rows):
                self.later.append(partial(finish[self.operator.after], rows, piece, sums, stats))
            self._finish(len(self.later) - LEAD)

    def _requantise(self, rows: Span, outputs: Span, acc: Buffer, weights: Buffer, records: Ref) -> None:
        m, n = _size(rows), _size(outputs)
        out, stats = self._output(m, n), None
        factors: Fields = {"parameters": records}
        if not self.operator.parameters:
            stats, factors, weights = self._statistics(rows), {"row_factor": 1}, self.rows.pop(rows)
        fields = self._post(acc, m, n, stats) | factors | self._to("out", out, m)
        self._add(Opcode.REQUANT, fields, [acc, weights], [out], "results")

    def _softmax(self, rows: Span, outputs: Span, acc: Buffer, stats: Buffer) -> None:
        m, n = _size(rows), _size(outputs)
        out = self._output(m, n)
        fields = self._post(acc, m, n, stats) | self._ends(outputs) | self._to("out", out, m)
        fields |= {"length": self._valid(outputs)}
        self._add(Opcode.EXP, fields, [acc, stats], [out, stats], "softmax")

    def _residual(self, rows: Span, outputs: Span, acc: Buffer, weights: Buffer, records: Ref) -> None:
        """Sums with the residual; not fused, with statistics that leave them as they are."""
        m, n = _size(rows), _size(outputs)
        x, stats = self._input(m, n, 2), self._statistics(rows)
        ends = self._ends(outputs) if self.mapping.fused else {"first": 1, "last": 1}
        fields = self._post(acc, m, n, stats) | ends | self._to("residual", x, m, 2)
        fields |= {"parameters": records, "channels": self.operator.outputs, "eps": 1}
        self._add(Opcode.RESIDUAL, fields, [acc, x, weights, stats], [acc, stats], "residual")

    def _normalise(self, rows: Span, outputs: Span, acc: Buffer, stats: Buffer) -> None:
        """int8 and int16; not fused, int16 sums."""
        m, n = _size(rows), _size(outputs)
        kinds = [("out8", 1), ("out16", 2)] if self.mapping.fused else [("out16", 2)]
        records = self._constant(len(kinds) * self._records(n))
        fields = self._post(acc, m, n, stats) | {"parameters": records.at()}
        outs = [self._output(m, n, words) for _, words in kinds]
        for (name, words), out in zip(kinds, outs, strict=True):
            fields |= {name: 1} | self._to(name, out, m, words)
        self._add(Opcode.NORM, fields, [acc, stats, records], outs, "norm")

    def _statistics(self, rows: Span) -> Buffer:
        return self.rows.setdefault(rows, Buffer(Space.STATISTICS, _size(rows), "rows"))

    def _ends(self, outputs: Span) -> Fields:
        """Whether these are the first outputs of their rows, and the last."""
        return {"first": int(outputs[0] == 0), "last": int(outputs[1] == self.whole[OUTPUTS][1])}

    def _valid(self, outputs: Span) -> int:
        """Outputs that are none of the padding."""
        return max(0, self.operator.outputs - outputs[0])

    def _operand(self, tensor: int, block: Box, tile: Box) -> Buffer:
        """The tile of an operand: as it is kept, or to be loaded."""
        box = block if self.mapping.resident[tensor] else tile
        part, mine = (tuple(of[axis] for axis in INDEXED_BY[tensor]) for of in (box, tile))
        if self.kept[tensor][0] != part:
            self.kept[tensor] = (part, {})
        tiles = self.kept[tensor][1]
        if mine not in tiles:
            tiles[mine] = self._load(tensor, tile, mine)
        return tiles[mine]

    def _load(self, tensor: int, tile: Box, mine: Box) -> Buffer:
        m, n, k = (_size(tile[axis]) for axis in (ROWS, OUTPUTS, CHANNELS))
        if tensor == ACTIVATIONS:
            size, window = sizes.tile_words(self.config, self._padded(m), k), INPUTS
        else:
            last = tile[CHANNELS][1] == self.whole[CHANNELS][1]
            records = self._records(n) if last and self.operator.parameters else 0
            size, window = self._padded(sizes.tile_words(self.config, n, k) + records), CONSTANTS
        if (tensor, mine) not in self.homes:
            self.homes[tensor, mine] = self._memory(window, size)
        return Buffer(Space.SCRATCHPAD, size, "operand", home=self.homes[tensor, mine], loaded=True, stream=True)


def _size(span: Span) -> int:
    return span[1] - span[0]


def _boxes(box: Box, steps: tuple[int, ...], order: tuple[int, ...]) -> Iterator[Box]:
    """Boxes of at most `steps`, the last axis of `order` moving fastest."""
    pieces = [[(at, min(at + step, stop)) for at in range(start, stop, step)]
              for (start, stop), step in zip(box, steps, strict=True)]  # fmt: skip
    for chosen in product(*(pieces[axis] for axis in order)):
        yield tuple(chosen[order.index(axis)] for axis in range(len(box)))
