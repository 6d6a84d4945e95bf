"""From steps to instructions: residency, allocation, loads ahead of their use, stores.

The steps' order is given. Buffers live from their first to their last use. An activation whose next use is far away
may be kept in memory meanwhile; which ones is decided before, by Belady's rule, so that its place is free at once.
Allocation then runs ahead of emission, so that loads stand in the program before the work that they serve, as many as
LOAD's queue holds. What a step brings is loaded like what it reads if it finds room before the step is emitted; if
not, its use loads it.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from heapq import heappop, heappush
from itertools import count

from celosia.hw.config import Config
from celosia.hw.isa import HEAD_SLOTS, Opcode
from celosia.sw.compiler.buffers import Allocator, Buffer, CompileError, Ref, Step
from celosia.sw.compiler.program import SCRATCH
from celosia.sw.compiler.sync import Op, Region, Space

NAMES = {
    Space.SCRATCHPAD: "scratchpad words",
    Space.ACCUMULATOR: "accumulator rows",
    Space.STATISTICS: "statistics rows",
    Space.LISTS: "lists of kept keys",
    Space.HEADS: "slots of heads",
    Space.STORE: "halves of the key store",
}


def activation_words(config: Config) -> int:
    """Scratchpad words for what is kept because it is used again.

    The other three eighths are for what streams through: weights in use, weights to come, tiles that are reloaded.
    """
    return config.scratchpad_words * 5 // 8


def crowded_words(config: Config) -> int:
    """Scratchpad words for activations where everything that is there is used again soon, and little streams by."""
    return config.scratchpad_words * 15 // 16


SOON = 16
"""Steps within which pruned attention uses its operands again: a row of blocks has five, two or three are under way."""


class Uses:
    """When each buffer is used."""

    def __init__(self, steps: list[Step]) -> None:
        self.end = len(steps)
        self.steps: dict[Buffer, list[int]] = defaultdict(list)
        for index, step in enumerate(steps):
            for buffer in step.buffers:
                self.steps[buffer].append(index)

    def next(self, buffer: Buffer, index: int) -> int:
        """The first step after `index` that uses the buffer; the number of steps when none does."""
        uses = self.steps[buffer]
        position = bisect_right(uses, index)
        return uses[position] if position < len(uses) else self.end

    def previous(self, buffer: Buffer, index: int) -> int | None:
        """The last step before `index` that uses the buffer."""
        position = bisect_left(self.steps[buffer], index)
        return self.steps[buffer][position - 1] if position else None

    def last(self, buffer: Buffer) -> int:
        """The last step that uses the buffer."""
        return self.steps[buffer][-1]

    def victim(self, candidates: list[Buffer], clean: set[Buffer], index: int) -> Buffer:
        """The buffer that is best sent to memory after step `index`: Belady's, the one whose next use is furthest."""
        return max(candidates, key=lambda b: _distance(self.next(b, index), index, b in clean))


def _distance(use: int, index: int, clean: bool) -> int:
    """How far from step `index` a use is.

    A buffer that memory has already costs a load alone, others a store as well: for them only half the distance counts.
    """
    return (use - index) * (1 + clean)


class _Idle:
    """Activations that are there and not in use: `Uses.victim` without a search.

    Of those that memory has and of those that it does not have a heap each, of (-next use, arrival, buffer). What was
    used since then has its next use in the past, and so is behind all others.
    """

    def __init__(self) -> None:
        self._heaps: tuple[list[tuple[int, int, Buffer]], list[tuple[int, int, Buffer]]] = ([], [])

    def add(self, buffer: Buffer, use: int, arrival: int, clean: bool) -> None:
        """A buffer that is used at step `use` next. `arrival`: of those as good the first one goes first."""
        heappush(self._heaps[clean], (-use, arrival, buffer))

    def pop(self, index: int) -> Buffer | None:
        """The buffer that is best sent to memory after step `index`; None when there is none."""
        heads = [(clean, *heap[0]) for clean, heap in enumerate(self._heaps) if heap and -heap[0][0] > index]
        if not heads:
            return None
        best = min(heads, key=lambda head: (-_distance(-head[1], index, bool(head[0])), head[2]))
        return heappop(self._heaps[best[0]])[2]


def plan_drops(steps: list[Step], uses: Uses, budget: int, crowded: int = 0) -> dict[Buffer, set[int]]:
    """For activations the steps after which they leave the scratchpad although they are used again.

    `budget`: scratchpad words for activations; a step that needs more gets more. `crowded`: where attention is pruned
    (a list of kept keys is in use), those for which nothing leaves that is used again `SOON`.
    """
    drops: dict[Buffer, set[int]] = defaultdict(set)
    arrivals: dict[Buffer, int] = {}  # of those that are there
    latest: dict[Buffer, int] = {}  # use
    clean = {buffer for buffer in uses.steps if buffer.loaded}
    idle, arrived, total = _Idle(), count(), 0
    lists: set[Buffer] = set()
    for index, step in enumerate(steps):
        lists.update(b for b in step.buffers if b.space == Space.LISTS)
        mine = [b for b in step.buffers if b.space == Space.SCRATCHPAD and not b.stream]
        for buffer in mine:
            if buffer not in arrivals:
                arrivals[buffer] = next(arrived)
                total += buffer.size
            latest[buffer] = index
        clean.difference_update([access.buffer for access in step.writes])
        while total > budget and (victim := idle.pop(index)) is not None:
            use = uses.next(victim, index)
            if lists and total <= crowded and use - index <= SOON:
                idle.add(victim, use, arrivals[victim], victim in clean)
                break
            drops[victim].add(latest[victim])
            clean.add(victim)
            del arrivals[victim]
            total -= victim.size
        lists.difference_update([b for b in lists if uses.last(b) == index])
        for buffer in mine:
            use = uses.next(buffer, index)
            if use < uses.end:
                # What KEYS reads stays until its next use (see `Scheduler._held`).
                if step.opcode is not Opcode.KEYS:
                    idle.add(buffer, use, arrivals[buffer], buffer in clean)
            else:
                del arrivals[buffer]
                total -= buffer.size
    return drops


class Scheduler:
    """Turns steps into instructions; see the module."""

    def __init__(self, config: Config, steps: list[Step]) -> None:
        self.config, self.steps = config, steps
        self.uses = Uses(steps)
        self.drops = plan_drops(steps, self.uses, activation_words(config), crowded_words(config))
        granule = max(1, config.scratchpad_words // 1024)
        self.memories = {
            Space.SCRATCHPAD: Allocator(config.scratchpad_words, granule),
            Space.ACCUMULATOR: Allocator(config.acc_rows, max(1, config.acc_rows // 1024)),
            Space.STATISTICS: Allocator(config.accumulator.stat_rows, 1),
            Space.LISTS: Allocator(config.hdp.lists if config.hdp else 0),
            Space.HEADS: Allocator(HEAD_SLOTS if config.hdp else 0),
            Space.STORE: Allocator(2 if config.rate > 1 else 0),
        }
        # Large, and brought where several of them just fit: so no gaps between them.
        self.packed = {buffer for step in steps for buffer in step.brings}
        self.address: dict[Buffer, int] = {}
        self.clean: set[Buffer] = {b for b in self.uses.steps if b.loaded}
        self.scratch_bytes = 0
        self.ops: list[Op] = []
        self.loads = [0] * len(steps)  # emitted for each step
        self.ahead = 0  # loads emitted for steps that are not emitted yet

    def run(self) -> list[Op]:
        """The instructions, in program order. Errors: CompileError when a step's buffers do not fit together."""
        ready = 0
        for index, step in enumerate(self.steps):
            while ready < len(self.steps):
                if ready > index and self.ahead >= self.config.control.queue:
                    break
                missing = self._allocate(ready)
                if missing is None or (ready == index and missing in step.brings):
                    ready += 1
                elif ready > index:
                    break
                else:
                    self._evict(index, missing)
            self._emit(index, step)
            self.ahead -= self.loads[index]
        return self.ops

    def _allocate(self, index: int) -> Buffer | None:
        """Place the buffers of a step and load what it reads; the first buffer that has no room, or None."""
        step = self.steps[index]
        for buffer in step.buffers:
            if buffer in self.address:
                if buffer in self.drops:
                    self._keep(buffer, index)
                continue
            place = self.memories[buffer.space].place(buffer.size, buffer in self.packed)
            if place is None:
                return buffer
            self.address[buffer] = place
            if (
                buffer.space is Space.SCRATCHPAD
                and buffer.home is not None
                and (buffer in self.clean or any(access.buffer is buffer for access in step.reads))
            ):
                self._transfer(Opcode.LOAD, buffer)
                self.loads[index] += 1
                self.ahead += 1
        return None

    def _keep(self, buffer: Buffer, index: int) -> None:
        """A use that the run-ahead has reached while the buffer is still there: no need to drop it in between."""
        before = self.uses.previous(buffer, index)
        if before is not None:
            self.drops[buffer].discard(before)

    def _evict(self, index: int, wanted: Buffer) -> None:
        step = self.steps[index]
        mine = set(step.buffers).difference(step.brings)
        others = [b for b in self.address if b.space is wanted.space and b not in mine and not self._held(b, index)]
        if wanted.space is not Space.SCRATCHPAD or not others:
            needs = sum(b.size for b in mine if b.space is wanted.space)
            total = self.memories[wanted.space].size
            raise CompileError(
                f"{step.label or step.opcode.name} needs {needs} {NAMES[wanted.space]} at once beside what is in use; "
                f"this configuration has {total}"
            )
        self._drop(self.uses.victim(others, self.clean, index), index)

    def _held(self, buffer: Buffer, index: int) -> bool:
        """Whether KEYS may read it still: it may until the DECIDE that uses it next."""
        before = self.uses.previous(buffer, index)
        return before is not None and self.steps[before].opcode is Opcode.KEYS

    def _drop(self, buffer: Buffer, index: int) -> None:
        """Take a buffer out of its place; save it first when it is needed again and memory has no copy."""
        needed = buffer.output or self.uses.next(buffer, index) < self.uses.end
        if buffer.space is Space.SCRATCHPAD and needed and buffer not in self.clean:
            self._transfer(Opcode.STORE, buffer)
            self.clean.add(buffer)
        self.memories[buffer.space].release(self.address.pop(buffer), buffer.size)

    def _transfer(self, opcode: Opcode, buffer: Buffer) -> None:
        address, words = self.address[buffer], buffer.size
        size = words * self.config.word_bytes
        if buffer.home is None:
            buffer.home = (SCRATCH, self.scratch_bytes)
            self.scratch_bytes += size
        window, offset = buffer.home
        granule = self.config.beat_bytes
        memory = [Region(Space.MEMORY, offset // granule, size // granule)] if window == SCRATCH else []
        chip = [Region(Space.SCRATCHPAD, address, words)]
        fields = {"window": window, "offset": offset, "words": words, "segments": 1, "address": address}
        reads, writes = (memory, chip) if opcode is Opcode.LOAD else (chip, memory)
        self.ops.append(Op(opcode, fields, reads, writes, label=buffer.label))

    def _emit(self, index: int, step: Step) -> None:
        place = self.address
        fields = {
            name: place[value.buffer] + value.offset if isinstance(value, Ref) else value
            for name, value in step.fields.items()
        }
        reads = [access.region(place[access.buffer]) for access in step.reads]
        writes = [access.region(place[access.buffer]) for access in step.writes]
        self.ops.append(Op(step.opcode, fields, reads, writes, label=step.label))
        for access in step.writes:
            self.clean.discard(access.buffer)
        for buffer in step.buffers:
            done = self.uses.last(buffer) == index or (buffer in self.drops and index in self.drops[buffer])
            if done and buffer in self.address:
                self._drop(buffer, index)
