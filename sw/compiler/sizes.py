"""Room that things take on chip, in the units of each memory: the rules that compiler, mapper and models share.

All take plain integers or arrays of them.
"""

from typing import TypeVar

import numpy as np

from celosia.hw.config import Config

Count = TypeVar("Count", int, np.ndarray)
"""A number, or many."""


def side(config: Config) -> int:
    """The larger side of the array: channels are padded to multiples of it, so that they may be either side's."""
    return max(config.array.rows, config.array.columns)


def row_step(config: Config) -> int:
    """Rows of a tile of the scratchpad are padded to multiples of it: transfers are whole beats and whole words."""
    return max(1, config.beat_bytes // config.word_bytes)


def acc_rows(config: Config, rows: Count, channels: Count) -> Count:
    """Accumulator rows of `rows` x `channels` results."""
    return rows * -(-channels // config.array.columns)


def tile_words(config: Config, rows: Count, channels: Count) -> Count:
    """Scratchpad words of `rows` rows of `channels` int8 channels: of activations, or of weights (a row an output)."""
    return -(-channels // config.word_bytes) * rows


def parameter_words(config: Config, channels: Count) -> Count:
    """Scratchpad words of the parameter records of `channels` channels, a set of them."""
    return -(-channels // config.post.lanes) * config.record_words
