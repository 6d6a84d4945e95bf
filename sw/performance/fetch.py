"""Fetch: when instructions are requested, and when they can be dispatched."""

from math import inf

from celosia.hw.config import Config
from celosia.hw.control.requests import burst_beats
from celosia.hw.isa import INSTRUCTION_BYTES
from celosia.sw.performance import timings as t
from celosia.sw.performance.channels import ReadChannel


class Fetch:
    """Asks `channel` for the bursts of a program, as early as the queue of instructions has room.

    Record 0 is the header, record n + 1 instruction n.
    """

    def __init__(self, config: Config, bursts: list[int], channel: ReadChannel) -> None:
        self.bursts, self.channel, self.bus = bursts, channel, config.bus.bytes
        # A burst is asked for when all but this many of the beats before it have left the queue.
        self.kept = t.fetch_depth(config) - burst_beats(config)
        beats = [(burst, beat) for burst, beats in enumerate(bursts) for beat in range(beats)]
        self.asked = bursts[0]  # beats
        self.sent = 1  # bursts
        self.records = len(beats) * self.bus // INSTRUCTION_BYTES
        # Burst and beat that end each record.
        self.places = [beats[-(-(n + 1) * INSTRUCTION_BYTES // self.bus) - 1] for n in range(self.records)]
        self.passed: list[float] = []  # when each record was dispatched
        self.time = float(t.FETCH_START)  # of the last request
        channel.fetches.append((self.time, bursts[0]))

    def ready(self, record: int) -> float:
        """The first cycle in which a record can be dispatched; infinite as long as that is not known."""
        burst, beat = self.places[record]
        if burst >= len(self.channel.arrivals):
            return inf
        return self.channel.arrivals[burst] + beat * self.channel.period + t.DISPATCH

    def header(self) -> None:
        """The header has come: it goes nowhere."""
        self.dispatched(self.ready(0) + t.FETCH_HEADER - t.DISPATCH - 1)

    def dispatched(self, time: float) -> None:
        """The next record was dispatched."""
        self.passed.append(time)
        self.request()

    def request(self) -> None:
        """Ask for every burst that is known to find room: a burst has come, or a record was dispatched."""
        while self.sent < len(self.bursts):
            left = self._left(max(0, (self.asked - self.kept - 1) * self.bus // INSTRUCTION_BYTES))
            if left == inf:
                return
            self.time = max(left + 1 + t.FETCH_REQUEST, self.time + t.FETCH_PERIOD)
            beats = self.bursts[self.sent]
            self.channel.fetches.append((self.time, beats))
            self.asked += beats
            self.sent += 1

    def _left(self, record: int) -> float:
        """When a record left the queue; infinite as long as that is not known."""
        if not record:
            return self.passed[0]
        before = record - t.FETCH_AHEAD  # what stood in its place
        if before >= len(self.passed):
            return inf
        come = self.ready(record) - (t.FETCH_AHEAD > 0)
        return max(come, self.passed[before] + 1) if before >= 0 else come
