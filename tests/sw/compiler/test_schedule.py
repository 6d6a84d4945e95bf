"""Which activations leave the scratchpad for a while."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.config import override
from celosia.hw.isa import Opcode
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import Buffer, Step
from celosia.sw.compiler.program import INPUTS
from celosia.sw.compiler.schedule import SOON, Scheduler, Uses, plan_drops
from celosia.sw.compiler.sync import Space

BUFFERS = 8


@st.composite
def programs(draw):
    """Steps that read and write some of a few buffers; some of which memory has from the beginning."""
    sizes = st.integers(1, 4)
    buffers = [Buffer(Space.SCRATCHPAD, draw(sizes), str(n), loaded=draw(st.booleans())) for n in range(BUFFERS)]
    some = st.lists(st.sampled_from(buffers), max_size=3, unique=True)
    steps = []
    for _ in range(draw(st.integers(1, 30))):
        reads, writes = draw(some), draw(some)
        steps.append(Step(Opcode.MATMUL, {}, [b.whole() for b in reads], [b.whole() for b in writes]))
    return steps


def expected(steps: list[Step], budget: int) -> dict[Buffer, set[int]]:
    """By looking at all buffers each time: the one whose next use is furthest goes.

    One that would have to be stored counts half the distance; of those as good the one that has been there longest.
    """
    drops, here, stored = defaultdict(set), [], {b for step in steps for b in step.buffers if b.loaded}

    def uses(buffer: Buffer) -> list[int]:
        return [n for n, step in enumerate(steps) if buffer in step.buffers]

    for now, step in enumerate(steps):
        here += [b for b in step.buffers if b not in here]
        stored -= {access.buffer for access in step.writes}
        while sum(b.size for b in here) > budget and (others := [b for b in here if b not in step.buffers]):
            gain = [(min(n for n in uses(b) if n > now) - now) * (2 if b in stored else 1) for b in others]
            victim = others[gain.index(max(gain))]
            drops[victim].add(max(n for n in uses(victim) if n < now))
            stored.add(victim)
            here.remove(victim)
        here = [b for b in here if max(uses(b)) > now]
    return drops


@given(programs(), st.integers(1, 16))
def test_what_is_needed_last_leaves_first(steps, budget):
    assert plan_drops(steps, Uses(steps), budget) == expected(steps, budget)


@pytest.mark.parametrize(("crowded", "listed", "gap", "stays"), [
    (30, True, 1, True), (30, True, SOON - 1, True), (30, True, SOON + 1, False), (29, True, 1, False),
    (30, False, 1, False),
])  # fmt: skip
def test_what_pruned_attention_uses_again_soon_stays(crowded: int, listed: bool, gap: int, stays: bool) -> None:
    """K, V and weights of 10 words each, for which there are 20: while a list is in use, there is more room."""
    key, value, weights = (Buffer(Space.SCRATCHPAD, 10, name, loaded=True) for name in "kvw")
    lists = [Buffer(Space.LISTS, 1).whole()] if listed else []
    first = Step(Opcode.MATMUL, {}, [key.whole(), value.whole(), *lists])
    between = [Step(Opcode.MATMUL, {}, [weights.whole(), *lists]) for _ in range(gap)]
    steps = [first, *between, first]
    drops = plan_drops(steps, Uses(steps), 20, crowded)
    assert (sum(len(where) for where in drops.values()) == 0) == stays


def order(steps: list[Step]) -> list[str]:
    """What a scratchpad of 2 KiB does for `steps`: loads, by what they load, and MATMULs."""
    ops = Scheduler(override(PRESETS["tiny"], ["scratchpad.kib=2"]), steps).run()
    return [op.label if op.opcode is Opcode.LOAD else op.opcode.name for op in ops]


def test_what_a_step_brings_is_loaded_ahead_of_its_use_and_not_read() -> None:
    """By itself the last of ten operands is not among the loads that run ahead."""
    config = override(PRESETS["tiny"], ["scratchpad.kib=2"])
    *small, value = (
        Buffer(Space.SCRATCHPAD, config.scratchpad_words // 32, f"load {n}", (INPUTS, 0), loaded=True)
        for n in range(config.control.queue + 3)
    )
    first, *between, last = [Step(Opcode.MATMUL, {}, [one.whole()]) for one in (*small, value)]
    plain, early = (
        order([replaced, *between, last]) for replaced in (first, Step(Opcode.MATMUL, {}, first.reads, brings=[value]))
    )
    assert plain.index(value.label) > plain.index("MATMUL")
    assert early.index(value.label) < early.index("MATMUL")
    assert sorted(plain) == sorted(early), "each once"


def test_what_a_step_brings_drives_nothing_away() -> None:
    """Two operands that do not fit side by side: the second one comes when it is read."""
    half = override(PRESETS["tiny"], ["scratchpad.kib=2"]).scratchpad_words // 2
    key, value = (Buffer(Space.SCRATCHPAD, half + 4, name, (INPUTS, 0), loaded=True) for name in "kv")
    step = Step(Opcode.MATMUL, {}, [key.whole()])
    steps = [Step(Opcode.MATMUL, {}, [key.whole()], brings=[value]), step, Step(Opcode.MATMUL, {}, [value.whole()])]
    assert order(steps) == ["k", "MATMUL", "MATMUL", "v", "MATMUL"]


def test_what_a_step_brings_gives_way_to_what_it_reads() -> None:
    half = override(PRESETS["tiny"], ["scratchpad.kib=2"]).scratchpad_words // 2
    key, value = (Buffer(Space.SCRATCHPAD, half + 4, name, (INPUTS, 0), loaded=True) for name in "kv")
    last = Step(Opcode.MATMUL, {}, [value.whole()])
    steps = [Step(Opcode.MATMUL, {}, [value.whole()]), Step(Opcode.MATMUL, {}, [key.whole()], brings=[value]), last]
    assert order(steps) == ["v", "MATMUL", "k", "MATMUL", "v", "MATMUL"]
