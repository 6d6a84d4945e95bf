"""From a quantised encoder to steps: the operations of each layer on tiles, in an order that keeps the array busy.

Work on one block of rows never waits for POST where it can be helped: attention runs some units ahead of its softmax,
the two halves of the FFN are interleaved chunk by chunk, and the LayerNorm of one block stands between the matmuls of
the next.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from celosia.hw.config import Config
from celosia.hw.isa import Activation, Opcode, Unit
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.constants import Constants, norm_records, requant_records
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Tensor, round_up, spans
from celosia.sw.compiler.tiling import Tiling
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer, QuantisedLinear, QuantisedNorm

ROW_UNIT_CYCLES = 30
"""Cycles that POST's row unit takes for a row; only used to decide how far attention runs ahead."""


@dataclass(frozen=True)
class Linear:
    """A linear part with its channels padded: `weight` [out, in], records [out]. `key` names it among the constants."""

    key: str
    weight: np.ndarray
    records: np.ndarray


def _pad_heads(array: np.ndarray, heads: int, head: int, axis: int) -> np.ndarray:
    """Pad every head's channels on `axis` to `head`."""
    shape = array.shape
    split = array.reshape(*shape[:axis], heads, shape[axis] // heads, *shape[axis + 1 :])
    widths = [(0, 0)] * split.ndim
    widths[axis + 1] = (0, head - split.shape[axis + 1])
    return np.pad(split, widths).reshape(*shape[:axis], heads * head, *shape[axis + 1 :])


def _pad(array: np.ndarray, size: int, axis: int) -> np.ndarray:
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


class Lowering:
    """Builds the steps of an encoder for sequences of `tiling.tokens` rows, of which the first `length` are attended
    to."""

    def __init__(self, config: Config, encoder: QuantisedEncoder, tiling: Tiling, length: int, causal: bool) -> None:
        self.config, self.encoder, self.tiling = config, encoder, tiling
        self.length, self.causal = length, causal
        self.constants = Constants(config)
        self.steps: list[Step] = []
        self.deferred: deque[Step] = deque()
        self.blocks = list(spans(tiling.tokens, tiling.rows))

    def build(self) -> tuple[Tensor, Tensor]:
        """All steps; the input tensor (int16 embedding sums) and the output tensor (int16)."""
        source = self.residual_tensor("input")
        x8, x16 = self.embed(source)
        for index, layer in enumerate(self.encoder.layers):
            x8, x16 = self.layer(f"layer{index}", layer, x8, x16)
        self._flush()
        return source, x16

    # Tensors

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
        return Buffer(Space.ACCUMULATOR, rows * channels // self.config.array.columns, label)

    # Layers

    def embed(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """LayerNorm of the embedding sums."""
        x8, x16 = self.int8_tensor("embedding.x8", self.tiling.hidden), self.residual_tensor("embedding.x16")
        for block in range(len(self.blocks)):
            acc = self.acc(source.height(block), self.tiling.hidden, "embedding")
            self.norm("embedding", block, acc, None, source, self.encoder.embedding_norm, x8, x16)
        return x8, x16

    def layer(self, name: str, layer: QuantisedLayer, x8: Tensor, x16: Tensor) -> tuple[Tensor, Tensor]:
        """One encoder layer."""
        query, key, value = self.projections(name, layer, x8)
        context = self.attention(name, layer, query, key, value)
        mid8, mid16 = self.int8_tensor(f"{name}.mid8", self.tiling.hidden), self.residual_tensor(f"{name}.mid16")
        output = self.linear(f"{name}.attention_output", layer.attention_output, heads_in=True)
        for block in range(len(self.blocks)):
            acc = self.acc(x16.height(block), self.tiling.hidden, f"{name}.attention_output")
            for column in range(context.columns):
                self.matmul_column(output, context, block, column, acc)
            self.norm(f"{name}.attention_norm", block, acc, output, x16, layer.attention_norm, mid8, mid16)
        out8, out16 = self.int8_tensor(f"{name}.out8", self.tiling.hidden), self.residual_tensor(f"{name}.out16")
        for block in range(len(self.blocks)):
            self.feed_forward(name, layer, block, mid8, mid16, out8, out16)
        return out8, out16

    def linear(self, key: str, part: QuantisedLinear, heads_in: bool = False, heads_out: bool = False) -> Linear:
        """Pad a linear part to the tiling; `heads_in`, `heads_out`: that side is padded head by head."""
        t = self.tiling
        weight, records = part.weight, requant_records(part.bias, part.mult, part.shift)
        if heads_out:
            weight, records = _pad_heads(weight, t.heads, t.head, 0), _pad_heads(records, t.heads, t.head, 0)
        else:
            weight, records = (_pad(array, round_up(len(array), t.step), 0) for array in (weight, records))
        weight = (
            _pad_heads(weight, t.heads, t.head, 1) if heads_in else _pad(weight, round_up(weight.shape[1], t.step), 1)
        )
        return Linear(key, weight, records)

    def projections(self, name: str, layer: QuantisedLayer, x8: Tensor) -> list[Tensor]:
        """Q, K and V."""
        parts = [("query", layer.query, False), ("key", layer.key, True), ("value", layer.value, True)]
        tensors = [self.heads_tensor(f"{name}.{part}", operand) for part, _, operand in parts]
        linears = [self.linear(f"{name}.{part}", data, heads_out=True) for part, data, _ in parts]
        for block in range(len(self.blocks)):
            for tensor, linear in zip(tensors, linears, strict=True):
                for column in range(tensor.columns):
                    self.matmul_requant(linear, x8, block, tensor, column)
        return tensors

    def feed_forward(
        self, name: str, layer: QuantisedLayer, block: int, x8: Tensor, x16: Tensor, out8: Tensor, out16: Tensor
    ) -> None:
        """FFN of one block of rows; the second matmul follows the first by one chunk of inner channels."""
        ffn1, ffn2 = self.linear(f"{name}.ffn1", layer.ffn1), self.linear(f"{name}.ffn2", layer.ffn2)
        if block == 0:
            self.load_table(name, layer)
        inner = self.int8_tensor(f"{name}.inner{block}", self.tiling.ffn)
        acc = self.acc(x16.height(block), self.tiling.hidden, f"{name}.ffn2")
        for column in range(inner.columns + 1):
            if column < inner.columns:
                self.matmul_requant(ffn1, x8, block, inner, column, Activation.TABLE)
            if column:
                self.matmul_column(ffn2, inner, block, column - 1, acc)
        self.norm(f"{name}.output_norm", block, acc, ffn2, x16, layer.output_norm, out8, out16)

    def load_table(self, name: str, layer: QuantisedLayer) -> None:
        """Load the activation table."""
        table = self.constants.buffer(f"{name}.table", lambda: layer.gelu_table.view(np.uint8), f"{name}.table")
        self._add(Step(Opcode.TABLE, {"parameters": table.at()}, [table.whole()], [], f"{name}.table"))

    # Matmuls

    def chunk(self, linear: Linear, n0: int, n: int, k0: int, k: int, records: bool) -> Buffer:
        """Weights of outputs n0 ... and inputs k0 ..., followed by the outputs' records when `records`."""

        def make() -> np.ndarray:
            pieces = [self.constants.weights(linear.weight[n0 : n0 + n, k0 : k0 + k])]
            pieces += [self.constants.grouped(linear.records[n0 : n0 + n])] if records else []
            return np.concatenate(pieces)

        return self.constants.buffer((linear.key, n0, k0, records), make, f"{linear.key}[{n0}:,{k0}:]")

    def matmul_requant(
        self, linear: Linear, x: Tensor, block: int, out: Tensor, column: int, activation: Activation = Activation.NONE
    ) -> None:
        """One tile column of int8 `out` for one block of rows."""
        rows, start = x.height(block), self.blocks[block][0]
        first, width = column * out.tile_channels, out.width(column)
        outputs = self.tiling.outputs(width)
        tile_row, row = divmod(start, out.tile_rows)
        tile = out.tiles[tile_row, column]
        for n0 in range(first, first + width, outputs):
            acc = self.acc(rows, outputs, f"{linear.key}[{n0}:]")
            for k in range(x.columns):
                last = k == x.columns - 1
                chunk = self.chunk(linear, n0, outputs, k * x.tile_channels, x.width(k), last)
                self.matmul(x, block, k, chunk, acc, outputs, k > 0, linear.key)
            stride = out.stride(tile_row)
            blocks = outputs // self.config.word_bytes
            at = (n0 - first) // self.config.word_bytes * stride + row
            weights = outputs * x.width(x.columns - 1) // self.config.word_bytes
            fields = self._post(acc, 0, rows, outputs) | {
                "activation": activation.value,
                "parameters": chunk.at(weights),
                "out_address": tile.at(at),
                "out_stride": stride,
            }
            reads = [acc.whole(), Access(chunk, weights, chunk.size - weights)]
            writes = [Access(tile, at, rows, stride, blocks)]
            self._add(Step(Opcode.REQUANT, fields, reads, writes, linear.key))

    def matmul_column(self, linear: Linear, x: Tensor, block: int, column: int, acc: Buffer) -> None:
        """Add the product of one tile column of `x` with all outputs to `acc`."""
        total = linear.weight.shape[0]
        rows = x.height(block)
        for n0, outputs in spans(total, self.tiling.outputs(self.tiling.chunk_outputs)):
            chunk = self.chunk(linear, n0, outputs, column * x.tile_channels, x.width(column), False)
            offset = n0 // self.config.array.columns * rows
            self.matmul(x, block, column, chunk, acc, outputs, column > 0, linear.key, offset)

    def matmul(
        self,
        x: Tensor,
        block: int,
        column: int,
        chunk: Buffer,
        acc: Buffer,
        outputs: int,
        accumulate: bool,
        label: str,
        offset: int = 0,
    ) -> None:
        """acc[offset:] (+)= one tile of `x` times one chunk of weights."""
        rows, tile = x.height(block), x.tiles[block, column]
        n_tiles = outputs // self.config.array.columns
        k_tiles = x.width(column) // self.config.array.rows
        fields = {
            "transposed": 1, "accumulate": int(accumulate),
            "a_address": tile.at(), "a_stride": x.stride(block),
            "b_address": chunk.at(), "b_stride": outputs,
            "acc_address": acc.at(offset), "acc_stride": rows,
            "m": rows, "n_tiles": n_tiles, "k_tiles": k_tiles,
        }  # fmt: skip
        target = Access(acc, offset, n_tiles * rows)
        reads = [tile.whole(), Access(chunk, 0, k_tiles * outputs)] + ([target] if accumulate else [])
        self._add(Step(Opcode.MATMUL, fields, reads, [target], label))

    # LayerNorm

    def norm(
        self,
        name: str,
        block: int,
        acc: Buffer,
        linear: Linear | None,
        residual: Tensor,
        norm: QuantisedNorm,
        out8: Tensor,
        out16: Tensor,
    ) -> None:
        """Residual add and LayerNorm of one block, tile by tile; without `linear` the residual alone is normalised."""
        stats = Buffer(Space.STATISTICS, residual.height(block), name)
        for column in range(residual.columns):
            self._add(self._residual(name, block, column, acc, linear, residual, norm, stats), defer=True)
        affine = [
            _pad(norm_records(gamma, beta), self.tiling.hidden, 0)
            for gamma, beta in ((norm.gamma8, norm.beta8), (norm.gamma16, norm.beta16))
        ]
        for column in range(residual.columns):
            step = self._norm(name, block, column, acc, affine, norm, stats, out8, out16)
            self._add(step, defer=True)

    def _residual(
        self,
        name: str,
        block: int,
        column: int,
        acc: Buffer,
        linear: Linear | None,
        residual: Tensor,
        norm: QuantisedNorm,
        stats: Buffer,
    ) -> Step:
        rows, width, first = residual.height(block), residual.width(column), column * residual.tile_channels
        tile, offset = residual.tiles[block, column], first // self.config.array.columns * rows
        target = Access(acc, offset, width // self.config.array.columns * rows)
        fields = self._post(acc, offset, rows, width, stats) | {
            "no_acc": int(linear is None),
            "first": int(column == 0), "last": int(column == residual.columns - 1),
            "residual_address": tile.at(), "residual_stride": residual.stride(block),
            "channels": norm.n, "inverse": norm.inv, "inverse_shift": norm.inv_shift, "eps": norm.eps,
        }  # fmt: skip
        reads = [tile.whole(), stats.whole()]
        if linear is not None:
            records = self.constants.buffer(
                (linear.key, "records", first),
                lambda: self.constants.grouped(linear.records[first : first + width]), f"{name}.records",
            )  # fmt: skip
            fields["parameters"] = records.at()
            reads += [records.whole(), target]
        return Step(Opcode.RESIDUAL, fields, reads, [target, stats.whole()], name)

    def _norm(
        self,
        name: str,
        block: int,
        column: int,
        acc: Buffer,
        affine: list[np.ndarray],
        norm: QuantisedNorm,
        stats: Buffer,
        out8: Tensor,
        out16: Tensor,
    ) -> Step:
        first, width, rows = column * out8.tile_channels, out8.width(column), out8.height(block)
        records = self.constants.buffer(
            (name, "affine", first),
            lambda: self.constants.grouped(*(part[first : first + width] for part in affine)), f"{name}.affine",
        )  # fmt: skip
        offset = first // self.config.array.columns * rows
        tile8, tile16 = out8.tiles[block, column], out16.tiles[block, column]
        fields = self._post(acc, offset, rows, width, stats) | {
            "out8": 1, "out16": 1, "parameters": records.at(),
            "out8_address": tile8.at(), "out8_stride": out8.stride(block),
            "out16_address": tile16.at(), "out16_stride": out16.stride(block),
            "shift8": norm.shift8, "shift16": norm.shift16,
        }  # fmt: skip
        reads = [Access(acc, offset, width // self.config.array.columns * rows), stats.whole(), records.whole()]
        return Step(Opcode.NORM, fields, reads, [tile8.whole(), tile16.whole()], name)

    # Attention

    def attention(self, name: str, layer: QuantisedLayer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Context of all heads. A unit is one head of one block of queries; scores run `depth` units ahead of P.V."""
        context = self.heads_tensor(f"{name}.context", operand=False)
        units = [(head, block) for head in range(self.tiling.heads) for block in range(len(self.blocks))]
        waiting: deque[Iterator[None]] = deque()
        depth = self._depth()
        for head, block in units:
            unit = self.attention_unit(name, layer, head, block, query, key, value, context)
            next(unit)
            waiting.append(unit)
            if len(waiting) > depth:
                next(waiting.popleft(), None)
        for unit in waiting:
            next(unit, None)
        return context

    def _depth(self) -> int:
        """Units in flight that hide the softmax behind the scores of later ones, as far as the memories allow."""
        t, c = self.tiling, self.config
        score = max(t.rows, c.array.columns) * t.keys * t.head // (c.array.rows * c.array.columns)
        softmax = t.rows * t.keys // c.post.lanes + ROW_UNIT_CYCLES * t.rows + 150
        wanted = -(-softmax // score)
        acc = c.acc_rows * 7 // 8 // (t.rows * (t.keys + t.head) // c.array.columns)
        weights = c.scratchpad_words // 2 // (t.rows * t.keys // c.word_bytes)
        return max(1, min(wanted, acc - 1, weights - 1, c.accumulator.stat_rows // t.rows - 1, t.heads))

    def attention_unit(
        self,
        name: str,
        layer: QuantisedLayer,
        head: int,
        block: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        context: Tensor,
    ) -> Iterator[None]:
        """Scores and softmax; then, when asked again, P.V and its requantisation."""
        t, c = self.tiling, self.config
        start, rows = self.blocks[block]
        column, within = divmod(head * t.head, query.tile_channels)
        inner = within // c.word_bytes  # blocks of the tile before this head
        label = f"{name}.head{head}[{start}:]"
        scores, stats = self.acc(rows, t.keys, f"{label}.scores"), Buffer(Space.STATISTICS, rows, label)
        weights = Buffer(Space.SCRATCHPAD, t.keys // c.word_bytes * rows, f"{label}.weights")
        q = query.tiles[block, column]
        for tile, (k0, keys) in enumerate(spans(t.tokens, key.tile_rows)):
            self._scores(label, q, query.stride(block), key, tile, column, inner, k0, keys, start, rows, scores, stats)
        self._add(self._exp(label, layer, start, rows, scores, stats, weights))
        yield
        acc = self.acc(rows, t.head, f"{label}.context")
        for tile, (k0, keys) in enumerate(spans(t.tokens, value.tile_rows)):
            v, k_tiles = value.tiles[tile, column], round_up(keys, c.array.rows) // c.array.rows
            first = k0 // c.word_bytes * rows
            fields = {
                "unsigned_a": 1, "accumulate": int(tile > 0),
                "a_address": weights.at(first), "a_stride": rows,
                "b_address": v.at(inner * value.stride(tile)), "b_stride": value.stride(tile),
                "acc_address": acc.at(), "acc_stride": rows,
                "m": rows, "n_tiles": t.head // c.array.columns, "k_tiles": k_tiles,
            }  # fmt: skip
            reads = [Access(weights, first, k_tiles * rows), v.whole()] + ([acc.whole()] if tile else [])
            self._add(Step(Opcode.MATMUL, fields, reads, [acc.whole()], f"{label}.context"))
        out, stride = context.tiles[block, column], context.stride(block)
        fields = self._post(acc, 0, rows, t.head, stats) | {
            "row_factor": 1, "out_address": out.at(inner * stride), "out_stride": stride,
        }  # fmt: skip
        target = Access(out, inner * stride, rows, stride, t.head // c.word_bytes)
        self._add(Step(Opcode.REQUANT, fields, [acc.whole(), stats.whole()], [target], f"{label}.context"))

    def _scores(
        self,
        label: str,
        q: Buffer,
        q_stride: int,
        key: Tensor,
        tile: int,
        column: int,
        inner: int,
        k0: int,
        keys: int,
        start: int,
        rows: int,
        scores: Buffer,
        stats: Buffer,
    ) -> None:
        """Scores of one block of queries with one tile of keys."""
        c, k_tiles = self.config, self.tiling.head // self.config.array.rows
        n_tiles = round_up(keys, c.array.columns) // c.array.columns
        if k0 + keys == self.tiling.tokens:
            n_tiles = (self.tiling.keys - k0) // c.array.columns
        k, stride = key.tiles[tile, column], key.stride(tile)
        offset = k0 // c.array.columns * rows
        fields = {
            "transposed": 1, "maxima": 1, "maxima_init": int(tile == 0),
            "a_address": q.at(inner * q_stride), "a_stride": q_stride,
            "b_address": k.at(inner * stride), "b_stride": stride,
            "acc_address": scores.at(offset), "acc_stride": rows,
            "m": rows, "n_tiles": n_tiles, "k_tiles": k_tiles, "stat_row": stats.at(),
            **self._mask(k0, start),
        }  # fmt: skip
        target = Access(scores, offset, n_tiles * rows)
        self._add(Step(Opcode.MATMUL, fields, [q.whole(), k.whole()], [target, stats.whole()], f"{label}.scores"))

    def _mask(self, k0: int, start: int) -> dict[str, int | Ref]:
        """Mask of columns from key `k0` on for rows from `start` on."""
        mask: dict[str, int | Ref] = {"length": max(0, self.length - k0), "causal": int(self.causal)}
        return mask | ({"diagonal": start - k0} if self.causal else {})

    def _exp(
        self, label: str, layer: QuantisedLayer, start: int, rows: int, scores: Buffer, stats: Buffer, weights: Buffer
    ) -> Step:
        fields = self._post(scores, 0, rows, self.tiling.keys, stats) | self._mask(0, start) | {
            "first": 1, "last": 1, "out_address": weights.at(), "out_stride": rows,
            "mult": layer.score[0], "shift": layer.score[1],
            "mant": layer.context[0], "mant_shift": layer.context[1],
        }  # fmt: skip
        return Step(
            Opcode.EXP, fields, [scores.whole(), stats.whole()], [weights.whole(), stats.whole()], f"{label}.softmax"
        )

    # Order

    def _post(
        self, acc: Buffer, offset: int, rows: int, channels: int, stats: Buffer | None = None
    ) -> dict[str, int | Ref]:
        """Fields that POST operations share."""
        return {
            "acc_address": acc.at(offset), "acc_stride": rows, "m": rows, "groups": channels // self.config.post.lanes,
            "stat_row": stats.at() if stats else 0,
        }  # fmt: skip

    def _add(self, step: Step, defer: bool = False) -> None:
        """Append a step.

        Deferred ones take turns with the array's steps, so that its queue never stands behind POST's.
        """
        if defer:
            self.deferred.append(step)
            return
        touched = set(step.buffers)
        while any(not touched.isdisjoint(d.buffers) for d in self.deferred):
            self.steps.append(self.deferred.popleft())
        self.steps.append(step)
        if step.unit is Unit.ARRAY and self.deferred:
            self.steps.append(self.deferred.popleft())

    def _flush(self) -> None:
        self.steps.extend(self.deferred)
        self.deferred.clear()
