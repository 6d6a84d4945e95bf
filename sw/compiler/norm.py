"""Residual add and LayerNorm of rows, tile column by tile column.

Where whole rows of results fit into the accumulator, `NormLowering` normalises them there, right behind the matmul.
Where they do not, `SumLowering` brings the sums of residual and results to the scratchpad, and `NormLowering.alone`
takes them from there in a pass of its own.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from celosia.hw.isa import Opcode
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.constants import norm_records, pad
from celosia.sw.compiler.linear import Linear, Piece
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Part, Tensor, spans
from celosia.sw.model.quantised import QuantisedNorm

UNIT_EPS = 1 << 20
"""`eps` with which a row of zeros that counts as one channel gets mean 0, row factor 2^16 and shift 24.

By these a normalised value is the value itself (docs/numerics.md).
"""


@dataclass(frozen=True)
class ResidualAdd:
    """`residual` plus what a linear part left in the accumulator; `linear` None: the residual alone."""

    builder: Builder
    name: str
    linear: Linear | None
    residual: Tensor

    def step(self, piece: Piece, stats: Buffer, **constants: int) -> Step:
        """For one tile column of some rows; `constants`: fields of the row statistics."""
        b, residual, part, acc = self.builder, self.residual, piece.part, piece.acc
        column = piece.first // residual.tile_channels
        fields = b.post_fields(acc, 0, part.rows, piece.outputs, stats) | constants
        fields |= {
            "no_acc": int(self.linear is None),
            "residual_address": residual.at(part, column),
            "residual_stride": residual.stride(part.tile),
        }
        reads = [residual.access(part, column), stats.whole()]
        if self.linear is not None:
            some = self.linear.records[piece.first : piece.first + piece.outputs]
            records = b.constants.buffer(
                (self.name, "records", piece.first), lambda: b.constants.grouped(some), f"{self.name}.records"
            )
            fields["parameters"] = records.at()
            reads += [records.whole(), acc.whole()]
        return Step(Opcode.RESIDUAL, fields, reads, [acc.whole(), stats.whole()], self.name)


@dataclass(frozen=True)
class NormLowering:
    """Steps of one LayerNorm: int8 and int16 outputs of `residual` plus what a linear part left in the accumulator.

    `linear` None: of the residual alone. The steps are deferred: see `Builder.add`.
    """

    builder: Builder
    name: str
    norm: QuantisedNorm
    linear: Linear | None
    residual: Tensor
    out8: Tensor
    out16: Tensor
    _pieces: list[Piece] = field(default_factory=list)
    _stats: dict[Part, Buffer] = field(default_factory=dict)

    def alone(self, height: int) -> None:
        """All rows, `height` at once."""
        b = self.builder
        for (part,) in b.tiling.blocks(height):
            b.reserve(b.acc_rows(part.rows, self.residual.channels))
            for first, outputs in spans(self.residual.channels, self.residual.tile_channels):
                self.complete(Piece(part, first, outputs, b.acc(part.rows, outputs, self.name)))
            self.normalise()

    def complete(self, piece: Piece) -> None:
        """A tile column of some rows is complete; columns come in order."""
        norm, part = self.norm, piece.part
        if part not in self._stats:
            self._stats[part] = Buffer(Space.STATISTICS, part.rows, self.name)
        add = ResidualAdd(self.builder, self.name, self.linear, self.residual)
        step = add.step(
            piece,
            self._stats[part],
            first=int(piece.first == 0),
            last=int(piece.first + piece.outputs == self.residual.channels),
            channels=norm.n,
            inverse=norm.inv,
            inverse_shift=norm.inv_shift,
            eps=norm.eps,
        )
        self.builder.defer(step)
        self._pieces.append(piece)

    def normalise(self) -> None:
        """All columns are complete. Pieces leave the accumulator in the order in which they were completed."""
        for piece in self._pieces:
            self.builder.defer(self._norm(piece, self._stats[piece.part]))
        self._pieces.clear()
        self._stats.clear()

    @cached_property
    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Records of the int8 and of the int16 output, for all channels."""
        norm, hidden = self.norm, self.builder.tiling.hidden
        narrow, wide = norm_records(norm.gamma8, norm.beta8), norm_records(norm.gamma16, norm.beta16)
        return pad(narrow, hidden, 0), pad(wide, hidden, 0)

    def _norm(self, piece: Piece, stats: Buffer) -> Step:
        norm, b, part, acc = self.norm, self.builder, piece.part, piece.acc
        column = piece.first // self.residual.tile_channels
        channels = slice(piece.first, piece.first + piece.outputs)
        records = b.constants.buffer(
            (self.name, "affine", channels.start),
            lambda: b.constants.grouped(*(array[channels] for array in self._affine)),
            f"{self.name}.affine",
        )
        fields = b.post_fields(acc, 0, part.rows, piece.outputs, stats) | {
            "out8": 1,
            "out16": 1,
            "parameters": records.at(),
            "out8_address": self.out8.at(part, column),
            "out8_stride": self.out8.stride(part.tile),
            "out16_address": self.out16.at(part, column),
            "out16_stride": self.out16.stride(part.tile),
            "shift8": norm.shift8,
            "shift16": norm.shift16,
        }
        writes = [self.out8.access(part, column), self.out16.access(part, column)]
        reads = [acc.whole(), stats.whole(), records.whole()]
        return Step(Opcode.NORM, fields, reads, writes, self.name, acc)


@dataclass(frozen=True)
class SumLowering:
    """Steps that bring `residual` plus what a linear part left in the accumulator to `out`, int16.

    NORM moves the sums, by statistics that leave them as they are.
    """

    builder: Builder
    name: str
    linear: Linear
    residual: Tensor
    out: Tensor

    def __post_init__(self) -> None:
        self._unit  # noqa: B018  # its step must stand before those of the matmuls

    def complete(self, piece: Piece) -> None:
        """A tile column of some rows is complete."""
        b, part, acc, stats = self.builder, piece.part, piece.acc, self._unit
        column = piece.first // self.out.tile_channels
        sums = Buffer(Space.STATISTICS, part.rows, self.name)  # of no use: the rows' own come in a later pass
        add = ResidualAdd(b, self.name, self.linear, self.residual)
        b.add(add.step(piece, sums, first=1))
        records = self._records(piece.outputs)
        fields = b.post_fields(acc, 0, part.rows, piece.outputs, stats) | {
            "out16": 1,
            "parameters": records.at(),
            "out16_address": self.out.at(part, column),
            "out16_stride": self.out.stride(part.tile),
        }
        reads = [acc.whole(), Access(stats, 0, part.rows), records.whole()]
        b.add(Step(Opcode.NORM, fields, reads, [self.out.access(part, column)], self.name, acc))

    @cached_property
    def _unit(self) -> Buffer:
        """Statistics of as many rows as a tile has, by which normalising changes nothing: those of zeros."""
        b, rows = self.builder, self.builder.tiling.rows
        stats = Buffer(Space.STATISTICS, rows, f"{self.name}.unit")
        # As much as a piece of results, lest it leave a hole that none of them fits into.
        acc = b.acc(rows, b.tiling.channels, f"{self.name}.unit")
        zeros = b.constants.buffer(
            ("zeros", rows), lambda: np.zeros(2 * rows * b.config.word_bytes, np.uint8), f"{self.name}.unit"
        )
        fields: dict[str, int | Ref] = b.post_fields(acc, 0, rows, b.config.post.lanes, stats) | {
            "no_acc": 1,
            "first": 1,
            "last": 1,
            "residual_address": zeros.at(),
            "channels": 1,
            "eps": UNIT_EPS,
        }
        writes = [acc.whole(), stats.whole()]
        b.add(Step(Opcode.RESIDUAL, fields, [zeros.whole(), stats.whole()], writes, f"{self.name}.unit", acc))
        return stats

    def _records(self, width: int) -> Buffer:
        """Records of an output that is the normalised value."""
        constants = self.builder.constants

        def make() -> np.ndarray:
            gamma, beta = np.ones(width, np.int16), np.zeros(width, np.int32)
            return constants.grouped(norm_records(0 * gamma, beta), norm_records(gamma, beta))

        return constants.buffer(("unit", width), make, f"{self.name}.unit")
