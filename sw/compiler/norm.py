"""Residual add and LayerNorm of one block of rows, tile by tile."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from celosia.hw.isa import Opcode
from celosia.sw.compiler.buffers import Access, Buffer, Ref, Step
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.constants import norm_records, pad
from celosia.sw.compiler.linear import Linear
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Tensor
from celosia.sw.model.quantised import QuantisedNorm


@dataclass(frozen=True)
class NormLowering:
    """Steps of one LayerNorm: int8 and int16 outputs of `residual` plus what a linear part left in the accumulator.

    `linear` None: of the residual alone.
    """

    builder: Builder
    name: str
    norm: QuantisedNorm
    linear: Linear | None
    residual: Tensor
    out8: Tensor
    out16: Tensor

    def block(self, block: int, acc: Buffer) -> None:
        """One block of rows. The steps are deferred: see `Builder.add`."""
        stats = Buffer(Space.STATISTICS, self.residual.height(block), self.name)
        for make in (self._residual, self._norm):
            for column in range(self.residual.columns):
                self.builder.defer(make(block, column, acc, stats))

    def _piece(self, block: int, column: int, acc: Buffer, stats: Buffer) -> tuple[slice, Access, dict[str, int | Ref]]:
        """Channels, accumulator rows and common fields of one tile."""
        b, rows, width = self.builder, self.residual.height(block), self.residual.width(column)
        first = column * self.residual.tile_channels
        offset = b.acc_rows(rows, first)
        access = Access(acc, offset, b.acc_rows(rows, width))
        return slice(first, first + width), access, b.post_fields(acc, offset, rows, width, stats)

    def _records(self, kind: str, channels: slice, *records: np.ndarray) -> Buffer:
        constants = self.builder.constants
        return constants.buffer(
            (self.name, kind, channels.start),
            lambda: constants.grouped(*(array[channels] for array in records)),
            f"{self.name}.{kind}",
        )

    @cached_property
    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Records of the int8 and of the int16 output, for all channels."""
        norm, hidden = self.norm, self.builder.tiling.hidden
        narrow, wide = norm_records(norm.gamma8, norm.beta8), norm_records(norm.gamma16, norm.beta16)
        return pad(narrow, hidden, 0), pad(wide, hidden, 0)

    def _residual(self, block: int, column: int, acc: Buffer, stats: Buffer) -> Step:
        norm, tile = self.norm, self.residual.tiles[block, column]
        channels, target, fields = self._piece(block, column, acc, stats)
        fields |= {
            "no_acc": int(self.linear is None),
            "first": int(column == 0),
            "last": int(column == self.residual.columns - 1),
            "residual_address": tile.at(),
            "residual_stride": self.residual.stride(block),
            "channels": norm.n,
            "inverse": norm.inv,
            "inverse_shift": norm.inv_shift,
            "eps": norm.eps,
        }
        reads = [tile.whole(), stats.whole()]
        if self.linear is not None:
            records = self._records("records", channels, self.linear.records)
            fields["parameters"] = records.at()
            reads += [records.whole(), target]
        return Step(Opcode.RESIDUAL, fields, reads, [target, stats.whole()], self.name)

    def _norm(self, block: int, column: int, acc: Buffer, stats: Buffer) -> Step:
        norm = self.norm
        channels, source, fields = self._piece(block, column, acc, stats)
        records = self._records("affine", channels, *self._affine)
        tile8, tile16 = self.out8.tiles[block, column], self.out16.tiles[block, column]
        fields |= {
            "out8": 1,
            "out16": 1,
            "parameters": records.at(),
            "out8_address": tile8.at(),
            "out8_stride": self.out8.stride(block),
            "out16_address": tile16.at(),
            "out16_stride": self.out16.stride(block),
            "shift8": norm.shift8,
            "shift16": norm.shift16,
        }
        reads = [source, stats.whole(), records.whole()]
        return Step(Opcode.NORM, fields, reads, [tile8.whole(), tile16.whole()], self.name)
