"""Tests of the sparsity engine against the golden model of HDP."""

from collections import deque
from dataclasses import replace
from itertools import pairwise

import cocotb
import numpy as np

from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.engine import SparsityEngine
from celosia.hw.hdp.layouts import Head, Masks, Setting, beat_layout
from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.sim.bench import harness
from celosia.sim.bench.hdp_model import Choice, Masked, random_choice, random_scores
from celosia.sim.bench.streams import Codec, StreamSink, StreamSource, hub_of
from celosia.sw.golden.hdp import BlockShape


class Pacer:
    """Gives `beats` rows of blocks while no more than `room` groups are under way, as the array does with DECIDEs."""

    def __init__(self, config: EngineConfig, beats: StreamSource, masks: StreamSink, room: int) -> None:
        self.config, self.beats, self.masks, self.room = config, beats, masks, room
        self.rows: deque[list[dict]] = deque()
        self.sent = 0
        beats.hub.agents.append(self)

    def send(self, beats: list[dict]) -> None:
        """Queue whole rows of blocks."""
        row: list[dict] = []
        for beat in beats:
            row.append(beat)
            if beat["end_row"]:
                self.rows.append(row)
                row = []

    def step(self) -> None:
        """See `Agent`."""
        while self.rows:
            groups = self._groups(self.rows[0])
            if self.sent - len(self.masks.values) + groups > self.room:
                break
            self.sent += groups
            self.beats.send(self.rows.popleft())

    def _groups(self, beats: list[dict]) -> int:
        if not self.config.stream:
            return sum(beat["last"] for beat in beats)
        return -(-sum(1 + beat.get("pair", 0) for beat in beats) // self.config.columns)

    def reset(self) -> None:
        """See `Agent`. What was queued is dropped."""
        self.rows.clear()
        self.sent = len(self.masks.values)


class Bench:
    """A sparsity engine, its streams, and what is expected of it."""

    def __init__(self, dut) -> None:
        self.dut = dut
        fields = harness.parameters()
        self.config = EngineConfig(**{**fields, "rules": tuple(Importance(rule) for rule in fields["rules"])})
        self.engine = SparsityEngine(self.config)

    async def start(self, gaps: float = 0.0, stall: float = 0.0) -> None:
        """Reset."""
        config = self.config
        self.beats = StreamSource(self.dut, "i", beat_layout(config), stall=gaps)
        self.masks = StreamSink(self.dut, "masks", Masks(config), stall=stall)
        self.heads = StreamSink(self.dut, "head", Head())
        self.setting = Codec(Setting(config))
        self.pacer = Pacer(config, self.beats, self.masks, self.engine.depth - 1)
        self.rng = await harness.start(self.dut)

    def restart(self, choice: Choice) -> None:
        """A setting for the heads that follow; forget the results of those before."""
        self.choice = choice
        self.dut.setting.value = self.setting.encode(choice.setting(self.config))
        for received in (self.masks, self.heads):
            received.values.clear()
            received.times.clear()
        self.beats.times.clear()
        self.pacer.reset()

    def send(self, *heads: Masked) -> None:
        """Queue heads."""
        for head in heads:
            beats = head.beats(self.config, self.choice, self.rng)
            (self.pacer if self.config.fill else self.beats).send(beats)

    async def check(self, *heads: Masked) -> None:
        """Wait for the results of heads, the only ones since `restart`, and compare all of them."""
        want = [masks for head in heads for masks in head.masks(self.config, self.choice)]
        await self.masks.received(len(want), timeout=200_000 if self.config.fill else 5000)
        await hub_of(self.dut).cycles(3)
        assert not int(self.dut.busy.value), "still busy"
        assert not int(self.dut.overflow.value), "overflow"
        names = list(want[0])
        for index, (got, wanted) in enumerate(zip(self.masks.consts(), want, strict=True)):
            found = {name: got[name] for name in names}
            assert found == wanted, f"masks {index} of {self.choice}: {found}, not {wanted}"
        found = [(head.importance, bool(head.keep)) for head in self.heads.consts()]
        assert found == [head.head(self.choice) for head in heads]

    async def resume(self, overflow: int, *heads: Masked) -> None:
        """Masks that waited are taken: all are right; with `overflow`, which is told, only a reset helps."""
        assert int(self.dut.overflow.value) == overflow
        assert int(self.dut.busy.value)
        self.masks.blocked = False
        if overflow:
            await harness.reset(self.dut)
        else:
            await self.check(*heads)

    async def run(self, choice: Choice, *heads: Masked) -> None:
        """Heads one after another under one setting; with fill and without, where there is fill."""
        for fill in (False, True) if self.config.fill else (False,):
            self.restart(replace(choice, fill=fill))
            self.send(*heads)
            await self.check(*heads)

    def full(self, scores) -> Masked:
        """Scores that are all valid."""
        array = np.asarray(scores, dtype=np.int64)
        return Masked(array, np.ones(array.shape, dtype=bool))

    def shapes(self) -> list[BlockShape]:
        """The least, and the greatest block."""
        return [BlockShape(1, self.config.narrowest), BlockShape(self.config.height, self.config.widest)]


async def _random(dut, gaps: float, stall: float, settings: int) -> None:
    bench = Bench(dut)
    await bench.start(gaps, stall)
    config, rng = bench.config, bench.rng
    for _ in range(settings):
        choice = random_choice(config, rng)
        sizes = [rng.randint(1, min(config.length, rng.choice([8, 40]))) for _ in range(3)]
        await bench.run(choice, *(random_scores(config, rng, size, size) for size in sizes))


@cocotb.test()
async def random_heads(dut) -> None:
    """Heads of any length back to back, every setting."""
    await _random(dut, 0.0, 0.0, 20)


@cocotb.test()
async def random_heads_stalled(dut) -> None:
    """The same with pauses in what comes, and shorter ones in what is taken."""
    await _random(dut, 0.5, 0.3, 12)


@cocotb.test()
async def longest_heads(dut) -> None:
    """Rows of the longest that the engine was built for: a few of them, of the least and the greatest block."""
    bench = Bench(dut)
    await bench.start()
    for shape in bench.shapes():
        for rule in bench.config.rules:
            head = random_scores(bench.config, bench.rng, 2 * shape.height + 1, bench.config.length)
            await bench.run(Choice(shape, rule, bench.rng.randint(-RHO_ONE, RHO_ONE)), head)


@cocotb.test()
async def greatest_alone_and_all(dut) -> None:
    """rho = 1 keeps the greatest of every row, with those equal to it; rho = -1 prunes nothing."""
    bench = Bench(dut)
    await bench.start()
    size = bench.config.length
    for shape in bench.shapes():
        rows = min(size, 2 * shape.height)
        for rule in bench.config.rules:
            heads = [random_scores(bench.config, bench.rng, rows, size) for _ in range(2)]
            await bench.run(Choice(shape, rule, RHO_ONE), *heads)
            await bench.run(Choice(shape, rule, -RHO_ONE), *heads)
            assert all(masks.keep == masks.exists for masks in bench.masks.consts())


@cocotb.test()
async def ties_and_ends(dut) -> None:
    """All scores equal, zero, at either end of their range, and one above all others: nothing equal is told apart."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    size = config.length
    for shape in bench.shapes():
        rows = min(size, config.height, 2 * shape.height)
        for rule in config.rules:
            for rho in (-RHO_ONE, -1, 0, 1, RHO_ONE - 1, RHO_ONE):
                single = np.full((rows, size), config.score.low)
                single[:, size // 2] = config.score.high
                values = (config.score.low, -1, 0, 1, config.score.high)
                heads = [bench.full(np.full((rows, size), value)) for value in values]
                await bench.run(Choice(shape, rule, rho), *heads, bench.full(single))
                kept = [masks.keep == masks.exists for masks in bench.masks.consts()]
                # Of a single last row of fewer valid keys the sums differ: only whole blocks tie.
                if size % shape.width == 0:
                    assert all(kept[: -len(heads[0].masks(config, bench.choice))])


@cocotb.test()
async def single_blocks(dut) -> None:
    """Rows of one block, lengths that are no multiple of a block, heads of nothing but padding."""
    bench = Bench(dut)
    await bench.start()
    config, rng = bench.config, bench.rng
    for shape in bench.shapes():
        for rule in config.rules:
            sizes = [(1, 1), (shape.height, shape.width), (shape.height + 1, shape.width + 1), (3, config.columns + 1)]
            heads = [random_scores(config, rng, rows, min(columns, config.length)) for rows, columns in sizes]
            nothing = Masked(heads[-1].scores, np.zeros_like(heads[-1].mask))
            await bench.run(Choice(shape, rule, rng.randint(-RHO_ONE, RHO_ONE)), nothing, *heads, nothing)


@cocotb.test()
async def head_at_the_limit(dut) -> None:
    """A head of exactly the limit is kept, one below it is not."""
    bench = Bench(dut)
    await bench.start()
    for rule in bench.config.rules:
        head = random_scores(bench.config, bench.rng, 5, min(bench.config.length, 21))
        shape = bench.shapes()[1]
        exactly, _ = head.head(Choice(shape, rule, 0))
        for limit, kept in ((exactly - 1, True), (exactly, True), (exactly + 1, False)):
            await bench.run(Choice(shape, rule, 0, limit), head, head)
            assert [bool(found.keep) for found in bench.heads.consts()] == [kept, kept]


@cocotb.test()
async def reset_in_mid_head(dut) -> None:
    """After a reset at any point the next head is as if there had been none before."""
    bench = Bench(dut)
    await bench.start()
    config, rng = bench.config, bench.rng
    for cycles in (1, 2, 5, 9, bench.engine.latency - 2, bench.engine.latency, bench.engine.latency + 5):
        choice = random_choice(config, rng)
        size = min(config.length, 3 * config.columns + 1)
        bench.restart(choice)
        bench.send(random_scores(config, rng, size, size))
        await hub_of(dut).cycles(cycles + rng.randrange(size))
        await harness.reset(dut)
        await hub_of(dut).cycles(bench.engine.latency)
        assert not int(dut.busy.value)
        await bench.run(choice, *(random_scores(config, rng, size, size) for _ in range(2)))


@cocotb.test()
async def full_rate(dut) -> None:
    """A beat in every cycle: long rows, rows of one beat, and growing ones; every mask comes in the cycle it must."""
    bench = Bench(dut)
    await bench.start()
    config, rng, engine = bench.config, bench.rng, bench.engine
    for shape in bench.shapes():
        widths = [config.length, *[config.columns] * 20, *range(1, config.length, config.columns), config.length]
        heads = [random_scores(config, rng, rng.randint(1, 2 * shape.height), width) for width in widths]
        choice = Choice(shape, config.rules[0], 40)
        await bench.run(choice, *heads)
        assert {after - before for before, after in pairwise(bench.beats.times)} == {1}
        sent = iter(bench.beats.times)
        expected: list[int] = []
        decided = []
        for head in heads:
            for row in head.groups(config, choice):
                end = [next(sent) for _ in range(sum(row))][-1]
                start = max(end + engine.latency, expected[-1] + 1 if expected else 0)
                expected += range(start, start + len(row))
            decided.append(end + engine.head_latency)
        assert bench.masks.times == expected
        assert bench.heads.times == decided


@cocotb.test()
async def waiting_masks(dut) -> None:
    """As many groups as there is room for wait while masks are not taken; more are an overflow, until a reset."""
    bench = Bench(dut)
    await bench.start()
    config, rng = bench.config, bench.rng
    choice = Choice(BlockShape(1, config.narrowest), config.rules[0], 0)
    for more, overflow in ((-1, 0), (3, 1), (-1, 0)):
        heads = [random_scores(config, rng, 1, config.columns) for _ in range(bench.engine.depth + more)]
        bench.restart(choice)
        bench.masks.blocked = True
        bench.send(*heads)
        await bench.beats.drained()
        await hub_of(dut).cycles(2 * bench.engine.latency)
        await bench.resume(overflow, *heads)
