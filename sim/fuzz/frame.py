"""What stands around a random program: it puts known values everywhere first, and brings every byte out at the end."""

import numpy as np

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sim.fuzz.builder import Builder
from celosia.sw.compiler.constants import Constants, norm_records, requant_records
from celosia.sw.compiler.program import INPUTS
from celosia.sw.compiler.tensors import to_blocked
from celosia.sw.golden.layernorm import mean_constants

_UNIT = 1024
"""Deviation at which LayerNorm leaves a row as it is: its result has 10 fraction bits."""


def kept_rows(config: Config) -> int:
    """Statistics rows at the end that the body must not change: with them NORM copies the accumulator's low halves."""
    return min(16, config.accumulator.stat_rows // 2)


def dump_bytes(config: Config) -> int:
    """Bytes that the epilogue writes: the scratchpad, and both halves of the accumulator as int16 tensors."""
    chunks = config.acc_rows // kept_rows(config)
    return config.scratchpad.kib * 1024 + 2 * chunks * _chunk_words(config) * config.word_bytes


def _chunk_words(config: Config) -> int:
    """Scratchpad words of `kept_rows` accumulator rows as an int16 tensor."""
    return 2 * kept_rows(config) * -(-config.array.columns // config.word_bytes)


def prologue(builder: Builder) -> None:
    """Fill scratchpad, statistics, accumulator and table."""
    config, rng = builder.config, builder.np_rng
    words, kept = config.scratchpad_words, kept_rows(config)
    assert builder.load(0, rng.integers(0, 256, words * config.word_bytes, dtype=np.uint8))
    free = config.accumulator.stat_rows - kept
    lanes = config.post.lanes
    inverse, shift = mean_constants(lanes)
    for first in range(0, free, kept):
        m = min(kept, free - first)
        address = builder.rng.randrange(words - 2 * m)
        builder.must(
            Opcode.RESIDUAL, m=m, groups=1, stat_row=first, no_acc=1, first=1, last=1, channels=lanes,
            inverse=inverse, inverse_shift=shift, eps=int(rng.integers(1 << 30)), residual_address=address,
        )  # fmt: skip
    _keep_identity(builder, kept, free)
    _accumulator(builder, free)
    table_words = -(-(1 << config.post.table_bits) // config.word_bytes)
    builder.must(Opcode.TABLE, parameters=builder.rng.randrange(words - table_words))


def _keep_identity(builder: Builder, m: int, stat_row: int) -> None:
    """Rows of mean 0 and deviation `_UNIT`: their factors normalise an int16 to itself."""
    config = builder.config
    groups = 2 if config.post.lanes == 1 else 1
    n = groups * config.post.lanes
    rows = np.zeros((m, config.word_bytes), np.int16)
    rows[:, :n] = _UNIT * (1 - 2 * (np.arange(n) % 2))
    assert builder.load(0, to_blocked(rows, config.word_bytes))
    inverse, shift = mean_constants(n)
    builder.must(
        Opcode.RESIDUAL, m=m, groups=groups, stat_row=stat_row, no_acc=1, first=1, last=1, channels=n,
        inverse=inverse, inverse_shift=shift, residual_stride=2 * m,
    )  # fmt: skip


def _accumulator(builder: Builder, stat_rows: int) -> None:
    """Matmuls that write every row of the accumulator, and the maxima of `stat_rows` statistics rows."""
    config, rng = builder.config, builder.rng
    words = config.scratchpad_words
    row = 0
    while row < config.acc_rows:
        m = min(stat_rows, config.acc_rows - row, 64)
        n_tiles = max(1, min(4, (config.acc_rows - row) // m))
        n = n_tiles * config.array.columns
        builder.must(
            Opcode.MATMUL, unsigned_a=rng.randint(0, 1), transposed=1, maxima=1, maxima_init=1, m=m, n_tiles=n_tiles,
            k_tiles=2, a_address=rng.randrange(words - 2 * m), a_stride=m, b_address=rng.randrange(words - n),
            acc_address=row, acc_stride=m, length=n, stat_row=row % (stat_rows - m + 1),
        )  # fmt: skip
        row += m * n_tiles


def epilogue(builder: Builder) -> None:
    """STORE the scratchpad, then the accumulator: its low halves, and its high halves after a shift by RESIDUAL."""
    config = builder.config
    words, word = config.scratchpad_words, config.word_bytes
    builder.must(Opcode.STORE, window=INPUTS, words=words, segments=1)
    m, chunk, columns = kept_rows(config), _chunk_words(config), config.array.columns
    groups = columns // config.post.lanes
    constants = Constants(config)
    ones, zeros = np.ones(columns, np.int64), np.zeros(columns, np.int64)
    copy_records = constants.grouped(norm_records(zeros, zeros), norm_records(ones, zeros))
    high_records = constants.grouped(requant_records(zeros - (1 << 15), ones << 15, zeros + 31))
    copy_at = 0
    high_at = copy_at + -(-len(copy_records) // config.beat_bytes) * config.beat_bytes // word
    zeros_at = high_at + -(-len(high_records) // config.beat_bytes) * config.beat_bytes // word
    buffer = zeros_at + chunk
    assert builder.load(copy_at, copy_records)
    assert builder.load(high_at, high_records)
    assert builder.load(zeros_at, np.zeros(chunk * word, np.uint8))
    shape = {"m": m, "groups": groups}
    slots = (words - buffer) // chunk
    assert slots > 1, "the scratchpad is too small to bring the accumulator out"
    offset = words * word
    for index, row in enumerate(range(0, config.acc_rows, m)):
        for half in range(2):
            if half:
                builder.must(
                    Opcode.RESIDUAL, **shape, acc_address=row, first=1, parameters=high_at, residual_address=zeros_at,
                    residual_stride=2 * m,
                )  # fmt: skip
            place = buffer + (2 * index + half) % slots * chunk
            builder.must(
                Opcode.NORM, **shape, acc_address=row, stat_row=config.accumulator.stat_rows - m, out16=1,
                parameters=copy_at, out16_address=place, out16_stride=2 * m,
            )  # fmt: skip
            builder.must(Opcode.STORE, window=INPUTS, offset=offset, words=chunk, segments=1, address=place)
            offset += chunk * word
