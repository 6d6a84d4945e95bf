"""Why no mapping of an operator fits, and what would fit."""

import numpy as np

from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After, Padded
from celosia.sw.mapper.rules import accumulator_rows, scratchpad_words
from celosia.sw.mapper.space import OUTPUTS, Mapping, Mappings


def smallest(padded: Padded) -> Mapping:
    """The mapping that takes least room: the smallest tiles, and rows no longer than what follows needs."""
    fused = padded.operator.after is After.SOFTMAX
    tile = padded.units
    block = tuple(padded.sizes[OUTPUTS] if fused and axis == OUTPUTS else unit for axis, unit in enumerate(tile))
    order = (0, 1, 2, 3)  # the reduction innermost
    return Mapping(tile, block, order, order, (False, False, True), (False, False, False), fused)


def what_would_fit(padded: Padded) -> str:
    """A line for an operator that no mapping fits."""
    nest, config = Nest(padded, Mappings.of([smallest(padded)])), padded.config
    head = f"no mapping of {padded.operator.name} ({padded.operator}) fits"
    words, rows = int(scratchpad_words(nest)[0]), int(accumulator_rows(nest)[0])
    if rows > config.acc_rows:
        least = int(np.ceil(rows * config.acc_row_bytes / 1024))
        return f"{head}: accumulator.kib must be at least {least}, not {config.accumulator.kib}"
    if words > config.scratchpad_words:
        least = int(np.ceil(words * config.word_bytes / 1024))
        return f"{head}: scratchpad.kib must be at least {least}, not {config.scratchpad.kib}"
    return f"{head}: accumulator.stat_rows must be more than {config.accumulator.stat_rows}"
