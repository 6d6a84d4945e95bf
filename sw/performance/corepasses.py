"""What gives a core's PEs their steps, and what stands between: the integer pass and the sparsity engine, the lists of
kept blocks, and the pass of scores. Each works on one pair of queries after another, of one head after another.

Times are cycles; infinite is what is not known yet, and what has not begun. What begins tells the spans of its steps.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from math import inf

from celosia.hw.hdp.core.config import BLOCK, ROWS_AHEAD, CoreConfig
from celosia.hw.hdp.core.passes import ScorePass
from celosia.sw.performance import coretimes as t
from celosia.sw.performance.coretimes import CoreTimings
from celosia.sw.performance.headworks import Head, Pair

Span = tuple[float, float]
"""First and last of steps that follow one another."""


@dataclass(frozen=True)
class Given:
    """A head that a core was given: its units see it from `there` on."""

    head: Head
    there: float


class Integers:
    """The integer pass, and the engine behind it.

    `masks`: when the first group of each pair comes out of the queue of masks. `verdicts`: when each head's is there.
    `popped`: when each group left the queue; `scored`: when the integer scores of each pair were used up.
    """

    def __init__(self, core: CoreConfig, times: CoreTimings, heads: list[Given]) -> None:
        self.core, self.times, self.heads = core, times, heads
        self.masks: deque[float] = deque()
        self.verdicts: deque[float] = deque()
        self.popped: list[float] = []
        self.scored: list[float] = []
        self.head = self.pair = 0
        self.over = 0.0  # when the head may begin, for what is behind it
        self.taken = self.kept = 0  # groups of masks, pairs whose integer scores are kept
        self.setting: tuple[int, ...] = ()
        self.decided = 0.0  # when the last group of masks went into its queue

    def ready(self) -> float:
        """When the next pair can begin."""
        while self.head < len(self.heads) and self.heads[self.head].head.dense:
            self.over = max(self.over, self.heads[self.head].there) + 1
            self.head += 1
        if self.head == len(self.heads):
            return inf
        one = self.heads[self.head]
        time = max(self.over, one.there)
        room = self.taken + one.head.pairs[self.pair].groups - self.core.mask_words
        if room > 0:
            if room > len(self.popped):
                return inf
            time = max(time, self.popped[room - 1] + 1)
        free = self.kept - ROWS_AHEAD
        if one.head.paired and free >= 0:
            if free >= len(self.scored):
                return inf
            time = max(time, self.scored[free] + 1)
        if not self.pair and self.setting and one.head.setting != self.setting:
            time = max(time, self.decided + 1)
        return time

    def begin(self, time: float) -> list[Span]:
        """The next pair begins."""
        head = self.heads[self.head].head
        pair = head.pairs[self.pair]
        end = time + BLOCK * pair.groups - 1
        first = max(end + self.times.decided, self.decided + 1)
        self.masks.append(first + t.LISTED)
        self.decided = first + pair.groups - 1
        self.taken, self.setting = self.taken + pair.groups, head.setting
        self.kept += head.paired
        self.over, self.pair = end + 1, self.pair + 1
        if self.pair == len(head.pairs):
            self.verdicts.append(end + self.times.verdict)
            self.head, self.pair = self.head + 1, 0
        return [(time, end)]


@dataclass(frozen=True)
class Listed:
    """A pair of queries whose kept blocks are listed. `ready`: its scores can begin; `last`: its last block comes out
    of the list. `first`: number of its first block. `end`: the last pair of its head."""

    head: Head
    pair: Pair
    end: bool
    ready: float
    last: float
    first: int


class Lists:
    """From masks to lists of kept blocks. `lists`: pairs that are listed and not begun."""

    def __init__(self, core: CoreConfig, integers: Integers) -> None:
        self.integers, self.heads = integers, integers.heads
        self.lists: deque[Listed] = deque()
        self.depth = core.list_words + t.LISTED_AHEAD
        self.head = self.pair = 0
        self.entries = 0  # of all pairs before this one
        self.taken = self.walked = 0  # groups of this pair that were taken, and that are over
        self.found = 0  # kept blocks of this pair, in groups that are over
        self.time = 0.0  # when the next group can be taken
        # Of pairs whose scores have begun: number of the first block, when it is used up, steps of a block.
        self.begun: list[int] = []
        self.steps: list[tuple[float, int]] = []
        self.used = 0  # blocks of these pairs

    def settle(self) -> None:
        """Go on as far as it is known."""
        while self.head < len(self.heads) and self._walk(self.heads[self.head]):
            pass

    def uses(self, listed: Listed, time: float) -> None:
        """The scores of a pair begin."""
        block = 1 if listed.head.paired else BLOCK
        self.begun.append(listed.first)
        self.steps.append((time + block - 1, block))
        self.used = listed.first + listed.pair.entries

    def _room(self, entry: int) -> float:
        """When a block, by its number, can go into the list."""
        gone = entry - self.depth
        if gone < 0:
            return 0.0
        if gone >= self.used:
            return inf
        at = bisect_right(self.begun, gone) - 1
        first, block = self.steps[at]
        return first + (gone - self.begun[at]) * block + t.LISTED_AGAIN

    def _walk(self, one: Given) -> bool:
        """All groups of a pair; whether that is known to its end."""
        head, integers = one.head, self.integers
        pair = head.pairs[self.pair]
        if head.dense:
            # Its groups wait nowhere.
            time, room = max(self.time, one.there), self._room(self.entries + pair.entries - 1)
            if room == inf:
                return False
            self._complete(head, pair, max(time + pair.walk, room), time + pair.second)
            return True
        if not self.taken:
            first = self.pair == 0 and head.headed
            if not integers.masks or (first and not integers.verdicts):
                return False
            self.time = max(self.time, one.there, integers.masks[0], integers.verdicts[0] if first else 0.0)
            if self._room(self.entries + pair.entries - 1) <= self.time + 1:
                integers.popped.extend([self.time + offset for offset in pair.offsets])
                self._complete(head, pair, self.time + pair.walk, self.time + pair.second)
                return True
        return self._groups(head, pair)

    def _groups(self, head: Head, pair: Pair) -> bool:
        """The groups that are left, one by one: a block that finds the list full holds up what follows it."""
        while self.walked < pair.groups:
            if self.taken == self.walked:
                self.time = max(self.time, self.integers.masks[0] + self.taken)
                self.integers.popped.append(self.time)
                self.taken += 1
            count = pair.found[self.walked]
            # A block goes into the list when the next one is found.
            put = self.found + count - 1
            room = self._room(self.entries + put - 1) if count and put else 0.0
            if room == inf:
                return False
            self.time = max(self.time + max(1, count), room)
            self.found, self.walked = self.found + count, self.walked + 1
        room = self._room(self.entries + pair.entries - 1)
        if room == inf:
            return False
        ends = max(self.time + (pair.found[-1] > 0), room)
        self._complete(head, pair, ends, ends - 1)
        return True

    def _complete(self, head: Head, pair: Pair, time: float, second: float) -> None:
        """The last block of a pair goes into the list at `time`, the first one when the second one is found."""
        last, end = time + t.LISTED, self.pair + 1 == len(head.pairs)
        # Blocks go in a cycle apart at least: of three, the first is out when the last is in.
        first = time - min(pair.entries - 1, 2)
        if pair.entries > 1:
            first = min(first, second)
        self.lists.append(Listed(head, pair, end, max(time + 1, first + t.LISTED), last, self.entries))
        self.entries += pair.entries
        self.taken = self.walked = self.found = 0
        self.time, self.pair = time, self.pair + 1
        if not head.dense:
            self.integers.masks.popleft()
        if end:
            if not head.dense:
                self.integers.verdicts.popleft()
            self.time, self.head, self.pair = time + 1, self.head + 1, 0


class Scores:
    """The pass of scores. `rows`: when the scores of each pair are there, and their pair."""

    def __init__(self, times: CoreTimings, integers: Integers, lists: Lists) -> None:
        self.times, self.integers, self.lists = times, integers, lists
        self.rows: deque[tuple[float, Listed]] = deque()
        self.taken: list[float] = []  # when the scores of each pair were read
        self.begun = 0

    def ready(self) -> float:
        """When the next pair can begin."""
        if not self.lists.lists:
            return inf
        time, room = self.lists.lists[0].ready, self.begun - ScorePass.BUFFERS
        if room < 0:
            return time
        return max(time, self.taken[room] + 1) if room < len(self.taken) else inf

    def begin(self, time: float) -> list[Span]:
        """The next pair begins. Its last block may come a cycle late: then the PEs wait for it."""
        one = self.lists.lists.popleft()
        self.lists.uses(one, time)
        self.begun += 1
        before = one.pair.scores - one.pair.last
        last = max(time + before, one.last)
        end = last + one.pair.last - 1
        if one.head.paired:
            self.integers.scored.append(end)
        self.rows.append((end + self.times.scored, one))
        return [(time, time + before - 1), (last, end)] if last > time + before else [(time, end)]
