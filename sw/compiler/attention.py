"""Attention: scores, softmax, context, head by head and block by block."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from celosia.hw.isa import Opcode
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.mapping import Queries
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Part, Tensor, parts, round_up
from celosia.sw.model.quantised import QuantisedLayer


@dataclass(frozen=True)
class Kept:
    """Which keys a row of blocks of queries keeps. `keys`: the list; `head`: the slot, None where no head is pruned."""

    keys: Buffer
    head: Buffer | None

    @property
    def fields(self) -> dict[str, int | Ref]:
        """Of an instruction that works on the list."""
        fields: dict[str, int | Ref] = {"gather": 1, "list": self.keys.at()}
        return fields if self.head is None else fields | {"headed": 1, "slot": self.head.at()}

    @property
    def reads(self) -> list[Access]:
        """What such an instruction reads."""
        return [buffer.whole() for buffer in (self.keys, self.head) if buffer is not None]


@dataclass(frozen=True)
class Unit:
    """One head of one block of queries.

    `column`: of the tiles that hold the head; `block`: its first block of channels there. `scores`, `weights`: a piece
    for each part of the queries and each tile of keys; `stats`: for each part. `kept`: the keys, None for all of them.
    """

    label: str
    parts: list[Part]
    column: int
    block: int
    scores: dict[tuple[Part, Part], Buffer]
    weights: dict[tuple[Part, Part], Buffer]
    stats: dict[Part, Buffer]
    kept: Kept | None = None


@dataclass(frozen=True)
class AttentionLowering:
    """Steps of one layer's attention.

    `length`: rows that are attended to; `causal`: none that come later.
    """

    builder: Builder
    name: str
    layer: QuantisedLayer
    length: int
    causal: bool
    query: Tensor
    key: Tensor
    value: Tensor
    context: Tensor
    queries: Queries

    def build(self) -> None:
        """All heads, block by block."""
        self.work(self.blocks)

    @cached_property
    def blocks(self) -> list[tuple[int, list[Part]]]:
        """Head and rows of every block."""
        t = self.builder.tiling
        return [(head, rows) for head in range(t.heads) for rows in t.blocks(self.queries.rows)]

    def work(self, blocks: Sequence[tuple[int, list[Part]]], context: bool = True) -> None:
        """Some of the blocks; without `context` scores and softmax alone, whose weights nothing reads."""
        waiting: deque[Unit] = deque()
        before: list[Buffer] = []
        for head, rows in blocks:
            unit = self._unit(head, rows)
            self._scores(unit, before)
            if self.queries.apart:
                before = list(unit.weights.values())
            if self._eager:
                for keys in self.keys:
                    self._softmax(unit, keys)
            waiting.append(unit)
            if len(waiting) > self.queries.ahead:
                self._finish(waiting.popleft(), context)
        for unit in waiting:
            self._finish(unit, context)

    def _finish(self, unit: Unit, context: bool) -> None:
        if context:
            self._context(unit)
        elif not self._eager:
            for keys in self.keys:
                self._softmax(unit, keys)

    @property
    def _eager(self) -> bool:
        """The whole block's softmax comes before its context."""
        return self.queries.ahead > 0 or self.queries.apart

    @cached_property
    def keys(self) -> list[Part]:
        """All keys, a tile at a time."""
        return parts(0, self.builder.tiling.tokens, self.key.tile_rows)

    def _unit(self, head: int, rows: list[Part]) -> Unit:
        b, t = self.builder, self.builder.tiling
        label = f"{self.name}.head{head}[{rows[0].start}:]"
        column, within = divmod(head * t.head, self.query.tile_channels)
        padded = {keys: round_up(keys.rows, t.step) for keys in self.keys}
        pieces = {(part, keys): part.rows * padded[keys] for part in rows for keys in self.keys}
        word, beat = b.config.word_bytes, b.config.beat_bytes  # whole beats: weights may have to leave for a while
        return Unit(
            label,
            rows,
            column,
            within // word,
            {at: Buffer(Space.ACCUMULATOR, n // b.config.array.columns, label) for at, n in pieces.items()},
            {at: Buffer(Space.SCRATCHPAD, round_up(n, beat) // word, label) for at, n in pieces.items()},
            {part: Buffer(Space.STATISTICS, part.rows, label) for part in rows},
        )

    def _scores(self, unit: Unit, before: Sequence[Buffer]) -> None:
        """Q.K^T, a tile of keys at a time, with the rows' maxima; not before POST has written `before`."""
        t, c, label = self.builder.tiling, self.builder.config, f"{unit.label}.scores"
        for keys in self.keys:
            for part in unit.parts:
                scores, stats = unit.scores[part, keys], unit.stats[part]
                fields = {
                    "transposed": 1,
                    "maxima": 1,
                    "maxima_init": int(keys.start == 0),
                    "a_address": self.query.at(part, unit.column, unit.block),
                    "a_stride": self.query.stride(part.tile),
                    "b_address": self.key.at(keys, unit.column, unit.block),
                    "b_stride": self.key.stride(keys.tile),
                    "acc_address": scores.at(),
                    "acc_stride": part.rows,
                    "m": part.rows,
                    "n_tiles": scores.size // part.rows,
                    "k_tiles": t.head // c.array.rows,
                    "stat_row": stats.at(),
                    **self._mask(unit, keys, part),
                }
                blocks = t.head // c.word_bytes
                reads = [
                    self.query.access(part, unit.column, unit.block, blocks),
                    self.key.tiles[keys.tile, unit.column].whole(),
                    *(buffer.whole() for buffer in before if not keys.start),
                    *(unit.kept.reads if unit.kept else []),
                ]
                self.builder.add(Step(Opcode.MATMUL, fields, reads, [scores.whole(), stats.whole()], label))

    def _mask(self, unit: Unit, keys: Part, part: Part) -> dict[str, int | Ref]:
        """Which keys of a tile there are for some queries."""
        if unit.kept is not None:
            return unit.kept.fields
        mask: dict[str, int | Ref] = {"length": max(0, self.length - keys.start), "causal": int(self.causal)}
        return mask | ({"diagonal": part.start - keys.start} if self.causal else {})

    def _softmax(self, unit: Unit, keys: Part) -> None:
        """Weights of a tile of keys; behind the last one the row factors."""
        b, (mult, shift), (mant, mant_shift) = self.builder, self.layer.score, self.layer.context
        for part in unit.parts:
            scores, stats, weights = unit.scores[part, keys], unit.stats[part], unit.weights[part, keys]
            channels = scores.size // part.rows * b.config.array.columns
            fields = b.post_fields(scores, 0, part.rows, channels, stats) | self._mask(unit, keys, part)
            fields |= {
                "first": int(keys.start == 0),
                "last": int(keys == self.keys[-1]),
                "out_address": weights.at(),
                "out_stride": part.rows,
                "mult": mult,
                "shift": shift,
                "mant": mant,
                "mant_shift": mant_shift,
            }
            reads = [scores.whole(), stats.whole(), *(unit.kept.reads if unit.kept else [])]
            writes = [weights.whole(), stats.whole()]
            b.add(Step(Opcode.EXP, fields, reads, writes, f"{unit.label}.softmax", scores))

    def _context(self, unit: Unit) -> None:
        """P.V, a tile of keys at a time; the softmax of the next one comes before, if it has not been."""
        eager = self._eager
        b, t, label = self.builder, self.builder.tiling, f"{unit.label}.context"
        accs = {part: b.acc(part.rows, t.head, label) for part in unit.parts}
        if not eager:
            self._softmax(unit, self.keys[0])
        for keys, following in zip(self.keys, [*self.keys[1:], None], strict=True):
            if following is not None and not eager:
                self._softmax(unit, following)
            for part, acc in accs.items():
                b.add(self._product(unit, keys, part, acc, label))
        for part, acc in accs.items():
            stats = unit.stats[part]
            fields = b.post_fields(acc, 0, part.rows, t.head, stats) | {
                "row_factor": 1,
                "out_address": self.context.at(part, unit.column, unit.block),
                "out_stride": self.context.stride(part.tile),
            }
            target = self.context.access(part, unit.column, unit.block, t.head // b.config.word_bytes)
            b.add(Step(Opcode.REQUANT, fields, [acc.whole(), stats.whole()], [target], label, acc))

    def _product(self, unit: Unit, keys: Part, part: Part, acc: Buffer, label: str) -> Step:
        """Weights of a tile of keys times their values."""
        t, c, weights = self.builder.tiling, self.builder.config, unit.weights[part, keys]
        k_tiles = round_up(keys.rows, c.array.rows) // c.array.rows
        fields: dict[str, int | Ref] = {
            "unsigned_a": 1,
            "accumulate": int(keys.start > 0),
            "a_address": weights.at(),
            "a_stride": part.rows,
            "b_address": self.value.at(keys, unit.column, unit.block),
            "b_stride": self.value.stride(keys.tile),
            "acc_address": acc.at(),
            "acc_stride": part.rows,
            "m": part.rows,
            "n_tiles": t.head // c.array.columns,
            "k_tiles": k_tiles,
            **(unit.kept.fields if unit.kept else {}),
        }
        reads = [Access(weights, 0, k_tiles * part.rows), self.value.tiles[keys.tile, unit.column].whole()]
        reads += unit.kept.reads if unit.kept else []
        reads += [acc.whole()] if keys.start else []
        if self.queries.apart and not keys.start:
            reads += [other.whole() for other in unit.weights.values() if other is not weights]
        return Step(Opcode.MATMUL, fields, reads, [acc.whole()], label)
