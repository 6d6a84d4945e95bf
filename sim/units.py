"""Single units in Amaranth's own simulator: for what takes a few hundred cycles, and needs no build."""

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from amaranth.hdl import Elaboratable, Module
from amaranth.sim import Simulator

Process = Callable[[Any], Awaitable[None]]


def simulate(component: Elaboratable, *processes: Process) -> None:
    """Run processes beside a component, in its clock, until all of them have returned."""
    m = Module()
    m.submodules.dut = component
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    for process in processes:
        simulator.add_testbench(process)
    simulator.run()


def source(stream: Any, values: Iterable[Any], stall: float, rng: random.Random) -> Process:
    """A process that sends `values`; in a share `stall` of the cycles it pauses."""

    async def process(ctx: Any) -> None:
        for value in values:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(stream.payload, value)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)

    return process


def sink(stream: Any, got: list[Any], count: int, stall: float, rng: random.Random, most: int) -> Process:
    """A process that takes `count` payloads in fewer than `most` cycles, notes (cycle, payload), and pauses as well."""

    async def process(ctx: Any) -> None:
        cycle = 0
        while len(got) < count:
            ready = rng.random() >= stall
            ctx.set(stream.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
            if valid and ready:
                got.append((cycle, payload))
            cycle += 1
            assert cycle < most

    return process


def give_heads(head: Any, jobs: Iterable[dict[str, int]]) -> Process:
    """A process that gives jobs to a part of the co-processor's core, each until it is over."""

    async def process(ctx: Any) -> None:
        for job in jobs:
            ctx.set(head.job, job)
            ctx.set(head.available, 1)
            await ctx.tick().until(head.over)
        ctx.set(head.available, 0)

    return process
