"""Ways to find a mapping: all there are, with sound pruning; at random; and by the constraints, in no time."""

from dataclasses import dataclass

import numpy as np

from celosia.hw.config import Config
from celosia.sw.compiler import sizes
from celosia.sw.mapper.bounds import BUFFERINGS, tile_bounds
from celosia.sw.mapper.evaluate import Evaluation, Objective
from celosia.sw.mapper.flows import BestFlows, Flows, all_flows
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import MapperError, Operator, Padded
from celosia.sw.mapper.reasons import what_would_fit
from celosia.sw.mapper.rules import valid
from celosia.sw.mapper.space import CHANNELS, OUTPUTS, ROWS, Bools, Ints, Mapping, Mappings, Space

_BATCH = 1 << 17
"""Mappings that are evaluated at once."""
FIRST_TILES, GUIDED_SIZES, GUIDED_BLOCKS = 3, 5, 4
"""Of the default: how many tile sizes it looks into at first; different sizes along each axis; and block sizes."""
CLOSE = 1.001
"""Of the default: how close to what no mapping can be below is close enough."""
_TILES = 64
"""Tile sizes that the exhaustive search looks into at once."""


@dataclass(frozen=True)
class Found:
    """The best mapping that a strategy found. `evaluated`: mappings that it looked at.

    `bound`: below it no mapping's objective can be.
    """

    mapping: Mapping
    figures: dict[str, float]
    evaluated: int
    bound: float


class _Best:
    """The best mapping so far: of those with the least objective that with the least energy, of those the first."""

    def __init__(self, padded: Padded, objective: Objective) -> None:
        self.padded, self.objective = padded, objective
        self.key = (np.inf, np.inf)
        self.mapping: Mapping | None = None
        self.evaluated = 0
        self.bound = 0.0

    def offer(self, nest: Nest) -> Bools:
        """Look at some mappings; which of them are valid."""
        fits = valid(nest)
        if not fits.any():
            return fits
        value = Evaluation(nest[fits]).figure(self.objective)
        near = np.flatnonzero(fits)[value == value.min()]
        energy = Evaluation(nest[near]).energy
        key = (float(value.min()), float(energy.min()))
        if key < self.key:
            self.key, self.mapping = key, nest.mappings.one(int(near[energy.argmin()]))
        return fits

    def found(self) -> Found:
        """The result."""
        assert self.mapping is not None, "tiles with room have a valid mapping"
        return Found(self.mapping, evaluate(self.padded, self.mapping), self.evaluated, self.bound)


def evaluate(padded: Padded, mapping: Mapping) -> dict[str, float]:
    """Figures of one mapping."""
    return Evaluation(Nest(padded, Mappings.of([mapping]))).to_dict(0)


def best(config: Config, operator: Operator, objective: Objective = Objective.CYCLES) -> Found:
    """The default: deterministic, guided by the constraints. Errors: MapperError.

    First the tile sizes that could be best if nothing came twice (see `tile_bounds`); where memories are too small for
    that, a grid of few tile and block sizes, of which some tensor may be kept; then sizes between.
    Of orders and buffering nothing is left out.
    """
    padded = Padded(config, operator)
    space, found = Space(padded), _Best(padded, objective)
    return _guided(space, found).found()


def _guided(space: Space, found: _Best) -> _Best:
    flows = BestFlows(space)
    tiles, bounds = tile_bounds(space, found.objective)
    found.bound = float(bounds[0])

    def look(chosen: Ints, most: int = GUIDED_BLOCKS) -> None:
        _offer_blocks(flows, found, tiles[:, chosen[bounds[chosen] <= found.key[0]]], most)

    def look_around(axes: tuple[int, ...], most: int, near: bool = False) -> None:
        """More sizes along `axes`, with the best ones so far along the others; `near`: the next ones."""
        if found.mapping is None or found.key[0] <= CLOSE * bounds[0]:
            return
        wanted = [np.array([size]) for size in found.mapping.tile]
        for axis in axes:
            sizes = space.tiles[axis]
            at = int(np.searchsorted(sizes, found.mapping.tile[axis]))
            around = sizes[max(0, at - GUIDED_SIZES) : at + GUIDED_SIZES + 1]
            wanted[axis] = around if near else _spread(sizes, _least(space)[axis], 4 * GUIDED_SIZES)
        look(_among(tiles, wanted), most)

    look(np.arange(min(FIRST_TILES, tiles.shape[1])))
    if found.key[0] > CLOSE * bounds[0]:
        coarse = [_spread(np.unique(values), unit) for values, unit in zip(tiles, _least(space), strict=True)]
        look(_among(tiles, coarse))
    look_around((ROWS, CHANNELS), 2)
    look_around((ROWS,), GUIDED_BLOCKS, near=True)
    look_around((OUTPUTS,), GUIDED_BLOCKS)
    for index in range(tiles.shape[1]):  # none of the grid has room
        if found.mapping is not None:
            break
        look(np.array([index]))
    return found


def _least(space: Space) -> tuple[int, ...]:
    """Tiles below that many rows leave the array idle; along other axes its sides are the least."""
    return (min(sizes.side(space.padded.config), space.padded.sizes[ROWS]), *space.padded.units[1:])


def _spread(values: Ints, least: int, count: int | None = None) -> Ints:
    """Some of rising values from about `least` on, spread evenly on a logarithmic scale."""
    points = np.geomspace(least, values[-1], count or GUIDED_SIZES)
    return np.unique(values[np.abs(np.log(values[:, None] / points)).argmin(0)])


def _among(tiles: Ints, wanted: list[Ints]) -> Ints:
    """Indices of tile sizes [4, n] with one of the sizes that are wanted along each axis."""
    return np.flatnonzero(np.logical_and.reduce([np.isin(*pair) for pair in zip(tiles, wanted, strict=True)]))


def exhaustive(config: Config, operator: Operator, objective: Objective = Objective.CYCLES) -> Found:
    """The best of all mappings. Errors: MapperError.

    Left out is only what cannot be better than what is found: tile sizes whose bound is above it, orders and buffering
    that others beat (see `BestFlows`).
    """
    padded = Padded(config, operator)
    space = Space(padded)
    found = _guided(space, _Best(padded, objective))
    tiles, bounds = tile_bounds(space, objective)
    flows = BestFlows(space)
    for start in range(0, tiles.shape[1], _TILES):
        if bounds[start] > found.key[0]:
            break
        _offer_blocks(flows, found, tiles[:, start : start + _TILES], None)
    return found.found()


def sample(space: Space, count: int, seed: int) -> Mappings:
    """`count` valid mappings, each as likely as any other of its tile and block sizes' frequency; the same for a seed.

    Errors: MapperError, when there are none.
    """
    rng, flows = np.random.default_rng(seed), all_flows(space)
    kept: list[Mappings] = []
    tried = 0
    while sum(map(len, kept)) < count:
        drawn = _draw(space, flows, rng, _BATCH)
        kept.append(drawn[valid(Nest(space.padded, drawn))])
        tried += _BATCH
        if tried >= 64 * _BATCH and not sum(map(len, kept)):
            raise MapperError(what_would_fit(space.padded))
    return Mappings.join(kept)[:count]


def _draw(space: Space, flows: Flows, rng: np.random.Generator, count: int) -> Mappings:
    """Sizes of each axis, and flows, drawn evenly and each by itself."""
    drawn = [pairs[:, rng.integers(pairs.shape[1], size=count)] for pairs in space.pairs]
    tile, block = np.stack(drawn, axis=1)
    some = flows[rng.integers(len(flows.outer), size=count)]
    return Mappings(tile, block, some.outer, some.inner, some.resident, some.double, some.fused)


def _offer_blocks(flows: BestFlows, found: _Best, tiles: Ints, most: int | None) -> None:
    """Let `found` look at the mappings with tile sizes [4, n]; `most`: of how many block sizes of each, the largest."""
    if not tiles.shape[1]:
        return
    tile, block = _with_blocks(flows.space, tiles, most)
    waiting, count = list[Mappings](), 0
    for which, some in flows.groups(tile, block):
        step = max(1, _BATCH // len(some.outer))
        for start in range(0, len(which), step):
            part = which[start : start + step]
            waiting.append(some.with_sizes(tile[:, part], block[:, part]))
            count += len(waiting[-1])
            if count >= _BATCH:
                _offer(found, Mappings.join(waiting))
                waiting, count = [], 0
    if waiting:
        _offer(found, Mappings.join(waiting))


def _with_blocks(space: Space, tiles: Ints, most: int | None) -> tuple[Ints, Ints]:
    """Tile sizes [4, n], each with its block sizes, as many columns of both.

    With `most`: so many along each axis, of which some tensor may be kept.
    """
    along = [{size: space.blocks(axis, size) for size in np.unique(of).tolist()} for axis, of in enumerate(tiles)]
    if most is not None:
        along = [{size: _spread(some, int(some[0]), most) for size, some in axis.items()} for axis in along]
    grids = [
        np.stack([grid.ravel() for grid in np.meshgrid(*(a[s] for a, s in zip(along, each, strict=True)))])
        for each in tiles.T.tolist()
    ]
    tile = np.repeat(tiles, [grid.shape[1] for grid in grids], axis=1)
    block = np.concatenate(grids, axis=1)
    if most is None:
        return tile, block
    useful = _some_fits(space.padded, block)
    return tile[:, useful], block[:, useful]


def _some_fits(padded: Padded, block: Ints) -> Bools:
    """Block sizes [4, n] of which one tensor at least has room."""
    rows, outputs, channels, kernel = np.minimum(block, np.array(padded.sizes)[:, None])
    nest, config = Nest(padded, Mappings.of([])), padded.config
    room = nest.activation_words(rows, channels, kernel) <= config.scratchpad_words
    room |= nest.weight_words(outputs, channels, kernel) <= config.scratchpad_words
    return room | (sizes.acc_rows(config, nest.pixels(rows), outputs) <= config.acc_rows)


def _offer(found: _Best, mappings: Mappings) -> None:
    """Double-buffered, and where that has no room, with less, which is never better."""
    nest = Nest(found.padded, mappings)
    value = Evaluation(nest).figure(found.objective)
    found.evaluated += len(mappings)
    nest = nest[value <= found.key[0]]
    all_twice, *others = BUFFERINGS
    fits = found.offer(nest.buffered(all_twice))
    which = np.repeat(np.flatnonzero(~fits), len(others))
    if len(which):
        found.offer(nest[which].buffered(np.tile(np.array(others).T, (~fits).sum())))
