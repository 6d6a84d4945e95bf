"""A co-processor's core: its PEs, and who gives them steps."""

from math import inf

from celosia.hw.hdp.core.config import HEADS, CoreConfig
from celosia.sw.performance.coreends import Values, Weights
from celosia.sw.performance.corepasses import Given, Integers, Lists, Scores, Span
from celosia.sw.performance.coretimes import core_timings
from celosia.sw.performance.headworks import Head


class CoreModel:
    """Heads one after another. `runs`: first and last step of runs of steps, those that follow one another as one."""

    def __init__(self, core: CoreConfig) -> None:
        times = core_timings(core)
        self.heads: list[Given] = []
        self.integers = Integers(core, times, self.heads)
        self.lists = Lists(core, self.integers)
        self.scores = Scores(times, self.integers, self.lists)
        self.weights = Weights(times, self.scores)
        self.values = Values(times, self.weights)
        self.runs: list[Span] = []
        self.free = 0.0  # when the PEs are

    def able(self) -> float:
        """From when on it can be given another head; infinite when that is not known yet."""
        gone, drains = len(self.heads) - HEADS, self.values.drains
        if gone < 0:
            return 0.0
        return drains[gone] + 1 if gone < len(drains) else inf

    def give(self, head: Head, time: float) -> None:
        """A head."""
        self.heads.append(Given(head, time + 1))
        self.lists.settle()

    def next(self) -> float:
        """When the next run of steps begins; infinite when none can."""
        return max(self.free, min(one.ready() for one in (self.values, self.scores, self.integers)))

    def advance(self) -> None:
        """The next run: of those that can begin, the one that is furthest along."""
        time = self.next()
        for one in (self.values, self.scores, self.integers):
            if one.ready() <= time:
                spans = one.begin(time)
                break
        for first, last in spans:
            if self.runs and self.runs[-1][1] + 1 == first:
                self.runs[-1] = (self.runs[-1][0], last)
            else:
                self.runs.append((first, last))
        self.free = spans[-1][1] + 1
        self.weights.settle()
        self.lists.settle()
