"""Below what no mapping can be: a bound for every tile size, whatever its blocks, orders and residency."""

from functools import cached_property
from itertools import product

import numpy as np

from celosia.sw.compiler import sizes
from celosia.sw.mapper import post
from celosia.sw.mapper.evaluate import Evaluation, Objective
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import MapperError
from celosia.sw.mapper.reasons import what_would_fit
from celosia.sw.mapper.rules import FUSABLE, has_room, scratchpad_room, smallest
from celosia.sw.mapper.space import ACTIVATIONS, OUTPUTS, RESULTS, TENSORS, Bools, Floats, Ints, Mappings, Space

BUFFERINGS = tuple(product((True, False), repeat=len(TENSORS)))
"""What may be double-buffered, each before those with less."""


class _Least(Evaluation):
    """Mappings whose operands are kept whole, with the least waits and reloads that the accumulator leaves."""

    @cached_property
    def _fillings(self) -> Ints:
        """How often the accumulator is filled at least [n]: fused, with as many whole rows as have room."""
        n, config = self.nest, self.nest.padded.config
        rows, fused, double = self._over_rows(n.pixels), n.mappings.fused, 1 + n.mappings.double[RESULTS]
        row = sizes.acc_rows(config, 1, n.padded.sizes[OUTPUTS])
        whole = np.minimum(config.acc_rows // row, config.accumulator.stat_rows) // double
        return np.where(fused, -(-rows // np.maximum(whole, 1)), -(-rows * row // config.acc_rows))

    @property
    def _waits(self) -> Floats:
        """Of each filling: not fused, for a tile; fused, for the first one that finds no room, with most of it left."""
        n, fused = self.nest, self.nest.mappings.fused
        piece = post.cycles(n, self._tile_rows, self._first_outputs, "after")
        row = sizes.acc_rows(n.padded.config, self._tile_rows, np.array(n.padded.sizes[OUTPUTS]))
        channels, outputs = self._array_tiles
        come = np.maximum(self._tile_rows, sizes.side(n.padded.config)) * channels * outputs // n.tiles[OUTPUTS]
        spare = np.where(fused, (n.padded.config.acc_rows - row) // n.piece_rows, 0)
        waits: Floats = (self._fillings - fused) * np.maximum(self._first + piece - spare * come, 0)
        return waits

    @cached_property
    def _read(self) -> Floats:
        """Whole rows of sums need all weights: fused, they come again for each filling, unless all are kept."""
        n, config = self.nest, self.nest.padded.config
        outputs, channels, kernel = (np.array(size) for size in n.padded.sizes[OUTPUTS:])
        weights = int(n.weight_words(outputs, channels, kernel))
        beside = n.tile_words[ACTIVATIONS] + n.tile_words[RESULTS]
        again = n.mappings.fused & (weights + beside > scratchpad_room(n))
        words = np.where(again, (self._fillings - 1) * weights, 0)
        return super()._read + words * config.word_bytes


def tile_bounds(space: Space, objective: Objective) -> tuple[Ints, Floats]:
    """All tile sizes with room [4, n] and a bound below their mappings' objective, rising.

    It is the figure of a mapping with these tiles that keeps both operands whole, so that everything moves once;
    whether there is room for that does not matter. It is double-buffered as far as there would be room if nothing but
    tiles were kept (and sums of whole rows where it is fused), and waits for the rest. With fusion and without, and of
    several bufferings, the lowest one counts. Errors: MapperError, when no tile has room.
    """
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*space.tiles, indexing="ij")])
    least = np.full(grid.shape[1], np.inf)
    for fused in FUSABLE[space.padded.operator.after]:
        _lower(least, space, grid, fused, objective)
    grid, least = grid[:, least < np.inf], least[least < np.inf]
    if not len(least):
        raise MapperError(what_would_fit(space.padded))
    order = np.argsort(least, kind="stable")
    return grid[:, order], least[order]


def _lower(least: Floats, space: Space, grid: Ints, fused: bool, objective: Objective) -> None:
    """Lower `least` [n] to the bounds of tile sizes [4, n], fused or not, of those with room.

    What is buffered once is never better where twice has room; but fused, sums that are held once may be of more rows.
    """
    single = Nest(space.padded, smallest(space.padded, grid, fused))
    some = np.flatnonzero(has_room(single))
    single = single[some]
    done: dict[tuple[bool, ...], Bools] = {}
    for which in BUFFERINGS:
        left = np.ones(len(some), bool)
        for more, of in done.items():
            if fused and more[RESULTS] != which[RESULTS]:
                continue
            if all(more[tensor] or not flag for tensor, flag in enumerate(which)):
                left &= ~of
        done[which] = left & has_room(single.buffered(which))
    chosen = [some[of] for of in done.values()]
    at = np.concatenate(chosen)
    if len(at):
        double = np.repeat(np.array(list(done)).T, [len(of) for of in chosen], axis=1)
        np.minimum.at(least, at, _ideal(space, grid[:, at], fused, double, objective))


def _ideal(space: Space, tile: Ints, fused: bool, double: Bools, objective: Objective) -> Floats:
    """The objective of tile sizes [4, n] with everything whole but the sums."""
    mappings = smallest(space.padded, tile, fused)
    whole = np.broadcast_to(np.array(space.padded.sizes)[:, None], tile.shape)
    resident = np.broadcast_to(np.array([[True], [True], [False]]), (len(TENSORS), tile.shape[1]))
    kept = Mappings(tile, whole, mappings.outer, mappings.inner, resident, double, mappings.fused)
    return _Least(Nest(space.padded, kept)).figure(objective)
