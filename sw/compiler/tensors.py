"""Tensors as grids of tiles, and their memory images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.sw.compiler import sizes
from celosia.sw.compiler.buffers import Access, Buffer, Ref
from celosia.sw.compiler.program import TensorImage, TileImage
from celosia.sw.compiler.sizes import Count
from celosia.sw.compiler.sync import Space


def round_up(value: Count, step: int) -> Count:
    """The next multiple of `step`; of a number, or of each of many."""
    return -(-value // step) * step


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, size) of pieces of at most `step`."""
    for start in range(0, total, step):
        yield start, min(step, total - start)


@dataclass(frozen=True)
class Part:
    """`rows` rows of the tiles in row `tile` of a grid, from the tiles' row `row` on; `start`: of the tensor."""

    tile: int
    row: int
    rows: int
    start: int


def parts(start: int, rows: int, tile_rows: int) -> list[Part]:
    """`rows` rows of a tensor from `start` on, cut where tiles of `tile_rows` rows end."""
    result = []
    end = start + rows
    while start < end:
        tile, row = divmod(start, tile_rows)
        size = min(tile_rows - row, end - start)
        result.append(Part(tile, row, size, start))
        start += size
    return result


def to_blocked(matrix: npt.NDArray, word_bytes: int) -> npt.NDArray[np.uint8]:
    """Bytes of a matrix [rows, channels] in blocked order.

    int8, uint8 or int16; channels a multiple of `word_bytes`.
    """
    rows, channels = matrix.shape
    blocks = matrix.reshape(rows, channels // word_bytes, word_bytes).swapaxes(0, 1)
    return np.ascontiguousarray(blocks).view(np.uint8).reshape(-1)


def from_blocked(raw: npt.NDArray[np.uint8], rows: int, channels: int, dtype: str, word_bytes: int) -> npt.NDArray:
    """Inverse of `to_blocked`: matrix [rows, channels] of `dtype`."""
    blocks = raw.view(np.dtype(dtype)).reshape(channels // word_bytes, rows, word_bytes)
    return blocks.swapaxes(0, 1).reshape(rows, channels)


class Tensor:
    """An activation of `rows` x `channels` elements of `dtype`, cut into tiles of `tile_rows` x `tile_channels`.

    `channels` is a multiple of the array's word. Rows of a tile are padded to `row_step` (transfers, and the array's
    tiles where the tensor is a weight operand).
    """

    def __init__(
        self,
        config: Config,
        name: str,
        rows: int,
        channels: int,
        tile_rows: int,
        tile_channels: int,
        dtype: str = "int8",
        row_step: int = 1,
    ) -> None:
        self.config, self.name, self.dtype = config, name, dtype
        self.rows, self.channels = rows, channels
        self.tile_rows, self.tile_channels = tile_rows, tile_channels
        self.row_step = max(row_step, sizes.row_step(config))
        self.words_per_row = np.dtype(dtype).itemsize
        self._strides = [self.padded(row) * self.words_per_row for row in range(-(-rows // tile_rows))]
        self.tiles = {
            (r // tile_rows, c // tile_channels): Buffer(
                Space.SCRATCHPAD, self.tile_words(r // tile_rows, c // tile_channels), f"{name}[{r}:,{c}:]"
            )
            for r, _ in spans(rows, tile_rows)
            for c, _ in spans(channels, tile_channels)
        }

    def height(self, row: int) -> int:
        """Rows of the tiles in tile row `row`."""
        return min(self.tile_rows, self.rows - row * self.tile_rows)

    def padded(self, row: int) -> int:
        """The same with padding."""
        return round_up(self.height(row), self.row_step)

    def width(self, column: int) -> int:
        """Channels of the tiles in tile column `column`."""
        return min(self.tile_channels, self.channels - column * self.tile_channels)

    def stride(self, row: int) -> int:
        """Words between blocks of a tile."""
        return self._strides[row]

    def tile_words(self, row: int, column: int) -> int:
        """Scratchpad words of a tile."""
        return sizes.tile_words(self.config, self.stride(row), self.width(column))

    @property
    def columns(self) -> int:
        """Tile columns."""
        return -(-self.channels // self.tile_channels)

    def at(self, part: Part, column: int, block: int = 0) -> Ref:
        """Address of the first of some rows in tile column `column`, from channel block `block` of the tile on."""
        return self.tiles[part.tile, column].at(self._offset(part, block))

    def access(self, part: Part, column: int, block: int = 0, blocks: int | None = None) -> Access:
        """The same rows; `blocks`: of channels, all by default."""
        if blocks is None:
            blocks = self.width(column) // self.config.word_bytes
        tile, words = self.tiles[part.tile, column], part.rows * self.words_per_row
        return Access(tile, self._offset(part, block), words, self.stride(part.tile), blocks)

    def _offset(self, part: Part, block: int) -> int:
        return block * self.stride(part.tile) + part.row * self.words_per_row

    def place(self, window: int, offset: int) -> int:
        """Give every tile a home from `offset` on; the offset behind them."""
        for tile in self.tiles.values():
            tile.home = (window, offset)
            offset += tile.size * self.config.word_bytes
        return offset

    def image(self, shape: tuple[int, int]) -> TensorImage:
        """Where the tiles lie in memory; `shape`: rows and channels without padding. All tiles must have homes."""
        tiles, window = [], 0
        for (row, column), tile in self.tiles.items():
            assert tile.home is not None
            window, offset = tile.home
            tiles.append(
                TileImage(
                    offset,
                    row * self.tile_rows,
                    column * self.tile_channels,
                    self.height(row),
                    self.padded(row),
                    self.width(column),
                )
            )
        return TensorImage(window, shape, self.dtype, tuple(tiles))
