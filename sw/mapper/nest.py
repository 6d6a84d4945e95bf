"""What the loops of a mapping amount to: how many tiles, how often each tensor comes again, how much of it is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from celosia.sw.compiler import sizes
from celosia.sw.compiler.tensors import round_up
from celosia.sw.mapper.operators import After, Padded
from celosia.sw.mapper.space import (
    ACTIVATIONS,
    CHANNELS,
    INDEXED_BY,
    KERNEL,
    OUTPUTS,
    POSITIONS,
    RESULTS,
    ROWS,
    TENSORS,
    WEIGHTS,
    Bools,
    Counts,
    Ints,
    Mappings,
)


@dataclass(frozen=True)
class Nest:
    """Mappings of an operator as loops. Every array has an entry a mapping in its last axis.

    Nothing here depends on what is double-buffered, so that what is known already stays known.
    """

    padded: Padded
    mappings: Mappings

    def __getitem__(self, which: Bools | Ints) -> "Nest":
        """Some of the mappings."""
        return self._known(self.mappings[which], {name: array[..., which] for name, array in self._arrays()})

    def buffered(self, which: tuple[bool, ...] | Bools) -> "Nest":
        """The same with `double` set to `which`, of all or of each [3, n]."""
        return self._known(self.mappings.buffered(which), dict(self._arrays()))

    def _arrays(self) -> list[tuple[str, Ints]]:
        return [(name, value) for name, value in vars(self).items() if name not in ("padded", "mappings")]

    def _known(self, mappings: Mappings, arrays: dict[str, Ints]) -> "Nest":
        nest = Nest(self.padded, mappings)
        vars(nest).update(arrays)
        return nest

    @cached_property
    def tiles(self) -> Ints:
        """Tiles along each axis [4, n]."""
        return -(-np.array(self.padded.sizes)[:, None] // self.mappings.tile)

    @cached_property
    def blocks(self) -> Ints:
        """Blocks along each axis [4, n]."""
        return -(-np.array(self.padded.sizes)[:, None] // self.mappings.block)

    @cached_property
    def repeats(self) -> Ints:
        """How often each part of a tensor comes on chip: 1 if it is never needed again once it has gone [3, n].

        A loop over an axis that a tensor does not have brings the same parts again, unless all loops inside it leave
        the part on chip as it is.
        """
        return np.stack([self._repeats(tensor) for tensor in range(len(TENSORS))])

    def _repeats(self, tensor: int) -> Ints:
        m, own = self.mappings, INDEXED_BY[tensor]
        inner = [(self.tiles[axis] > self.blocks[axis]) & ~m.resident[tensor] for axis in own]
        outer = [self.blocks[axis] > 1 for axis in own]
        within = reduce(np.logical_or, inner)
        result = np.ones(len(m), np.int64)
        for axis in set(range(4)) - set(own):
            below = _any_deeper(m.inner, axis, own, inner)
            around = within | _any_deeper(m.outer, axis, own, outer)
            result *= np.where(below, self.tiles[axis], np.where(around, self.blocks[axis], 1))
        return result

    @cached_property
    def fetched(self) -> Ints:
        """What a block or a tile of each tensor spans along the axes [3, 4, n]: of those that are kept."""
        m, whole = self.mappings, np.array(self.padded.sizes)[:, None]
        extents = [np.where(m.resident[tensor], m.block, m.tile) for tensor in range(len(TENSORS))]
        return np.minimum(np.stack(extents), whole)

    def pixels(self, rows: Ints) -> Ints:
        """Rows of the left operand that the array works on for `rows` rows of the image."""
        o = self.padded.operator
        return np.where(rows > 0, (rows - 1) * o.pitch + o.width, 0)

    def over_rows(self, extent: Ints, total: Ints | int, what: Callable[[Ints], Counts]) -> Counts:
        """Sum of `what(rows)` over the pieces of `extent` rows that `total` rows are cut into; `what(0)` is 0."""
        return total // extent * what(extent) + what(total % extent)

    def activation_words(self, rows: Ints, channels: Ints, kernel: Ints) -> Ints:
        """Scratchpad words of activations for `rows` rows of results: whole transfers; none for no rows."""
        o, config = self.padded.operator, self.padded.config
        pixels = np.where(rows > 0, (rows + kernel - 1) * o.pitch, 0)
        return sizes.tile_words(config, round_up(pixels, sizes.row_step(config)), channels)

    def weight_words(self, outputs: Ints, channels: Ints, kernel: Ints, records: bool = True) -> Ints:
        """Scratchpad words of weights, with the outputs' records (see `Operator.parameters`)."""
        o, config = self.padded.operator, self.padded.config
        words = sizes.tile_words(config, outputs, channels) * kernel * o.kernel_width
        return words + (sizes.parameter_words(config, outputs) if records and o.parameters else 0)

    def result_words(self, rows: Ints, outputs: Ints) -> Ints:
        """Scratchpad words of int8 results: whole transfers."""
        config = self.padded.config
        return sizes.tile_words(config, round_up(self.pixels(rows), sizes.row_step(config)), outputs)

    @cached_property
    def piece_rows(self) -> Ints:
        """Accumulator rows of a tile's sums [n]."""
        tile = np.minimum(self.mappings.tile, np.array(self.padded.sizes)[:, None])
        return sizes.acc_rows(self.padded.config, self.pixels(tile[ROWS]), tile[OUTPUTS])

    @cached_property
    def kept_pixels(self) -> Ints:
        """Rows of results of which sums are held at a time [n]: tile by tile, as tiles leave out the image's border."""
        return self.over_rows(self.mappings.tile[ROWS], self.fetched[RESULTS, ROWS], self.pixels)

    @cached_property
    def kept_rows(self) -> Ints:
        """Accumulator rows of the sums that are held at a time [n]."""
        return sizes.acc_rows(self.padded.config, self.kept_pixels, self.fetched[RESULTS, OUTPUTS])

    @cached_property
    def words(self) -> Ints:
        """Scratchpad words that move to it (activations, weights) and from it (results, a byte each), in all [3, n]."""
        whole, fetched = np.array(self.padded.sizes)[:, None], self.fetched
        kernels = -(-whole[KERNEL] // fetched[ACTIVATIONS, KERNEL])

        def activations(rows: Ints) -> Ints:
            return self.activation_words(rows, whole[CHANNELS], fetched[ACTIVATIONS, KERNEL])

        def results(rows: Ints) -> Ints:
            return self.result_words(rows, whole[OUTPUTS])

        moved = np.stack([
            kernels * self.over_rows(fetched[ACTIVATIONS, ROWS], whole[ROWS], activations),
            np.broadcast_to(self.weight_words(whole[OUTPUTS], whole[CHANNELS], whole[KERNEL]), kernels.shape),
            self.over_rows(self.mappings.tile[ROWS], whole[ROWS], results),
        ])  # fmt: skip
        return moved * self.repeats

    @cached_property
    def tile_words(self) -> Ints:
        """Scratchpad words of a tile of each tensor, results in a byte each [3, n]."""
        rows, outputs, channels, kernel = np.minimum(self.mappings.tile, np.array(self.padded.sizes)[:, None])
        return np.stack([
            self.activation_words(rows, channels, kernel),
            self.weight_words(outputs, channels, kernel),
            self.result_words(rows, outputs),
        ])  # fmt: skip

    @cached_property
    def kept_words(self) -> Ints:
        """Scratchpad words of what is kept of activations and of weights [2, n]."""
        a, w = self.fetched[ACTIVATIONS], self.fetched[WEIGHTS]
        return np.stack([
            self.activation_words(a[ROWS], a[CHANNELS], a[KERNEL]),
            self.weight_words(w[OUTPUTS], w[CHANNELS], w[KERNEL]),
        ])  # fmt: skip

    @property
    def unfused_norm(self) -> Bools:
        """Mappings with a LayerNorm in a pass of its own [n]."""
        return ~self.mappings.fused & (self.padded.operator.after is After.LAYERNORM)


def _any_deeper(order: Ints, axis: int, own: tuple[int, ...], moving: list[Bools]) -> Bools:
    """Where a loop over one of `own` that is `moving` stands inside the loop over `axis`."""
    return reduce(
        np.logical_or,
        (move & (POSITIONS[other][order] > POSITIONS[axis][order]) for other, move in zip(own, moving, strict=True)),
    )
