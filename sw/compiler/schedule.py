"""From steps to instructions: residency, allocation, loads ahead of their use, stores.

The steps' order is given. Buffers live from their first to their last use. An activation whose next use is far away
may be kept in memory meanwhile; which ones is decided before, by Belady's rule, so that its place is free at once.
Allocation then runs ahead of emission, so that loads stand in the program before the work that they serve, as many as
LOAD's queue holds.
"""

from bisect import bisect_right
from collections import Counter, defaultdict

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sw.compiler.buffers import Access, Allocator, Buffer, CompileError, Ref, Step
from celosia.sw.compiler.program import SCRATCH
from celosia.sw.compiler.sync import Op, Region, Space

NAMES = {
    Space.SCRATCHPAD: "scratchpad words",
    Space.ACCUMULATOR: "accumulator rows",
    Space.STATISTICS: "statistics rows",
}


def uses_of(steps: list[Step]) -> dict[Buffer, list[int]]:
    """For each buffer the steps that touch it, ascending."""
    uses: dict[Buffer, list[int]] = defaultdict(list)
    for index, step in enumerate(steps):
        for buffer in step.buffers():
            uses[buffer].append(index)
    return uses


def plan_drops(steps: list[Step], uses: dict[Buffer, list[int]], budget: int) -> set[tuple[Buffer, int]]:
    """Pairs (activation, step after which it leaves the scratchpad although it is used again).

    `budget`: scratchpad words for activations; a step that needs more gets more. Belady: the one whose next use is
    furthest goes.
    """
    drops: set[tuple[Buffer, int]] = set()
    resident: dict[Buffer, int] = {}  # activation -> its latest use
    total = 0

    def next_use(buffer: Buffer, index: int) -> int:
        position = bisect_right(uses[buffer], index)
        return uses[buffer][position] if position < len(uses[buffer]) else len(steps)

    for index, step in enumerate(steps):
        mine = [b for b in step.buffers() if b.space is Space.SCRATCHPAD and not b.stream]
        for buffer in mine:
            total += 0 if buffer in resident else buffer.size
            resident[buffer] = index
        while total > budget:
            others = [b for b in resident if b not in mine]
            if not others:
                break
            victim = max(others, key=lambda b: next_use(b, index))
            drops.add((victim, resident.pop(victim)))
            total -= victim.size
        for buffer in mine:
            if uses[buffer][-1] == index:
                del resident[buffer]
                total -= buffer.size
    return drops


class Scheduler:
    """Turns steps into instructions; see the module."""

    def __init__(self, config: Config, steps: list[Step]) -> None:
        self.config, self.steps = config, steps
        self.uses = uses_of(steps)
        # Three eighths for what streams through: weights in use, weights to come, tiles that are reloaded.
        self.drops = plan_drops(steps, self.uses, config.scratchpad_words * 5 // 8)
        granule = max(1, config.scratchpad_words // 1024)
        self.memories = {
            Space.SCRATCHPAD: Allocator(config.scratchpad_words, granule),
            Space.ACCUMULATOR: Allocator(config.acc_rows, max(1, config.acc_rows // 1024)),
            Space.STATISTICS: Allocator(config.accumulator.stat_rows, 1),
        }
        self.address: dict[Buffer, int] = {}
        self.clean: set[Buffer] = {b for b in self.uses if b.loaded}
        self.scratch_bytes = 0
        self.ops: list[Op] = []
        self.ahead: Counter[int] = Counter()  # loads emitted for steps that are not emitted yet

    def run(self) -> list[Op]:
        """The instructions, in program order. Errors: CompileError when a step's buffers do not fit together."""
        ready = 0
        for index, step in enumerate(self.steps):
            while ready < len(self.steps):
                if ready > index and self.ahead.total() >= self.config.control.queue:
                    break
                missing = self._allocate(ready)
                if missing is None:
                    ready += 1
                elif ready > index:
                    break
                else:
                    self._evict(index, missing)
            self._emit(index, step)
            self.ahead.pop(index, None)
        return self.ops

    def _allocate(self, index: int) -> Buffer | None:
        """Place the buffers of a step and load what it reads; the first buffer that has no room, or None."""
        step = self.steps[index]
        inputs = {access.buffer for access in step.reads}
        for buffer in step.buffers():
            if buffer in self.address:
                self._keep(buffer, index)
                continue
            place = self.memories[buffer.space].place(buffer.size)
            if place is None:
                return buffer
            self.address[buffer] = place
            if (
                buffer.space is Space.SCRATCHPAD
                and buffer.home is not None
                and (buffer in inputs or buffer in self.clean)
            ):
                self._transfer(Opcode.LOAD, buffer)
                self.ahead[index] += 1
        return None

    def _keep(self, buffer: Buffer, index: int) -> None:
        """A use that the run-ahead has reached while the buffer is still there: no need to drop it in between."""
        position = bisect_right(self.uses[buffer], index - 1)
        if position:
            self.drops.discard((buffer, self.uses[buffer][position - 1]))

    def _evict(self, index: int, wanted: Buffer) -> None:
        step = self.steps[index]
        mine = set(step.buffers())
        others = [b for b in self.address if b.space is wanted.space and b not in mine]
        if wanted.space is not Space.SCRATCHPAD or not others:
            needs = sum(b.size for b in mine if b.space is wanted.space)
            total = len(self.memories[wanted.space].free_since) * self.memories[wanted.space].granule
            raise CompileError(
                f"{step.label or step.opcode.name} needs {needs} {NAMES[wanted.space]} at once beside what is in use; "
                f"this configuration has {total}"
            )
        self._drop(max(others, key=lambda b: self._next(b, index)), index)

    def _next(self, buffer: Buffer, index: int) -> int:
        position = bisect_right(self.uses[buffer], index)
        return self.uses[buffer][position] if position < len(self.uses[buffer]) else len(self.steps)

    def _drop(self, buffer: Buffer, index: int) -> None:
        """Take a buffer out of its place; save it first when it is needed again and memory has no copy."""
        needed = buffer.output or self._next(buffer, index) < len(self.steps)
        if buffer.space is Space.SCRATCHPAD and needed and buffer not in self.clean:
            self._transfer(Opcode.STORE, buffer)
            self.clean.add(buffer)
        self.memories[buffer.space].release(self.address.pop(buffer), buffer.size, len(self.ops))

    def _transfer(self, opcode: Opcode, buffer: Buffer) -> None:
        if buffer.home is None:
            buffer.home = (SCRATCH, self.scratch_bytes)
            self.scratch_bytes += buffer.size * self.config.word_bytes
        window, offset = buffer.home
        size = buffer.size * self.config.word_bytes
        granule = self.config.beat_bytes
        memory = [Region(Space.MEMORY, offset // granule, size // granule)] if window == SCRATCH else []
        chip = [Region(Space.SCRATCHPAD, self.address[buffer], buffer.size)]
        fields = {
            "window": window,
            "offset": offset,
            "words": buffer.size,
            "segments": 1,
            "address": self.address[buffer],
        }
        reads, writes = (memory, chip) if opcode is Opcode.LOAD else (chip, memory)
        self.ops.append(Op(opcode, fields, reads, writes, label=buffer.label))

    def _emit(self, index: int, step: Step) -> None:
        def resolve(value: int | Ref) -> int:
            return self.address[value.buffer] + value.offset if isinstance(value, Ref) else value

        def regions(accesses: list[Access]) -> list[Region]:
            return [access.region(self.address[access.buffer]) for access in accesses]

        fields = {name: resolve(value) for name, value in step.fields.items()}
        self.ops.append(Op(step.opcode, fields, regions(step.reads), regions(step.writes), label=step.label))
        for access in step.writes:
            self.clean.discard(access.buffer)
        for buffer in step.buffers():
            if self.uses[buffer][-1] == index or (buffer, index) in self.drops:
                self._drop(buffer, index)
