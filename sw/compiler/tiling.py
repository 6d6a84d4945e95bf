"""Choice of tiles and blocks for an encoder: candidates are data, and the one with the lowest estimated cost is taken.

The parts of a layer are chosen one by one: for given tiles, their costs do not depend on one another.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from operator import itemgetter
from typing import Generic, TypeVar

from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.cost import Cost, Costs
from celosia.sw.compiler.mapping import Blocking, Fusion, Mapping, Queries, Tiling
from celosia.sw.compiler.pruning import BEHIND, Room
from celosia.sw.compiler.schedule import crowded_words
from celosia.sw.compiler.sizes import side as side_of
from celosia.sw.compiler.tensors import round_up

LARGEST_PRODUCT = 255 * 128
"""Of a u8 or int8 activation and an int8 weight."""
_LARGEST_CHUNK = 8192
"""Bytes of weights that are loaded at once, at most: enough for the bus to be busy."""
_TILE_HEIGHTS = (4, 2, 1)
"""Rows of a tile, at most, in sides of the array: the candidates; the first one for large scratchpads only."""
_TILE_WIDTH = 4
"""Channels of a tile, at most, in sides of the array."""
_MOST_AHEAD = 16
"""Blocks of attention under way, at most."""
_CERTAIN = 0.99
"""Share of the cycles that what is not fused must save: costs are not known better, and it needs more transfers."""
BY_COST = Fusion()
"""Whatever is cheaper."""
T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """Tiles, the blocks in which the parts of a layer work through them, and the estimated cycles of a layer."""

    tiling: Tiling
    mapping: Mapping
    cycles: float


def choose(config: Config, tokens: int, hidden: int, heads: int, ffn: int) -> Tiling:
    """The tiles of the cheapest choice. Errors: CompileError that says what would fit."""
    return choices(config, tokens, hidden, heads, ffn)[0].tiling


def choices(
    config: Config,
    tokens: int,
    hidden: int,
    heads: int,
    ffn: int,
    fusion: Fusion = BY_COST,
    pruned: bool = False,
) -> list[Choice]:
    """The cheapest choice that keeps to `fusion` for each height of tiles, the cheapest of them first; at least one.

    Costs know how much room there is, not whether it is in one piece. So others follow, in the same order, that leave a
    quarter of the accumulator free. `pruned`: attention is, so K and V of a head are whole, and rows of blocks do not
    cross tiles. Errors: CompileError that says what would fit.
    """
    if tokens < 1:
        raise CompileError(f"a sequence must have at least 1 token, not {tokens}")
    shape = (tokens, hidden, heads, ffn)
    _check_widths(config, *shape)
    if pruned:
        _check_pruned(config, *shape)
    found = [one for spare in (0, 0.25) for one in _mapped(config, spare, *shape, fusion, pruned)]
    if not found:
        if fusion != BY_COST and _mapped(config, 0, *shape, BY_COST, pruned):
            raise CompileError(f"no mapping of {tokens} tokens is such that {fusion}; left open, one is found")
        raise CompileError(_what_would_fit(config, *shape))
    return found


def _mapped(
    config: Config,
    spare: float,
    tokens: int,
    hidden: int,
    heads: int,
    ffn: int,
    fusion: Fusion = BY_COST,
    pruned: bool = False,
) -> list[Choice]:
    """The choice for each height of tiles that has room, the cheapest of them first. `spare`: see `map_layer`."""
    tilings = _cuts(config, tokens, hidden, heads, ffn, pruned)
    if pruned:
        tilings = [one for one in tilings if Room(config, one).head <= crowded_words(config)]
    mapped = [map_layer(config, tiling, spare, fusion, pruned) for tiling in tilings]
    return sorted((one for one in mapped if one is not None), key=lambda choice: choice.cycles)


def _cuts(config: Config, tokens: int, hidden: int, heads: int, ffn: int, pruned: bool) -> list[Tiling]:
    """The tiles of an encoder for each height of tiles."""
    side = side_of(config)
    # The tallest ones where an int16 tile takes at most a sixteenth of the scratchpad; all of the same height.
    tallest = [sides for sides in _TILE_HEIGHTS if sides < 4 or 32 * sides * _TILE_WIDTH * side**2 <= _on_chip(config)]
    heights = [-(-tokens // -(-tokens // (sides * side))) for sides in tallest]
    if pruned:
        heights = [min(tokens, round_up(rows, config.array.rows)) for rows in heights]
    return [cut(config, rows, tokens, hidden, heads, ffn, pruned) for rows in dict.fromkeys(heights)]


def cut(config: Config, rows: int, tokens: int, hidden: int, heads: int, ffn: int, whole_keys: bool = False) -> Tiling:
    """The tiles of an encoder, with `rows` rows each. `whole_keys`: tiles of K and V hold all of them."""
    side, on_chip = side_of(config), _on_chip(config)
    # A sixteenth of the scratchpad for a chunk of weights, more where that would be few tiles of the array.
    chunk = max(side * side, min(8 * side * side, on_chip // 8), min(on_chip // 16, _LARGEST_CHUNK))
    channels = _TILE_WIDTH * side  # fewer where an int16 tile would take more than an eighth of the scratchpad
    while channels > side and 16 * rows * channels > on_chip:
        channels //= 2
    head, keys = round_up(hidden // heads, side), round_up(tokens, side)
    tiles = 1 if whole_keys else -(-keys // max(side, chunk // head))
    return Tiling(
        step=side,
        tokens=tokens,
        rows=rows,
        key_rows=round_up(-(-keys // tiles), side),
        channels=channels,
        chunk_outputs=max(side, chunk // channels // side * side),
        head=head,
        heads=heads,
        hidden=round_up(hidden, side),
        ffn=round_up(ffn, side),
    )


def map_layer(
    config: Config, tiling: Tiling, spare: float = 0, fusion: Fusion = BY_COST, pruned: bool = False
) -> Choice | None:
    """The cheapest blocks for given tiles; None when a part of the layer has no room.

    `spare`: share of the accumulator to leave free. `pruned`: attention goes by rows of blocks.
    """
    t, mapper = tiling, _Mapper(Costs(config, tiling, spare), config.bus.bytes, fusion, pruned)
    attention, norm = mapper.attention(), mapper.norm()
    projection = mapper.projection()
    if norm is None or attention is None or projection is None:
        return None
    output = mapper.to_norm(mapper.costs.attention_output, norm.cycles, fusion.attention_output)
    ffn = mapper.feed_forward(norm.cycles)
    if output is None or ffn is None:
        return None
    mapping = Mapping(projection.what, attention.what, output.what, *ffn.what, norm.what)
    return Choice(t, mapping, sum(found.cycles for found in (attention, projection, output, ffn)))


def map_linear(config: Config, tiling: Tiling) -> Blocking | None:
    """The cheapest blocks for `hidden` inputs and `ffn` outputs by themselves; None when none has room."""
    found = _Mapper(Costs(config, tiling), config.bus.bytes, BY_COST).ffn1()
    return None if found is None else found.what


@dataclass(frozen=True)
class _Found(Generic[T]):
    """The cheapest candidate for a part of a layer."""

    what: T
    cycles: float


@dataclass(frozen=True)
class _Mapper:
    """Candidates of each part of a layer, and the cheapest of them; None when none has room."""

    costs: Costs
    bus: int
    fusion: Fusion
    pruned: bool = False

    def _cheapest(self, candidates: Iterable[tuple[T, Cost | None]]) -> _Found[T] | None:
        """Of those that take equally long the one that reads least, of those the first."""
        fitting = [((cost.cycles(self.bus), cost.read), what) for what, cost in candidates if cost is not None]
        if not fitting:
            return None
        (cycles, _), what = min(fitting, key=itemgetter(0))
        return _Found(what, cycles)

    @cached_property
    def _heights(self) -> list[int]:
        """Rows of a block: those of several tiles, of one, or of equal parts of one; tall ones first."""
        t = self.costs.tiling
        tiles = -(-t.tokens // t.rows)
        several = {-(-tiles // blocks) * t.rows for blocks in range(1, tiles + 1)}
        return sorted(several | {-(-t.rows // parts) for parts in range(1, t.rows + 1)}, reverse=True)

    def _blockings(self, outputs: int, unit: int) -> Iterator[Blocking]:
        """Blocks of a linear part: any height, whole tiles of `unit` outputs wide."""
        columns = -(-outputs // unit)
        widths = {min(-(-columns // blocks) * unit, outputs) for blocks in range(1, columns + 1)}
        for rows, width, resident in product(self._heights, sorted(widths), (False, True)):
            if resident or rows >= self.costs.tiling.rows or width == outputs:
                yield Blocking(rows, width, resident)

    def norm(self) -> _Found[int] | None:
        """Rows of LayerNorm as a pass of its own."""
        return self._cheapest((rows, self.costs.norm(rows)) for rows in self._heights)

    def attention(self) -> _Found[Queries] | None:
        """Blocks of attention."""
        if self.pruned:
            # Of the dense attention with the same blocks: for comparison between tiles.
            row = Queries(min(self.costs.config.block_height, self.costs.tiling.tokens), BEHIND)
            return self._cheapest([(row, self.costs.attention(row))])
        if self.fusion.softmax is False:
            apart = (Queries(rows, apart=True) for rows in self._heights)
            return self._cheapest((one, self.costs.attention(one)) for one in apart)
        candidates = (Queries(rows, ahead) for rows in self._heights for ahead in range(_MOST_AHEAD + 1))
        return self._cheapest((one, self.costs.attention(one)) for one in candidates)

    def projection(self) -> _Found[Blocking] | None:
        """Query, key and value, each in blocks of its own."""
        blockings = self._blockings(self.costs.tiling.width, self.costs.tiling.head_channels)
        return self._cheapest((one, self.costs.projection(one)) for one in blockings)

    def ffn1(self) -> _Found[Blocking] | None:
        """The first linear part of the FFN by itself."""
        t = self.costs.tiling
        blockings = self._blockings(t.ffn, t.channels)
        return self._cheapest((one, self.costs.ffn1(one)) for one in blockings)

    def to_norm(
        self, cost: Callable[[Blocking], Cost | None], norm: float, fuse: bool | None
    ) -> _Found[Blocking] | None:
        """A linear part and LayerNorm behind it, which takes `norm` cycles where it is not fused.

        `fuse`: whether it must be, or must not be, fused.
        """
        t = self.costs.tiling
        blockings = list(self._blockings(t.hidden, t.channels))
        fused = self._cheapest((one, cost(one)) for one in blockings if one.outputs == t.hidden and fuse is not False)
        split = self._cheapest((one, cost(one)) for one in blockings if one.outputs < t.hidden and fuse is not True)
        if split is None or (fused is not None and fused.cycles * _CERTAIN <= split.cycles + norm):
            return fused
        return _Found(split.what, split.cycles + norm)

    def feed_forward(self, norm: float) -> _Found[tuple[Blocking | None, Blocking]] | None:
        """Both linear parts by turns, or one after the other."""
        t, costs = self.costs.tiling, self.costs
        fuse = self.fusion.ffn2
        turns = self._cheapest((rows, costs.feed_forward(rows)) for rows in self._heights if fuse is not False)
        first, second = self.ffn1(), self.to_norm(costs.ffn2, norm, fuse)
        if first is not None and second is not None:
            cycles = first.cycles + second.cycles
            if turns is None or cycles < turns.cycles * _CERTAIN:
                return _Found((first.what, second.what), cycles)
        return None if turns is None else _Found((None, Blocking(turns.what, t.hidden)), turns.cycles)


def _on_chip(config: Config) -> int:
    """Bytes of the scratchpad."""
    return config.scratchpad_words * config.word_bytes


def _check_widths(config: Config, tokens: int, hidden: int, heads: int, ffn: int) -> None:
    """Errors: CompileError when a row is too long for the number formats."""
    side = side_of(config)
    widest = max(round_up(hidden, side), round_up(tokens, side))
    if widest > config.post.max_channels:
        raise CompileError(
            f"a row of {widest} elements exceeds post.max_channels = {config.post.max_channels}: "
            f"sequence and hidden size may be at most that"
        )
    longest = max(widest, round_up(hidden // heads, side) * heads, round_up(ffn, side))
    if longest * LARGEST_PRODUCT >> ACC_BITS - 1:
        raise CompileError(f"a sum of {longest} products does not fit an int{ACC_BITS} accumulator")


def _check_pruned(config: Config, tokens: int, hidden: int, heads: int, ffn: int) -> None:
    """Errors: CompileError when a head is too wide for its decisions, or does not fit into the scratchpad."""
    head = round_up(hidden // heads, side_of(config))
    if config.hdp is not None and head > config.hdp.head_width:
        raise CompileError(
            f"heads of {head} channels exceed hdp.head_width = {config.hdp.head_width}: it must be {head}"
        )

    def fits(kib: int) -> bool:
        one = replace(config, scratchpad=replace(config.scratchpad, kib=kib))
        return any(Room(one, t).head <= crowded_words(one) for t in _cuts(one, tokens, hidden, heads, ffn, True))

    kib = config.scratchpad.kib
    if fits(kib):
        return
    message = f"K and V of a head, {tokens} keys of {head} channels, must be whole in a scratchpad of {kib} KiB"
    enough = next((kib * factor for factor in (2, 4, 8, 16, 32, 64) if fits(kib * factor)), None)
    raise CompileError(message if enough is None else f"{message}; scratchpad.kib = {enough} would do")


def _what_would_fit(config: Config, tokens: int, hidden: int, heads: int, ffn: int) -> str:
    """The message for an encoder that no choice has room for."""
    side, c = side_of(config), config
    # At least a row for LayerNorm, or a row of scores and one of a head's context.
    row = max(round_up(hidden, side), round_up(tokens, side) + round_up(hidden // heads, side))
    if row > c.acc_rows * c.array.columns:
        least = -(-row * c.acc_row_bytes // c.array.columns // 1024)
        return (
            f"a row of {row} results does not fit into the accumulator: accumulator.kib must be at least {least}, "
            f"not {c.accumulator.kib}"
        )
    message = f"tiles of {tokens} tokens do not fit into a scratchpad of {c.scratchpad.kib} KiB"
    for factor in (2, 4, 8, 16, 32, 64):
        larger = replace(c, scratchpad=replace(c.scratchpad, kib=c.scratchpad.kib * factor))
        if _mapped(larger, 0, tokens, hidden, heads, ffn):
            return f"{message}; scratchpad.kib = {larger.scratchpad.kib} would do"
    return message
