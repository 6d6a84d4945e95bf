"""Words to beats and back: order, stalls and rate."""

import random

import pytest
from amaranth.sim import Simulator

from celosia.hw.dma.resize import Resize


def run(i_bits: int, o_bits: int, values: list[int], *, stall: float) -> tuple[list[int], int]:
    """What comes out, and the cycles from the first value in to the last out."""
    dut, rng, out, cycles = Resize(i_bits, o_bits), random.Random(1), [], 0

    async def feed(ctx):
        for value in values:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.payload, value)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def drain(ctx):
        nonlocal cycles
        while len(out) < len(values) * i_bits // o_bits:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, value = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            cycles += 1
            if valid and ready:
                out.append(value)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(drain)
    simulator.run()
    return out, cycles


@pytest.mark.parametrize(("i_bits", "o_bits"), [(8, 16), (8, 64), (16, 8), (64, 8)])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_order_and_rate(i_bits, o_bits, stall):
    rng = random.Random(2)
    values = [rng.randrange(1 << i_bits) for _ in range(64)]
    out, cycles = run(i_bits, o_bits, values, stall=stall)
    text = b"".join(value.to_bytes(i_bits // 8, "little") for value in values)
    size = o_bits // 8
    assert out == [int.from_bytes(text[at : at + size], "little") for at in range(0, len(text), size)]
    if not stall:
        assert cycles == 64 * max(1, i_bits // o_bits)


def test_gathers_while_the_output_stalls():
    dut, taken = Resize(8, 32), []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for _ in range(6):
            taken.append(ctx.get(dut.i.ready))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert taken == [1, 1, 1, 0, 0, 0]
