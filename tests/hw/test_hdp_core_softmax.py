"""The core's way from scores to context, each part against the golden model."""

import random
from itertools import pairwise

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.context import Drain
from celosia.hw.hdp.core.layouts import HeadSignature
from celosia.hw.hdp.core.passes import ScorePass
from celosia.hw.hdp.core.softmax import Exponents, Factors, ScoreStore, Weigh
from celosia.sim.units import give_heads, simulate
from celosia.sw.golden.factor import row_factor
from celosia.sw.golden.hdp import exp2_weight_second_order, linear_row_factor
from celosia.sw.golden.requant import requant
from celosia.sw.golden.rounding import sat
from celosia.sw.golden.softmax import exp2_weight, softmax_weights

WEIGHTS = {"base2": exp2_weight, "published": exp2_weight_second_order}
FACTORS = {"base2": row_factor, "published": linear_row_factor}


def _config(softmax: str = "base2") -> CoreConfig:
    return CoreConfig(width=8, rate=4, length=40, rows=80, bus=4, lanes=4, softmax=softmax)


@pytest.mark.parametrize("softmax", WEIGHTS)
def test_weights(softmax: str) -> None:
    """A score a cycle: all distances that matter, the greatest ones, and those that are not valid."""
    config, rng = _config(softmax), random.Random(1)
    dut, found, want = Weigh(config), [], []
    low, high = config.score.low, config.score.high
    cases = []
    for _ in range(40):
        mult, shift = rng.randrange(1 << 15, 1 << 16), rng.choice([0, 8, 15, 20, 30, 63])
        for _ in range(25):
            greatest = rng.choice([high, 0, rng.randint(low, high)])
            score = greatest - rng.choice([0, 1, 255, 256, rng.randint(0, 3000), greatest - low])
            cases.append((max(score, low), greatest, mult, shift, rng.random() < 0.9))
    for score, greatest, mult, shift, valid in cases:
        weights, _ = softmax_weights([[score]], [greatest], [[valid]], mult, shift, WEIGHTS[softmax])
        want.append(int(weights[0, 0]))

    async def process(ctx) -> None:
        for cycle in range(len(cases) + dut.latency):
            for name, field, late in (
                ("score", 0, 0),
                ("greatest", 1, 0),
                ("mult", 2, 1),
                ("shift", 3, 2),
                ("valid", 4, dut.latency),
            ):
                if 0 <= cycle - late < len(cases):
                    ctx.set(getattr(dut, name), cases[cycle - late][field])
            await ctx.delay(1e-9)
            if cycle >= dut.latency:
                found.append(ctx.get(dut.o))
            await ctx.tick()

    simulate(dut, process)
    assert found == want


@pytest.mark.parametrize("softmax", FACTORS)
def test_row_factors(softmax: str) -> None:
    """One and two rows with weights, sums at their ends, shifts that leave nothing; a pair within the period."""
    config, rng = _config(softmax), random.Random(2)
    dut, got, times = Factors(config), [], []
    top = config.total.high
    pairs = [[rng.choice([0, 1, 255, top, rng.randint(1, top)]) for _ in range(2)] for _ in range(60)]
    jobs = [(rng.randrange(1 << 15, 1 << 16), rng.choice([0, 15, 40, 60, 63])) for _ in range(len(pairs) // 3)]

    async def give(ctx) -> None:
        for index, (totals) in enumerate(pairs):
            # What is under way is limited by who asks.
            while index - len(got) >= 4:
                await ctx.tick()
            ctx.set(dut.totals.p, {"totals": totals, "end_head": index % 3 == 2})
            ctx.set(dut.totals.valid, 1)
            await ctx.tick()
            ctx.set(dut.totals.valid, 0)

    heads = give_heads(dut.head, ({"mant": mant, "mant_shift": shift} for mant, shift in jobs))

    async def take(ctx) -> None:
        cycle = 0
        while len(got) < len(pairs):
            ready = len(got) < 30 or rng.random() < 0.1
            ctx.set(dut.o.ready, ready)
            _, _, valid, factors = await ctx.tick().sample(dut.o.valid, dut.o.p)
            if valid and ready:
                got.append([(factors[q].mult, factors[q].shift) for q in range(2)])
                times.append(cycle)
            cycle += 1
            assert cycle < 50_000

    simulate(dut, give, heads, take)
    for index, (totals, found) in enumerate(zip(pairs, got, strict=True)):
        q, s = FACTORS[softmax](*jobs[index // 3], totals)
        assert found == list(zip(q.tolist(), s.tolist(), strict=True))
    assert max(b - a for a, b in pairwise(times[:30])) <= dut.PERIOD


class Way(wiring.Component):
    """Scores to weights: `ScoreStore` and `Exponents` as the core has them."""

    def __init__(self, config: CoreConfig) -> None:
        self.store, self.exponents = ScoreStore(config), Exponents(config)
        store, exponents = self.store.signature.members, self.exponents.signature.members
        super().__init__(
            {
                "head": Out(HeadSignature(config)),
                "i": store["i"],
                "taken": Out(1),
                "o": exponents["o"],
                "totals": exponents["totals"],
                "drained": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.store, m.submodules.exponents = store, exponents = self.store, self.exponents
        connect(m, flipped(self.i), store.i)
        connect(m, store.rows, exponents.rows)
        connect(m, exponents.head, flipped(self.head))
        connect(m, exponents.o, flipped(self.o))
        connect(m, exponents.totals, flipped(self.totals))
        m.d.comb += [
            store.read_en.eq(exponents.read_en),
            store.read_buffer.eq(exponents.read_buffer),
            store.read_place.eq(exponents.read_place),
            exponents.halves.eq(store.halves),
            exponents.drained.eq(self.drained),
            self.taken.eq(exponents.taken),
        ]
        return m


def _rows(config: CoreConfig, rng: random.Random) -> list[dict]:
    """Pairs of queries: blocks with the scores [key][query] and what is valid of them; alone or together."""
    rows = []
    for index in range(40):
        size = rng.choice([1, 2, 20, rng.randint(1, 20)])
        numbers = sorted(rng.sample(range(20), size))
        blocks = []
        for place, number in enumerate(numbers):
            single = place == size - 1 and rng.random() < 0.4
            near = rng.randint(config.score.low // 2, config.score.high // 2)
            scores = [[near + rng.randint(-900, 900) for _ in range(2)] for _ in range(2)]
            valid = [[rng.random() < 0.8 for _ in range(2)] for _ in range(2)]
            if single:
                valid[1] = [False, False]
            blocks.append({"number": number, "scores": scores, "valid": valid, "single": single})
        rows.append({"blocks": blocks, "pair": rng.random() < 0.4, "end_head": index % 4 == 3})
    return rows


def _steps(row: dict) -> list[dict]:
    """Fields of `Scores`."""
    steps = []
    for place, block in enumerate(row["blocks"]):
        bits = [sum(bit << q for q, bit in enumerate(valid)) for valid in block["valid"]]
        tag = {"block": block["number"], "single": block["single"], "end_head": row["end_head"]}
        end = place == len(row["blocks"]) - 1
        if row["pair"]:
            tag |= {"first": place == 0, "last": end, "valid": bits[0] | bits[1] << 2}
            steps.append({"scores": block["scores"], "pair": 1, "tag": tag})
            continue
        for key in range(1 if block["single"] else 2):
            own = tag | {"first": place == 0 and key == 0, "second": key, "valid": bits[key]}
            own["last"] = end and (key == 1 or block["single"])
            steps.append({"scores": [block["scores"][key]] * 2, "pair": 0, "tag": own})
    return steps


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_scores_become_weights_and_sums(stall: float) -> None:
    """Two pairs of queries at once, alone or block by block; a key a cycle once a pair has begun."""
    config, rng = _config(), random.Random(4)
    dut, rows, got, sums = Way(config), _rows(config, rng), [], []
    jobs = [(rng.randrange(1 << 15, 1 << 16), rng.choice([12, 16, 20])) for _ in range(len(rows) // 4)]
    free = [ScorePass.BUFFERS]

    async def give(ctx) -> None:
        for row in rows:
            while not free[0]:
                await ctx.tick()
            free[0] -= 1
            for step in _steps(row):
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(dut.i.p, step)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)

    async def freed(ctx) -> None:
        while len(sums) < len(rows):
            _, _, taken = await ctx.tick().sample(dut.taken)
            free[0] += taken

    heads = give_heads(dut.head, ({"score_mult": mult, "score_shift": shift} for mult, shift in jobs))

    async def take(ctx) -> None:
        cycle = 0
        while len(sums) < len(rows):
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, there, word, end, totals = await ctx.tick().sample(
                dut.o.valid, dut.o.p, dut.totals.valid, dut.totals.p
            )
            if there and ready:
                fields = (word.weights[0], word.weights[1], word.key, word.fetch, word.last, word.end_head)
                got.append((cycle, fields))
                ctx.set(dut.drained, word.last)
            else:
                ctx.set(dut.drained, 0)
            if end:
                sums.append((totals.totals[0], totals.totals[1], totals.end_head))
            cycle += 1
            assert cycle < 20_000

    simulate(dut, give, freed, heads, take)
    want, totals, ends = [], [], []
    for index, row in enumerate(rows):
        keys = [(2 * b["number"] + k, b["scores"][k], b["valid"][k]) for b in row["blocks"] for k in range(2)]
        keys = keys[:-1] if row["blocks"][-1]["single"] else keys
        scores, valid = np.array([s for _, s, _ in keys]).T, np.array([v for _, _, v in keys]).T
        greatest = [
            max((s for s, v in zip(*pair, strict=True) if v), default=0) for pair in zip(scores, valid, strict=True)
        ]
        weights, total = softmax_weights(scores, greatest, valid, *jobs[index // 4])
        for place, (key, _, there) in enumerate(keys):
            last = place == len(keys) - 1
            want.append((*map(int, weights[:, place]), key, any(there), last, last and row["end_head"]))
        totals.append((int(total[0]), int(total[1]), row["end_head"]))
        ends.append(len(want))
    assert [fields for _, fields in got] == want[: len(got)]
    assert len(got) >= len(want) - dut.exponents.DEPTH
    assert sums == totals
    if not stall:
        for start, end in pairwise(ends):
            if end <= len(got):
                assert got[end - 1][0] - got[start][0] == end - start - 1, "less than a key a cycle within a pair"


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_sums_become_context(stall: float) -> None:
    """Both rows of a pair, or the only one; saturated; a word a cycle."""
    config, rng = _config(), random.Random(6)
    dut, got = Drain(config), []
    lengths = [1, 2, 5, 8, 3]
    low, high = config.context.low, config.context.high
    pairs = [(index, row) for index, length in enumerate(lengths) for row in range(0, length, 2)]
    sums = [[[rng.choice([low, high, rng.randint(low, high)]) for _ in range(8)] for _ in range(2)] for _ in pairs]
    factors = [[(rng.randrange(1 << 17), rng.choice([0, 20, 30, 35])) for _ in range(2)] for _ in pairs]
    count = sum(lengths) * 2

    async def elements(ctx) -> None:
        """The sums as `Elements` has them: they move with `shift`."""
        for pair in sums:
            chain = [*pair[0], *pair[1]]
            ctx.set(dut.front, chain[:4])
            ctx.set(dut.full, 1)
            await ctx.tick()
            ctx.set(dut.full, 0)
            over = False
            while not over:
                _, _, shift, over = await ctx.tick().sample(dut.shift, dut.drained)
                if shift:
                    chain = chain[4:] + [0] * 4
                    ctx.set(dut.front, chain[:4])

    async def give(ctx) -> None:
        for pair in factors:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.factors.p, [{"mult": mult, "shift": shift} for mult, shift in pair])
            ctx.set(dut.factors.valid, 1)
            await ctx.tick().until(dut.factors.ready)
            ctx.set(dut.factors.valid, 0)

    heads = give_heads(dut.head, ({"length": length} for length in lengths))

    async def take(ctx) -> None:
        cycle = 0
        while len(got) < count:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.p)
            if valid and ready:
                got.append((cycle, [word.codes[k] for k in range(4)], word.last, word.end_head))
            cycle += 1
            assert cycle < 5000

    simulate(dut, elements, give, heads, take)
    want = []
    for (index, row), pair, scale in zip(pairs, sums, factors, strict=True):
        for q in range(min(2, lengths[index] - row)):
            codes = sat(requant(pair[q], 0, *scale[q]), 8).tolist()
            want += [(codes[:4], 0, 0), (codes[4:], 1, row + q == lengths[index] - 1)]
    assert [word[1:] for word in got] == want
    if not stall:
        cycles = [word[0] for word in got]
        for pair in range(len(lengths)):
            start = 2 * sum(lengths[:pair])
            some = cycles[start : start + min(4, 2 * lengths[pair])]
            assert some == list(range(some[0], some[0] + len(some))), "less than a word a cycle"
