"""When a mapping is valid: each rule once, by name."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np

from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After, Padded
from celosia.sw.mapper.post import residual_bytes, result_bytes
from celosia.sw.mapper.space import ORDERS, OUTPUTS, RESULTS, ROWS, TENSORS, Bools, Ints, Mappings

FUSABLE = {After.REQUANT: (False,), After.SOFTMAX: (True,), After.LAYERNORM: (False, True)}
"""Fusion that there is: softmax works on sums alone, since their maxima are taken on the way into the accumulator."""
USABLE = Fraction(13, 16)
"""Of the scratchpad. Pieces of several sizes come and go, and LOAD runs ahead of them in program order: in a fuller one
its next piece waits for one that leaves late, which on the performance model costs up to a fifth of all cycles."""


def operand_words(nest: Nest) -> Ints:
    """Scratchpad words of activations and of weights: what is kept, twice where it is double-buffered [2, n]."""
    return (1 + nest.mappings.double[:RESULTS].astype(np.int64)) * nest.kept_words


def out_words(nest: Nest) -> Ints:
    """Scratchpad words of results on their way out [n]: a tile, or two where one leaves while the next one comes."""
    return _out_tiles(nest) * nest.tile_words[RESULTS] * result_bytes(nest)


def residual_words(nest: Nest) -> Ints:
    """Scratchpad words of the residuals that are added to them [n]."""
    return _out_tiles(nest) * nest.tile_words[RESULTS] * residual_bytes(nest)


def _out_tiles(nest: Nest) -> Ints:
    """Fused, tiles of complete rows follow one another at once, whether or not there is room for other sums."""
    return 1 + (nest.mappings.double[RESULTS] | nest.mappings.fused)


def scratchpad_words(nest: Nest) -> Ints:
    """Words that a mapping takes."""
    return operand_words(nest).sum(0) + out_words(nest) + residual_words(nest)


def scratchpad_room(nest: Nest) -> Ints:
    """Words that a mapping may take [n]: `USABLE` of the scratchpad; all of it where the smallest one needs more."""
    return np.where(nest.mappings.fused, *(_room(nest.padded, fused) for fused in (True, False)))


@cache
def _room(padded: Padded, fused: bool) -> int:
    least = int(scratchpad_words(Nest(padded, smallest(padded, np.array(padded.units)[:, None], fused)))[0])
    all_of_it = padded.config.scratchpad_words
    usable = all_of_it * USABLE.numerator // USABLE.denominator
    return usable if least <= usable else all_of_it


def smallest(padded: Padded, tile: Ints, fused: bool) -> Mappings:
    """For each tile size [4, n] the mapping that takes least room of each memory.

    Nothing but a tile is kept; fused, sums of whole rows.
    """
    block = tile.copy()
    if fused:
        block[OUTPUTS] = padded.sizes[OUTPUTS]
    count = tile.shape[1]
    order = np.full(count, ORDERS.index((0, 1, 2, 3)))  # the reduction innermost
    resident, double = np.zeros((2, len(TENSORS), count), bool)
    resident[RESULTS] = True
    return Mappings(tile, block, order, order, resident, double, np.full(count, fused))


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
    return scratchpad_words(nest) <= scratchpad_room(nest)


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
