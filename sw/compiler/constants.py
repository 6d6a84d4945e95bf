"""The constants window: weights cut into chunks in the order of their use, parameter records, tables.

Each is stored once.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.numerics import RECORD_BYTES
from celosia.sw.compiler.buffers import Buffer
from celosia.sw.compiler.program import CONSTANTS
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import round_up, to_blocked

REQUANT_RECORD = np.dtype([("bias", "<i4"), ("mult", "<u2"), ("shift", "u1"), ("zero", "u1")])
NORM_RECORD = np.dtype([("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")])
assert REQUANT_RECORD.itemsize == NORM_RECORD.itemsize == RECORD_BYTES


class Constants:
    """Collects constants; the same key gives the same place, a new buffer (a new lifetime on chip) each time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._pieces: list[npt.NDArray[np.uint8]] = []
        self._places: dict[object, tuple[int, int]] = {}
        self.size = 0

    def buffer(self, key: object, make: Callable[[], npt.NDArray[np.uint8]], label: str, stream: bool = True) -> Buffer:
        """A buffer for the bytes that `make` gives; they are padded to whole transfers. `stream`: see `Buffer`."""
        if key not in self._places:
            raw = make()
            padded = pad(raw, round_up(len(raw), self.config.beat_bytes), 0)
            self._places[key] = (self.size, len(padded))
            self._pieces.append(padded)
            self.size += len(padded)
        offset, size = self._places[key]
        words = size // self.config.word_bytes
        return Buffer(Space.SCRATCHPAD, words, label, home=(CONSTANTS, offset), loaded=True, stream=stream)

    def image(self) -> npt.NDArray[np.uint8]:
        """All bytes."""
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.uint8)

    def grouped(self, *records: npt.NDArray) -> npt.NDArray[np.uint8]:
        """Record arrays [channels] by groups of `lanes`: for each group, each array's records, padded to whole
        words."""
        lanes = self.config.post.lanes
        size = self.config.record_words * self.config.word_bytes
        groups = len(records[0]) // lanes
        raw = np.zeros((groups, len(records), size), np.uint8)
        for index, array in enumerate(records):
            raw[:, index, : lanes * RECORD_BYTES] = array.reshape(groups, lanes).view(np.uint8)
        return raw.reshape(-1)

    def weights(self, weight: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """A chunk of weights [out, in], blocked along `in`."""
        return to_blocked(weight, self.config.word_bytes)


def pad(array: npt.NDArray, size: int, axis: int) -> npt.NDArray:
    """Zeros behind an array, up to `size` along `axis`; the array itself where none are needed."""
    if array.shape[axis] == size:
        return array
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def pad_heads(array: npt.NDArray, heads: int, head: int, axis: int) -> npt.NDArray:
    """Zeros behind the channels of every head on `axis`, up to `head` channels each."""
    shape = array.shape
    split = array.reshape(*shape[:axis], heads, shape[axis] // heads, *shape[axis + 1 :])
    return pad(split, head, axis + 1).reshape(*shape[:axis], heads * head, *shape[axis + 1 :])


def requant_records(bias: npt.NDArray, mult: npt.NDArray, shift: npt.NDArray) -> npt.NDArray:
    """Records of a requantisation, one a channel."""
    records = np.zeros(len(bias), REQUANT_RECORD)
    records["bias"], records["mult"], records["shift"] = bias, mult, shift
    return records


def norm_records(gamma: npt.NDArray, beta: npt.NDArray) -> npt.NDArray:
    """Records of an affine output, one a channel."""
    records = np.zeros(len(gamma), NORM_RECORD)
    records["gamma"], records["beta"] = gamma, beta
    return records
