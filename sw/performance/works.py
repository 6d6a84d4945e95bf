"""What a program asks of each unit, taken from its instructions once: the input of the replay."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.control.requests import burst_beats
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.dma.axi import PAGE_BYTES
from celosia.hw.hdp.store import StoreShape
from celosia.hw.isa import INSTRUCTION_BYTES, Opcode, Unit
from celosia.hw.post.layouts import GROUP_PERIOD
from celosia.sw.compiler.program import Program
from celosia.sw.compiler.regions import store_keys
from celosia.sw.performance import operands
from celosia.sw.performance.columns import Columns
from celosia.sw.performance.conflicts import lost_a_group
from celosia.sw.performance.gathers import gathers
from celosia.sw.performance.headworks import Head, heads_of
from celosia.sw.performance.timings import EXP_KEYS, POST_RECORDS, fill_cycles

DENSE, DECISIONS, SCORES, CONTEXT = PHASES = ("dense", "decisions", "scores", "context")
"""What the array works on: anything that is not pruned, and the three parts of pruned attention."""
Gathered = Mapping[int, npt.NDArray[Any]]
"""Keys that each gather instruction of a program works on, by its number, and blocks that each ATTEND keeps, as the
functional device tells them."""


class Transfer(NamedTuple):
    """A LOAD or STORE. `bursts`: beats of each."""

    bursts: tuple[int, ...]


class Product(NamedTuple):
    """A MATMUL. `rows` of each of `tiles` tiles, whose weights are `words` words. `maxima`: row maxima follow.

    `lost`: cycles a tile that its weights lose to its rows in the banks of the scratchpad; `lost_before`: those that
    the first tile's lose to rows of the instruction before. `phase`: of `PHASES`.
    `decides`: of a DECIDE, the list that it writes, after `masks` groups of masks; `gathers`: the list that it waits
    for; -1: none. `fill`: cycles that its row of blocks takes in the search of fill. Where keys stream, `halves`: of
    the key store (a mask) that it reads, `kept`: keys that it writes.
    """

    rows: int
    tiles: int
    words: int
    maxima: bool
    lost: float
    phase: str = DENSE
    decides: int = -1
    gathers: int = -1
    masks: int = 0
    fill: float = 0.0
    halves: int = 0
    kept: int = 0
    lost_before: float = 0.0

    @property
    def cycles(self) -> float:
        """Of the array, when nothing holds it up."""
        return self.tiles * max(self.rows, self.words + self.lost)


class Fill(NamedTuple):
    """A KEYS: `words` of the scratchpad go to `halves` of the key store (a mask)."""

    words: int
    halves: int


class Beats(NamedTuple):
    """A POST operation on the accumulator: `groups` groups of `slots` slots.

    `records`: words of parameters a group. `residuals`: words of residuals a group. `uses_rows`: waits for the row
    unit; `starts_rows`: rows that the row unit computes after it. `jumps`: the words that it writes change banks
    between groups. `strides`: residuals are read in steps of two words. `pause`: cycles between groups, so
    that a row is not visited again too soon. `counts`: cycles before the first one, in which its keys are counted.
    """

    groups: int
    slots: int
    records: int
    residuals: int
    uses_rows: bool
    starts_rows: int
    jumps: bool
    opcode: Opcode
    strides: bool = False
    pause: int = 0
    counts: int = 0

    @property
    def gathers(self) -> bool:
        """Whether it sums up rows."""
        return self.opcode in (Opcode.EXP, Opcode.RESIDUAL)

    @property
    def paced(self) -> bool:
        """Groups come with pauses, or slots wait for their records: a buffer is filled while the other one is used."""
        return self.pause > 0 or (self.records > 0 and self.records + POST_RECORDS + 1 > self.slots)


What = Transfer | Product | Fill | Beats | Head
"""What an instruction asks of its unit."""


class Work(NamedTuple):
    """An instruction. `wait`, `signal`: units, by number."""

    unit: int
    wait: tuple[int, ...]
    signal: tuple[int, ...]
    what: What


@dataclass(frozen=True)
class Works:
    """A program, END left out. `fetches`: beats of the bursts in which its header and instructions are fetched."""

    config: Config
    works: list[Work]
    fetches: list[int]

    def beats(self, unit: Unit) -> int:
        """Beats of all transfers of a unit."""
        return sum(sum(one.what.bursts) for one in self.works if one.unit == unit and isinstance(one.what, Transfer))

    def phases(self) -> dict[str, int]:
        """Cycles of the array by what it works on, when nothing holds it up; see `PHASES`. Of a co-processor: of the
        PEs of all cores together."""
        found = dict.fromkeys(PHASES, 0.0)
        for one in self.works:
            if isinstance(one.what, Product):
                found[one.what.phase] += one.what.cycles
            elif isinstance(one.what, Head):
                for phase, steps in zip((DECISIONS, SCORES, CONTEXT), one.what.steps, strict=True):
                    found[phase] += steps
        return {phase: round(cycles) for phase, cycles in found.items()}

    def rivalry(self, period: float) -> bool:
        """Whether units can lose cycles to one another in the scratchpad. `period`: cycles a beat on the bus."""
        posts = [one.what for one in self.works if isinstance(one.what, Beats)]
        return lost_a_group(self.config, period) > 0 or any(one.jumps or one.strides or one.paced for one in posts)


_UNITS = tuple(tuple(unit for unit in range(len(Unit)) if mask >> unit & 1) for mask in range(1 << len(Unit)))
"""Units of a mask."""


def works_of(program: Program, gathered: Gathered | None = None) -> Works:
    """The works of a program. Without `gathered`, gather instructions work on as many keys as they can."""
    config, columns = program.config, Columns(program)
    reader, found = _Reader(config, columns, gathered or {}), {}
    for opcode in columns.opcodes:
        unit = opcode.unit
        if unit is not None:
            wait, signal = columns.fields(opcode, "wait", "signal")
            whats = reader.read(opcode)
            for place, taken, given, what in zip(columns.places(opcode).tolist(), wait, signal, whats, strict=True):
                found[place] = Work(int(unit), _UNITS[taken], _UNITS[given], what)
    return Works(config, [found[place] for place in sorted(found)], _fetches(config, len(program.code)))


def _fetches(config: Config, size: int) -> list[int]:
    """Beats of each burst of a program of `size` bytes that starts at a page: header alone, then aligned bursts."""
    most, total = burst_beats(config), -(-size // config.bus.bytes)
    first = min(max(1, INSTRUCTION_BYTES // config.bus.bytes), total)
    bursts, asked, limit = [], 0, first
    while asked < total:
        beats = min(most - asked % most, limit - asked)
        bursts.append(beats)
        asked += beats
        if asked == first:
            limit = total
    return bursts


class _Reader:
    """From instructions to works, one method an operation."""

    def __init__(self, config: Config, columns: Columns, gathered: Gathered) -> None:
        self.config, self.columns, self.gathered = config, columns, gathered
        self.bursts: dict[tuple[int, int], tuple[int, ...]] = {}

    @cached_property
    def halves(self) -> int:
        """Words of an int16 group of POST."""
        return 2 if self.config.post.lanes == self.config.word_bytes else 1

    def read(self, opcode: Opcode) -> Iterator[What]:
        """All instructions of an opcode, in order."""
        methods: dict[Opcode, Callable[[], Iterator[What]]] = {
            Opcode.MATMUL: self._products,
            Opcode.DECIDE: self._decisions if self.config.rate == 1 else self._streams,
            Opcode.KEYS: self._fills,
            Opcode.TABLE: self._tables,
            Opcode.REQUANT: self._requants,
            Opcode.EXP: self._exps,
            Opcode.RESIDUAL: self._residuals,
            Opcode.NORM: self._norms,
            Opcode.ATTEND: lambda: heads_of(self.columns, cast(CoprocessorConfig, self.config).core, self.gathered),
        }
        return methods[opcode]() if opcode in methods else self._transfers(opcode)

    def _transfers(self, opcode: Opcode) -> Iterator[Transfer]:
        """Bursts of all segments; segments that touch on both sides travel as one."""
        fields = self.columns.fields(opcode, "offset", "words", "segments", "stride", "sp_stride")
        for offset, words, segments, stride, place in zip(*fields, strict=True):
            size = words * self.config.word_bytes
            if segments > 1 and stride == size and place == words:
                size, segments = size * segments, 1
            if segments == 1:
                yield Transfer(self._bursts(offset % PAGE_BYTES, size))
            else:
                starts = (offset + index * stride for index in range(segments))
                yield Transfer(tuple(beats for start in starts for beats in self._bursts(start % PAGE_BYTES, size)))

    def _bursts(self, offset: int, size: int) -> tuple[int, ...]:
        """As `celosia.hw.dma.bursts` cuts a segment at `offset` of a page."""
        key = (offset, size)
        if key not in self.bursts:
            bus = self.config.bus
            page, at, left, found = PAGE_BYTES // bus.bytes, offset // bus.bytes, -(-size // bus.bytes), []
            while left:
                beats = min(left, bus.burst, page - at % page)
                found.append(beats)
                at, left = at + beats, left - beats
            self.bursts[key] = tuple(found)
        return self.bursts[key]

    def _products(self) -> Iterator[Product]:
        """Tiles, the words of one tile's weights, and what rows and weights lose to one another."""
        op, rows, columns = Opcode.MATMUL, self.config.array.rows, self.config.array.columns
        shape = self.columns.fields(op, "m", "n_tiles", "k_tiles", "transposed", "maxima")
        places = self.columns.fields(op, "a_address", "a_stride", "b_address", "b_stride")
        found = gathers(self.config, self.columns, self.gathered)
        for at, (m, n, k, transposed, maxima), addresses, (_, which) in zip(
            self.columns.places(op).tolist(), zip(*shape, strict=True), zip(*places, strict=True), self._keys(op),
            strict=True,
        ):  # fmt: skip
            words = columns if transposed else rows * max(1, columns // rows)
            if which < 0:
                yield Product(m, n * k, words, bool(maxima), self._lost(m, n, k, transposed, addresses))
                continue
            one, phase = found[at], SCORES if transposed else CONTEXT
            yield Product(m, one.tiles, words, bool(maxima), one.lost, phase, gathers=which, lost_before=one.before)

    def _decisions(self) -> Iterator[Product]:
        """The same of integer passes."""
        op = Opcode.DECIDE
        shape = self.columns.fields(op, "m", "n_tiles", "k_tiles", "list", "wide", "rho", "fill")
        places = self.columns.fields(op, "a_address", "a_stride", "b_address", "b_stride")
        pairs = zip(zip(*shape, strict=True), zip(*places, strict=True), strict=True)
        for (m, n, k, which, wide, rho, fills), place in pairs:
            lost = self._lost(m, n, k, 1, place)
            fill = fill_cycles(self.config, n, wide, rho) if fills else 0.0
            yield Product(m, n * k, self.config.array.columns, False, lost, DECISIONS, which, masks=n, fill=fill)

    def _streams(self) -> Iterator[Product]:
        """The same where keys stream, and queries are the weights: left operands come from the key store, so nothing is
        lost in banks."""
        op, shape = Opcode.DECIDE, StoreShape(self.config)
        fields = self.columns.fields(op, "n_tiles", "k_tiles", "length", "half", "list", "wide", "rho", "fill")
        for place, (n, k, length, half, which, wide, rho, fills) in zip(
            self.columns.places(op).tolist(), zip(*fields, strict=True), strict=True
        ):
            passes = shape.passes(k)
            yield Product(
                shape.words(k, length), passes, self.config.array.columns * -(-k // passes), False, 0.0, DECISIONS,
                which, masks=n, fill=fill_cycles(self.config, n, wide, rho) if fills else 0.0,
                halves=self._halves(k, length, half), kept=self._kept(place, which, length),
            )  # fmt: skip

    def _halves(self, k_tiles: int, length: int, half: int) -> int:
        return 1 << half if length <= store_keys(self.config, k_tiles) else 3

    def _fills(self) -> Iterator[Fill]:
        """KEYS."""
        for k, length, half in zip(*self.columns.fields(Opcode.KEYS, "k_tiles", "length", "half"), strict=True):
            yield Fill(k * length, self._halves(k, length, half))

    def _kept(self, place: int, which: int, length: int) -> int:
        """How many keys the decision at a place keeps: as many as the next scores of its list gather; all, if that is
        not known, or nothing because the head is pruned."""
        readers = self._readers.get(which, [])
        index = bisect_right(readers, place)
        return len(self.gathered.get(readers[index], ())) or length if index < len(readers) else length

    @cached_property
    def _readers(self) -> dict[int, list[int]]:
        """Matmuls that gather, by list, in order."""
        gather, lists = self.columns.fields(Opcode.MATMUL, "gather", "list")
        found: dict[int, list[int]] = {}
        for place, some, which in zip(self.columns.places(Opcode.MATMUL).tolist(), gather, lists, strict=True):
            if some:
                found.setdefault(which, []).append(place)
        return found

    def _keys(self, op: Opcode) -> Iterator[tuple[npt.NDArray[np.int64] | None, int]]:
        """The keys that each instruction of an opcode gathers, None where they are not known, and its list or -1."""
        gather, lists = self.columns.fields(op, "gather", "list")
        for place, some, which in zip(self.columns.places(op).tolist(), gather, lists, strict=True):
            yield self.gathered.get(place), which if some and self.config.hdp else -1

    def _lost(self, m: int, n: int, k: int, transposed: int, place: tuple[int, ...]) -> float:
        rows, columns, banks = self.config.array.rows, self.config.array.columns, self.config.scratchpad.banks
        words = columns if transposed else rows * max(1, columns // rows)
        if m > words:
            return 0.0
        a, a_step, b, b_step = place
        steps = (columns, b_step) if transposed else (b_step, rows)
        return operands.lost(
            operands.Pattern(banks, m, words, n, k, *(value % banks for value in (a, a_step, b, *steps)))
        )

    def _tables(self) -> Iterator[Beats]:
        """The activation table."""
        for _ in self.columns.places(Opcode.TABLE):
            yield Beats(0, 0, 0, 0, False, 0, False, Opcode.TABLE)

    def _requants(self) -> Iterator[Beats]:
        """One slot a row; by records or by row factors."""
        op = Opcode.REQUANT
        for m, groups, by_row, stride in zip(
            *self.columns.fields(op, "m", "groups", "row_factor", "out_stride"), strict=True
        ):
            records = 0 if by_row else self.config.record_words
            yield Beats(groups, m, records, 0, bool(by_row), 0, self._jumps(m, stride), op)

    def _jumps(self, m: int, stride: int) -> bool:
        """Whether a group's first word is in another bank than the one after the last word of the group before."""
        distance = m if self.config.post.lanes < self.config.word_bytes else stride - m
        return distance % self.config.scratchpad.banks != 0

    def _exps(self) -> Iterator[Beats]:
        """One slot a row; rows' sums are gathered."""
        op, rows, lanes = Opcode.EXP, self.config.array.rows, self.config.post.lanes
        fields = self.columns.fields(op, "m", "groups", "last", "out_stride")
        for (m, groups, last, stride), (keys, which) in zip(zip(*fields, strict=True), self._keys(op), strict=True):
            if which >= 0 and keys is not None:
                groups = min(groups, max(1, -(-len(keys) // rows) * rows // lanes))  # one that is silent without keys
            pause = max(0, GROUP_PERIOD - m)
            counts = EXP_KEYS if which >= 0 else 0
            yield Beats(groups, m, 0, 0, True, m if last else 0, self._jumps(m, stride), op, False, pause, counts)

    def _residuals(self) -> Iterator[Beats]:
        """As many slots a row as words of residuals; rows' sums are gathered."""
        op = Opcode.RESIDUAL
        for m, groups, last, no_acc in zip(*self.columns.fields(op, "m", "groups", "last", "no_acc"), strict=True):
            words, records = m * self.halves, 0 if no_acc else self.config.record_words
            rows = m if last else 0
            pause = max(0, GROUP_PERIOD - words)
            yield Beats(groups, words, records, words, True, rows, False, op, self.halves == 1, pause)

    def _norms(self) -> Iterator[Beats]:
        """A slot a row for int8, one or two for int16."""
        op = Opcode.NORM
        for m, groups, out8, out16 in zip(*self.columns.fields(op, "m", "groups", "out8", "out16"), strict=True):
            slots, records = m * (out8 + self.halves * out16), (out8 + out16) * self.config.record_words
            yield Beats(groups, slots, records, 0, True, 0, False, op)
