"""Below what no mapping can be: a bound for every tile size, whatever its blocks, orders and residency."""

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
from celosia.sw.mapper.space import ROWS, TENSORS, Ints, Mappings, Space

BUFFERINGS = tuple(product((True, False), repeat=len(TENSORS)))
"""What may be double-buffered, each before those with less."""


class _Least(Evaluation):
    """Mappings whose operands are kept whole, so that they move once, with the least waits that blocks can leave."""

    @property
    def _waits(self) -> Floats:
        """Of as few fillings of the accumulator as its size allows, and of each for what it must drain.

        Fused, all rows are drained, however they are divided; else a tile each time.
        """
        n, config = self.nest, self.nest.padded.config
        rows = self._over_rows(n.pixels)
        fillings = -(-sizes.acc_rows(config, rows, n.padded.operator.outputs) // config.acc_rows)
        drained = np.where(n.mappings.fused, rows, fillings * n.pixels(n.mappings.tile[ROWS]))
        slots = post.pick(n, "slots") * self._first_outputs / config.post.lanes
        waits: Floats = fillings * POST_LATENCY + drained * (post.pick(n, "row_cycles") + slots)
        return waits


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
