"""The bus: read channel, shared by LOAD and fetch, and write channel, each with the memory behind it.

Memory answers requests in order; a burst's beats follow one another at the memory's rate.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf

from celosia.hw.config import Config
from celosia.sw.performance import timings as t
from celosia.sw.performance.conflicts import Window, groups_within, lost_a_run

_ROUNDS = 2000
"""Cycles after which what a memory has saved up does not depend on how it began, for all rates that are in use."""


@dataclass(frozen=True)
class Memory:
    """The memory behind the bus, in the words of `celosia.sim.rtl.device.RtlDevice`.

    `latency`: cycles from a read request to its first beat, and from the last beat of a write to its response.
    `bandwidth`: beats a cycle of each direction, at most 1; None: 1. `outstanding`: requests, of each direction, that
    it takes before it has answered. `stalls`: probability that a channel pauses in a cycle; the model takes what it
    costs on average.
    """

    latency: int = 20
    bandwidth: float | None = None
    outstanding: int = 16
    stalls: float = 0.0

    def __post_init__(self) -> None:
        if self.latency < 0:
            raise ValueError(f"latency must be at least 0, not {self.latency!r}")
        if self.bandwidth is not None and not 0 < self.bandwidth <= 1:
            raise ValueError(f"bandwidth must be above 0 and at most 1 beat a cycle, not {self.bandwidth!r}")
        if self.outstanding < 1:
            raise ValueError(f"outstanding must be at least 1, not {self.outstanding!r}")
        if not 0 <= self.stalls < 1:
            raise ValueError(f"stalls must be from 0 to below 1, not {self.stalls!r}")

    @cached_property
    def period(self) -> float:
        """Cycles a beat."""
        if self.bandwidth is None:
            return 1 / (1 - self.stalls)
        rate = Fraction(self.bandwidth).limit_denominator(256)
        return float(1 / rate) if not self.stalls else _stalled_period(rate, self.stalls)

    @property
    def pause(self) -> float:
        """Cycles that something which comes alone waits: a request, the first beat of a burst, an answer."""
        return self.stalls / (1 - self.stalls)


def _stalled_period(rate: Fraction, stalls: float) -> float:
    """Cycles a beat where beats are paid for: a cycle brings `rate`, and what is saved up is less than two beats."""
    income, price = rate.numerator, rate.denominator
    most = price + income - 1
    now = [1.0 / (most + 1)] * (most + 1)  # chances of what is saved up, after a cycle
    for _ in range(_ROUNDS):
        after = [0.0] * (most + 1)
        for saved, chance in enumerate(now):
            there = min(saved + income, most)
            if there < price:
                after[there] += chance
            else:
                after[there] += chance * stalls
                after[there - price] += chance * (1 - stalls)
        now = after
    beats = sum(chance for saved, chance in enumerate(now) if min(saved + income, most) >= price) * (1 - stalls)
    return 1 / beats


@dataclass
class Load:
    """A LOAD in the read channel. `bursts`: beats of each; `earliest`: when the first one may be requested.

    `signal`: units to give a token to. `position`: bursts requested so far. `request`: of the last one. `first`,
    `last`: beats.
    """

    bursts: tuple[int, ...]
    earliest: float
    signal: tuple[int, ...]
    position: int = 0
    request: float = 0.0
    first: float = 0.0
    last: float = 0.0


class ReadChannel:
    """Bursts of LOAD and of fetch, in the order of their requests.

    Both put in what they ask for; `advance` takes it out, in the order of time. `fetches`: (request, beats) of bursts
    of instructions; `arrivals`: the first beat of each that came. `loads`: of LOAD, instruction by instruction.
    `post`: when POST writes to the scratchpad as well.
    """

    def __init__(self, config: Config, memory: Memory, post: list[Window]) -> None:
        self.latency, self.period, self.pause = max(1, memory.latency) + memory.pause, memory.period, memory.pause
        # A beat's words pass one by one; until the last of them has, the beat is not taken.
        self.words = max(1, config.bus.bytes // config.word_bytes)
        self.load_period = max(memory.period, self.words)
        self.own, self.most = config.bus.outstanding, memory.outstanding
        self.lost, self.post = lost_a_run(config, memory.period) if post else 0.0, post
        self.fetches: list[tuple[float, int]] = []
        self.arrivals: list[float] = []
        self.loads: deque[Load] = deque()
        self.load_request = inf  # when LOAD's next burst is requested; infinite when it has none
        self.free = 0.0  # when the next beat may come
        self.request = 0.0  # of LOAD's last burst
        self.granted = 0.0  # when memory took the last request
        # Ends of the last bursts: of LOAD's, as many as it may have outstanding; of all, as many as memory takes.
        self.load_ends = deque([-inf] * self.own, self.own)
        self.ends = deque([-inf] * self.most, self.most)

    def next(self) -> float:
        """When the next request is made; infinite when there is none."""
        return min(self._fetch_request(), self.load_request)

    def put(self, load: Load) -> None:
        """LOAD asks for an instruction's bursts."""
        self.loads.append(load)
        if len(self.loads) == 1:
            self._ask()

    def advance(self, until: float) -> Load | None:
        """Make the next request, and LOAD's further ones up to `until`; the LOAD whose last burst was among them."""
        fetch, request = self._fetch_request(), self.load_request
        if fetch <= request:
            self._fetch()
            return None
        load, until = self.loads[0], min(until, fetch)
        latency, period, extra = self.latency, self.load_period, self.words - 1
        lost, post = self.lost, self.post
        ends, load_ends = self.ends, self.load_ends
        while True:
            granted = self.granted = max(request, self.granted + 1, ends[0] + 1) + self.pause
            first = max(granted + latency, self.free)
            last = first + (load.bursts[load.position] - 1) * period
            if lost and post:
                last += lost * groups_within(post, first, last)
            if not load.position:
                load.first = first
            load.position += 1
            self.free, self.request = last + period, max(request, granted - t.REQUESTS_WAITING)
            load_ends.append(last + extra)
            ends.append(last)
            if load.position == len(load.bursts):
                load.last, load.request = last, self.request
                self.loads.popleft()
                self._ask()
                return load
            request = max(self.request + 1, load_ends[0] + t.REQUEST_AGAIN)
            if request > until:
                self.load_request = request
                return None

    def _fetch_request(self) -> float:
        """When the next burst of instructions is requested; infinite when none is asked for."""
        index = len(self.arrivals)
        return self.fetches[index][0] if index < len(self.fetches) else inf

    def _ask(self) -> None:
        """Find out when the first burst of LOAD's next instruction is requested."""
        self.load_request = inf
        if self.loads:
            full = self.load_ends[0] + t.REQUEST_AGAIN
            self.load_request = max(self.request + 1, self.loads[0].earliest, full)

    def _fetch(self) -> None:
        request, beats = self.fetches[len(self.arrivals)]
        granted = self.granted = max(request, self.granted + 1, self.ends[0] + 1) + self.pause
        first = max(granted + self.latency, self.free)
        self.arrivals.append(first)
        following = len(self.arrivals)
        if following < len(self.fetches):
            # Of those that wait only one has left fetch.
            time, size = self.fetches[following]
            self.fetches[following] = (max(time, granted + t.FETCH_PERIOD - t.FETCH_WAITING), size)
        self.free = first + beats * self.period
        self.ends.append(self.free - self.period)


class WriteChannel:
    """Bursts of STORE. `dense`: it takes a scratchpad word a cycle."""

    def __init__(self, config: Config, memory: Memory) -> None:
        self.latency, self.pause = max(1, memory.latency) + memory.pause, memory.pause
        self.period = max(memory.period, config.bus.bytes // config.word_bytes)
        self.dense = self.period * config.word_bytes <= config.bus.bytes
        self.most = min(config.bus.outstanding, memory.outstanding)
        # The first beat needs all of its words.
        self.data = t.STORE_DATA + max(1, config.bus.bytes // config.word_bytes) - 1
        self.request = self.free = 0.0
        self.acknowledged = deque([-inf] * self.most, self.most)  # the last ones

    def store(self, bursts: tuple[int, ...], taken: float, late: float = 0.0) -> tuple[float, float, float, float]:
        """Send bursts of an instruction taken at `taken`; last request, first and last beat, last acknowledgement.

        `late`: cycles for which data are held up.
        """
        request, sent, begin = self.request, 0.0, -1.0
        for beats in bursts:
            request = max(request + 1, taken + t.STORE_REQUEST, self.acknowledged[0] + t.STORE_AGAIN)
            first = max(max(taken + self.data + late, request + 1) + self.pause, self.free)
            if begin < 0:
                begin = first
            sent = first + (beats - 1) * self.period
            self.free = sent + self.period
            self.acknowledged.append(sent + self.latency)
        self.request = request
        return request, begin, sent, self.acknowledged[-1]
