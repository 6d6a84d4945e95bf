"""Parts of the core of the HDP co-processor, each against its plain definition."""

import itertools
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from celosia.hw.config import ConfigError
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.decide import Beats, Walker
from celosia.hw.hdp.core.heads import Heads, Pairs
from celosia.hw.hdp.core.memories import ToPlanes
from celosia.hw.hdp.core.pe import TERM_BITS, Element
from celosia.hw.hdp.core.queue import SramQueue, Turns
from celosia.hw.hdp.layouts import shape_of
from celosia.hw.hdp.widths import Importance
from celosia.sim.units import give_heads, simulate, sink, source
from celosia.sw.golden.hdp import BlockShape, split, widths
from celosia.sw.golden.softmax import valid_columns

CONFIG = CoreConfig(width=8, rate=4, length=40, rows=80, bus=4, lanes=4)


def test_codes_become_planes() -> None:
    """All codes: saturated integer part, lower nibble, and whether the integer part was saturated."""
    dut, codes = ToPlanes(4), np.arange(256, dtype=np.uint8).reshape(-1, 4)

    async def process(ctx) -> None:
        for word in codes:
            ctx.set(dut.i, int.from_bytes(word.tobytes(), "little"))
            await ctx.delay(1e-9)
            planes = ctx.get(dut.o)
            for k, code in enumerate(word.view(np.int8).astype(int)):
                whole, low = planes.whole >> 4 * k & 15, planes.low >> 4 * k & 15
                clipped = planes.clipped >> k & 1
                assert whole == int(split(code)[0]) & 15
                assert 16 * ((whole ^ 8) - 8 + clipped) + (low ^ 8) - 8 == code

    simulator = Simulator(dut)
    simulator.add_testbench(process)
    simulator.run()


def _signed(nibble: int) -> int:
    return (nibble ^ 8) - 8


@pytest.mark.parametrize("rate", [1, 2, 4])
def test_element(rate: int) -> None:
    """Bytes by bytes, weights by codes, and nibbles by nibbles; the sum begins afresh, adds up, and moves on."""
    config = CoreConfig(width=8, rate=rate, length=40, rows=80, bus=4, lanes=4, reuse=rate > 1)
    dut, rng = Element(config), random.Random(rate)
    ends = [-128, -127, -120, -9, -8, -1, 0, 1, 7, 8, 119, 120, 127]

    async def set_(ctx, low: int, high: int, right: tuple[int, ...]) -> None:
        ctx.set(dut.low, low)
        ctx.set(dut.high, high)
        ctx.set(dut.right, list(right))
        await ctx.delay(1e-9)

    def whole(terms: list[int]) -> int:
        weights = {4: (1, 16, 16, 256), 2: (1, 16), 1: (1,)}[rate]
        return sum(weight * term for weight, term in zip(weights, terms, strict=True))

    async def process(ctx) -> None:
        for x, y in itertools.product(ends, ends):
            # An exact score: signed parts, the integer part one more where it was saturated.
            parts = [_signed(x & 15), (x - _signed(x & 15)) >> 4, _signed(y & 15), (y - _signed(y & 15)) >> 4]
            await set_(ctx, parts[0], parts[1], (parts[2], parts[2], parts[3], parts[3]))
            assert whole(list(ctx.get(dut.terms))) == x * y
        for slot in range(4):
            for x, y in itertools.product(range(-8, 8), (-8, -1, 0, 7)):
                right = tuple(y if k == slot else 0 for k in range(4))
                ctx.set(dut.apart, 1)
                await set_(ctx, x, x, right)
                term = {4: slot, 2: slot // 2, 1: 0}[rate]
                weight = (1, 16, 16, 256)[slot] if rate == 1 else 1
                assert ctx.get(dut.terms)[term] == x * y * weight
        ctx.set(dut.apart, 0)
        total = 0
        for index in range(200):
            weight = rng.choice([0, 1, 15, 16, 240, 255, rng.randint(0, 255)])
            code, first = rng.choice([*ends, rng.randint(-128, 127)]), index % 40 == 0
            await set_(ctx, weight & 15, weight >> 4, (code & 15, code & 15, code >> 4, code >> 4))
            ctx.set(dut.multiply, 1)
            await ctx.tick()
            ctx.set(dut.multiply, 0)
            ctx.set(dut.add, 1)
            ctx.set(dut.first, first)
            await ctx.tick()
            ctx.set(dut.add, 0)
            total = weight * code + (0 if first else total)
            assert ctx.get(dut.sum) == total
        ctx.set(dut.shift, 1)
        ctx.set(dut.above, -12345)
        await ctx.tick()
        assert ctx.get(dut.sum) == -12345

    simulate(dut, process)


@pytest.mark.parametrize(("put", "take"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.6), (0.5, 0.5)])
def test_queue_in_a_memory(put: float, take: float) -> None:
    dut, got, values = SramQueue(16, 8), [], list(range(200))
    simulate(
        dut,
        source(dut.i, values, put, random.Random(1)),
        sink(dut.o, got, len(values), take, random.Random(2), 200 + 50 * len(values)),
    )
    assert [value for _, value in got] == values
    if not put and not take:
        assert got[-1][0] - got[0][0] == len(values) - 1, "less than a word a cycle"


def test_runs_are_not_parted() -> None:
    """The lowest that has a word begins; a run is whole; between runs no cycle is lost."""
    dut, rng, got = Turns(16, 3), random.Random(5), []
    runs = [[[100 * k + n] * rng.randint(1, 5) for n in range(30)] for k in range(3)]

    def source(k: int):
        async def process(ctx) -> None:
            for run in runs[k]:
                if k < 2 and rng.random() < 0.4:
                    await ctx.tick().repeat(rng.randint(1, 9))
                for index, value in enumerate(run):
                    ctx.set(dut.i[k].payload, value)
                    ctx.set(dut.i[k].valid, 1)
                    ctx.set(dut.last[k], index == len(run) - 1)
                    await ctx.tick().until(dut.i[k].ready)
                    ctx.set(dut.i[k].valid, 0)

        return process

    async def listen(ctx) -> None:
        while len(got) < sum(map(len, itertools.chain(*runs))):
            _, _, valid, value, *waiting = await ctx.tick().sample(dut.o.valid, dut.o.p, *(i.valid for i in dut.i))
            assert valid == any(waiting)
            if valid:
                got.append(value)

    simulate(dut, *(source(k) for k in range(3)), listen)
    found = [list(run) for _, run in itertools.groupby(got)]
    assert sorted(found) == sorted(itertools.chain(*runs))
    for k in range(3):
        assert [run for run in found if run[0] // 100 == k] == runs[k]


def test_pairs_of_queries() -> None:
    dut = Pairs(CONFIG)

    async def process(ctx) -> None:
        for length, causal in itertools.product(range(1, 18), (0, 1)):
            valid = valid_columns(length, length, length, 0 if causal else None)
            ctx.set(dut.job, {"length": length, "causal": causal})
            for pair in range(-(-length // 2)):
                await ctx.delay(1e-9)
                want = [int(valid[row].sum()) if row < length else 0 for row in (2 * pair, 2 * pair + 1)]
                assert [ctx.get(dut.limits[q]) for q in range(2)] == want
                assert ctx.get(dut.keys) == max(want)
                assert (ctx.get(dut.pair), ctx.get(dut.last)) == (pair, 2 * pair + 2 >= length)
                ctx.set(dut.step, 1)
                await ctx.tick()
                ctx.set(dut.step, 0)

    simulate(dut, process)


def test_heads_are_seen_by_all_in_order() -> None:
    """Two heads at once; a place is free when the last user is done."""
    dut, rng, lengths = Heads(CONFIG, 3), random.Random(3), list(range(1, 31))
    seen: list[list[int]] = [[], [], []]

    async def give(ctx) -> None:
        for length in lengths:
            ctx.set(dut.i.p, {"length": length})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    def user(k: int):
        async def process(ctx) -> None:
            while len(seen[k]) < len(lengths):
                # The last one is never further than the others.
                go = rng.random() < 0.4 and ctx.get(dut.users[k].available)
                go = go and (k < 2 or min(len(seen[0]), len(seen[1])) > len(seen[2]))
                if go:
                    seen[k].append(ctx.get(dut.users[k].job.length))
                    assert len(seen[k]) - len(seen[2]) <= 2
                ctx.set(dut.users[k].over, bool(go))
                await ctx.tick()
            ctx.set(dut.users[k].over, 0)

        return process

    simulate(dut, give, *(user(k) for k in range(3)))
    assert seen == [lengths] * 3


def test_sums_of_two_cycles_become_beats() -> None:
    dut, rng, got = Beats(CONFIG), random.Random(7), []
    score = shape_of(CONFIG.engine.score)
    limit = 1 << score.width - 1
    sums = [[[rng.randrange(-limit, limit) for _ in range(2)] for _ in range(4)] for _ in range(60)]
    marks = [(rng.getrandbits(8), index % 6 == 5, index % 12 == 11) for index in range(len(sums))]

    async def give(ctx) -> None:
        for index, (scores, (valid, last, end_head)) in enumerate(zip(sums, marks, strict=True)):
            while index > 20 and rng.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.i.p, {"scores": scores, "tag": {"valid": valid, "last": last, "end_head": end_head}})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)

    async def listen(ctx) -> None:
        while len(got) < len(sums):
            _, _, valid, beat = await ctx.tick().sample(dut.o.valid, dut.o.p)
            if valid:
                got.append(([beat.scores[k] for k in range(8)], beat.valid, beat.last, beat.end_row, beat.end_head))

    simulate(dut, give, listen)
    want = []
    for k in range(0, len(sums), 2):
        for q in range(2):
            scores = [key[q] for key in (*sums[k], *sums[k + 1])]
            bits = [marks[k + half][0] >> 2 * key + q & 1 for half in range(2) for key in range(4)]
            valid = sum(bit << place for place, bit in enumerate(bits))
            want.append((scores, valid, q, q and marks[k + 1][1], q and marks[k + 1][2]))
    assert got == want


def _masks(rng: random.Random, length: int, causal: bool) -> list[list[int]]:
    """Masks of a head, row by row."""
    rows = []
    for top in range(0, length, 2):
        keys = min(top + 2, length) if causal else length
        kind = rng.choice([0.0, 0.1, 0.5, 1.0])
        blocks = [rng.random() < kind for _ in range(-(-keys // 2))]
        groups = [blocks[k : k + 4] for k in range(0, len(blocks), 4)]
        rows.append([sum(bit << k for k, bit in enumerate(group)) for group in groups])
    return rows


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_masks_become_kept_blocks(stall: float) -> None:
    """Kept, pruned and dense heads; a row that keeps nothing has one entry; a block a cycle at least."""
    dut, rng, got, heads = Walker(CONFIG), random.Random(11), [], []
    for _ in range(30):
        job = {"length": rng.randint(1, 40), "causal": rng.random() < 0.3, "dense": rng.random() < 0.2}
        job["headed"] = rng.random() < 0.5
        heads.append((job, _masks(rng, job["length"], job["causal"]), rng.random() < 0.6))
    want, cycles = [], 0
    for job, rows, keep in heads:
        for row, masks in enumerate(rows):
            end = min(2 * row + 2, job["length"]) if job["causal"] else job["length"]
            blocks = [k for k in range(-(-end // 2)) if job["dense"] or masks[k // 4] >> k % 4 & 1]
            blocks = blocks if keep or job["dense"] or not job["headed"] else []
            want += [(block, 0, block == blocks[-1]) for block in blocks] or [(0, 1, True)]
            cycles += sum(max(1, sum(b // 4 == g for b in blocks)) for g in range(len(masks))) + 1
    sent = [(job, rows, keep) for job, rows, keep in heads if not job["dense"]]

    async def masks(ctx) -> None:
        for _, rows, _ in sent:
            for index, row in enumerate(rows):
                for place, keep in enumerate(row):
                    while rng.random() < stall:
                        await ctx.tick()
                    end = place == len(row) - 1
                    group = {"keep": keep, "end_row": end, "end_head": end and index == len(rows) - 1}
                    ctx.set(dut.masks.p, group)
                    ctx.set(dut.masks.valid, 1)
                    await ctx.tick().until(dut.masks.ready)
                    ctx.set(dut.masks.valid, 0)

    async def verdicts(ctx) -> None:
        for _, _, keep in sent:
            ctx.set(dut.verdicts.payload, keep)
            ctx.set(dut.verdicts.valid, 1)
            await ctx.tick().until(dut.verdicts.ready)
            ctx.set(dut.verdicts.valid, 0)

    jobs = give_heads(dut.head, (job for job, _, _ in heads))
    simulate(dut, masks, verdicts, jobs, sink(dut.o, got, len(want), stall, rng, 200 + 50 * len(want)))
    assert [(entry.block, entry.none, entry.last) for _, entry in got] == want
    if not stall:
        assert got[-1][0] <= cycles + 2 * len(heads), "less than a block a cycle"


@pytest.mark.parametrize(("width", "length"), [(8, 40), (32, 128), (64, 512)])
def test_ranges(width: int, length: int) -> None:
    """Everything in a core has room for what the definition of HDP can give it."""
    config = CoreConfig(width=width, rate=4, length=length, rows=length, bus=4, lanes=4)
    for approximate in (False, True):
        found = widths(width, length, BlockShape(2, 2), Importance.MAX, approximate=approximate)
        assert config.score.low <= found["score"].low
        assert found["score"].high <= config.score.high
        assert (config.context.low, config.context.high) == (found["context"].low, found["context"].high)
        assert config.total.high == found["weight_sum"].high
    # Terms of scores: parts are -8 to 8, products of them -64 to 64, at most the greatest weight times one more.
    parts = [(whole, part) for whole in range(-8, 9) for part in range(-8, 8)]
    lows = {a * b for _, a in parts for _, b in parts} | {a * b for a, _ in parts for _, b in parts}
    assert (min(lows), max(lows)) == (-64, 64)
    for rate, most in ((4, 64), (2, 64 + 16 * 64), (1, 128 * 128)):
        assert -(1 << TERM_BITS[rate] - 1) <= -most
        assert most < 1 << TERM_BITS[rate] - 1


def test_exact_halves_stay_in_their_terms() -> None:
    """At rate 2 a term is two products of parts of real codes, at rate 1 the product of codes."""
    codes = np.arange(-128, 128)
    part = (codes & 15 ^ 8) - 8
    whole = codes - part >> 4
    for other in (part, whole):
        half = part[:, None] * other + 16 * whole[:, None] * other
        assert -(1 << TERM_BITS[2] - 1) <= half.min()
        assert half.max() < 1 << TERM_BITS[2] - 1
    assert (codes[:, None] * codes).max() < 1 << TERM_BITS[1] - 1


def test_bad_sizes() -> None:
    good = {"width": 8, "bus": 4, "lanes": 4, "length": 16, "rows": 32}
    for fields, text in (
        ({"width": 12}, "width must be a power of two, not 12"),
        ({"width": 2}, "width must be at least 4 channels, not 2"),
        ({"rate": 3}, "rate must be 1, 2 or 4 nibble products a cycle, not 3"),
        ({"bus": 16}, "bus must be at most the width of 8, not 16"),
        ({"lanes": 16}, "lanes must be at most the width of 8, not 16"),
        ({"length": 15}, "length must be a multiple of 2, at least 4, not 15"),
        ({"length": 2}, "length must be a multiple of 2, at least 4, not 2"),
        ({"rows": 12}, "rows must be a multiple of 8 and hold the longest head, at least 16, not 12"),
        ({"rows": 30}, "rows must be a multiple of 8 and hold the longest head, at least 16, not 30"),
        ({"rate": 1}, "reuse must be false at rate 1"),
        ({"softmax": "ibert"}, "softmax must be one of base2, published, not 'ibert'"),
        ({"rules": ()}, "rules must name at least one importance"),
        ({"length": 65536, "rows": 65536}, "the importance of a head would have"),
    ):
        with pytest.raises(ConfigError, match=text):
            CoreConfig(**{**good, **fields})
