"""The arithmetic parts of POST, each against plain integers."""

import math
import random

import pytest

from celosia.hw.config import override
from celosia.hw.post.rows import Moments
from celosia.hw.post.serial import Divider, Normaliser, Root
from celosia.hw.post.shift import STAGES, RoundShift
from celosia.hw.post.statistics import AdderTree
from celosia.hw.post.walker import AddressLoop, RowMask
from celosia.hw.presets import PRESETS
from celosia.sim.units import simulate


def _round_shift(x: int, s: int) -> int:
    return (x + (1 << (s - 1)) >> s) if s else x


def _clip(x: int, bits: int) -> int:
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, x))


def _near(rng: random.Random, width: int, bits: int, shift: int) -> int:
    """A number of `width` bits, often near what saturates or rounds."""
    edge = (rng.choice([-1, 1]) << (bits - 1)) * (1 << shift) + rng.randint(-2, 2) + (1 << shift) // 2
    return _clip(rng.choice([edge, rng.getrandbits(width) >> rng.randrange(width), -rng.getrandbits(width - 1)]), width)


@pytest.mark.parametrize(("width", "bits"), [(50, 16), (33, 16), (47, 25), (20, 16)])
def test_round_shift(width: int, bits: int) -> None:
    rng = random.Random(width)
    cases = []
    for shift in [*range(64)] * 6:
        cases.append((_near(rng, width, rng.choice([8, bits]), shift), shift, rng.randint(0, 1)))
    dut = RoundShift(width, bits)

    async def process(ctx) -> None:
        ctx.set(dut.advance, (1 << STAGES) - 1)
        for k, (value, shift, _) in enumerate(cases):
            ctx.set(dut.i, value)
            ctx.set(dut.shift, shift)
            ctx.set(dut.narrow, cases[k - STAGES + 1][2])
            await ctx.tick()
            if k >= STAGES - 1:
                x, s, narrow = cases[k - STAGES + 1]
                assert ctx.get(dut.o) == _clip(_round_shift(x, s), 8 if narrow else bits), (x, s, narrow)

    simulate(dut, process)


async def _work(ctx, dut, value: int) -> tuple[int, int]:
    """Result of an engine, and the cycles that it took."""
    ctx.set(dut.i.p.value, value)
    ctx.set(dut.i.valid, 1)
    await ctx.tick().until(dut.i.ready)
    ctx.set(dut.i.valid, 0)
    cycles = 0
    while not ctx.get(dut.o.valid):
        await ctx.tick()
        cycles += 1
    result = ctx.get(dut.o.p.value)
    ctx.set(dut.o.ready, 1)
    return result, cycles


def test_root() -> None:
    rng = random.Random(1)
    dut = Root(4)
    values = [0, 1, 2, 3, 4, (1 << 36) - 1, 1 << 34, (1 << 34) - 1]
    values += [rng.getrandbits(36) for _ in range(40)]
    values += [rng.getrandbits(18) ** 2 - rng.randint(0, 1) for _ in range(40)]

    async def process(ctx) -> None:
        for value in values:
            root, cycles = await _work(ctx, dut, max(value, 0))
            assert root == math.isqrt(max(value, 0)), value
            assert cycles == 9

    simulate(dut, process)


def test_divider() -> None:
    rng = random.Random(2)
    dut = Divider(4)
    cases = [(1 << 15, (1 << 24) - 1), ((1 << 16) - 1, 1 << 23), (1 << 15, 1 << 23), ((1 << 16) - 1, (1 << 24) - 1)]
    cases += [(rng.randrange(1 << 15, 1 << 16), rng.randrange(1 << 23, 1 << 24)) for _ in range(80)]

    async def process(ctx) -> None:
        for mant, value in cases:
            ctx.set(dut.mant, mant)
            quotient, cycles = await _work(ctx, dut, value)
            assert quotient == (mant << 24) // value, (mant, value)
            assert cycles == 9

    simulate(dut, process)


@pytest.mark.parametrize("even", [0, 1])
def test_normaliser(even: int) -> None:
    rng = random.Random(3)
    bits = 56
    dut = Normaliser(4, bits)

    async def process(ctx) -> None:
        ctx.set(dut.even, even)
        for value in [0, *(1 << k for k in range(bits)), *(rng.getrandbits(rng.randint(1, bits)) for _ in range(60))]:
            result, _ = await _work(ctx, dut, value)
            shift = ctx.get(dut.o.p.shift)
            assert ctx.get(dut.o.p.zero) == (value == 0)
            if value:
                expected = bits - value.bit_length()
                assert shift == (expected & ~1 if even else expected)
                assert result == value << shift

    simulate(dut, process)


@pytest.mark.parametrize("inputs", [1, 2, 8])
def test_adder_tree(inputs: int) -> None:
    rng = random.Random(inputs)
    dut = AdderTree(inputs, 16)
    extremes = -(1 << 15), (1 << 15) - 1
    rows = [[rng.choice([*extremes, rng.randint(*extremes)]) for _ in range(inputs)] for _ in range(40)]

    async def process(ctx) -> None:
        ctx.set(dut.advance, (1 << dut.stages) - 1)
        for k, row in enumerate(rows):
            for lane, x in enumerate(row):
                ctx.set(dut.i[lane], x)
            await ctx.tick()
            if k >= dut.stages - 1:
                assert ctx.get(dut.o) == sum(rows[k - dut.stages + 1])

    simulate(dut, process)


def test_row_mask() -> None:
    """Lanes below the limit, and no others, are c < length and c <= row + diagonal."""
    rng = random.Random(4)
    lanes, dut = 4, RowMask(4)

    async def process(ctx) -> None:
        for _ in range(60):
            groups, rows = rng.randint(1, 6), rng.randint(1, 6)
            length, causal = rng.choice([rng.randint(0, 30), 65535]), rng.randint(0, 1)
            diagonal = rng.choice([rng.randint(-10, 30), -65536, 65535])
            for name, value in (("start", 1), ("length", length), ("diagonal", diagonal), ("causal", causal)):
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for group in range(groups):
                for row in range(rows):
                    channels = range(group * lanes, group * lanes + lanes)
                    valid = [c < length and (not causal or c <= row + diagonal) for c in channels]
                    assert [k < ctx.get(dut.limit) for k in range(lanes)] == valid
                    ctx.set(dut.next_row, 1)
                    ctx.set(dut.next_group, row == rows - 1)
                    await ctx.tick()
                    ctx.set(dut.next_row, 0)
                    ctx.set(dut.next_group, 0)

    simulate(dut, process)


def test_address_loop() -> None:
    """Rows by `step`, blocks by `stride` when `move`, one bit above the address space."""
    dut = AddressLoop(8)

    async def process(ctx) -> None:
        for name, value in (("start", 1), ("base", 250), ("stride", 100), ("step", 2)):
            ctx.set(getattr(dut, name), value)
        await ctx.tick()
        ctx.set(dut.start, 0)
        seen = []
        for group in range(3):
            for row in range(2):
                seen.append(ctx.get(dut.address))
                ctx.set(dut.next_row, 1)
                ctx.set(dut.next_group, row)
                ctx.set(dut.move, group == 1)
                await ctx.tick()
        assert seen == [250, 252, 250, 252, 350, 352]

    simulate(dut, process)


def test_moments_share_the_port_of_the_sums() -> None:
    """Sums of EXP are walked while others are visited, and wait to be taken: each row's own comes out, in order."""
    rng, stats = random.Random(6), 16
    sums = [rng.randint(-1000, 1000) for _ in range(stats)]
    config = override(PRESETS["transformer-hdp"], ["hdp.rate=2"])
    dut = Moments(config)
    taken: list[tuple[int, int]] = []

    async def process(ctx) -> None:
        ctx.set(dut.job.softmax, 1)
        ctx.set(dut.job.stat, 2)
        ctx.set(dut.job.m, 12)
        ctx.set(dut.start, 1)
        word = 0
        for _ in range(200):
            # The memory gives what was asked for a cycle ago, by a visit before anybody else, and keeps it.
            visit, other = rng.random() < 0.6, rng.randrange(stats)
            ctx.set(dut.visit, visit)
            ctx.set(dut.total, word)
            ctx.set(dut.o.ready, rng.random() < 0.3)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                value = ctx.get(dut.o.p.value)
                taken.append((ctx.get(dut.o.p.stat), value))
            if visit:
                word = sums[other]
            elif ctx.get(dut.read_en):
                word = sums[ctx.get(dut.read_stat)]
            await ctx.tick()
            ctx.set(dut.start, 0)

    simulate(dut, process)
    assert taken == [(row, sums[row] % (1 << dut.bits)) for row in range(2, 14)]
