"""Why no mapping of an operator fits, and what would fit."""

import math

import numpy as np

from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import Padded
from celosia.sw.mapper.rules import FUSABLE, accumulator_rows, scratchpad_words, smallest, statistics_rows


def what_would_fit(padded: Padded) -> str:
    """A line for an operator that no mapping fits: the least of each memory that is too small."""
    lacking = min(
        (_lacking(padded, fused) for fused in FUSABLE[padded.operator.after]),
        key=lambda lacks: (len(lacks), [least for _, least, _ in lacks]),
    )
    needed = "; ".join(f"{name} must be at least {least}, not {now}" for name, least, now in lacking)
    return f"no mapping of {padded.operator.name} ({padded.operator}) fits: {needed}"


def _lacking(padded: Padded, fused: bool) -> list[tuple[str, int, int]]:
    """Fields of the configuration that are too small for every mapping: name, least value that would do, value."""
    config = padded.config
    nest = Nest(padded, smallest(padded, np.array(padded.units)[:, None], fused))
    words, rows, stats = (int(of(nest)[0]) for of in (scratchpad_words, accumulator_rows, statistics_rows))
    scratchpad, accumulator = config.scratchpad, config.accumulator
    word, row = config.word_bytes, config.acc_row_bytes
    fields = (
        ("scratchpad.kib", _kib(words * word, word * scratchpad.banks), scratchpad.kib),
        ("accumulator.kib", _kib(rows * row, row * accumulator.banks), accumulator.kib),
        ("accumulator.stat_rows", 1 << (stats - 1).bit_length() if stats else 0, accumulator.stat_rows),
    )
    return [field for field in fields if field[1] > field[2]]


def _kib(size: int, step: int) -> int:
    """The least KiB for `size` bytes that are a multiple of `step` bytes, as memories must be."""
    step = math.lcm(step, 1024)
    return -(-size // step) * step // 1024
