"""Cycles, bytes and energy of mappings, in closed form.

Units work at the same time, so a mapping takes as long as the slowest of array, POST and the bus in each direction;
transfers of an operand that is buffered once, and sums that leave an accumulator without room for others, make the
array wait. On top: the first tiles until the array has something to do, and the last results until they are stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from celosia.hw.numerics import ACC_BITS
from celosia.sw.compiler import sizes
from celosia.sw.compiler.cost import MATMUL_CYCLES, POST_LATENCY
from celosia.sw.mapper import post
from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import After
from celosia.sw.mapper.space import CHANNELS, KERNEL, OUTPUTS, POSITIONS, RESULTS, ROWS, Counts, Floats, Ints
from celosia.sw.performance import counts
from celosia.sw.performance.actions import costs
from celosia.sw.technology import Technology, load

CONTENTION = 32
"""Exponent with which cycles of units that work at the same time add up: two that need as many take 2 % longer."""


class Objective(StrEnum):
    """What is to be least."""

    CYCLES = "cycles"
    ENERGY = "energy"
    EDP = "edp"


@dataclass(frozen=True)
class Evaluation:
    """Figures of every mapping of a nest, valid or not [n]."""

    nest: Nest
    technology: Technology = field(default_factory=load)

    @cached_property
    def cycles(self) -> Floats:
        """From the first load to the last store.

        Units that need nearly as many cycles as the slowest wait for one another at times, as in `compiler.cost`.
        """
        written = post.result_bytes(self.nest) * self._stored + self._spilled
        shares = np.stack([self.array + self.stalls, self.post, self._read / self._bus, written / self._bus])
        most = shares.max(0)
        together = most * ((shares / most) ** CONTENTION).sum(0) ** (1 / CONTENTION)
        return together + self.fill + self.tail + self._pass_cycles

    @cached_property
    def array(self) -> Ints:
        """Cycles of the array: a tile of weights takes its time to load, however few rows follow."""
        p, o, step = self.nest.padded, self.nest.padded.operator, sizes.side(self.nest.padded.config)

        def streamed(rows: Ints) -> Ints:
            return np.where(rows > 0, np.maximum(self.nest.pixels(rows), step), 0)

        rows = self._over_rows(streamed)
        channels, outputs = self._array_tiles
        tiles = self.nest.tiles
        starts = tiles[ROWS] * tiles[OUTPUTS] * tiles[CHANNELS] * p.sizes[KERNEL] * o.kernel_width
        return rows * channels * outputs + MATMUL_CYCLES * starts

    @cached_property
    def stalls(self) -> Floats:
        """Cycles in which the array waits for what is buffered once, behind its first tile."""
        n, double = self.nest, self.nest.mappings.double
        moved = (n.words - n.tile_words)[:RESULTS] * self._word / self._bus
        loads = np.where(double[:RESULTS], 0.0, moved).sum(0)
        return loads + np.where(double[RESULTS], 0.0, self._waits)

    @cached_property
    def fill(self) -> Floats:
        """Cycles until the first tiles of both operands are there."""
        return self.nest.tile_words[:RESULTS].sum(0) * self._word / self._bus

    @cached_property
    def tail(self) -> Floats:
        """Cycles from the last matmul until the last results are in memory."""
        n = self.nest
        rows = np.where(n.mappings.fused, n.kept_pixels, self._tile_rows)
        outputs = np.where(n.mappings.fused, n.padded.sizes[OUTPUTS], self._first_outputs)
        stored = n.tile_words[RESULTS] * post.result_bytes(n) * self._word / self._bus
        return self._first + post.cycles(n, rows, outputs, "after") + stored

    @cached_property
    def post(self) -> Floats:
        """Cycles of POST behind the matmuls."""
        n, whole = self.nest, self.nest.padded.sizes[OUTPUTS]

        def taken(rows: Ints) -> Floats:
            slots = post.cycles(n, n.pixels(rows), whole, "before") + post.cycles(n, n.pixels(rows), whole, "after")
            factors = np.where(n.unfused_norm & (rows > 0), post.row_cycles(n, n.pixels(rows)), 0)
            return slots + factors * n.tiles[OUTPUTS]

        return self._over_rows(taken)

    @cached_property
    def read_bytes(self) -> Floats:
        """From memory."""
        again: Ints = post.PASS.read * self._stored
        return self._read + np.where(self.nest.unfused_norm, again, 0)

    @cached_property
    def written_bytes(self) -> Floats:
        """To memory."""
        results = post.result_bytes(self.nest) + np.where(self.nest.unfused_norm, post.PASS.written, 0)
        return (results * self._stored + self._spilled).astype(np.float64)

    @cached_property
    def actions(self) -> dict[str, Floats]:
        """How often each action of `celosia.sw.performance.actions` is done."""
        words = (self.read_bytes + self.written_bytes) / self._word
        loaded = self.read_bytes / self._word
        counted: dict[str, npt.NDArray] = {
            "dram_read": 8 * self.read_bytes,
            "dram_write": 8 * self.written_bytes,
            "scratchpad_write": loaded,
            "scratchpad_read": words - loaded,
        }
        for each in (self._products, *self._finishes):
            for name, count in each.items():
                counted[name] = counted.get(name, 0) + count
        return counted

    @cached_property
    def energy(self) -> Floats:
        """In pJ."""
        cost = costs(self.nest.padded.config, self.technology)
        return np.sum([count * cost[name] for name, count in self.actions.items()], axis=0)

    @cached_property
    def edp(self) -> Floats:
        """Energy times cycles, in pJ cycles."""
        return self.energy * self.cycles

    def figure(self, objective: Objective) -> Floats:
        """The objective of every mapping."""
        return {
            Objective.CYCLES: lambda: self.cycles,
            Objective.ENERGY: lambda: self.energy,
            Objective.EDP: lambda: self.edp,
        }[objective]()

    def to_dict(self, index: int) -> dict[str, float]:
        """Figures of the mapping at `index`."""
        config, actions = self.nest.padded.config, self.actions
        scratchpad = actions["scratchpad_read"] + actions["scratchpad_write"]
        accumulator = actions["accumulator_read"] + actions["accumulator_write"]
        figures = {
            "cycles": self.cycles,
            "array_cycles": self.array,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
            "scratchpad_bytes": scratchpad * config.word_bytes,
            "accumulator_bytes": accumulator * config.acc_row_bytes,
            "energy_pj": self.energy,
            "edp": self.edp,
        }
        return {name: float(figure[index]) for name, figure in figures.items()}

    @property
    def _waits(self) -> Floats:
        """Cycles in which sums leave an accumulator that is not double-buffered.

        Not fused, what is held waits for one tile of the last. Fused, tiles of the next rows take first what room is
        left, then the place of each tile that leaves: the first that finds none waits, or the last, if they leave
        more slowly than they come.
        """
        n = self.nest
        held = -(-np.array(n.padded.sizes)[[ROWS, OUTPUTS], None] // n.fetched[RESULTS, [ROWS, OUTPUTS]])
        first, piece = self._first, post.cycles(n, self._tile_rows, self._first_outputs, "after")
        spare = (n.padded.config.acc_rows - n.kept_rows) // n.piece_rows
        pieces, come = -(-n.kept_rows // n.piece_rows), self._piece_cycles
        late = np.maximum(first + piece - spare * come, first + (pieces - spare) * piece - (pieces - 1) * come)
        waits: Floats = np.where(
            n.mappings.fused, (held.prod(0) - 1) * np.maximum(late, 0), held.prod(0) * (first + piece)
        )
        return waits

    @property
    def _piece_cycles(self) -> Ints:
        """Of the array between two tiles of results that it begins: one tile of channels, or all of them."""
        n, (channels, outputs) = self.nest, self._array_tiles
        steps, m = n.tiles[CHANNELS], n.mappings
        whole = np.maximum(self._tile_rows, sizes.side(n.padded.config)) * channels * outputs // n.tiles[OUTPUTS]
        return np.where(POSITIONS[CHANNELS][m.inner] > POSITIONS[OUTPUTS][m.inner], whole, whole // steps)

    @cached_property
    def _read(self) -> Floats:
        """Bytes from memory but for a LayerNorm's pass of its own."""
        operands = self.nest.words[:RESULTS].sum(0) * self._word
        return operands + post.residual_bytes(self.nest) * self._stored + self._spilled

    @property
    def _spilled(self) -> Ints:
        """Bytes of partial sums that leave for memory, and come back: of `Padded.wide` alone."""
        return (self.nest.repeats[RESULTS] - 1) * ACC_BITS // 8 * self._stored

    @property
    def _word(self) -> int:
        return self.nest.padded.config.word_bytes

    @property
    def _bus(self) -> int:
        return self.nest.padded.config.bus.bytes

    def _over_rows(self, what: Callable[[Ints], Counts]) -> Counts:
        """Sum over all tiles of rows."""
        return self.nest.over_rows(self.nest.mappings.tile[ROWS], self.nest.padded.sizes[ROWS], what)

    @property
    def _array_tiles(self) -> tuple[Ints, Ints]:
        """Tiles of the array along the reduction, and along the outputs [n]."""
        p, n = self.nest.padded, self.nest

        def tiles(axis: int, side: int) -> Ints:
            return n.over_rows(n.mappings.tile[axis], p.sizes[axis], lambda extent: -(-extent // side))

        places = p.sizes[KERNEL] * p.operator.kernel_width
        return places * tiles(CHANNELS, p.config.array.rows), tiles(OUTPUTS, p.config.array.columns)

    @cached_property
    def _results(self) -> Ints:
        """Results through POST."""
        return self._over_rows(self.nest.pixels) * self.nest.padded.sizes[OUTPUTS]

    @property
    def _stored(self) -> Ints:
        """Bytes of all results, a byte each, with what pads transfers."""
        return self.nest.words[RESULTS] // self.nest.repeats[RESULTS] * self._word

    @property
    def _first_outputs(self) -> Ints:
        return np.minimum(self.nest.mappings.tile[OUTPUTS], self.nest.padded.sizes[OUTPUTS])

    @property
    def _tile_rows(self) -> Ints:
        return self.nest.pixels(self.nest.mappings.tile[ROWS])

    @property
    def _first(self) -> Floats:
        """Cycles from the last sums to POST's first results: behind a LayerNorm's last residuals and its row unit."""
        n = self.nest
        rows = np.where(n.mappings.fused, n.kept_pixels, self._tile_rows)
        before = post.cycles(n, self._tile_rows, self._first_outputs, "before")
        return POST_LATENCY + before + post.row_cycles(n, rows)

    @property
    def _pass_cycles(self) -> Floats:
        """Cycles of a LayerNorm that is a pass of its own."""
        slots = post.PASS.slots * self._results / self.nest.padded.config.post.lanes
        moved = max(post.PASS.read, post.PASS.written) * self._stored / self._bus
        return np.where(self.nest.unfused_norm, np.maximum(slots, moved), 0)

    @property
    def _products(self) -> dict[str, Ints]:
        """Actions of the array."""
        channels, outputs = self._array_tiles
        config = self.nest.padded.config
        return self._summed(lambda rows: counts.products(config, rows, outputs, channels, 0, 1))

    @property
    def _finishes(self) -> list[dict[str, Ints]]:
        """Actions of POST."""
        o, config = self.nest.padded.operator, self.nest.padded.config
        groups = np.array(self.nest.padded.sizes[OUTPUTS] // config.post.lanes)
        if o.after is After.SOFTMAX:
            return [self._summed(lambda rows: counts.exps(config, rows, groups))]
        if o.after is After.REQUANT:
            return [self._summed(lambda rows: counts.requants(config, rows, groups, 0, int(not o.parameters)))]
        split = self.nest.unfused_norm.astype(np.int64)
        added = self._summed(lambda rows: counts.residuals(config, rows, groups, 0))
        normed = self._summed(lambda rows: counts.norms(config, rows, groups, 1, 1))
        again = self._summed(lambda rows: counts.residuals(config, rows, groups, 1))
        sums = self._summed(lambda rows: counts.norms(config, rows, groups, 0, 1))
        return [added, normed, *({name: n * split for name, n in each.items()} for each in (again, sums))]

    def _summed(self, what: Callable[[Ints], dict[str, Ints]]) -> dict[str, Ints]:
        """Actions of all tiles of rows."""
        tile, whole = self.nest.mappings.tile[ROWS], self.nest.padded.sizes[ROWS]
        full, rest = what(self.nest.pixels(tile)), what(self.nest.pixels(whole % tile))
        some = whole % tile > 0
        return {name: whole // tile * full[name] + some * rest[name] for name in full}
