"""On-chip buffers, and steps: instructions whose addresses are not known yet."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from celosia.hw.isa import Opcode, Unit
from celosia.sw.compiler.sync import Region, Space


class CompileError(ValueError):
    """The network cannot be put on this accelerator; the message says what does not fit and what would."""


@dataclass(eq=False)
class Buffer:
    """A piece of an on-chip memory with a lifetime: `size` words (scratchpad) or rows (accumulator, statistics).

    `home`: (window, offset in bytes) of its copy in memory, None until it is spilled. `loaded`: the copy in memory is
    there from the beginning (constants, inputs). `stream`: a constant that is loaded for one use and then dropped.
    `output`: must be in memory at the end.
    """

    space: Space
    size: int
    label: str = ""
    home: tuple[int, int] | None = None
    loaded: bool = False
    stream: bool = False
    output: bool = False

    def at(self, offset: int = 0) -> "Ref":
        """An address inside the buffer."""
        return Ref(self, offset)

    def whole(self) -> "Access":
        """All of it."""
        return Access(self, 0, self.size)


@dataclass(frozen=True)
class Ref:
    """A field's value that becomes the buffer's address plus `offset`."""

    buffer: Buffer
    offset: int


@dataclass(frozen=True)
class Access:
    """What a step touches: `count` runs of `length` from `start` in the buffer, `stride` apart."""

    buffer: Buffer
    start: int
    length: int
    stride: int = 0
    count: int = 1

    def region(self, base: int) -> Region:
        """The same, with the buffer at `base`."""
        return Region(self.buffer.space, base + self.start, self.length, self.stride, self.count)


@dataclass
class Step:
    """An instruction of ARRAY or POST, before allocation."""

    opcode: Opcode
    fields: dict[str, int | Ref]
    reads: list[Access] = field(default_factory=list)
    writes: list[Access] = field(default_factory=list)
    label: str = ""

    @property
    def unit(self) -> Unit:
        """The unit that executes it."""
        unit = self.opcode.unit
        assert unit is not None
        return unit

    @cached_property
    def buffers(self) -> list[Buffer]:
        """Every buffer it touches, once, reads first."""
        return list(dict.fromkeys(access.buffer for access in (*self.reads, *self.writes)))

    @cached_property
    def touched(self) -> frozenset[Buffer]:
        """The same as a set."""
        return frozenset(self.buffers)


class Allocator:
    """Places buffers in one memory; prefers the place that has been free for longest, so that reuse seldom waits."""

    def __init__(self, size: int, granule: int) -> None:
        self.granule = granule
        # For each granule the time since which it is free; a busy one is far in the future.
        self.free_since = np.zeros(size // granule, np.int64)
        self._busy = np.iinfo(np.int64).max

    def _granules(self, size: int) -> int:
        return -(-size // self.granule)

    def place(self, size: int) -> int | None:
        """Address for `size` words, or None when no run is free."""
        need = self._granules(size)
        if need > len(self.free_since):
            return None
        latest = np.lib.stride_tricks.sliding_window_view(self.free_since, need).max(axis=1)
        best = int(latest.argmin())
        if latest[best] == self._busy:
            return None
        self.free_since[best : best + need] = self._busy
        return best * self.granule

    def release(self, address: int, size: int, time: int) -> None:
        """Give a place back."""
        first = address // self.granule
        self.free_since[first : first + self._granules(size)] = time
