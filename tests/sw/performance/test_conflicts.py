"""Streams that meet in the banks of a memory, cycle by cycle, against the formulas."""

import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.performance.conflicts import (
    Window,
    groups_within,
    lost_a_group,
    lost_a_run,
    lost_to_jumps,
    meetings,
    share_of_array,
    stretched,
)


def losses(banks: int, period: int, words: int, cycles: int) -> float:
    """Cycles that a stream of a word a cycle loses for each group of another one that goes first.

    The other one sends `words` words, one a cycle, every `period` cycles.
    """
    mine = lost = sent = 0
    for cycle in range(cycles):
        place, within = divmod(cycle, period)
        if within < words:
            sent += within == 0
            if (place * words + within) % banks == mine % banks:
                lost += 1
                continue
        mine += 1
    return lost / sent


@pytest.mark.parametrize("banks", [2, 4, 8])
@pytest.mark.parametrize(("period", "words"), [(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (4, 2), (5, 2), (8, 4), (7, 4)])
def test_losses_against_a_simulation(banks, period, words):
    expected = losses(banks, period, words, 20_000)
    gap = period - words
    assert (meetings(-gap, banks) if gap else 0.0) == pytest.approx(expected, abs=0.01)


def test_of_a_configuration():
    # 16-byte words over a bus of 8 bytes: a word every other cycle, a gap of one: met every time.
    narrow = override(PRESETS["transformer"], ["bus.bytes=8"])
    assert lost_a_group(narrow, 1.0) == 1.0
    assert lost_a_group(PRESETS["transformer"], 1.0) == 0.0
    assert lost_a_group(PRESETS["transformer"], 4 / 3) == 0.25  # no pattern: one bank of four
    # LOAD can lose only where it has no gaps.
    assert lost_a_run(narrow, 1.0) == 0.0
    assert lost_a_run(PRESETS["transformer"], 1.0) == 0.125


def test_jumps_begin_anew():
    # 10 slots, a group every other cycle: 5 groups; of 2 banks half of the runs begin in step, half one later: 5, 4.
    assert lost_to_jumps(1.0, 2, 10, 0.5) == pytest.approx((5 + 4) / 2 / 10)
    # Against a stream without gaps: one of the banks for each run.
    assert lost_to_jumps(0.0, 4, 10, 1.0) == pytest.approx(1 / 4 / 10)


WINDOWS = [Window(100, 200, 50), Window(300, 400, 100)]


@pytest.mark.parametrize(
    ("begin", "slots", "share", "end"),
    [
        (0, 50, 0.5, 50),  # before them
        (250, 40, 0.5, 290),  # between them
        (500, 40, 0.5, 540),  # behind them
        (90, 30, 0.5, 140),  # 10 alone, 40 cycles for 20
        (150, 60, 0.5, 235),  # 50 cycles for 25, 35 alone
        (100, 100, 0.0, 200),  # nothing is lost
    ],
)
def test_stretched_by_hand(begin, slots, share, end):
    assert stretched(WINDOWS, begin, slots, lambda density: share) == pytest.approx(end)


def test_groups_within_two_times():
    assert groups_within(WINDOWS, 150, 350) == pytest.approx(25 + 50)
    assert groups_within(WINDOWS, 200, 300) == 0
    assert groups_within([], 0, 1000) == 0


def test_reads_get_what_array_leaves():
    # 100 words in 101 cycles take half of two banks: 20 words take twice as long. Of one bank little is left.
    def end(banks: int) -> float:
        return stretched(WINDOWS, 310, 20, lambda density: share_of_array(banks, density))

    assert end(2) == pytest.approx(350, abs=0.5)
    assert end(1) == pytest.approx(400 + 20, abs=3)
