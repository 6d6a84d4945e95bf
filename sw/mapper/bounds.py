"""Below what no mapping can be: a bound for every tile size, whatever its blocks, orders and residency."""

from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from celosia.sw.compiler import sizes
from celosia.sw.compiler.cost import POST_LATENCY
from celosia.sw.mapper import post
from celosia.sw.mapper.evaluate import Evaluation, Floats, Objective
from celosia.sw.mapper.flows import buffered
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import MapperError
from celosia.sw.mapper.reasons import smallest, what_would_fit
from celosia.sw.mapper.rules import FUSABLE, has_room
from celosia.sw.mapper.space import ACTIVATIONS, OUTPUTS, RESULTS, ROWS, TENSORS, Ints, Mappings, Space

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
        """Of each filling for what it must drain: fused, all rows, however they are divided; else a tile each time."""
        n, config = self.nest, self.nest.padded.config
        drained = np.where(
            n.mappings.fused, self._over_rows(n.pixels), self._fillings * n.pixels(n.mappings.tile[ROWS])
        )
        slots = post.pick(n, "slots") * self._first_outputs / config.post.lanes
        waits: Floats = self._fillings * POST_LATENCY + drained * (post.pick(n, "row_cycles") + slots)
        return waits

    @cached_property
    def _read(self) -> Floats:
        """Whole rows of sums need all weights: fused, they come again for each filling, unless all are kept."""
        n, config = self.nest, self.nest.padded.config
        outputs, channels, kernel = (np.array(size) for size in n.padded.sizes[OUTPUTS:])
        weights = int(n.weight_words(outputs, channels, kernel))
        beside = n.tile_words[ACTIVATIONS] + n.tile_words[RESULTS]
        again = n.mappings.fused & (weights + beside > config.scratchpad_words)
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
    """Lower `least` [n] to the bounds of tile sizes [4, n], fused or not, of those with room."""
    tightest = smallest(space.padded, grid, fused)
    some = has_room(Nest(space.padded, buffered(tightest, (False,) * len(TENSORS))))
    done: dict[tuple[bool, ...], npt.NDArray] = {}
    for which in BUFFERINGS:
        left = some.copy()
        for more, of in done.items():
            if all(more[tensor] or not flag for tensor, flag in enumerate(which)):
                left &= ~of
        at = np.flatnonzero(left)
        at = at[has_room(Nest(space.padded, buffered(tightest[at], which)))]
        done[which] = np.isin(np.arange(len(some)), at)
        if len(at):
            least[at] = np.minimum(least[at], _ideal(space, grid[:, at], fused, which, objective))


def _ideal(space: Space, tile: Ints, fused: bool, double: tuple[bool, ...], objective: Objective) -> Floats:
    """The objective of tile sizes [4, n] with everything whole but the sums."""
    mappings = buffered(smallest(space.padded, tile, fused), double)
    whole = np.broadcast_to(np.array(space.padded.sizes)[:, None], tile.shape)
    resident = np.broadcast_to(np.array([[True], [True], [False]]), (len(TENSORS), tile.shape[1]))
    kept = Mappings(tile, whole, mappings.outer, mappings.inner, resident, mappings.double, mappings.fused)
    return _Least(Nest(space.padded, kept)).figure(objective)
