"""Blocks of the score matrix and their importance (docs/hdp.md, "Blocks").

A block is `height` queries by `width` keys. The last row and column of blocks may stick out of the matrix, and padding
or a causal mask may leave holes: only valid scores count. A block without any does not exist.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celosia.hw.hdp.widths import Importance
from celosia.sw.golden.hdp.split import integer_scores, split
from celosia.sw.golden.rounding import IntArray, integers
from celosia.sw.golden.softmax import BoolArray


@dataclass(frozen=True)
class BlockShape:
    """`height` queries by `width` keys. Errors: ValueError unless both are positive."""

    height: int = 2
    width: int = 2

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if type(value) is not int or value < 1:
                raise ValueError(f"block {name} must be a positive integer, not {value!r}")

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of blocks that cover a matrix."""
        return -(-rows // self.height), -(-columns // self.width)

    def tiles(self, x: npt.NDArray[np.generic], fill: int) -> npt.NDArray[np.generic]:
        """`x` [..., m, n] as [..., block rows, height, block columns, width], with `fill` where a block sticks out."""
        m, n = x.shape[-2:]
        rows, columns = self.grid(m, n)
        edge = [(0, 0)] * (x.ndim - 2) + [(0, rows * self.height - m), (0, columns * self.width - n)]
        padded = np.pad(x, edge, constant_values=fill)
        return padded.reshape(*x.shape[:-2], rows, self.height, columns, self.width)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def block_exists(mask: npt.ArrayLike, shape: BlockShape) -> BoolArray:
    """Which blocks [..., block rows, block columns] hold a valid score; `mask` [..., m, n]."""
    return np.asarray(shape.tiles(np.asarray(mask, dtype=bool), 0).any(axis=(-3, -1)))


def block_keys(mask: npt.ArrayLike, shape: BlockShape) -> IntArray:
    """Keys of each block [..., block rows, block columns] that have a valid score in it; `mask` [..., m, n]."""
    result: IntArray = shape.tiles(np.asarray(mask, dtype=bool), 0).any(axis=-3).sum(axis=-1)
    return result


def importance(scores: npt.ArrayLike, mask: npt.ArrayLike, shape: BlockShape, rule: Importance) -> IntArray:
    """theta [..., block rows, block columns] of integer scores [..., m, n]; 0 for a block that does not exist.

    `mask` broadcasts with `scores`: true where a score is valid.
    """
    value, valid = integers(scores), np.asarray(mask, dtype=bool)
    if rule in (Importance.ABS_SUM, Importance.SUM):
        terms = np.where(valid, np.abs(value) if rule is Importance.ABS_SUM else value, 0)
        total: IntArray = shape.tiles(terms, 0).sum(axis=(-3, -1))
        return total
    lowest = np.iinfo(np.int64).min
    maxima = shape.tiles(np.where(valid, value, lowest), lowest).max(axis=-1)
    if rule is Importance.MAX:
        maxima = maxima.max(axis=-2, keepdims=True)
    result: IntArray = np.where(maxima == lowest, 0, maxima).sum(axis=-2)
    return result


def block_importance(
    query: npt.ArrayLike,
    key: npt.ArrayLike,
    mask: npt.ArrayLike,
    shape: BlockShape,
    rule: Importance,
    fraction: int = 4,
) -> tuple[IntArray, BoolArray]:
    """Importances of blocks, and which of them exist, of int8 codes [..., l, dh]: `split`, `integer_scores`,
    `importance`, `block_exists`."""
    scores = integer_scores(split(query, fraction)[0], split(key, fraction)[0])
    return importance(scores, mask, shape, rule), block_exists(mask, shape)


def kept_keys(kept: npt.ArrayLike) -> IntArray:
    """The keys of a row of blocks, `kept` [l], in the order in which the dense array works on them
    (`celosia.hw.interfaces.Turns`): an even and an odd one by turns, then those that are left."""
    keys = np.flatnonzero(kept)
    even, odd = keys[keys % 2 == 0], keys[keys % 2 == 1]
    pairs = min(len(even), len(odd))
    turns = np.stack([even[:pairs], odd[:pairs]], axis=1).reshape(-1)
    return np.concatenate([turns, even[pairs:], odd[pairs:]])


def spread(blocks: npt.ArrayLike, shape: BlockShape, rows: int, columns: int) -> BoolArray:
    """Truth of blocks [..., block rows, block columns] for each of their scores [..., rows, columns]."""
    tall = np.repeat(np.asarray(blocks, dtype=bool), shape.height, axis=-2)[..., :rows, :]
    result: BoolArray = np.repeat(tall, shape.width, axis=-1)[..., :columns]
    return result
