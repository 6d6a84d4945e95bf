"""Cycles that streams lose to one another in the banks of the scratchpad.

Two streams of a word a cycle meet in a bank once and then follow each other. They meet again where one of them has
gaps, jumps, or steps of two words. `banks` is a power of two everywhere.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from celosia.hw.config import Config

_MOST = 0.98
"""Share of its cycles that a stream loses at most: no bank is taken all the time."""
_END = attrgetter("end")


class Window(NamedTuple):
    """When a unit moves words. `groups`: groups of words that come without a gap or a jump."""

    start: float
    end: float
    groups: int


@dataclass
class Rivals:
    """Who moves words when, each in order: LOAD and POST write, STORE and ARRAY read. POST only where it pauses.

    `store_dense`: STORE reads a word a cycle.
    """

    load: list[Window] = field(default_factory=list)
    store: list[Window] = field(default_factory=list)
    post: list[Window] = field(default_factory=list)
    array: list[Window] = field(default_factory=list)
    store_dense: bool = False


def meetings(shift: int, banks: int) -> float:
    """How often a stream meets another one that comes in groups, for each group.

    From group to group the other one moves by `shift` banks, and the stream falls back by one where they meet. So they
    meet again after the number of groups for which the shifts make up for that: never, if the shift is even.
    """
    return 1 / (pow(-shift, -1, banks)) if shift % 2 else 0.0


def lost_a_group(config: Config, period: float) -> float:
    """Cycles that POST loses for each group of LOAD's words. `period`: cycles a beat on the bus."""
    words = max(1, config.bus.bytes // config.word_bytes)
    gap = period * max(1, config.word_bytes // config.bus.bytes) - words
    if gap != round(gap):
        return 1 / config.scratchpad.banks
    return meetings(-round(gap), config.scratchpad.banks) if gap > 0 else 0.0


def lost_a_run(config: Config, period: float) -> float:
    """Cycles that LOAD, if it has no gaps, loses for each group of POST's words that come after a pause.

    It is met by chance; and of two that meet, the one goes first that used the bank less of late.
    """
    words = max(1, config.bus.bytes // config.word_bytes)
    dense = period * max(1, config.word_bytes // config.bus.bytes) <= words
    return 0.5 / config.scratchpad.banks if dense else 0.0


def lost_to_jumps(lost: float, banks: int, run: int, density: float) -> float:
    """Share of its cycles that POST loses to LOAD when it jumps to another bank after every `run` words.

    `density`: groups of LOAD's words in a cycle. `lost`: cycles for each of them, but for the first of a run: none,
    one, ... `banks` - 1 pass by before the two meet.
    """
    if not lost:
        return 1 / (banks * run)
    groups = run * density
    return lost * sum(max(0.0, groups - late) for late in range(banks)) / (banks * run)


def share_of_array(banks: int, density: float) -> float:
    """Share of its cycles that a read loses to ARRAY, which goes first. `density`: ARRAY's words in a cycle."""
    return density / banks


def groups_within(windows: list[Window], begin: float, end: float) -> float:
    """Groups of `windows` that fall between two times."""
    found = 0.0
    for window in _ending_after(windows, begin):
        if window.start >= end:
            break
        overlap = min(end, window.end) - max(begin, window.start)
        found += window.groups * overlap / max(1.0, window.end - window.start)
    return found


def stretched(windows: list[Window], begin: float, slots: float, share: Callable[[float], float]) -> float:
    """When `slots` slots that begin at `begin` have ended, one a cycle but for what is lost to `windows`.

    `share`: of its cycles that it loses, for a number of groups in a cycle.
    """
    time, left = begin, slots
    for window in _ending_after(windows, begin):
        if window.start >= time + left:
            break
        if window.start > time:
            left -= window.start - time
            time = window.start
        span = max(0.0, window.end - time)
        rate = 1 - min(_MOST, share(window.groups / max(1.0, window.end - window.start + 1)))
        if left <= span * rate:
            return time + left / rate
        time, left = time + span, left - span * rate
    return time + left


def _ending_after(windows: list[Window], time: float) -> Iterator[Window]:
    """Those that end after `time`, in order. No copy of them is made: a program has many, and few are looked at."""
    for index in range(bisect_right(windows, time, key=_END), len(windows)):
        yield windows[index]
