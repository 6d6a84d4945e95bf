"""Parts of nibble rates 2 and 4, each against its plain definition."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from celosia.hw.array.nibbles import NibbleElement
from celosia.hw.array.payloads import partial_bits
from celosia.hw.config import Config, override
from celosia.hw.hdp.filler import Filler, SharedRead, Writer
from celosia.hw.hdp.store import StoreShape, nibble_bits
from celosia.hw.presets import PRESETS
from celosia.sim.units import simulate
from celosia.sw.golden.hdp import split


def config(rate: int, *settings: str) -> Config:
    sizes = ["hdp.lists=8", "hdp.keys=32", "hdp.head_width=24", f"hdp.rate={rate}"]
    return override(PRESETS["tiny"], [*sizes, *settings])


def _signed(value: int, bits: int) -> int:
    return (value & (1 << bits) - 1) - (value >> bits - 1 & 1) * (1 << bits)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 8, 16, 128])
def test_sums_of_nibbles_fit_and_no_bit_is_spare(rows: int) -> None:
    products = [a * w for a in (-8, 7) for w in (-8, 7)]
    low, high, bits = 2 * rows * min(products), 2 * rows * max(products), nibble_bits(rows)
    assert -(1 << (bits - 1)) <= low
    assert high < 1 << (bits - 1)
    assert high >= 1 << (bits - 2)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("rate", [2, 4])
def test_an_element_multiplies_bytes_and_nibbles_in_turns(rate: int, stages: int) -> None:
    """Random and extreme operands, another mode in any cycle, another weight at any time."""
    settings = config(rate, f"array.stages={stages}")
    row, rows, rng = 2, settings.array.rows, random.Random(rate)
    dut, bits, low = NibbleElement(settings, row), partial_bits(settings, row + 1), nibble_bits(rows)
    wanted: list[int] = []

    def nibbles(value: int) -> list[int]:
        return [_signed(value >> 4 * slot & 15, 4) for slot in range(rate)]

    def two_sums(one: int, two: int) -> int:
        return (one & (1 << low) - 1) | two << low if rate == 4 else one

    async def load(ctx, weights: list[int] | int) -> None:
        if isinstance(weights, int):
            side = rng.choice(["row", "column"])
            ctx.set(getattr(dut, f"byte_{side}"), weights)
            ctx.set(getattr(dut, f"load_{side}"), 1)
            ctx.set(dut.slots, (1 << rate) - 1)
            await ctx.tick()
        else:
            for slot, weight in enumerate(weights):
                ctx.set(dut.byte_row, _signed((weight & 15) * 17, 8))
                ctx.set(dut.load_row, 1)
                ctx.set(dut.slots, 1 << slot)
                await ctx.tick()
        ctx.set(dut.load_row, 0)
        ctx.set(dut.load_column, 0)
        ctx.set(dut.swap, 1)
        await ctx.tick()
        ctx.set(dut.swap, 0)

    async def process(ctx) -> None:
        for turn in range(150):
            by_nibble = turn % 2
            extreme = rng.random() < 0.5
            weights = [rng.choice([-8, 7] if extreme else range(-8, 8)) for _ in range(rate)]
            byte = rng.choice([-128, 127]) if extreme else rng.randint(-128, 127)
            await load(ctx, weights if by_nibble else byte)
            for _ in range(6):
                unsigned = rng.getrandbits(1)
                a = rng.choice([0, 255, 127, 128]) if extreme else rng.getrandbits(8)
                ctx.set(dut.nibbles, by_nibble)
                if by_nibble:
                    value = rng.choice([0, 0x8888, 0x7777, 0x8787]) if extreme else rng.getrandbits(16)
                    value &= (1 << 4 * rate) - 1
                    before = [rng.choice([-112 * row, 128 * row, rng.randint(-112 * row, 128 * row)]) for _ in range(2)]
                    terms = [x * w for x, w in zip(nibbles(value), weights, strict=True)]
                    after = [before[k] + sum(terms[2 * k : 2 * k + 2]) for k in range(2)]
                    ctx.set(dut.a_i, value)
                    ctx.set(dut.signed_a, 1)
                    ctx.set(dut.sum_i, _signed(two_sums(*before), partial_bits(settings, row)))
                    want = two_sums(*after)
                else:
                    ctx.set(dut.a_i, a if rate == 2 else a * 257)
                    ctx.set(dut.signed_a, not unsigned)
                    start = rng.randint(-row * 32640, row * 32385)
                    ctx.set(dut.sum_i, start)
                    want = start + (a if unsigned else _signed(a, 8)) * byte
                if stages == 1:
                    await ctx.tick()
                else:
                    # The product meets the sum of the next cycle.
                    held = ctx.get(dut.sum_i)
                    await ctx.tick()
                    ctx.set(dut.sum_i, held)
                    ctx.set(dut.nibbles, rng.getrandbits(1))
                    await ctx.tick()
                found = ctx.get(dut.sum_o) & (1 << bits) - 1
                assert found == want & (1 << bits) - 1, f"{by_nibble} {weights} {byte} {a}"
                wanted.append(want)

    simulate(dut, process)
    assert len(wanted) == 900


@pytest.mark.parametrize("rate", [2, 4])
@pytest.mark.parametrize("length", [1, 5, 16, 17, 32])
@pytest.mark.parametrize("k_tiles", [1, 2, 3, 5, 6])
def test_a_fill_puts_every_channel_in_its_slot(rate: int, length: int, k_tiles: int) -> None:
    """Filler and writer, with a word a cycle at best: what a pass streams is the keys' integer parts, and zeros."""
    settings = config(rate)
    shape, rows = StoreShape(settings), settings.array.rows
    filler, writer = Filler(settings), Writer(settings)
    rng = random.Random(length)
    half = rng.getrandbits(1) if length <= settings.hdp.keys // 2 else 0
    halves = 1 << half if length <= settings.hdp.keys // 2 else 3
    memory = np.random.default_rng(1).integers(-128, 128, (settings.scratchpad_words, rows)).astype(np.int8)
    stride, address = length + 2, 7
    store = [rng.getrandbits(shape.width) for _ in range(shape.depth)]
    before, cycles, slow = list(store), [0], rng.random() < 0.5
    m = Module()
    m.submodules.filler, m.submodules.writer = filler, writer

    async def fill(ctx) -> None:
        job = {"b_address": address, "b_stride": stride, "k_tiles": k_tiles, "length": length, "halves": halves}
        ctx.set(filler.jobs.payload, job | {"paired": shape.paired(k_tiles)})
        ctx.set(filler.jobs.valid, 1)
        await ctx.tick().until(filler.jobs.ready)
        ctx.set(filler.jobs.valid, 0)

    async def answer(ctx) -> None:
        while not ctx.get(writer.last):
            ctx.set(filler.o.ready, not slow or rng.getrandbits(1))
            taken = ctx.get(filler.o.valid) and ctx.get(filler.o.ready)
            ctx.set(writer.i.valid, taken)
            if taken:
                place = ctx.get(filler.o.payload.place)
                word = int.from_bytes(memory[ctx.get(filler.o.payload.address)].tobytes(), "little")
                ctx.set(writer.i.payload.word, word)
                ctx.set(writer.i.payload.place, place)
            await ctx.tick()
            cycles[0] += 1
            enable = ctx.get(writer.en)
            for slot in range(rate):
                if enable >> slot & 1:
                    mask = (1 << shape.slot_bits) - 1 << slot * shape.slot_bits
                    store[ctx.get(writer.address)] &= ~mask
                    store[ctx.get(writer.address)] |= ctx.get(writer.data) & mask

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(fill)
    simulator.add_testbench(answer)
    simulator.run()
    whole = np.concatenate([split(memory[address + t * stride :][:length])[0] for t in range(k_tiles)], axis=1)
    paired = rate == 4 and k_tiles <= 2
    used, base = -(-length // 2) if paired else length, half * shape.half
    for number in range(-(-k_tiles // rate)):
        for word in range(used):
            bits = store[base + number * used + word]
            found = [_signed(bits >> 4 * index & 15, 4) for index in range(rate * rows)]
            if paired:
                keys = [whole[2 * word], whole[2 * word + 1] if 2 * word + 1 < length else whole[0] * 0]
                want = np.concatenate([np.pad(key, (0, 2 * rows - len(key))) for key in keys])
            else:
                part = whole[word, number * rate * rows :][: rate * rows]
                want = np.pad(part, (0, rate * rows - len(part)))
            assert found == want.tolist()
    touched = range(base, base + -(-k_tiles // rate) * used)
    assert [store[k] for k in range(shape.depth) if k not in touched] == [
        before[k] for k in range(shape.depth) if k not in touched
    ]
    assert touched.stop <= (shape.half * (2 if halves == 3 else half + 1))
    if not slow:
        assert cycles[0] <= length * k_tiles + 4


def test_a_shared_port_serves_rows_first_and_loses_nothing() -> None:
    """Rows and keys at random against a port that stalls: each gets its own words in order, and an offer stays."""
    settings = config(4)
    dut, rng = SharedRead(settings), random.Random(5)
    rows, keys = list(range(200)), list(range(300, 500))
    asked: list[int] = []
    got_rows: list[int] = []
    got_keys: list[tuple[int, int]] = []

    async def process(ctx) -> None:
        left, wanted, owed, offered = list(rows), list(keys), [], None
        for cycle in range(6000):
            if not ctx.get(dut.rows.valid) and left and rng.random() < 0.4:
                ctx.set(dut.rows.payload, left[0])
                ctx.set(dut.rows.valid, 1)
            if not ctx.get(dut.wanted.valid) and wanted and rng.random() < 0.7:
                ctx.set(dut.wanted.payload, {"address": wanted[0], "place": {"word": wanted[0] % 64}})
                ctx.set(dut.wanted.valid, 1)
            ctx.set(dut.port.address.ready, len(owed) < 5 and rng.random() < 0.6)
            there = bool(owed) and owed[0][1] <= cycle and rng.random() < 0.8
            ctx.set(dut.port.data.valid, there)
            if there:
                ctx.set(dut.port.data.payload, owed[0][0])
            ctx.set(dut.words.ready, rng.random() < 0.6)
            if ctx.get(dut.port.address.valid):
                address = ctx.get(dut.port.address.payload)
                assert offered in (None, address), "an offer changed"
                offered = None if ctx.get(dut.port.address.ready) else address
                if ctx.get(dut.port.address.ready):
                    asked.append(address)
                    owed.append((address, cycle + rng.randint(1, 4)))
            for port, values in ((dut.rows, left), (dut.wanted, wanted)):
                if ctx.get(port.valid) and ctx.get(port.ready):
                    values.pop(0)
            pops = there and ctx.get(dut.port.data.ready)
            if ctx.get(dut.words.valid) and ctx.get(dut.words.ready):
                got_rows.append(ctx.get(dut.words.payload))
            if ctx.get(dut.arrived.valid):
                assert pops
                got_keys.append((ctx.get(dut.arrived.payload.word), ctx.get(dut.arrived.payload.place.word)))
            taken = [port.valid for port in (dut.rows, dut.wanted) if ctx.get(port.valid) and ctx.get(port.ready)]
            await ctx.tick()
            for valid in taken:
                ctx.set(valid, 0)
            if pops:
                owed.pop(0)

    simulate(dut, process)
    assert got_rows == rows
    assert got_keys == [(key, key % 64) for key in keys]
    assert sorted(asked) == rows + keys
