"""Tokens: from what each instruction reads and writes to the wait and signal masks.

Units run in order, so an instruction that depends on several instructions of another unit needs to wait for the last
of them only, and never again for an earlier one. One counting semaphore for each ordered pair of units and at most one
token an instruction is therefore enough: the k-th wait of a consumer for a producer matches the k-th signal of that
producer.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from celosia.hw.isa import UNITS, Opcode, Unit


class Space(IntEnum):
    """Address spaces in which instructions meet.

    MEMORY counts in units of `MEMORY_GRANULE` bytes of the scratch window.
    """

    SCRATCHPAD = 0
    ACCUMULATOR = 1
    STATISTICS = 2
    MEMORY = 3
    TABLE = 4


@dataclass(frozen=True)
class Region:
    """`count` runs of `length` words from `start` on, `stride` apart."""

    space: Space
    start: int
    length: int
    stride: int = 0
    count: int = 1

    def slices(self) -> list[slice]:
        """The runs; contiguous ones as one."""
        if self.count == 1 or self.stride == self.length:
            return [slice(self.start, self.start + self.length * self.count)]
        return [
            slice(self.start + i * self.stride, self.start + i * self.stride + self.length) for i in range(self.count)
        ]


@dataclass
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
        unit = self.opcode.unit
        assert unit is not None
        return unit


class _History:
    """For each word of each space and each unit: the last instruction (its number within the unit) that wrote or
    read it."""

    def __init__(self, sizes: dict[Space, int]) -> None:
        self.written = {space: np.full((UNITS, size), -1, np.int64) for space, size in sizes.items()}
        self.read = {space: np.full((UNITS, size), -1, np.int64) for space, size in sizes.items()}

    @staticmethod
    def _latest(table: dict[Space, np.ndarray], region: Region, into: np.ndarray) -> None:
        for run in region.slices():
            np.maximum(into, table[region.space][:, run].max(axis=1, initial=-1), out=into)

    def needs(self, op: Op) -> tuple[np.ndarray, np.ndarray]:
        """For each unit the last instruction that `op` must follow: by read-after-write, and by anything after a
        read or write."""
        raw = np.full(UNITS, -1, np.int64)
        for region in op.reads:
            self._latest(self.written, region, raw)
        others = raw.copy()
        for region in op.writes:
            self._latest(self.written, region, others)
            self._latest(self.read, region, others)
        return raw, others

    def record(self, op: Op, number: int) -> None:
        for table, regions in ((self.read, op.reads), (self.written, op.writes)):
            for region in regions:
                for run in region.slices():
                    table[region.space][op.unit, run] = number


def synchronise(ops: list[Op], sizes: dict[Space, int]) -> None:
    """Set the masks of `ops`, in program order, so that every dependency is kept however fast or slow each unit is.

    Within a unit instructions are in order everywhere but in the scratchpad: there a read must wait for the unit's own
    write.
    """
    history = _History(sizes)
    issued: list[list[Op]] = [[] for _ in range(UNITS)]
    waited = np.full((UNITS, UNITS), -1, np.int64)
    for op in ops:
        unit = op.unit
        raw, _ = history.needs(Op(op.opcode, {}, [r for r in op.reads if r.space is Space.SCRATCHPAD], []))
        own = raw[unit]
        _, needed = history.needs(op)
        for producer in Unit:
            last = int(own if producer is unit else needed[producer])
            if last > waited[unit, producer]:
                waited[unit, producer] = last
                op.wait |= 1 << producer
                issued[producer][last].signal |= 1 << unit
        history.record(op, len(issued[unit]))
        issued[unit].append(op)
