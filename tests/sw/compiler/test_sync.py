"""Tokens keep every dependency, whatever the speed of the units."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celosia.hw.isa import UNITS, Opcode
from celosia.sw.compiler.sync import Op, Region, Space, synchronise

WORDS = 12
OPCODES = [Opcode.LOAD, Opcode.MATMUL, Opcode.REQUANT, Opcode.STORE]
SIZES = dict.fromkeys(Space, WORDS)


@st.composite
def regions(draw):
    start = draw(st.integers(0, WORDS - 1))
    length = draw(st.integers(1, min(3, WORDS - start)))
    return Region(draw(st.sampled_from([Space.SCRATCHPAD, Space.ACCUMULATOR, Space.MEMORY])), start, length)


@st.composite
def programs(draw):
    size = draw(st.integers(2, 25))
    return [
        Op(
            draw(st.sampled_from(OPCODES)),
            {},
            draw(st.lists(regions(), max_size=2)),
            draw(st.lists(regions(), max_size=2)),
        )
        for _ in range(size)
    ]


def touched(accesses):
    return {(r.space, word) for r in accesses for run in r.runs() for word in range(*run)}


def must_precede(first: Op, second: Op) -> bool:
    """An independent reading of the rule: they touch the same word, one of them writes it.

    Within a unit only a read of what it wrote to the scratchpad itself needs a token; the rest is in order.
    """
    raw = touched(first.writes) & touched(second.reads)
    if first.unit is second.unit:
        return any(space is Space.SCRATCHPAD for space, _ in raw)
    return bool(raw or touched(first.writes) & touched(second.writes) or touched(first.reads) & touched(second.writes))


def run(ops: list[Op], seed: int) -> list[tuple[int, int]]:
    """(start, end) time of each operation, random durations; operations of a unit overlap but start and end in
    order."""
    rng = random.Random(seed)
    queues = [[i for i, op in enumerate(ops) if op.unit == unit] for unit in range(UNITS)]
    tokens = [[0] * UNITS for _ in range(UNITS)]
    running: list[list[int]] = [[] for _ in range(UNITS)]
    start, end = {}, {}
    for time in range(100 * len(ops)):
        choices = []
        for unit in range(UNITS):
            if running[unit]:
                choices.append(("end", unit))
            if queues[unit] and all(tokens[unit][p] for p in range(UNITS) if ops[queues[unit][0]].wait >> p & 1):
                choices.append(("start", unit))
        if not choices:
            break
        what, unit = rng.choice(choices)
        if what == "end":
            done = running[unit].pop(0)
            end[done] = time
            for consumer in range(UNITS):
                tokens[consumer][unit] += ops[done].signal >> consumer & 1
        else:
            index = queues[unit].pop(0)
            for p in range(UNITS):
                tokens[unit][p] -= ops[index].wait >> p & 1
            start[index] = time
            running[unit].append(index)
    assert len(end) == len(ops), "deadlock"
    return [(start[i], end[i]) for i in range(len(ops))]


@settings(max_examples=150)
@given(programs(), st.integers(0, 3))
def test_every_dependency_is_kept(ops, seed):
    synchronise(ops, SIZES)
    times = run(ops, seed)
    for j, second in enumerate(ops):
        for i, first in enumerate(ops[:j]):
            if must_precede(first, second):
                assert times[i][1] < times[j][0], (
                    f"{i} {first.opcode.name} must end before {j} {second.opcode.name} starts"
                )


@given(programs())
def test_no_token_is_taken_without_a_dependency(ops):
    synchronise(ops, SIZES)
    for index, op in enumerate(ops):
        for producer in range(UNITS):
            if op.wait >> producer & 1:
                assert any(first.unit == producer and must_precede(first, op) for first in ops[:index])


def test_a_missing_token_is_seen_by_this_test():
    ops = [
        Op(Opcode.LOAD, {}, [], [Region(Space.SCRATCHPAD, 0, 2)]),
        Op(Opcode.MATMUL, {}, [Region(Space.SCRATCHPAD, 1, 1)], []),
    ]
    synchronise(ops, SIZES)
    assert ops[0].signal == 1 << ops[1].unit
    assert ops[1].wait == 1 << ops[0].unit
    ops[1].wait = 0
    assert any(run(ops, seed)[0][1] > run(ops, seed)[1][0] for seed in range(20))


def test_one_token_covers_earlier_producers():
    load = [Op(Opcode.LOAD, {}, [], [Region(Space.SCRATCHPAD, i, 1)]) for i in range(3)]
    use = Op(Opcode.MATMUL, {}, [Region(Space.SCRATCHPAD, 0, 3)], [])
    again = Op(Opcode.MATMUL, {}, [Region(Space.SCRATCHPAD, 1, 1)], [])
    synchronise([*load, use, again], SIZES)
    assert [op.signal for op in load] == [0, 0, 2]
    assert (use.wait, again.wait) == (1, 0)


@pytest.mark.parametrize(("stride", "runs"), [(4, [(2, 5), (6, 9)]), (3, [(2, 8)])])
def test_region_runs(stride, runs):
    region = Region(Space.SCRATCHPAD, 2, 3, stride, 2)
    assert region.runs() == runs
