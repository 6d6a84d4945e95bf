"""The performance model of co-processors: figures that were measured on the RTL, the lists of kept blocks cycle by
cycle, and what must hold whatever the timings are."""

import random
from collections import deque
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.config import BusConfig, Config, ControlConfig
from celosia.hw.control.requests import burst_beats
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.hw.hdp.core.config import ROWS_AHEAD, CoreConfig
from celosia.hw.isa import Opcode, Unit
from celosia.sw.attention import AttentionWorkload, attention_workload
from celosia.sw.compiler.corejobs import core_job
from celosia.sw.compiler.cores import compile_cores
from celosia.sw.compiler.program import Program
from celosia.sw.performance import Memory, energy, predict
from celosia.sw.performance.attend import AttendModel, replay_cores
from celosia.sw.performance.coremodel import CoreModel
from celosia.sw.performance.headworks import Head
from celosia.sw.performance.works import works_of
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

EDGE = COPROCESSORS["hdp-edge"]
SMALL = CoprocessorConfig(
    cores=2,
    core=CoreConfig(width=8, rate=4, length=16, rows=32, bus=8, lanes=4),
    bus=BusConfig(bytes=8, burst=16, outstanding=4),
)


@cache
def program(config: CoprocessorConfig, work: AttentionWorkload, dense: bool = False) -> tuple[Program, dict[int, Any]]:
    """Heads of a workload, and the blocks that a functional run keeps of them."""
    policy = work.policy(cast(Config, config))
    if dense:
        policy = policy.dense(1, block=policy.block, softmax=policy.softmax, approximate=False)
    job = core_job(config.core, policy, work.encoder(Config()), 0, work.tokens)
    found = compile_cores(config, [job] * work.heads, work.tokens, work.head)
    device = FunctionalDevice(cast(Config, config))
    Driver(device, found).run(**work.inputs())
    return found, device.gathered


def _as_measured(config: CoprocessorConfig, name: str, cycles: int, dense: int, most: int) -> None:
    """Cycles of pruned and of dense heads behind 20 cycles of memory latency, by `most` off."""
    work = attention_workload(name)
    for whole, measured in ((False, cycles), (True, dense)):
        found, kept = program(config, work, whole)
        assert abs(predict(found, Memory(latency=20), kept).cycles - measured) <= most


@pytest.mark.parametrize(
    ("name", "cycles", "dense"),
    [
        ("attention-128-64-0", 198_970, 198_970),
        ("attention-128-64-50", 125_401, 198_970),
        ("attention-128-64-75", 75_917, 198_970),
        ("attention-128-64-90", 46_569, 198_970),
        ("attention-128-32-75", 75_193, 198_458),
    ],
)
def test_as_measured(name: str, cycles: int, dense: int) -> None:
    """The RTL of `hdp-edge` with queues of 8 instructions."""
    _as_measured(replace(EDGE, control=ControlConfig(queue=8)), name, cycles, dense, 3)


@pytest.mark.parametrize(
    ("name", "cycles", "dense"),
    [
        ("attention-128-64-0", 198_938, 198_938),
        ("attention-128-64-50", 125_369, 198_938),
        ("attention-128-64-75", 75_885, 198_938),
        ("attention-128-64-90", 46_537, 198_938),
        ("attention-128-32-75", 75_177, 198_442),
    ],
)
def test_preset_as_measured(name: str, cycles: int, dense: int) -> None:
    """The figures of docs/coprocessor.md, of the RTL of `hdp-edge`. With queues of 2 the RTL has a burst of
    instructions behind the first load that the model has before it."""
    _as_measured(EDGE, name, cycles, dense, 3 + burst_beats(cast(Config, EDGE)))


@pytest.mark.parametrize("pruned", [0, 60])
def test_activity(pruned: int) -> None:
    """Cycles of each unit add up; PEs of both cores work at once, and never longer than there are heads."""
    found, kept = program(SMALL, AttentionWorkload(15, 8, pruned))
    prediction = predict(found, gathered=kept)
    for activity in prediction.units.values():
        assert sum(activity.values()) == prediction.cycles
    array, steps = prediction.units[Unit.ARRAY], sum(prediction.phases.values())
    assert steps / SMALL.cores <= array["BUSY"] < steps
    assert set(prediction.units[Unit.POST].values()) == {0, prediction.cycles}
    counters = Driver(FunctionalDevice(cast(Config, SMALL)), found)
    counters.run(**AttentionWorkload(15, 8, pruned).inputs())
    assert prediction.bytes_read == counters.counters()["BYTES_READ"]
    assert prediction.bytes_written == counters.counters()["BYTES_WRITTEN"]


@pytest.mark.parametrize("cores", [1, 2])
def test_heads_are_reported_before_others_are_given(cores: int) -> None:
    """In order, and no more are out than there are tickets; room for four heads a core, so that this is what counts."""
    config = replace(SMALL, cores=cores)
    found, kept = program(config, AttentionWorkload(8, 8, 50))
    attend = replay_cores(works_of(found, kept), Memory(latency=0)).units[Unit.ARRAY]
    assert isinstance(attend, AttendModel)
    waits = [given - told for given, told in zip(attend.given[2 * cores :], attend.reported, strict=False)]
    assert min(waits) == 1
    assert attend.reported == sorted(set(attend.reported))
    assert len(attend.reported) == 12


def test_phases_are_those_of_kept_blocks() -> None:
    """15 tokens: 8 pairs of queries by two groups of 8 keys, in two steps each; the last block has one key."""
    found, kept = program(SMALL, AttentionWorkload(15, 8, 60))
    keys = sum(int((blocks * ([2] * 7 + [1])).sum()) for blocks in kept.values())
    phases = predict(found, gathered=kept).phases
    assert phases == {"dense": 0, "decisions": 12 * 8 * 4, "scores": keys, "context": keys}


def test_energy_is_not_known() -> None:
    found, kept = program(SMALL, AttentionWorkload(16, 8, 60))
    with pytest.raises(ValueError, match="energy of co-processors are not modelled"):
        energy(predict(found, gathered=kept))


def test_blocks_that_nobody_tells_are_kept() -> None:
    found, kept = program(SMALL, AttentionWorkload(16, 8, 60))
    every = {place: np.ones_like(blocks) for place, blocks in kept.items()}
    assert sorted(kept) == [n for n, one in enumerate(found.instructions) if one.opcode is Opcode.ATTEND]
    assert predict(found).cycles == predict(found, gathered=every).cycles > 1.2 * predict(found, gathered=kept).cycles


def head(core: CoreConfig, length: int, blocks: Any = None, **flags: Any) -> Head:
    plain = {"causal": False, "dense": False, "headed": False, "approximate": False, "setting": (0,)}
    return Head(core, 0, length, **{**plain, **flags}, blocks=blocks)


class Watched:
    """What the integer pass and the scores of a core rest on, whenever a pair begins.

    `masks`: groups that wait or are on their way to their queue. `kept`: pairs whose integer scores are kept. `early`:
    pairs that begin before the engine may be told of their head, or before the verdict over it.
    """

    def __init__(self, core: CoreModel) -> None:
        self.integers, self.scores = core.integers, core.scores
        self.masks: list[int] = []
        self.kept: list[int] = []
        self.early: list[float] = []
        self.verdicts: dict[int, float] = {}
        self.decided: tuple[tuple[int, ...], float] = ((), 0.0)
        self.begin, self.score = core.integers.begin, core.scores.begin
        core.integers.begin, core.scores.begin = self.integer, self.scored  # type: ignore[method-assign]

    def integer(self, time: float) -> list[tuple[float, float]]:
        units, one = self.integers, self.integers.heads[self.integers.head].head
        setting, before = self.decided
        if not units.pair and setting not in ((), one.setting) and time <= before:
            self.early.append(time)
        last = units.pair + 1 == len(one.pairs)
        spans = self.begin(time)
        self.decided = one.setting, units.decided
        self.masks.append(units.taken - sum(popped < time for popped in units.popped))
        self.kept.append(units.kept - sum(scored < time for scored in units.scored))
        if last:
            self.verdicts[id(one)] = spans[-1][1] + units.times.verdict
        return spans

    def scored(self, time: float) -> list[tuple[float, float]]:
        one = self.scores.lists.lists[0].head
        if one.headed and not one.dense and time <= self.verdicts[id(one)]:
            self.early.append(time)
        return self.score(time)


def listed(one: Head) -> list[tuple[int, int, int]]:
    """Cycles of the walker, as its description has them: of each pair, to its second block, to the end of its list, and
    its blocks. A block a cycle; a group without any takes a cycle, and the end of a row another one. The next group is
    taken in the last cycle of the one before."""
    found, rate = [], one.config.rate
    for number, pair in enumerate(one.pairs):
        row = np.zeros(rate * pair.groups, bool)
        row[: one.blocks.shape[1]] = one.blocks[number][: rate * pair.groups]
        groups = deque(row.reshape(-1, rate).tolist())
        left, cycle, seen, second = groups.popleft(), 0, 0, 0
        while True:
            cycle += 1
            if any(left):
                left[left.index(True)] = False
                seen += 1
                second = cycle if seen == 2 else second
                if not any(left) and groups:
                    left = groups.popleft()
            elif groups:
                left = groups.popleft()
            else:
                break
        found.append((second, cycle, max(1, seen)))
    return found


@given(st.integers(1, 40), st.sampled_from([1, 2, 4]), st.booleans(), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_lists(length: int, rate: int, causal: bool, share: float, seed: int) -> None:
    """Against a walk through every group; steps against a sum over blocks."""
    core = CoreConfig(width=4, rate=rate, length=40, rows=40, bus=4, lanes=4, reuse=rate > 1)
    count = -(-length // 2)
    exist = np.tril(np.ones((count, count), bool)) if causal else np.ones((count, count), bool)
    blocks = exist & (np.random.default_rng(seed).random((count, count)) < share)
    one = head(core, length, blocks, causal=causal)
    assert [(pair.second, pair.walk, pair.entries) for pair in one.pairs] == listed(one)
    ends = [min(2 * pair + 2, length) if causal else length for pair in range(count)]
    keys = [
        max(1, sum(min(2, ends[pair] - 2 * block) for block in np.flatnonzero(blocks[pair]))) for pair in range(count)
    ]
    assert one.steps == (sum(2 * -(-end // (2 * rate)) for end in ends), sum(keys), sum(keys))
    pairs = head(core, length, blocks, causal=causal, approximate=True)
    wanted = sum(max(1, int(row.sum())) for row in blocks) if rate > 1 else sum(keys)
    assert pairs.steps == (one.steps[0], wanted, sum(keys))


@pytest.mark.parametrize("dense", [False, True])
def test_lists_are_full(dense: bool) -> None:
    """Twelve tokens: six blocks a pair. A list of 16 blocks, and three on their way out of it, hold three pairs and a
    block; the sixth one of the fourth pair waits until the fifth one of the first has been used, and two cycles."""
    core = CoreConfig(width=4, rate=2, length=12, rows=12, bus=4, lanes=4)
    model = CoreModel(core)
    model.give(head(core, 12, np.ones((6, 6), bool), dense=dense), 0.0)
    for pair in range(0 if dense else 6):
        model.integers.begin(10.0 * pair)
    model.lists.settle()
    assert len(model.lists.lists) == 3
    (first, *_), begun = model.lists.lists, 1000.0
    # A block is used up with its second step.
    model.scores.begin(begun)
    model.lists.settle()
    fourth = model.lists.lists[2]
    assert (first.first, fourth.first) == (0, 18)
    assert fourth.ready == begun + 2 * 4 + 1 + 2 + 1
    assert len(model.lists.lists) == 3


@given(st.integers(0, 2**32 - 1))
def test_a_core(seed: int) -> None:
    """The PEs do one thing at a time, and all of it; heads end in order, and no more than two are under way."""
    rng = random.Random(seed)
    rate = rng.choice([1, 2, 4])
    core = CoreConfig(
        width=8, rate=rate, length=12, rows=24, bus=8, lanes=rng.choice([4, 8]), tau=rng.random() < 0.5, reuse=rate > 1,
        softmax=rng.choice(["base2", "published"]),
    )  # fmt: skip
    heads = []
    for _ in range(rng.randint(1, 6)):
        length = rng.randint(1, 12)
        count = -(-length // 2)
        blocks = np.random.default_rng(rng.getrandbits(32)).random((count, count)) < rng.random()
        flags = {"dense": rng.random() < 0.2, "approximate": rng.random() < 0.5, "setting": (rng.randint(0, 1),)}
        heads.append(head(core, length, blocks, headed=core.tau and rng.random() < 0.3, **flags))
    model, given_at, left = CoreModel(core), [], deque(heads)
    watched = Watched(model)
    while left or model.next() < np.inf:
        if left and model.able() <= model.next():
            given_at.append(max(model.able(), given_at[-1] + 3 if given_at else 0.0))
            model.give(left.popleft(), given_at[-1])
        else:
            model.advance()
    assert all(masks <= core.mask_words for masks in watched.masks)
    assert all(kept <= ROWS_AHEAD for kept in watched.kept)
    assert watched.early == []
    steps = sum(sum(one.steps) for one in heads)
    assert sum(last - first + 1 for first, last in model.runs) == steps
    assert all(before[1] + 1 < after[0] for before, after in pairwise(model.runs))
    ends = model.values.contexts
    assert len(ends) == len(heads)
    assert ends == sorted(ends)
    # A head's sums are all read a few cycles before its context is out.
    assert all(begin > end - 20 for begin, end in zip(given_at[2:], ends, strict=False))


@pytest.mark.parametrize(("income", "price", "stalls"), [(1, 1, 0.3), (1, 2, 0.3), (1, 4, 0.7), (3, 4, 0.1)])
def test_memories_that_stall(income: int, price: int, stalls: float) -> None:
    """Cycles a beat, against a memory that is played through as `celosia.sim.rtl` has it: a beat costs `price`, less
    than two are saved up."""
    rng, saved, beats, cycles = random.Random(1), 0, 0, 200_000
    for _ in range(cycles):
        saved = min(saved + income, price + income - 1)
        if saved >= price and rng.random() >= stalls:
            saved, beats = saved - price, beats + 1
    bandwidth = None if income == price else income / price
    assert Memory(bandwidth=bandwidth, stalls=stalls).period == pytest.approx(cycles / beats, rel=0.01)


def test_stalls_are_probabilities() -> None:
    with pytest.raises(ValueError, match="stalls must be from 0 to below 1, not 1"):
        Memory(stalls=1)
