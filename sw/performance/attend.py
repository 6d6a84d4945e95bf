"""The replay of a co-processor: ATTEND and its cores in ARRAY's place, and no POST."""

from math import ceil, inf
from typing import cast

from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.isa import Unit
from celosia.sw.performance import coretimes as t
from celosia.sw.performance.channels import Memory
from celosia.sw.performance.conflicts import Rivals
from celosia.sw.performance.coremodel import CoreModel
from celosia.sw.performance.headworks import Head
from celosia.sw.performance.replay import Machine, Replay
from celosia.sw.performance.units import UnitModel
from celosia.sw.performance.works import Work, Works


class AttendModel(UnitModel):
    """Gives heads to the cores, one instruction after another, and reports them in order.

    `given`, `reported`: when each was given, and was done. `signals`: units to give a token to, and `owners`: of each
    that is given, its core and its number there.
    """

    def __init__(self, config: CoprocessorConfig) -> None:
        super().__init__()
        self.cores = [CoreModel(config.core) for _ in range(config.cores)]
        self.times = [inf] * config.cores  # when something happens next in each core
        self.depth = config.tickets
        self.waiting: Head | None = None  # taken, and not given
        self.given: list[float] = []
        self.reported: list[float] = []
        self.signals: list[tuple[int, ...]] = []
        self.owners: list[tuple[CoreModel, int]] = []

    def able(self) -> float:
        """See `UnitModel`: while a head waits for its core, those behind it wait too."""
        if self.waiting is not None:
            return inf
        return max(self.taken[-1] + t.ATTEND_PERIOD, self.given[-1] + 1) if self.taken else 0.0

    def take(self, head: Head, signal: tuple[int, ...], ready: float) -> None:
        """Take an instruction whose tokens are there at `ready`. What is inside works in whole cycles."""
        self.taken.append(ceil(ready))
        self.signals.append(signal)
        self.waiting, self.idle_from = head, inf

    def advance(self) -> None:
        """What happens next in a core."""
        core = self.times.index(min(self.times))
        self.cores[core].advance()
        self.times[core] = self.cores[core].next()

    def settle(self) -> list[tuple[tuple[int, ...], float]]:
        """Give the head that waits, if it is known when; those that are done now: whom to tell, and when."""
        if self.waiting is not None and (time := self._able(self.waiting)) < inf:
            core = self.cores[self.waiting.core]
            self.given.append(time)
            self.owners.append((core, len(core.heads)))
            core.give(self.waiting, time)
            self.times[self.waiting.core] = core.next()
            self.waiting = None
        done = []
        while (index := len(self.reported)) < len(self.given):
            core, number = self.owners[index]
            if number >= len(core.values.contexts):
                break
            time = max(core.values.contexts[number] + 2 * t.ENDED, self.given[index] + 1)
            self.reported.append(max(time, self.reported[-1] + 1) if self.reported else time)
            done.append((self.signals[index], self.reported[-1] + 1))
        if self.waiting is None and len(self.reported) == len(self.given):
            self.idle_from = self.reported[-1] + 1
        return done

    def _able(self, head: Head) -> float:
        """When a head can be given to its core; infinite when that is not known yet."""
        gone = len(self.given) - self.depth
        if gone >= len(self.reported):
            return inf
        told = self.reported[gone] + 1 if gone >= 0 else 0.0
        return max(self.taken[-1] + t.ATTEND_GIVE, self.cores[head.core].able(), told)

    def finish(self) -> None:
        """No instruction follows: the cycles in which PEs worked, and those in which there were heads and none did."""
        self.busy = _covered([run for core in self.cores for run in core.runs])
        self.stall_in = _covered([(a + 1, b) for a, b in zip(self.taken, self.reported, strict=True)]) - self.busy


def _covered(spans: list[tuple[float, float]]) -> float:
    """Cycles in any of these, from the first to the last one of each."""
    total, end = 0.0, -1.0
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end + 1) + 1)
        end = max(end, last)
    return total


class _Coprocessor(Machine):
    def __init__(self, works: Works, memory: Memory) -> None:
        self.attend = AttendModel(cast(CoprocessorConfig, works.config))
        super().__init__(works, memory, Rivals(), self.attend, UnitModel())

    def run(self) -> Replay:
        """See `Machine`."""
        result = super().run()
        self.attend.finish()
        return result

    def _inside(self) -> None:
        self.attend.advance()
        self._settle()

    def _begin(self, work: Work, ready: float) -> None:
        if work.unit == Unit.ARRAY:
            assert isinstance(work.what, Head)
            self.attend.take(work.what, work.signal, ready)
            self._settle()
        else:
            super()._begin(work, ready)

    def _settle(self) -> None:
        for signal, done in self.attend.settle():
            self._give(Unit.ARRAY, signal, done)
        self.inside = min(self.attend.times)
        if self.offers[Unit.ARRAY] == inf:
            self._offer(Unit.ARRAY)


def replay_cores(works: Works, memory: Memory) -> Replay:
    """Cycles of a co-processor's program from its start to its end."""
    return _Coprocessor(works, memory).run()
