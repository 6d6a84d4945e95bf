"""Steps of the core's PEs against the golden model, and the passes that give them."""

import random

import numpy as np
import pytest

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.datapath import Datapath
from celosia.hw.hdp.core.layouts import Kind, Operand
from celosia.hw.hdp.core.passes import IntegerPass, ScorePass, ValuePass
from celosia.sim.units import give_heads, simulate
from celosia.sw.golden.hdp import integer_scores, kept_scores, split
from celosia.sw.golden.softmax import valid_columns

CONFIGS = {
    "rate4": CoreConfig(width=8, rate=4, length=16, rows=32, bus=4, lanes=4),
    "rate4-plain": CoreConfig(width=8, rate=4, length=16, rows=32, bus=8, lanes=2, reuse=False),
    "rate2": CoreConfig(width=4, rate=2, length=12, rows=24, bus=2, lanes=4),
    "rate1": CoreConfig(width=8, rate=1, length=12, rows=16, bus=4, lanes=8, reuse=False),
}


class Plan:
    """Steps in a row, of any kind, and what must come of them."""

    def __init__(self, config: CoreConfig, seed: int) -> None:
        self.config, self.rng = config, random.Random(seed)
        codes = np.random.default_rng(seed)
        shape = (config.rows, config.width)
        ends = [-128, -121, -120, -8, 0, 7, 103, 104, 119, 120, 127]
        self.query, self.key, self.value = (
            np.where(codes.random(shape) < 0.3, codes.choice(ends, shape), codes.integers(-128, 128, shape))
            for _ in range(3)
        )
        self.integers = integer_scores(split(self.query)[0], split(self.key)[0])
        self.exact = kept_scores(self.query, self.key, approximate=False)
        self.near = kept_scores(self.query, self.key)
        self.steps: list[dict] = []
        self.sums: list[list[list[int]]] = []
        self.scores: list[tuple[list[list[int]], int]] = []
        self.fronts: list[list[int]] = []

    def integer(self, pair: int, group: int, buffer: int | None = None) -> None:
        """Of `rate` keys; in `buffer` they are kept."""
        rate = self.config.rate
        keys = range(group * rate, (group + 1) * rate)
        tag = {"valid": 1, "block": group * rate // 2 % (self.config.length // 2), "buffer": buffer or 0}
        self.steps.append(
            {"kind": Kind.INTEGER, "query": pair, "turn": 1, "row": group * rate, "fetch": 1, "tag": tag}
            | {"keep": buffer is not None}
        )
        self.sums.append([[int(self.integers[2 * pair + q, key]) for q in range(2)] for key in keys])

    def score(self, pair: int, key: int, approximate: bool) -> None:
        """Of one key."""
        self.steps.append(
            {"kind": Kind.SCORE, "query": pair, "turn": 1, "row": key, "fetch": 1, "approximate": approximate}
        )
        table = self.near if approximate else self.exact
        score = [int(table[2 * pair + q, key]) for q in range(2)]
        self.scores.append(([score, score], 0))

    def pair(self, pair: int) -> None:
        """Integer scores of a group, and later a block of it."""
        group = self.rng.randrange(self.config.length // self.config.rate)
        buffer = self.rng.randrange(4)
        self.integer(pair, group, buffer)
        for _ in range(8):
            self.single(self.rng.randrange(self.config.rows // 2))
        block = group * self.config.rate // 2 + self.rng.randrange(self.config.rate // 2)
        self.steps.append(
            {"kind": Kind.PAIR, "query": pair, "turn": 1, "row": 2 * block, "fetch": 1, "approximate": 1}
            | {"tag": {"block": block, "buffer": buffer}}
        )
        near = [[int(self.near[2 * pair + q, 2 * block + k]) for q in range(2)] for k in range(2)]
        self.scores.append((near, 1))

    def single(self, pair: int) -> None:
        """A score."""
        self.score(pair, self.rng.randrange(self.config.rows), self.rng.random() < 0.5)

    def values(self) -> None:
        """A pair of queries' weights by some rows of V."""
        total = np.zeros((2, self.config.width), dtype=np.int64)
        count = self.rng.randint(1, 5)
        for index in range(count):
            weights, key = (
                [self.rng.choice([0, 255, self.rng.randint(0, 255)]) for _ in range(2)],
                self.rng.randrange(self.config.rows),
            )
            total += np.array(weights)[:, None] * self.value[key]
            tag = {"first": index == 0, "last": index == count - 1}
            self.steps.append({"kind": Kind.VALUE, "row": key, "fetch": 1, "weights": weights, "tag": tag})
        self.fronts.append(total.reshape(-1).tolist())

    def fill(self) -> None:
        """Everything, without a pause."""
        config = self.config
        for _ in range(25):
            pair = self.rng.randrange(config.rows // 2)
            choice = self.rng.randrange(4)
            if choice == 0:
                self.integer(pair, self.rng.randrange(config.rows // config.rate))
            elif choice == 1 and config.reuse:
                self.pair(pair)
            else:
                self.single(pair)
        self.values()


@pytest.mark.parametrize("name", CONFIGS)
def test_steps(name: str) -> None:
    """Steps of all kinds in every cycle, all planes, all banks; the sums of context move out."""
    config = CONFIGS[name]
    dut, plan, bounds = Datapath(config), Plan(config, 3), []
    for _ in range(6):
        plan.fill()
        bounds.append(len(plan.steps))
    sums, scores, fronts, cycles = [], [], [], []

    async def run(ctx) -> None:
        for operand, codes in ((Operand.QUERY, plan.query), (Operand.KEY, plan.key), (Operand.VALUE, plan.value)):
            for row, line in enumerate(codes):
                for part in range(config.parts):
                    piece = line[part * config.bus : (part + 1) * config.bus].tolist()
                    ctx.set(dut.write.p, {"operand": operand, "row": row, "part": part, "codes": piece})
                    ctx.set(dut.write.valid, 1)
                    await ctx.tick()
        ctx.set(dut.write.valid, 0)
        start = 0
        for bound in bounds:
            for step in plan.steps[start:bound]:
                ctx.set(dut.step.p, step)
                ctx.set(dut.step.valid, 1)
                await ctx.tick()
            ctx.set(dut.step.valid, 0)
            start = bound
            await ctx.tick().until(dut.full)
            front = []
            for _ in range(2 * config.width // config.lanes):
                front += [ctx.get(dut.front[k]) for k in range(config.lanes)]
                ctx.set(dut.shift, 1)
                await ctx.tick()
            ctx.set(dut.shift, 0)
            fronts.append(front)
        await ctx.tick().repeat(dut.latency + 2)

    async def listen(ctx) -> None:
        cycle = 0
        while len(sums) < len(plan.sums) or len(scores) < len(plan.scores):
            _, _, some, found, more, given = await ctx.tick().sample(
                dut.integer.valid, dut.integer.p, dut.scores.valid, dut.scores.p
            )
            cycle += 1
            if some:
                sums.append([[found.scores[key][q] for q in range(2)] for key in range(config.rate)])
            if more:
                scores.append(([[given.scores[key][q] for q in range(2)] for key in range(2)], given.pair))
                cycles.append(cycle)
            assert cycle < 10_000

    simulate(dut, run, listen)
    assert sums == plan.sums
    assert scores == plan.scores
    assert fronts == plan.fronts


def _collect(dut, steps: list, count: int, rng: random.Random, stall: float):
    """Takes steps, with pauses."""

    async def process(ctx) -> None:
        while len(steps) < count:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, step, last = await ctx.tick().sample(dut.o.valid, dut.o.p, dut.last)
            if valid and ready:
                steps.append((step, last))
        ctx.set(dut.o.ready, 0)

    return process


@pytest.mark.parametrize("name", ["rate4", "rate1"])
def test_integer_pass(name: str) -> None:
    """All keys of a pair, an even number of steps; scores that exist are valid; room is waited for."""
    config, rng = CONFIGS[name], random.Random(8)
    dut, steps, free = IntegerPass(config), [], [config.mask_words]
    jobs = [
        {"length": rng.randint(1, config.length), "causal": rng.random() < 0.4, "key": 4, "query": 4, "rho": index // 3}
        | {"dense": rng.random() < 0.2}
        for index in range(12)
    ]
    want = []
    for job in jobs:
        length = job["length"]
        valid = valid_columns(length, length, length, 0 if job["causal"] else None)
        for top in range(0, 0 if job["dense"] else length, 2):
            keys = valid[top : top + 2].any(axis=0).sum()
            count = 2 * -(-keys // config.group)
            for index in range(count):
                bits = 0
                for key in range(config.rate):
                    for q in range(2):
                        row, column = top + q, index * config.rate + key
                        bits |= bool(row < length and column < length and valid[row, column]) << 2 * key + q
                last = index == count - 1
                want.append((2 + top // 2, 4 + index * config.rate, bits, last, last and top + 2 >= length, job["rho"]))
    settings = []

    async def engine(ctx) -> None:
        """Gives back room some time after the steps; notes the setting that each head ends with."""
        seen, owed, ends = 0, 0, []
        for cycle in range(6000):
            ctx.set(dut.popped, owed > 0 and rng.random() < 0.3)
            owed -= ctx.get(dut.popped)
            free[0] += ctx.get(dut.popped)
            ctx.set(dut.ended, bool(ends) and ends[0] <= cycle)
            if ctx.get(dut.ended):
                ends.pop(0)
                settings.append(ctx.get(dut.setting.rho))
            await ctx.tick()
            while seen < len(steps):
                step, _ = steps[seen]
                seen += 1
                if seen % 2:
                    free[0] -= 1
                    assert free[0] >= 0, "more groups than there is room for"
                    owed += 1
                if step.tag.end_head:
                    ends.append(cycle + 25)

    simulate(dut, engine, give_heads(dut.head, jobs), _collect(dut, steps, len(want), rng, 0.3))
    found = [(s.query, s.row, s.tag.valid & (1 << 2 * config.rate) - 1, last, s.tag.end_head) for s, last in steps]
    assert found == [entry[:5] for entry in want]
    assert settings == [entry[5] for entry in want if entry[4]]


def test_scores_and_context_follow_the_lists() -> None:
    """Both keys of a block, or the only one, or the block at once; nothing is read for a row that keeps nothing."""
    config, rng = CONFIGS["rate4"], random.Random(9)
    dut, steps = ScorePass(config), []
    jobs, entries, want = [], [], []
    for _ in range(12):
        length, causal, approximate = rng.randint(1, 16), rng.random() < 0.4, rng.random() < 0.5
        jobs.append({"length": length, "causal": causal, "approximate": approximate, "key": 8, "query": 4})
        for top in range(0, length, 2):
            limits = [0 if top + q >= length else top + q + 1 if causal else length for q in range(2)]
            blocks = sorted(rng.sample(range(-(-max(limits) // 2)), rng.randint(0, -(-max(limits) // 2))))
            listed = [{"block": block} for block in blocks] or [{"block": 0, "none": 1}]
            listed[-1]["last"] = 1
            entries.append(listed)
            for index, entry in enumerate(listed):
                none, end = entry.get("none", 0), index == len(listed) - 1
                bits = [[not none and 2 * entry["block"] + key < limit for limit in limits] for key in range(2)]
                number = 8 + 2 * entry["block"]
                if approximate:
                    flat = sum(bit << place for place, bit in enumerate(bits[0] + bits[1]))
                    want.append((Kind.PAIR, number, not none, flat, end))
                    continue
                for key in range(2 if any(bits[1]) else 1):
                    flat = sum(bit << place for place, bit in enumerate(bits[key]))
                    last = end and (key == 1 or not any(bits[1]))
                    want.append((Kind.SCORE, number + key, not none, flat, last))

    async def lists(ctx) -> None:
        for listed in entries:
            ctx.set(dut.complete, 1)
            await ctx.tick()
            ctx.set(dut.complete, 0)
            for entry in listed:
                ctx.set(dut.listed.p, {"none": 0, "last": 0, **entry})
                ctx.set(dut.listed.valid, 1)
                await ctx.tick().until(dut.listed.ready)
                ctx.set(dut.listed.valid, 0)

    async def room(ctx) -> None:
        seen = given = 0
        while given < len(entries):
            done = sum(last for _, last in steps)
            assert seen - given <= ScorePass.BUFFERS
            seen = done
            ctx.set(dut.taken, seen > given and rng.random() < 0.2)
            given += ctx.get(dut.taken)
            await ctx.tick()

    simulate(dut, lists, room, give_heads(dut.head, jobs), _collect(dut, steps, len(want), rng, 0.2))
    found = []
    for step, last in steps:
        mask = 15 if step.kind == Kind.PAIR else 3
        found.append((step.kind, step.row, step.fetch, step.tag.valid & mask, last))
    assert found == want


def test_weights_become_steps() -> None:
    """A step a weight; the next pair waits until the sums are read."""
    config, rng = CONFIGS["rate4"], random.Random(10)
    dut, steps = ValuePass(config), []
    pairs = [
        [{"key": rng.randrange(16), "fetch": rng.getrandbits(1)} for _ in range(rng.randint(1, 5))] for _ in range(20)
    ]
    for pair in pairs:
        pair[-1]["last"] = 1
    for pair in pairs[3::4]:
        pair[-1]["end_head"] = 1
    words = [word for pair in pairs for word in pair]
    jobs = [{"value": 4 * k} for k in range(5)]

    async def weights(ctx) -> None:
        for word in words:
            while rng.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.weights.p, {"last": 0, "end_head": 0, **word})
            ctx.set(dut.weights.valid, 1)
            await ctx.tick().until(dut.weights.ready)
            ctx.set(dut.weights.valid, 0)

    async def drain(ctx) -> None:
        seen = 0
        while seen < len(pairs):
            done = sum(last for _, last in steps)
            assert done - seen <= 1, "a pair began before the sums of the one before were read"
            ctx.set(dut.drained, done > seen and rng.random() < 0.3)
            seen += ctx.get(dut.drained)
            await ctx.tick()

    simulate(dut, weights, drain, give_heads(dut.head, jobs), _collect(dut, steps, len(words), rng, 0.3))
    want = [
        (4 * (index // 4) + word["key"], word["fetch"], place == 0, place == len(pair) - 1)
        for index, pair in enumerate(pairs)
        for place, word in enumerate(pair)
    ]
    assert [(s.row, s.fetch, s.tag.first, last) for s, last in steps] == want
