"""Fetch, channels and units one at a time: times worked out by hand from the contracts of the hardware.

Latencies of pipelines are `celosia.sw.performance.timings`'; what is asserted here is what happens on top of them.
"""

from math import inf

import pytest

from celosia.hw.config import override
from celosia.hw.isa import Opcode
from celosia.hw.post.layouts import BUFFERS
from celosia.hw.presets import PRESETS
from celosia.sw.performance import timings as t
from celosia.sw.performance.channels import Load, Memory, ReadChannel, WriteChannel
from celosia.sw.performance.conflicts import Rivals, Window, lost_a_group, lost_a_run
from celosia.sw.performance.fetch import Fetch
from celosia.sw.performance.timings import timings
from celosia.sw.performance.units import ArrayModel, PostModel
from celosia.sw.performance.works import Beats, Product

TINY = PRESETS["tiny"]  # 8 bytes of bus, 4 bursts outstanding, words of 4 bytes: a beat is two words
SQUARE = override(TINY, ["bus.bytes=4"])  # a beat is a word


def load(channel: ReadChannel, earliest: float, *bursts: int) -> Load:
    """A LOAD that has the channel to itself."""
    one = Load(bursts, earliest, ())
    channel.put(one)
    while channel.advance(inf) is None:
        pass
    return one


def test_a_burst_takes_its_latency_and_its_beats():
    one = load(ReadChannel(SQUARE, Memory(latency=30), []), 100, 8)
    assert (one.request, one.first, one.last) == (100, 130, 137)


def test_no_latency_is_the_next_cycle():
    assert load(ReadChannel(SQUARE, Memory(latency=0), []), 100, 1).first == 101


def test_requests_and_first_beats_stall():
    """A channel that pauses three cycles in four: a request and its first beat wait three cycles each, a beat follows
    another one after four."""
    one = load(ReadChannel(SQUARE, Memory(latency=30, stalls=0.75), []), 100, 2)
    assert (one.first, one.last) == (136, 140)


def test_a_narrow_memory():
    # A quarter of a beat a cycle: 4 cycles between beats.
    one = load(ReadChannel(SQUARE, Memory(latency=10, bandwidth=0.25), []), 100, 3, 2)
    assert (one.first, one.last) == (110, 110 + 4 * 4)


def test_a_beat_of_several_words_takes_as_many_cycles():
    one = load(ReadChannel(TINY, Memory(latency=10), []), 100, 5)
    assert (one.first, one.last) == (110, 110 + 4 * 2)


def test_outstanding_bursts_limit_a_far_memory():
    """Four bursts every round trip: each further one when the one four places before it has come."""
    one = load(ReadChannel(SQUARE, Memory(latency=1000), []), 100, *[2] * 8)
    # The fourth burst's two beats are number 6 and 7 from cycle 1100 on.
    assert one.request == 1100 + 7 + t.REQUEST_AGAIN
    assert one.last == one.request + 1000 + 1
    few = load(ReadChannel(SQUARE, Memory(latency=1000, outstanding=2), []), 100, *[2] * 4)
    # The third one when the first has been answered (beats 1100 and 1101), the fourth when the second has.
    assert few.last == 1103 + 1 + 1000 + 1


def test_fetch_goes_between_the_bursts_of_a_load():
    channel = ReadChannel(SQUARE, Memory(latency=10), [])
    channel.put(Load((8, 8, 8), 100, ()))
    channel.fetches.append((101.5, 4))
    assert channel.advance(inf) is None  # requests 100 and 101
    assert channel.next() == 101.5
    assert channel.advance(inf) is None
    assert channel.arrivals == [110 + 16]  # behind the two bursts
    done = channel.advance(inf)
    assert done is not None
    assert done.last == 110 + 8 + 8 + 4 + 7


def test_requests_of_a_program():
    """The header's four beats first; then bursts of 8 instructions, as long as the queue of 16 has room for one."""
    channel = ReadChannel(TINY, Memory(latency=20), [])
    fetch = Fetch(TINY, [4, 12, 16, 16, 16, 16], channel)
    assert fetch.ready(0) == inf
    channel.advance(inf)
    come = t.FETCH_START + 20 + 3
    assert fetch.ready(0) == come + t.DISPATCH
    fetch.header()
    first = come + t.FETCH_HEADER + t.FETCH_REQUEST
    times = [first + index * t.FETCH_PERIOD for index in range(4)]
    assert channel.fetches[1:] == list(zip(times, (12, 16, 16, 16), strict=True))
    # 60 of the 64 beats are taken, 48 when record 3 leaves: some leave before they are dispatched.
    while channel.next() < inf:
        channel.advance(inf)
        fetch.request()
    for index in range(3 - t.FETCH_AHEAD):
        assert len(channel.fetches) == 5
        fetch.dispatched(500 + index)
    left = 500 + 3 - t.FETCH_AHEAD
    assert channel.fetches[5] == (left + 1 + t.FETCH_REQUEST, 16)


def test_a_store_waits_for_its_acknowledgement():
    channel = WriteChannel(SQUARE, Memory(latency=50))
    request, first, sent, acknowledged = channel.store((4, 4), 100)
    assert (request, first) == (100 + t.STORE_REQUEST + 1, 100 + t.STORE_DATA)
    assert (sent, acknowledged) == (first + 7, first + 7 + 50)


def test_tiles_follow_one_another():
    """A tile takes the larger of its rows and its words of weights; weights load while the tile before streams."""
    array = ArrayModel(timings(TINY))
    first = 10 + t.ARRAY_FETCH + 4  # four words of weights
    done = array.execute(Product(6, 3, 4, False, 0.0), 10)
    assert done == first + 3 * 6 - 1 + timings(TINY).array
    assert (array.busy, array.stall_out) == (18, first - 11)
    # The next one is taken while this one streams: no gap.
    later = array.execute(Product(2, 5, 4, False, 0.0), 12)
    # Its first weights came with the last tile; then two rows every four cycles.
    assert later == first + 18 + 4 * 4 + 2 - 1 + timings(TINY).array
    assert array.stall_out == first - 11 + 4 * 2


def test_weights_that_come_late():
    array = ArrayModel(timings(TINY))
    array.execute(Product(6, 1, 4, False, 0.0), 10)
    end = array.rows_end
    array.execute(Product(6, 1, 4, False, 0.0), 100)
    assert array.rows_end == 100 + t.ARRAY_FETCH + 4 + 6
    assert array.stall_out == (end - 6 - 11) + t.ARRAY_FETCH + 4 - 1


def beats(opcode: Opcode, **fields) -> Beats:
    return Beats(**{"groups": 4, "slots": 20, "records": 0, "residuals": 0, "uses_rows": False, "starts_rows": 0,
                    "jumps": False, "opcode": opcode} | fields)  # fmt: skip


def post() -> PostModel:
    return PostModel(timings(TINY), Rivals(), 0.0, 0.0)


def test_operations_stream_one_after_the_other():
    unit = post()
    unit.execute(beats(Opcode.REQUANT), 100)
    assert unit.ends == [100 + t.POST_OPERAND + 79]
    unit.execute(beats(Opcode.REQUANT), 101)
    assert unit.ends[1] == unit.ends[0] + 80


def test_the_row_unit_works_behind():
    """Who needs row factors waits for all rows; who does not goes on."""
    unit, times = post(), timings(TINY)
    unit.execute(beats(Opcode.EXP, uses_rows=True, starts_rows=20), 100)
    rows = unit.ends[0] + times.sums + t.ROW_START + times.softmax_row + 19 * times.softmax_period
    unit.execute(beats(Opcode.REQUANT), 101)
    assert unit.ends[1] == unit.ends[0] + 80
    unit.execute(beats(Opcode.REQUANT, uses_rows=True), 102)
    assert unit.ends[2] == max(rows, unit.ends[1] + 1) + 79
    assert unit.stall_out == rows - unit.ends[1] - 1 > 0


def test_records_come_while_slots_stream():
    """Long groups hide their records; short ones wait for a buffer to be used, filled and used again."""
    unit = post()
    unit.execute(beats(Opcode.REQUANT, records=8), 100)
    first = 100 + t.POST_ASK + 8 + t.POST_RECORDS - 1
    assert unit.ends == [first + 79]
    short = post()
    short.execute(beats(Opcode.REQUANT, records=8, slots=1, groups=40), 100)
    # Each buffer: its slot, then eight words; two buffers share one port: eight cycles a group.
    assert short.ends[0] == pytest.approx(first + 39 * 8, abs=16)


def run_beside_load(phase: int, words: int = 4) -> int:
    """Cycles of `words` words to banks 0, 1, 0, ... while LOAD, which goes first, writes one every other cycle."""
    cycle = done = 0
    while done < words:
        turn, idle = divmod(cycle + phase, 2)
        done += bool(idle) or turn % 2 != done % 2
        cycle += 1
    return cycle


def test_short_groups_meet_a_load_with_gaps():
    """A group that waits for its records comes at any time: it loses what all phases of LOAD's words cost in the mean.

    The other buffer's group streams while these records come, and has time to lose.
    """
    config = override(TINY, ["array.rows=8", "scratchpad.banks=2", "bus.bytes=4"])  # a word is two beats
    period = sum(run_beside_load(phase) for phase in range(4)) / 4
    groups, ends = 40, []
    for load_words in ([], [Window(0, 10_000, 5_000)]):
        unit = PostModel(timings(config), Rivals(load=load_words), lost_a_group(config, 1), lost_a_run(config, 1))
        unit.execute(beats(Opcode.REQUANT, records=1, slots=4, groups=groups), 100)
        ends.append(unit.ends[0])
    assert (ends[1] - ends[0]) / groups == pytest.approx((period - 4) / BUFFERS, rel=0.1)


def test_results_of_residual_are_read_when_they_are_written():
    unit = post()
    done = unit.execute(beats(Opcode.RESIDUAL, residuals=20, uses_rows=True), 100)
    unit.execute(beats(Opcode.NORM, records=16, uses_rows=True), 101)
    assert unit.ends[1] >= done + t.POST_OPERAND + 79


def test_the_table_waits_for_everything():
    unit = post()
    done = unit.execute(beats(Opcode.REQUANT), 100)
    table = unit.execute(beats(Opcode.TABLE, groups=0, slots=0), 101)
    assert table == done + t.POST_RECORDS + 256 // 4
    unit.execute(beats(Opcode.REQUANT), 102)
    assert unit.taken[2] >= table
