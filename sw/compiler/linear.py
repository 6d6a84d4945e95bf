"""Linear parts: weights in chunks, matmuls, requantisation to int8."""

from dataclasses import dataclass

import numpy as np

from celosia.hw.isa import Activation, Opcode
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.constants import pad, pad_heads, requant_records
from celosia.sw.compiler.tensors import Tensor, round_up, spans
from celosia.sw.compiler.tiling import Tiling
from celosia.sw.model.quantised import QuantisedLinear


@dataclass(frozen=True)
class Linear:
    """A linear part with its channels padded: `weight` [out, in], records [out]. `key` names it among the constants."""

    key: str
    weight: np.ndarray
    records: np.ndarray


def padded_linear(
    tiling: Tiling, key: str, part: QuantisedLinear, heads_in: bool = False, heads_out: bool = False
) -> Linear:
    """Pad a linear part to the tiling; `heads_in`, `heads_out`: that side is padded head by head."""
    t = tiling
    weight, records = part.weight, requant_records(part.bias, part.mult, part.shift)
    if heads_out:
        weight, records = (pad_heads(array, t.heads, t.head, 0) for array in (weight, records))
    else:
        weight, records = (pad(array, round_up(len(array), t.step), 0) for array in (weight, records))
    weight = pad_heads(weight, t.heads, t.head, 1) if heads_in else pad(weight, round_up(weight.shape[1], t.step), 1)
    return Linear(key, weight, records)


@dataclass(frozen=True)
class LinearLowering:
    """Steps of linear parts."""

    builder: Builder

    def matmul_requant(
        self,
        linear: Linear,
        x: Tensor,
        block: int,
        out: Tensor,
        column: int,
        activation: Activation = Activation.NONE,
        constants: int = 0,
    ) -> None:
        """One tile column of int8 `out` for one block of rows; `constants`: of the activation."""
        b = self.builder
        rows, first, width = x.height(block), column * out.tile_channels, out.width(column)
        outputs = b.tiling.outputs(width)
        tile_row, row = divmod(b.blocks[block][0], out.tile_rows)
        tile, stride = out.tiles[tile_row, column], out.stride(tile_row)
        for n0 in range(first, first + width, outputs):
            acc = b.acc(rows, outputs, f"{linear.key}[{n0}:]")
            for k in range(x.columns):
                chunk = self._chunk(linear, n0, outputs, k * x.tile_channels, x.width(k), k == x.columns - 1)
                self._matmul(linear, x, block, k, chunk, acc, outputs, k > 0)
            at = (n0 - first) // b.config.word_bytes * stride + row
            weights = outputs * x.width(x.columns - 1) // b.config.word_bytes
            fields = b.post_fields(acc, 0, rows, outputs) | {
                "activation": activation.value,
                "constants": constants,
                "parameters": chunk.at(weights),
                "out_address": tile.at(at),
                "out_stride": stride,
            }
            reads = [acc.whole(), Access(chunk, weights, chunk.size - weights)]
            writes = [Access(tile, at, rows, stride, outputs // b.config.word_bytes)]
            b.add(Step(Opcode.REQUANT, fields, reads, writes, linear.key))

    def matmul_column(self, linear: Linear, x: Tensor, block: int, column: int, acc: Buffer) -> None:
        """Add the product of one tile column of `x` with all outputs to `acc`."""
        b = self.builder
        for n0, outputs in spans(len(linear.weight), b.tiling.outputs(b.tiling.chunk_outputs)):
            chunk = self._chunk(linear, n0, outputs, column * x.tile_channels, x.width(column), False)
            offset = b.acc_rows(x.height(block), n0)
            self._matmul(linear, x, block, column, chunk, acc, outputs, column > 0, offset)

    def load_table(self, name: str, table: np.ndarray) -> None:
        """Load the activation table."""
        buffer = self.builder.constants.buffer(name, lambda: table.view(np.uint8), name)
        self.builder.add(Step(Opcode.TABLE, {"parameters": buffer.at()}, [buffer.whole()], [], name))

    def _chunk(self, linear: Linear, n0: int, n: int, k0: int, k: int, records: bool) -> Buffer:
        """Weights of outputs n0 ... and inputs k0 ..., followed by the outputs' records when `records`."""
        constants = self.builder.constants

        def make() -> np.ndarray:
            pieces = [constants.weights(linear.weight[n0 : n0 + n, k0 : k0 + k])]
            pieces += [constants.grouped(linear.records[n0 : n0 + n])] if records else []
            return np.concatenate(pieces)

        return constants.buffer((linear.key, n0, k0, records), make, f"{linear.key}[{n0}:,{k0}:]")

    def _matmul(
        self,
        linear: Linear,
        x: Tensor,
        block: int,
        column: int,
        chunk: Buffer,
        acc: Buffer,
        outputs: int,
        accumulate: bool,
        offset: int = 0,
    ) -> None:
        """acc[offset:] (+)= one tile of `x` times one chunk of weights."""
        b = self.builder
        rows, tile = x.height(block), x.tiles[block, column]
        n_tiles = outputs // b.config.array.columns
        k_tiles = x.width(column) // b.config.array.rows
        fields: dict[str, int | Ref] = {
            "transposed": 1,
            "accumulate": int(accumulate),
            "a_address": tile.at(),
            "a_stride": x.stride(block),
            "b_address": chunk.at(),
            "b_stride": outputs,
            "acc_address": acc.at(offset),
            "acc_stride": rows,
            "m": rows,
            "n_tiles": n_tiles,
            "k_tiles": k_tiles,
        }
        target = Access(acc, offset, n_tiles * rows)
        reads = [tile.whole(), Access(chunk, 0, k_tiles * outputs)] + ([target] if accumulate else [])
        b.add(Step(Opcode.MATMUL, fields, reads, [target], linear.key))
