"""On-chip buffers, and steps: instructions whose addresses are not known yet."""

from dataclasses import dataclass, field

from celosia.hw.isa import Opcode, Unit
from celosia.sw.compiler.sync import UNIT_OF, Region, Space


class CompileError(ValueError):
    """The network cannot be put on this accelerator; the message says what does not fit and what would."""


@dataclass(eq=False, slots=True)
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


@dataclass(slots=True)  # not frozen, like Access: there are hundreds of thousands of them
class Ref:
    """A field's value that becomes the buffer's address plus `offset`."""

    buffer: Buffer
    offset: int


@dataclass(slots=True)
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


@dataclass(slots=True)
class Step:
    """An instruction of ARRAY or POST, before allocation.

    `frees`: the piece of the accumulator that it is the last one to use. `brings`: what it does not touch, but loads
    ahead of its use, if it finds room. `buffers`: all that it touches, each once, reads first; then what it brings.
    """

    opcode: Opcode
    fields: dict[str, int | Ref]
    reads: list[Access] = field(default_factory=list)
    writes: list[Access] = field(default_factory=list)
    label: str = ""
    frees: Buffer | None = None
    brings: list[Buffer] = field(default_factory=list)
    buffers: list[Buffer] = field(init=False)

    def __post_init__(self) -> None:
        touched = [access.buffer for access in (*self.reads, *self.writes)]
        self.buffers = list(dict.fromkeys([*touched, *self.brings]))

    @property
    def unit(self) -> Unit:
        """The unit that executes it."""
        return UNIT_OF[self.opcode]


class Allocator:
    """Places buffers in one memory; prefers the place that has been free for longest, so that reuse seldom waits.

    `granule`: places and sizes are multiples of it.
    """

    def __init__(self, size: int, granule: int = 1) -> None:
        self.size, self.granule = size - size % granule, granule
        # Pieces: end to start, the one that has been free for longest first; and start to end.
        self._free = {self.size: 0}
        self._ends = {0: self.size}
        self._too_large = self.size + 1  # what is known to have no place until something is given back

    def place(self, size: int, packed: bool = False) -> int | None:
        """Address for `size` words, or None when no run is free. `packed`: the first such run."""
        size = self._padded(size)
        if size >= self._too_large:
            return None
        start = self._lowest_run(size) if packed else self._oldest_run(size)
        if start is None:
            self._too_large = size
        else:
            self._take(start, start + size)
        return start

    def release(self, address: int, size: int) -> None:
        """Give a place back."""
        end = address + self._padded(size)
        self._free[end], self._ends[address] = address, end
        self._too_large = self.size + 1

    def _padded(self, size: int) -> int:
        return -(-size // self.granule) * self.granule

    def _oldest_run(self, size: int) -> int | None:
        """Start of the run of `size` free words that has been free for longest.

        Pieces are put together, from the oldest on, until a run is long enough.
        """
        ends: dict[int, int] = {}  # start of a run: its end
        starts: dict[int, int] = {}  # end of a run: its start
        for end, start in self._free.items():
            start, end = starts.pop(start, start), ends.pop(end, end)
            if end - start >= size:
                return start
            ends[start], starts[end] = end, start
        return None

    def _lowest_run(self, size: int) -> int | None:
        """Start of the first run of `size` free words."""
        start = stop = -1
        for begin, end in sorted(self._ends.items()):
            start, stop = begin if begin != stop else start, end
            if stop - start >= size:
                return start
        return None

    def _take(self, start: int, end: int) -> None:
        """Remove the words from `start` to `end`: whole pieces, and the first words of one more, which stays as old."""
        while start < end:
            last = self._ends.pop(start)
            if last <= end:
                del self._free[last]
            else:
                self._free[last], self._ends[end] = end, last
            start = last
