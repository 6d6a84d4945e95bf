"""When a mapping is valid: each rule once, by name."""

from collections.abc import Callable

import numpy as np

from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After
from celosia.sw.mapper.post import residual_bytes, result_bytes
from celosia.sw.mapper.space import OUTPUTS, RESULTS, ROWS, Bools, Ints

FUSABLE = {After.REQUANT: (False,), After.SOFTMAX: (True,), After.LAYERNORM: (False, True)}
"""Fusion that there is: softmax works on sums alone, since their maxima are taken on the way into the accumulator."""


def scratchpad_words(nest: Nest) -> Ints:
    """Words that a mapping takes: of each operand what is kept, twice where it is double-buffered; and room for a tile
    of results on its way out, with the residuals that are added to it."""
    copies = 1 + nest.mappings.double.astype(np.int64)
    out = nest.tile_words[RESULTS] * (result_bytes(nest) + residual_bytes(nest))
    operands = (copies[:RESULTS] * nest.kept_words).sum(0)
    return operands + copies[RESULTS] * out


def accumulator_rows(nest: Nest) -> Ints:
    """Rows that a mapping takes: the sums that are held and, double-buffered, those that come while they leave.

    They leave tile by tile, so that room for a tile is enough, unless what follows needs whole rows first.
    """
    more = np.where(nest.mappings.fused, nest.kept_rows, nest.piece_rows)
    return nest.kept_rows + nest.mappings.double[RESULTS] * more


def statistics_rows(nest: Nest) -> Ints:
    """Rows of statistics: of all rows that are normalised at once, twice where they are double-buffered; without
    fusion, those of two tiles that change nothing."""
    fused = nest.kept_pixels * (1 + nest.mappings.double[RESULTS])
    return np.where(
        nest.mappings.fused, fused, np.where(nest.unfused_norm, 2 * nest.pixels(nest.mappings.tile[ROWS]), 0)
    )


def _sums_stay(nest: Nest) -> Bools:
    return (nest.repeats[RESULTS] == 1) | nest.padded.wide


def _scratchpad(nest: Nest) -> Bools:
    return scratchpad_words(nest) <= nest.padded.config.scratchpad_words


def _accumulator(nest: Nest) -> Bools:
    return accumulator_rows(nest) <= nest.padded.config.acc_rows


def _whole_rows(nest: Nest) -> Bools:
    return ~nest.mappings.fused | (nest.fetched[RESULTS, OUTPUTS] == nest.padded.sizes[OUTPUTS])


def _statistics(nest: Nest) -> Bools:
    return statistics_rows(nest) <= nest.padded.config.accumulator.stat_rows


def _fusable(nest: Nest) -> Bools:
    return np.isin(nest.mappings.fused, FUSABLE[nest.padded.operator.after])


RULES: dict[str, Callable[[Nest], Bools]] = {
    "sums stay in the accumulator until they are complete": _sums_stay,
    "operands and results fit into the scratchpad": _scratchpad,
    "sums fit into the accumulator": _accumulator,
    "fused: the accumulator holds whole rows": _whole_rows,
    "statistics of the rows fit": _statistics,
    "what is fused can be": _fusable,
}
"""A mapping is valid when all hold. There are no others: tiles are multiples of the array's sides by their sizes."""


def has_room(nest: Nest) -> Bools:
    """Which mappings keep the rules that no order of loops changes [n]."""
    return np.logical_and.reduce([rule(nest) for rule in (_scratchpad, _accumulator, _whole_rows, _statistics)])


def valid(nest: Nest) -> Bools:
    """Which mappings are valid [n]."""
    return np.logical_and.reduce([rule(nest) for rule in RULES.values()])
