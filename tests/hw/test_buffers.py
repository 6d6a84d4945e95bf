"""Queues, loops and comparisons, each against the plain definition."""

import itertools
import random

import pytest
from amaranth.hdl import Const, Module, Signal, signed
from amaranth.lib import data
from amaranth.sim import Simulator

from celosia.hw.array.asker import Asker
from celosia.hw.common.buffers import PairBuffer, Queue, SkidBuffer, exceeds
from celosia.hw.common.loop import Loop
from celosia.hw.presets import PRESETS
from celosia.sim.units import simulate, sink, source

QUEUES = {
    "skid": (lambda: SkidBuffer(8), 1, 2),
    "pair buffer": (lambda: PairBuffer(8), 1, 2),
    "pair": (lambda: Queue(8, 2), 1, 2),
    "memory": (lambda: Queue(8, 5), 1, 5),
    "registered": (lambda: Queue(8, 3, registered=True), 2, 5),
}


@pytest.mark.parametrize("name", QUEUES)
def test_queues_keep_order_and_rate(name: str) -> None:
    build, latency, _ = QUEUES[name]
    values = [(7 * k + 3) & 255 for k in range(120)]
    for stall in ((0.0, 0.0), (0.0, 0.6), (0.6, 0.0), (0.4, 0.4)):
        dut, got, rng = build(), [], random.Random(str(stall))
        taker = sink(dut.o, got, len(values), stall[1], random.Random(1), 100 * len(values))
        simulate(dut, source(dut.i, values, stall[0], rng), taker)
        assert [value for _, value in got] == values
        if not any(stall):
            assert [cycle for cycle, _ in got] == list(range(latency, latency + len(values)))


@pytest.mark.parametrize("name", QUEUES)
def test_queues_hold_their_words(name: str) -> None:
    build, _, room = QUEUES[name]
    dut = build()

    async def process(ctx) -> None:
        taken = 0
        ctx.set(dut.i.valid, 1)
        for _ in range(20):
            *_, ready = await ctx.tick().sample(dut.i.ready)
            taken += ready
        assert taken == room

    simulate(dut, process)


@pytest.mark.parametrize("turns", [(1, 1, 1), (1, 3, 2), (4, 1, 3), (2, 2, 1), (3, 2, 5)])
def test_loops_within_loops(turns: tuple[int, int, int]) -> None:
    """Three loops, each stepping at the end of the one within, count as nested Python loops do; twice in a row."""
    m = Module()
    loops = [Loop(4) for _ in turns]
    step, start = Signal(), Signal()
    turn = step
    for k, (loop, count) in enumerate(zip(loops, turns, strict=True)):
        m.submodules[f"loop{k}"] = loop
        m.d.comb += [loop.start.eq(start), loop.turns.eq(count), loop.step.eq(turn)]
        turn &= loop.last

    async def process(ctx) -> None:
        for _ in range(2):
            ctx.set(start, 1)
            await ctx.tick()
            ctx.set(start, 0)
            inner, middle, outer = turns
            for o, i, k in itertools.product(range(outer), range(middle), range(inner)):
                lasts = [ctx.get(loop.last) for loop in loops]
                assert lasts == [k == inner - 1, i == middle - 1, o == outer - 1]
                await ctx.tick()  # A loop that is not stepped stands still.
                ctx.set(step, 1)
                await ctx.tick()
                ctx.set(step, 0)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_asker_pairs_addresses_and_orders(stall: float) -> None:
    """Both ends stall on their own, yet the k-th address goes with the k-th order; one a cycle when neither does."""
    dut, rng = Asker(PRESETS["tiny"], data.StructLayout({"tag": 8})), random.Random(3)
    count, taken, cycles = 60, [], []

    async def send(ctx) -> None:
        begun, coming = 0, None
        while begun < count or coming is not None:
            ctx.set(dut.i.valid, coming is not None)
            if coming is not None:
                ctx.set(dut.i.payload, {"address": coming, "order": {"tag": 255 - coming}})
            begins = begun < count and ctx.get(dut.room)
            ctx.set(dut.begun, begins)
            coming = begun if begins else None
            begun += begins
            await ctx.tick()
        ctx.set(dut.i.valid, 0)

    async def take(ctx) -> None:
        cycle = 0
        while len(taken) < count:
            ready = rng.random() >= stall, rng.random() >= stall
            ctx.set(dut.address.ready, ready[0])
            ctx.set(dut.order.ready, ready[1])
            _, _, *seen = await ctx.tick().sample(
                dut.address.valid, dut.address.payload, dut.order.valid, dut.order.payload.tag
            )
            address, order = seen[0] and ready[0], seen[2] and ready[1]
            assert address == order, "taken together"
            if address:
                taken.append((seen[1], seen[3]))
                cycles.append(cycle)
            cycle += 1
            assert cycle < 100 * count

    simulate(dut, send, take)
    assert taken == [(k, 255 - k) for k in range(count)]
    if not stall:
        assert cycles == list(range(cycles[0], cycles[0] + count))


@pytest.mark.parametrize("sign", [False, True])
def test_exceeds(sign: bool) -> None:
    shape = signed(3) if sign else 3
    values = range(-4, 4) if sign else range(8)
    left, right, out = Signal(shape), Signal(shape), Signal()
    m = Module()
    m.d.comb += out.eq(exceeds(left, right))
    bound = Signal()
    m.d.comb += bound.eq(exceeds(left, Const(2, 3)))

    async def process(ctx) -> None:
        for a, b in itertools.product(values, values):
            ctx.set(left, a)
            ctx.set(right, b)
            await ctx.delay(1e-9)
            assert ctx.get(out) == (a > b)
            assert ctx.get(bound) == (a > 2)

    simulator = Simulator(m)
    simulator.add_testbench(process)
    simulator.run()
