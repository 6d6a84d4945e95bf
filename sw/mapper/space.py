"""The space of mappings, as data: which tiles, in which order, what stays, what is buffered twice, what is fused.

A mapping is a nest of loops over the operator's four axes at two levels. The inner level goes tile by tile through a
block, the outer one block by block through the operator. A tile is what one run of matmuls works on: its activations
and weights are in the scratchpad, its sums in the accumulator. Each tensor is kept either for as long as its tile is
the same, or, `resident`, its whole block is kept while the inner loops go round. Below a tile the hardware has its own
order: tiles of the array, rows of the tile through each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from itertools import permutations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from celosia.sw.mapper.operators import Padded

AXES = ("rows", "outputs", "channels", "kernel")
ROWS, OUTPUTS, CHANNELS, KERNEL = range(4)
TENSORS = ("activations", "weights", "results")
ACTIVATIONS, WEIGHTS, RESULTS = range(3)
INDEXED_BY = ((ROWS, CHANNELS, KERNEL), (OUTPUTS, CHANNELS, KERNEL), (ROWS, OUTPUTS))
"""Axes that each tensor has; where another axis moves on, the same part of it is used again."""
ORDERS = tuple(permutations(range(4)))
"""Axes from the outermost loop to the innermost."""
PLAIN_ORDERS = tuple(index for index, order in enumerate(ORDERS) if order[-1] == KERNEL)
"""Those that differ where the kernel is a single row."""
POSITIONS = np.array([[order.index(axis) for order in ORDERS] for axis in range(4)])
"""[axis, order]: depth of an axis's loop."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Counts = TypeVar("Counts", Ints, Floats)


@dataclass(frozen=True)
class Mappings:
    """Many mappings of one operator, an entry each in the last axis of every array.

    `tile`, `block`: sizes along AXES [4, n]. `outer`, `inner`: indices into ORDERS [n]. `resident`, `double`: by tensor
    [3, n]; `double`: the next part comes, or the last one goes, while the array works. `fused`: what follows works on
    the accumulator, instead of on results that come back from memory [n].
    """

    tile: Ints
    block: Ints
    outer: Ints
    inner: Ints
    resident: Bools
    double: Bools
    fused: Bools

    def __len__(self) -> int:
        return len(self.outer)

    def __getitem__(self, which: npt.NDArray | slice) -> "Mappings":
        return Mappings(*(getattr(self, field.name)[..., which] for field in fields(self)))

    def buffered(self, which: tuple[bool, ...] | Bools) -> "Mappings":
        """The same with `double` set to `which`, of all or of each [3, n]."""
        flags = np.array(which)
        whole = flags if flags.ndim > 1 else np.broadcast_to(flags[:, None], (len(flags), len(self)))
        return replace(self, double=whole)

    def one(self, index: int) -> "Mapping":
        """The mapping at `index`."""
        tile, block = (tuple(map(int, array[:, index])) for array in (self.tile, self.block))
        orders = (ORDERS[self.outer[index]], ORDERS[self.inner[index]])
        resident, double = (tuple(map(bool, array[:, index])) for array in (self.resident, self.double))
        return Mapping(tile, block, *orders, resident, double, bool(self.fused[index]))

    @staticmethod
    def of(mappings: Sequence["Mapping"]) -> "Mappings":
        """Single mappings, together."""
        tile, block = (np.array([getattr(one, name) for one in mappings]).T for name in ("tile", "block"))
        outer, inner = (np.array([ORDERS.index(getattr(m, name)) for m in mappings]) for name in ("outer", "inner"))
        resident, double = (np.array([getattr(m, name) for m in mappings], bool).T for name in ("resident", "double"))
        return Mappings(tile, block, outer, inner, resident, double, np.array([one.fused for one in mappings], bool))

    @staticmethod
    def join(several: Sequence["Mappings"]) -> "Mappings":
        """All of several."""
        return Mappings(*(np.concatenate([getattr(m, f.name) for m in several], axis=-1) for f in fields(Mappings)))


@dataclass(frozen=True)
class Mapping:
    """One mapping; as `Mappings`, with orders written out."""

    tile: tuple[int, ...]
    block: tuple[int, ...]
    outer: tuple[int, ...]
    inner: tuple[int, ...]
    resident: tuple[bool, ...]
    double: tuple[bool, ...]
    fused: bool = False

    def to_dict(self) -> dict[str, object]:
        """By names instead of numbers."""
        return {
            "tile": dict(zip(AXES, self.tile, strict=True)),
            "block": dict(zip(AXES, self.block, strict=True)),
            "outer": [AXES[axis] for axis in self.outer],
            "inner": [AXES[axis] for axis in self.inner],
            "resident": [name for name, flag in zip(TENSORS, self.resident, strict=True) if flag],
            "double": [name for name, flag in zip(TENSORS, self.double, strict=True) if flag],
            "fused": self.fused,
        }


@dataclass(frozen=True)
class Space:
    """All mappings of an operator that are not plainly worse than a neighbour, valid or not (see `rules`).

    Along each axis tiles are as even as can be, and every block has as many tiles as the others: so a tile size is the
    smallest that needs no more tiles. Of a kernel's rows, tiles take one or all.
    """

    padded: Padded

    @cached_property
    def tiles(self) -> tuple[Ints, ...]:
        """Tile sizes along each axis, rising."""
        return tuple(
            np.array(_even(size, unit) if axis != KERNEL else sorted({1, size}))
            for axis, (size, unit) in enumerate(zip(self.padded.sizes, self.padded.units, strict=True))
        )

    def blocks(self, axis: int, tile: int) -> Ints:
        """Block sizes for a tile size: whole tiles, as many in each block; the last tile may be smaller."""
        return tile * _divisors(-(-self.padded.sizes[axis] // tile))

    @cached_property
    def pairs(self) -> tuple[Ints, ...]:
        """(tile, block) along each axis [2, n]."""
        return tuple(
            np.array([(tile, block) for tile in tiles for block in self.blocks(axis, tile)]).T
            for axis, tiles in enumerate(self.tiles)
        )

    @cached_property
    def orders(self) -> tuple[int, ...]:
        """Indices of orders that differ."""
        return PLAIN_ORDERS if self.padded.operator.kernel == 1 else tuple(range(len(ORDERS)))

    @property
    def size(self) -> int:
        """Mappings, valid or not, with fusion and without."""
        pairs = np.prod([pairs.shape[1] for pairs in self.pairs], dtype=object)
        return int(pairs) * len(self.orders) ** 2 * 4 ** len(TENSORS) * 2


@cache
def _divisors(count: int) -> Ints:
    return np.array([some for some in range(1, count + 1) if count % some == 0])


def _even(size: int, unit: int) -> list[int]:
    """Sizes, in multiples of `unit`, that are the smallest with their number of pieces."""
    units = size // unit
    counts = {-(-units // piece) for piece in range(1, units + 1)}
    return sorted({-(-units // count) * unit for count in counts})
