"""Attention: scores, softmax, context, head by head and block by block."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from celosia.hw.isa import Opcode
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Tensor, round_up, spans
from celosia.sw.model.quantised import QuantisedLayer

ROW_UNIT_CYCLES = 12
"""Cycles that POST's row unit takes for a row; only used to decide how far attention runs ahead."""
SOFTMAX_LATENCY = 150
"""Cycles from a score in the accumulator to the first product with its weight, without waiting; used likewise."""


@dataclass(frozen=True)
class AttentionLowering:
    """Steps of one layer's attention. `length`: rows that are attended to; `causal`: none that come later."""

    builder: Builder
    name: str
    layer: QuantisedLayer
    length: int
    causal: bool
    query: Tensor
    key: Tensor
    value: Tensor
    context: Tensor

    def build(self) -> None:
        """All heads. A unit is one head of one block of queries; scores run `depth` units ahead of P.V."""
        waiting: deque[Iterator[None]] = deque()
        for head in range(self.builder.tiling.heads):
            for block in range(len(self.builder.blocks)):
                unit = self._unit(head, block)
                next(unit)
                waiting.append(unit)
                if len(waiting) > self.depth:
                    next(waiting.popleft(), None)
        for unit in waiting:
            next(unit, None)

    @property
    def depth(self) -> int:
        """Units in flight that hide the softmax behind the scores of later ones, as far as the memories allow."""
        t, c = self.builder.tiling, self.builder.config
        score = max(t.rows, c.array.columns) * t.keys * t.head // (c.array.rows * c.array.columns)
        softmax = t.rows * t.keys // c.post.lanes + ROW_UNIT_CYCLES * t.rows + SOFTMAX_LATENCY
        wanted = -(-softmax // score)
        acc = c.acc_rows * 7 // 8 // self.builder.acc_rows(t.rows, t.keys + t.head)
        weights = c.scratchpad_words // 2 // (t.rows * t.keys // c.word_bytes)
        return max(1, min(wanted, acc - 1, weights - 1, c.accumulator.stat_rows // t.rows - 1, t.heads))

    def _unit(self, head: int, block: int) -> Iterator[None]:
        """Scores and softmax; then, when asked again, context."""
        b, t = self.builder, self.builder.tiling
        start, rows = b.blocks[block]
        column, within = divmod(head * t.head, self.query.tile_channels)
        inner = within // b.config.word_bytes  # blocks of the tile before this head
        label = f"{self.name}.head{head}[{start}:]"
        stats = Buffer(Space.STATISTICS, rows, label)
        weights = Buffer(Space.SCRATCHPAD, t.keys // b.config.word_bytes * rows, f"{label}.weights")
        scores = self._scores(label, block, column, inner, stats)
        b.add(self._softmax(label, block, scores, stats, weights))
        yield
        acc = self._context(label, block, column, inner, weights)
        out, stride = self.context.tiles[block, column], self.context.stride(block)
        fields = b.post_fields(acc, 0, rows, t.head, stats) | {
            "row_factor": 1,
            "out_address": out.at(inner * stride),
            "out_stride": stride,
        }
        target = Access(out, inner * stride, rows, stride, t.head // b.config.word_bytes)
        b.add(Step(Opcode.REQUANT, fields, [acc.whole(), stats.whole()], [target], f"{label}.context"))

    def _scores(self, label: str, block: int, column: int, inner: int, stats: Buffer) -> Buffer:
        """Q.K^T, a tile of keys at a time, with the rows' maxima."""
        b, t, c = self.builder, self.builder.tiling, self.builder.config
        start, rows = b.blocks[block]
        scores = b.acc(rows, t.keys, f"{label}.scores")
        q, q_stride = self.query.tiles[block, column], self.query.stride(block)
        for tile, (k0, keys) in enumerate(spans(t.tokens, self.key.tile_rows)):
            k, k_stride = self.key.tiles[tile, column], self.key.stride(tile)
            target = Access(scores, b.acc_rows(rows, k0), b.acc_rows(rows, round_up(keys, t.step)))
            fields = {
                "transposed": 1,
                "maxima": 1,
                "maxima_init": int(tile == 0),
                "a_address": q.at(inner * q_stride),
                "a_stride": q_stride,
                "b_address": k.at(inner * k_stride),
                "b_stride": k_stride,
                "acc_address": scores.at(target.start),
                "acc_stride": rows,
                "m": rows,
                "n_tiles": round_up(keys, t.step) // c.array.columns,
                "k_tiles": t.head // c.array.rows,
                "stat_row": stats.at(),
                **self._mask(k0, start),
            }
            b.add(Step(Opcode.MATMUL, fields, [q.whole(), k.whole()], [target, stats.whole()], f"{label}.scores"))
        return scores

    def _mask(self, k0: int, start: int) -> dict[str, int | Ref]:
        """Mask of columns from key `k0` on for rows from `start` on."""
        mask: dict[str, int | Ref] = {"length": max(0, self.length - k0), "causal": int(self.causal)}
        return mask | ({"diagonal": start - k0} if self.causal else {})

    def _softmax(self, label: str, block: int, scores: Buffer, stats: Buffer, weights: Buffer) -> Step:
        start, rows = self.builder.blocks[block]
        fields = self.builder.post_fields(scores, 0, rows, self.builder.tiling.keys, stats) | self._mask(0, start)
        fields |= {
            "first": 1,
            "last": 1,
            "out_address": weights.at(),
            "out_stride": rows,
            "mult": self.layer.score[0],
            "shift": self.layer.score[1],
            "mant": self.layer.context[0],
            "mant_shift": self.layer.context[1],
        }
        writes = [weights.whole(), stats.whole()]
        return Step(Opcode.EXP, fields, [scores.whole(), stats.whole()], writes, f"{label}.softmax")

    def _context(self, label: str, block: int, column: int, inner: int, weights: Buffer) -> Buffer:
        """P.V, a tile of keys at a time."""
        b, t, c = self.builder, self.builder.tiling, self.builder.config
        rows = b.blocks[block][1]
        acc = b.acc(rows, t.head, f"{label}.context")
        for tile, (k0, keys) in enumerate(spans(t.tokens, self.value.tile_rows)):
            v, v_stride = self.value.tiles[tile, column], self.value.stride(tile)
            k_tiles = round_up(keys, c.array.rows) // c.array.rows
            source = Access(weights, k0 // c.word_bytes * rows, k_tiles * rows)
            fields: dict[str, int | Ref] = {
                "unsigned_a": 1,
                "accumulate": int(tile > 0),
                "a_address": weights.at(source.start),
                "a_stride": rows,
                "b_address": v.at(inner * v_stride),
                "b_stride": v_stride,
                "acc_address": acc.at(),
                "acc_stride": rows,
                "m": rows,
                "n_tiles": t.head // c.array.columns,
                "k_tiles": k_tiles,
            }
            reads = [source, v.whole()] + ([acc.whole()] if tile else [])
            b.add(Step(Opcode.MATMUL, fields, reads, [acc.whole()], f"{label}.context"))
        return acc
