"""Tokens: from what each instruction reads and writes to the wait and signal masks.

Units run in order, so an instruction that depends on several instructions of another unit needs to wait for the last
of them only, and never again for an earlier one. One counting semaphore for each ordered pair of units and at most one
token an instruction is therefore enough: the k-th wait of a consumer for a producer matches the k-th signal of that
producer.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import IntEnum

from celosia.hw.isa import UNITS, Opcode, Unit

UNIT_OF = {opcode: opcode.unit for opcode in Opcode if opcode.unit is not None}
"""The unit of every instruction that has one."""


class Space(IntEnum):
    """Address spaces in which instructions meet.

    MEMORY counts in units of `Config.beat_bytes` of the scratch window. LISTS: of kept keys; HEADS: slots that say
    whether a head is kept; STORE: halves of the key store.
    """

    SCRATCHPAD = 0
    ACCUMULATOR = 1
    STATISTICS = 2
    MEMORY = 3
    TABLE = 4
    LISTS = 5
    HEADS = 6
    STORE = 7


@dataclass(slots=True)  # not frozen: there are hundreds of thousands of them
class Region:
    """`count` runs of `length` words from `start` on, `stride` apart."""

    space: Space
    start: int
    length: int
    stride: int = 0
    count: int = 1

    def runs(self) -> list[tuple[int, int]]:
        """(first word, word behind the last one) of the runs; contiguous ones as one."""
        start, length = self.start, self.length
        if self.count == 1 or self.stride == length:
            return [(start, start + length * self.count)]
        return [(start + i * self.stride, start + i * self.stride + length) for i in range(self.count)]


@dataclass(slots=True)
class Op:
    """An instruction before encoding.

    `fields`: its values. `reads`, `writes`: what it touches. The masks are set by `synchronise`.
    """

    opcode: Opcode
    fields: dict[str, int]
    reads: list[Region] = field(default_factory=list)
    writes: list[Region] = field(default_factory=list)
    wait: int = 0
    signal: int = 0
    label: str = ""

    @property
    def unit(self) -> Unit:
        """The unit that executes it."""
        return UNIT_OF[self.opcode]


class _Cell:
    """A run of words that are alike: the last write, and the last read since by each unit.

    `writer`, `written`: unit of the write and its number within the unit, -1: none; `read`: a number for each unit that
    has read. What came before the write is of no interest: the write itself came after it.
    """

    __slots__ = ("read", "writer", "written")

    def __init__(self, writer: int, written: int, read: dict[int, int]) -> None:
        self.writer, self.written, self.read = writer, written, read


class _History:
    """What happened last to the words of one space: cells, and the first word of each (and the end of the last)."""

    def __init__(self, size: int) -> None:
        self.starts = [0, size]
        self.cells = [_Cell(0, -1, {})]

    def cut(self, start: int, stop: int) -> slice:
        """The cells that are the words from `start` to `stop`."""
        starts = self.starts
        first = bisect_left(starts, start)
        if starts[first] != start:
            self._split(first, start)
        last = first + 1  # most often the words are a cell already
        if starts[last] != stop:
            last = bisect_left(starts, stop, first)
            if starts[last] != stop:
                self._split(last, stop)
        return slice(first, last)

    def _split(self, index: int, word: int) -> None:
        cell = self.cells[index - 1]
        self.starts.insert(index, word)
        self.cells.insert(index, _Cell(cell.writer, cell.written, cell.read.copy()))

    def read(self, run: tuple[int, int], unit: int, number: int, needs: list[int]) -> None:
        """Instruction `number` of a unit reads a run of words; raise `needs`, for each unit, to what it follows."""
        for cell in self.cells[self.cut(*run)]:
            if cell.written > needs[cell.writer]:
                needs[cell.writer] = cell.written
            cell.read[unit] = number

    def write(self, run: tuple[int, int], unit: int, number: int, needs: list[int]) -> None:
        """The same for a write, which follows earlier reads as well."""
        where = self.cut(*run)
        for cell in self.cells[where]:
            if cell.written > needs[cell.writer]:
                needs[cell.writer] = cell.written
            for reader, last in cell.read.items():
                if last > needs[reader]:
                    needs[reader] = last
        self.starts[where] = [run[0]]
        self.cells[where] = [_Cell(unit, number, {})]


def _needs(op: Op, unit: int, number: int, histories: list[_History]) -> list[int]:
    """For each unit the last instruction that `op`, instruction `number` of its own `unit`, must follow; -1: none.

    Within a unit instructions are in order everywhere but in the scratchpad: there a read must wait for the unit's own
    write.
    """
    own = -1
    needs = [-1] * UNITS
    for region in op.reads:
        for run in region.runs():
            histories[region.space].read(run, unit, number, needs)
        if region.space == Space.SCRATCHPAD:
            own = needs[unit]
        needs[unit] = own
    for region in op.writes:
        for run in region.runs():
            histories[region.space].write(run, unit, number, needs)
    needs[unit] = own
    return needs


def synchronise(ops: list[Op], sizes: dict[Space, int]) -> None:
    """Set the masks of `ops`, in program order, so that every dependency is kept however fast or slow each unit is.

    `sizes`: of every space.
    """
    histories = [_History(sizes[space]) for space in Space]
    issued: list[list[Op]] = [[] for _ in range(UNITS)]
    waited = [[-1] * UNITS for _ in range(UNITS)]
    for op in ops:
        unit = op.unit
        mine = issued[unit]
        needs = _needs(op, unit, len(mine), histories)
        mine.append(op)
        for producer, last in enumerate(needs):
            if last > waited[unit][producer]:
                waited[unit][producer] = last
                op.wait |= 1 << producer
                issued[producer][last].signal |= 1 << unit
