"""From the scores of a pair of queries to its context: exponentials, weights by V, row factors, requantisation.

Times are cycles; infinite is what is not known yet, and what has not begun.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

from celosia.hw.hdp.core.config import BLOCK, ROWS_IN_FLIGHT
from celosia.sw.performance import coretimes as t
from celosia.sw.performance.corepasses import Scores, Span
from celosia.sw.performance.coretimes import CoreTimings


@dataclass
class Weighed:
    """A pair whose weights are made. `number`: of the first of them; `values`: how many. `first`, `last`: when scores
    are read; `start`: of its context, when that has begun. `end`: of its head; `lone`: it has one query."""

    number: int
    values: int
    first: float
    end: bool
    lone: bool
    last: float = inf
    start: float = inf


class Weights:
    """Exponentials: a key a cycle, some ahead of the PEs. `pairs`: whose context has not begun."""

    def __init__(self, times: CoreTimings, scores: Scores) -> None:
        self.times, self.scores = times, scores
        self.pairs: deque[Weighed] = deque()
        self.recent: deque[Weighed] = deque()  # pairs whose weights still count as under way, and those of `pairs`
        self.number = 0
        self.before = 0.0  # when the last score of the last pair was read; infinite as long as that is not known
        self.drained: list[float] = []  # when each pair left the core

    def settle(self) -> None:
        """Go on as far as it is known."""
        while True:
            if self.before == inf and not self._finish():
                return
            if not self.scores.rows:
                return
            there, listed = self.scores.rows[0]
            room, full = self._under_way(self.number), self._rows()
            if max(room, full) == inf:
                return
            self.scores.rows.popleft()
            one = Weighed(
                self.number, listed.pair.values, max(there, self.before + 1, room, full),
                listed.end, listed.end and listed.head.lone,
            )  # fmt: skip
            self.number += one.values
            self.pairs.append(one)
            self.recent.append(one)
            self.before = inf

    def _rows(self) -> float:
        """When there is room for another pair between here and the end."""
        pairs = len(self.scores.taken)
        gone = pairs - ROWS_IN_FLIGHT
        if gone < 0:
            return 0.0
        return self.drained[gone] + 1 if gone < len(self.drained) else inf

    def _under_way(self, number: int) -> float:
        """When there is room for a weight, by its number: that of the weight so many before it is free again."""
        gone = number - self.times.depth
        if gone < 0:
            return 0.0
        while self.recent and self.recent[0].number + self.recent[0].values <= gone:
            self.recent.popleft()
        one = self.recent[0]
        return one.start + (gone - one.number) + 1

    def _finish(self) -> bool:
        """Find out when the last score of the last pair is read; whether that is known."""
        one = self.recent[-1]
        end = one.number + one.values - 1
        last = one.first + one.values - 1
        # Within a run of context a weight leaves every cycle: only where a run begins it can be late.
        for other in self.recent:
            number = max(other.number, one.number - self.times.depth)
            if number + self.times.depth <= end and other.number + other.values > number:
                last = max(last, other.start + (number - other.number) + 1 + end - number - self.times.depth)
        if last == inf:
            return False
        one.last = self.before = last
        self.scores.taken.append(last)
        return True


class Values:
    """Context: its steps, and what follows them until the codes are out. `contexts`: when that of each head is."""

    def __init__(self, times: CoreTimings, weights: Weights) -> None:
        self.times, self.weights = times, weights
        self.contexts: list[float] = []
        self.drains: list[float] = []  # when the sums of each head were all read
        self.factors = 0.0  # when the last pair's factors were given
        self.drained = 0.0  # when its sums were all read
        self.stalls: deque[tuple[float, float]] = deque()  # when codes wait for the memory of contexts

    def ready(self) -> float:
        """When the next pair can begin."""
        if not self.weights.pairs:
            return inf
        return max(self.weights.pairs[0].first + self.times.weights, self.drained + 1)

    def begin(self, time: float) -> list[Span]:
        """The next pair begins."""
        one = self.weights.pairs.popleft()
        one.start = time
        self.weights.settle()
        end = time + one.values - 1
        begin = max(end + t.FULL, self._factors(one.last + self.times.totals) + 1)
        codes = self._drain(begin, one.lone)
        self.weights.drained.append(self.drained)
        self.weights.settle()
        if one.end:
            self.drains.append(self.drained)
            self.contexts.append(codes)
        return [(time, end)]

    def _factors(self, totals: float) -> float:
        """When the factors of both queries are found, one behind the other."""
        times = self.times
        normal = max(totals, self.factors + 1) + times.normaliser
        first = max(normal + times.divider, self.drained + 1)
        self.factors = max(normal + times.normaliser, first) + times.divider
        return self.factors

    def _drain(self, begin: float, lone: bool) -> float:
        """Words of both queries, the second one's read even if it does not exist; when the last codes are out."""
        times, words = self.times, BLOCK * self.times.core.context_words
        if times.pieces == 1:
            self.drained = begin + words - 1
            return self.drained + times.codes - words // BLOCK * lone
        codes, time = 0.0, begin
        for word in range(words):
            time = self._moving(time)
            self.drained = time
            if word < words >> lone:
                codes = self._out(time)
            time += 1
        return codes

    def _moving(self, time: float) -> float:
        """The next cycle, from `time` on, in which nothing waits."""
        while self.stalls and self.stalls[0][1] < time:
            self.stalls.popleft()
        for first, last in self.stalls:
            if first <= time <= last:
                time = last + 1
        return time

    def _out(self, time: float) -> float:
        """When the codes of a word that is read at `time` are all out: all that is under way waits at once."""
        out = time + self.times.codes
        for first, last in self.stalls:
            if last > time and first <= out:
                out += last - max(first, time + 1) + 1
        self.stalls.append((out, out + self.times.pieces - 2))
        return out + self.times.pieces - 1
