"""Linear parts: weights in chunks, matmuls, requantisation to int8."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from celosia.hw.isa import Activation, Opcode
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.constants import pad, pad_heads, requant_records
from celosia.sw.compiler.mapping import Tiling
from celosia.sw.compiler.sizes import tile_words
from celosia.sw.compiler.tensors import Part, Tensor, parts, round_up, spans
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
class Piece:
    """Results in the accumulator: rows `part`, `outputs` outputs from `first` on.

    `records`: where the outputs' parameter records are, if they came with the weights.
    """

    part: Part
    first: int
    outputs: int
    acc: Buffer
    records: Ref | None = None


Finish = Callable[[Piece], None]


@dataclass(frozen=True)
class Target:
    """Where int8 results go: tensor `out`, by way of `activation` with `constants`."""

    out: Tensor
    activation: Activation = Activation.NONE
    constants: int = 0


@dataclass(frozen=True)
class LinearLowering:
    """Steps of one linear part on `x`.

    `resident`: weights that are asked for again may keep their place in the scratchpad. `records`: the parameter
    records of a requantisation travel with the weights.
    """

    builder: Builder
    linear: Linear
    x: Tensor
    resident: bool = False
    records: bool = True
    _chunks: dict[tuple[int, int], Buffer] = field(default_factory=dict)

    def requantise(self, rows: Sequence[Part], first: int, outputs: int, to: Target) -> None:
        """int8 results of a block: `rows`, `outputs` outputs from `first` on."""
        width = self.builder.tiling.outputs(to.out.tile_channels)
        self.block(rows, first, outputs, width, lambda piece: self._requant(piece, to))

    def block(self, rows: Sequence[Part], first: int, outputs: int, width: int, finish: Finish) -> None:
        """Matmuls of a block in pieces of `width` outputs; `finish` adds what follows a piece when it is complete."""
        for some in [[part] for part in rows] if self.resident else [rows]:
            for n0, n in spans(outputs, width) if self.resident else [(0, outputs)]:
                block = Block(self, some, first + n0, n, width, finish)
                for column in range(self.x.columns):
                    block.add(column)

    def accumulate(self, accs: dict[Part, Buffer], offset: int, first: int, outputs: int, column: int) -> Ref:
        """Add the product of tile column `column` of `x` and a chunk of weights to `accs`, from output `offset` on.

        Where the records of these outputs are, if `column` is the last.
        """
        chunk = self._chunk(first, outputs, column)
        for part, acc in accs.items():
            self._matmul(part, column, chunk, outputs, acc, self.builder.acc_rows(part.rows, offset))
        return chunk.at(tile_words(self.builder.config, outputs, self.x.width(column)))

    def _requant(self, piece: Piece, to: Target) -> None:
        """A step for each row of tiles of the output that the piece's rows lie in."""
        assert piece.records is not None
        b, part, out, chunk = self.builder, piece.part, to.out, piece.records.buffer
        column, within = divmod(piece.first, out.tile_channels)
        block, blocks = within // b.config.word_bytes, piece.outputs // b.config.word_bytes
        columns = piece.outputs // b.config.array.columns
        for some in parts(part.start, part.rows, out.tile_rows):
            offset = some.start - part.start
            fields = b.post_fields(piece.acc, offset, some.rows, piece.outputs) | {
                "acc_stride": part.rows,
                "activation": to.activation.value,
                "constants": to.constants,
                "parameters": piece.records,
                "out_address": out.at(some, column, block),
                "out_stride": out.stride(some.tile),
            }
            reads = [
                Access(piece.acc, offset, some.rows, part.rows, columns),
                Access(chunk, piece.records.offset, chunk.size - piece.records.offset),
            ]
            frees = piece.acc if offset + some.rows == part.rows else None
            writes = [out.access(some, column, block, blocks)]
            b.add(Step(Opcode.REQUANT, fields, reads, writes, self.linear.key, frees))

    def _chunk(self, n0: int, n: int, column: int) -> Buffer:
        """Weights of outputs n0 ... for tile column `column` of `x`; behind the last column's the outputs' records."""
        if (n0, column) in self._chunks:
            return self._chunks[n0, column]
        constants, linear = self.builder.constants, self.linear
        k0 = column * self.x.tile_channels
        k = self.x.width(column)
        records = self.records and column == self.x.columns - 1

        def make() -> np.ndarray:
            weights = constants.weights(linear.weight[n0 : n0 + n, k0 : k0 + k])
            return np.concatenate([weights, constants.grouped(linear.records[n0 : n0 + n])]) if records else weights

        label = f"{linear.key}[{n0}:,{k0}:]"
        chunk = constants.buffer((linear.key, n0, k0), make, label, stream=not self.resident)
        if self.resident:
            self._chunks[n0, column] = chunk
        return chunk

    def _matmul(self, part: Part, column: int, chunk: Buffer, outputs: int, acc: Buffer, offset: int) -> None:
        """acc[offset:] (+)= rows of one tile of `x` times one chunk of weights."""
        b, x = self.builder, self.x
        n_tiles = outputs // b.config.array.columns
        k_tiles = x.width(column) // b.config.array.rows
        fields: dict[str, int | Ref] = {
            "transposed": 1,
            "accumulate": int(column > 0),
            "a_address": x.at(part, column),
            "a_stride": x.stride(part.tile),
            "b_address": chunk.at(),
            "b_stride": outputs,
            "acc_address": acc.at(offset),
            "acc_stride": part.rows,
            "m": part.rows,
            "n_tiles": n_tiles,
            "k_tiles": k_tiles,
        }
        target = Access(acc, offset, n_tiles * part.rows)
        reads = [x.access(part, column), Access(chunk, 0, k_tiles * outputs)] + ([target] if column else [])
        b.add(Step(Opcode.MATMUL, fields, reads, [target], self.linear.key))


class Block:
    """Results of `rows` x `outputs` outputs from `first` on, in pieces of `width` outputs, as they are summed up.

    `finish` adds what follows a piece when it is complete.
    """

    def __init__(
        self, lowering: LinearLowering, rows: Sequence[Part], first: int, outputs: int, width: int, finish: Finish
    ) -> None:
        self.lowering, self.finish = lowering, finish
        label = f"{lowering.linear.key}[{first}:]"
        self.pieces = [
            (first + n0, n, {part: lowering.builder.acc(part.rows, n, label) for part in rows})
            for n0, n in spans(outputs, width)
        ]
        self.chunk = {n: lowering.builder.tiling.outputs(n) for _, n, _ in self.pieces}

    def add(self, column: int) -> None:
        """Add the products of one tile column of the operand; columns come in order."""
        for first, outputs, accs in self.pieces:
            for n0, n in spans(outputs, self.chunk[outputs]):
                records = self.lowering.accumulate(accs, n0, first + n0, n, column)
            if column == self.lowering.x.columns - 1:
                for part, acc in accs.items():
                    self.finish(Piece(part, first, outputs, acc, records))


def load_table(builder: Builder, name: str, table: np.ndarray) -> None:
    """Load the activation table."""
    buffer = builder.constants.buffer(name, lambda: table.view(np.uint8), name)
    builder.add(Step(Opcode.TABLE, {"parameters": buffer.at()}, [buffer.whole()], [], name))
