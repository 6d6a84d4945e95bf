"""What one instruction does to memories and PEs, from its fields: by name of action, as in `actions.Actions`.

All take plain integers or arrays of them, one entry an instruction; `streams` takes arrays.
"""

import numpy as np

from celosia.hw.config import Config
from celosia.hw.hdp.store import StoreShape
from celosia.sw.compiler.sizes import Count


def products(
    config: Config, m: Count, n: Count, k: Count, adds: Count | int, transposed: Count | int
) -> dict[str, Count]:
    """MATMUL of `m` rows with `n` x `k` tiles of the array."""
    rows, across = config.array.rows, config.array.columns
    tiles = n * k
    launched = m * tiles
    added = m * (tiles - n * (1 - adds))  # the first k tile is not added to anything
    weights = tiles * (transposed * across + (1 - transposed) * rows * max(1, across // rows))
    return {
        "mac": launched * (rows * across),
        "accumulate": added * across,
        "scratchpad_read": launched + weights,
        "accumulator_read": added,
        "accumulator_write": launched,
    }


def streams(config: Config, m: np.ndarray, k: np.ndarray, length: np.ndarray) -> dict[str, np.ndarray]:
    """DECIDE of `m` queries, `k` k tiles and `length` keys that stream out of the key store: as many multiplications as
    there are channels in whole k tiles, whatever shares a word."""
    rows, across, rate = config.array.rows, config.array.columns, config.rate
    shape = StoreShape(config)
    passes = -(-k // rate)
    words = np.array([shape.words(int(a), int(b)) for a, b in zip(k, length, strict=True)], dtype=np.int64) * passes
    several = passes > 1
    return {
        "mac": k * length * (rows * across),
        "accumulate": length * (passes - 1) * across,
        "scratchpad_read": m * k,
        "accumulator_read": length * (passes - 1),
        "accumulator_write": length * passes * several,
        "store_read": words,
    }


def requants(config: Config, m: Count, groups: Count, looked: Count | int, by_row: Count | int) -> dict[str, Count]:
    """REQUANT of `m` rows; `looked`: through the activation table."""
    beats = m * groups
    return {
        "requant": beats * config.post.lanes,
        "table": beats * looked * (config.post.lanes if config.post.gelu == "table" else 0),
        "accumulator_read": beats,
        "scratchpad_read": groups * (1 - by_row) * config.record_words,
        "scratchpad_write": beats,
    }


def exps(config: Config, m: Count, groups: Count) -> dict[str, Count]:
    """EXP of `m` rows."""
    beats = m * groups
    return {"exp": beats * config.post.lanes, "accumulator_read": beats, "scratchpad_write": beats}


def residuals(config: Config, m: Count, groups: Count, alone: Count | int) -> dict[str, Count]:
    """RESIDUAL of `m` rows; `alone`: without sums of the accumulator."""
    words = _wide_words(config)
    beats = m * groups
    return {
        "residual": beats * config.post.lanes,
        "accumulator_read": beats * (1 - alone),
        "accumulator_write": beats * words,
        "scratchpad_read": beats * words + groups * (1 - alone) * config.record_words,
    }


def norms(config: Config, m: Count, groups: Count, out8: Count | int, out16: Count | int) -> dict[str, Count]:
    """NORM of `m` rows to int8, to int16, or both."""
    beats, outputs = m * groups, out8 + out16
    return {
        "norm": beats * outputs * config.post.lanes,
        "accumulator_read": beats,
        "scratchpad_read": groups * outputs * config.record_words,
        "scratchpad_write": beats * (out8 + _wide_words(config) * out16),
    }


def _wide_words(config: Config) -> int:
    """Accesses for `lanes` int16 values: to the scratchpad, and to the accumulator for as many sums."""
    return 2 if config.post.lanes == config.word_bytes else 1
