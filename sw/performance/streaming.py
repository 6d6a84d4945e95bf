"""What stands beside the array where keys stream out of a key store: the store's filling, and the masks that wait."""

from collections import deque

from celosia.sw.performance import timings as t
from celosia.sw.performance.works import Fill


class KeyStoreModel:
    """Fills the key store, one KEYS after another, in cycles in which the array fetches no left operand.

    The array tells what it does in order of time (`passes`); a KEYS may begin in the middle of what it told already.
    """

    def __init__(self) -> None:
        self.left = 0.0  # words
        self.since = 0.0  # when they can be fetched from on
        self.now = 0.0  # what is known of the array
        self.filled = [0.0, 0.0]  # when halves are
        self.halves = 0  # of the last KEYS
        self.released = [0.0, 0.0]  # when the last DECIDE has read them
        self.recent: deque[tuple[float, float, float]] = deque(maxlen=16)  # begin, end, idle cycles

    def passes(self, begin: float, end: float, idle: float) -> None:
        """From `begin` to `end` the array leaves `idle` cycles."""
        gap = max(0.0, begin - self.now)
        for one in ((self.now, begin, gap), (begin, end, idle)):
            self.recent.append(one)
            self._use(*one)
        self.now = max(self.now, end)

    def fill(self, work: Fill, ready: float) -> float:
        """Take a KEYS that could be taken at `ready`: when it is."""
        self._finish()
        used = [half for half in range(2) if work.halves >> half & 1]
        begin = max(ready, *self.filled, *(self.released[half] for half in used))
        self.left, self.since, self.halves = float(work.words), begin + t.FILL_START, work.halves
        for one in list(self.recent):
            self._use(*one)
        return begin

    def ready(self, halves: int) -> float:
        """When `halves` are filled, if the array does nothing but wait for them."""
        if halves & self.halves:
            self._finish()
        return max(self.filled[half] for half in range(2) if halves >> half & 1)

    def release(self, halves: int, time: float) -> None:
        """A DECIDE has read the last word of `halves`."""
        for half in range(2):
            if halves >> half & 1:
                self.released[half] = time

    def _use(self, begin: float, end: float, idle: float) -> None:
        start = max(begin, self.since)
        if not self.left or end <= start or not idle:
            return
        rate = idle / (end - begin)
        fetched = min(self.left, (end - start) * rate)
        self.left -= fetched
        if self.left < 1:
            self._filled(start + fetched / rate)

    def _finish(self) -> None:
        if self.left:
            self._filled(max(self.now, self.since) + self.left)

    def _filled(self, time: float) -> None:
        self.left = 0.0
        for half in range(2):
            if self.halves >> half & 1:
                self.filled[half] = time + t.FILL_WRITE


class MasksModel:
    """Groups of masks that wait for the walker: `most` at once. A DECIDE begins when there is room for all of its."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.waiting: deque[tuple[int, float, float]] = deque()  # groups, from when to when they are walked
        self.free = 0.0  # when the walker is

    def room(self, groups: int, ready: float) -> float:
        """When there is room for so many, from `ready` on."""
        while self.waiting and self.waiting[0][2] <= ready:
            self.waiting.popleft()
        excess = sum(one for one, _, _ in self.waiting) + groups - self.most
        for one, begin, end in self.waiting:
            if excess <= 0:
                break
            ready = max(ready, begin + (end - begin) * min(1.0, excess / one))
            excess -= one
        return ready

    def walk(self, groups: int, keys: int, there: float) -> float:
        """Masks that are there from `there` on, in which `keys` are kept: when the last key is written."""
        begin = max(self.free, there)
        self.free = begin + max(groups, keys)
        self.waiting.append((groups, begin, self.free))
        return self.free
