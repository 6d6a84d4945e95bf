"""Instructions to segments, bursts and faults: all small transfers against the plain definition."""

import itertools

import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from celosia.hw import isa
from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.dma.planner import Planner
from celosia.sim.bench.load_store import encode, expect

CONFIG = Config(
    array=ArrayConfig(rows=128, columns=4),
    scratchpad=ScratchpadConfig(kib=1, banks=2),
    accumulator=AccumulatorConfig(kib=1, banks=2),
    bus=BusConfig(bytes=128, burst=4, address_bits=20),
    post=PostConfig(lanes=4),
)
WORD = CONFIG.word_bytes
# One across a page, one that ends with the address space, one beyond it, one empty.
WINDOWS = [(4096 - 2 * WORD, 5 * WORD), ((1 << 20) - 4 * WORD, 4 * WORD), ((1 << 20) - 2 * WORD, 8 * WORD), (0, 0)]


def outcomes(transfers):
    """Of each transfer, from reset if the one before it ended in a fault: (segments, bursts, fault)."""
    planner, reset = Planner(CONFIG, isa.Opcode.LOAD, ahead=4), Signal()
    results = []

    async def bench(ctx):
        for index, (base, size) in enumerate(WINDOWS):
            ctx.set(planner.windows.base[index], base)
            ctx.set(planner.windows.size[index], size)
        ctx.set(planner.segment.ready, 1)
        ctx.set(planner.burst.ready, 1)
        watched = (planner.segment.valid, planner.segment.payload, planner.burst.valid, planner.burst.payload)
        for transfer in transfers:
            segments, bursts = [], []
            ctx.set(planner.i.payload, encode(isa.Opcode.LOAD, transfer, signal=5))
            ctx.set(planner.i.valid, 1)
            while True:
                sample = await ctx.tick().sample(planner.i.ready, *watched, planner.fault.valid, planner.fault.payload)
                taken, *seen, fault, cause = sample[2:]
                if taken:
                    ctx.set(planner.i.valid, 0)
                if seen[0]:
                    segments.append(seen[1])
                if seen[2]:
                    bursts.append(seen[3])
                if fault or (bursts and bursts[-1].last and segments and segments[-1].last):
                    break
            results.append((segments, bursts, (cause.code, cause.address) if fault else None))
            if fault:
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)

    simulator = Simulator(ResetInserter(reset)(planner))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def check(transfers):
    """Segments, bursts and faults are those of the definition."""
    faults = set()
    for transfer, (segments, bursts, fault) in zip(transfers, outcomes(transfers), strict=True):
        wanted = expect(CONFIG, transfer, WINDOWS)
        assert fault == wanted.fault, transfer
        got = [
            (segment.address * CONFIG.bus.bytes + index * WORD, segment.place + index)
            for segment in segments
            for index in range(segment.words)
        ]
        seen = [(burst.address * CONFIG.bus.bytes, burst.length + 1) for burst in bursts]
        # What comes before a fault may still be under way when the fault is known.
        assert got == wanted.moves[: len(got) if fault else None], transfer
        assert seen == wanted.bursts[: len(seen) if fault else None], transfer
        assert {burst.mask for burst in bursts} <= {5}
        if not fault:
            assert [burst.last for burst in bursts] == [0] * (len(bursts) - 1) + [1]
            assert [segment.last for segment in segments] == [0] * (len(segments) - 1) + [1]
        faults.add(fault and fault[0])
    return faults


NAMES = ("words", "segments", "address", "sp_stride", "stride", "offset")


@pytest.mark.parametrize("window", [0, 1])
def test_all_small_transfers(window):
    space = itertools.product(
        (0, 1, 2, 5, 8, 9), (0, 1, 2, 3), (0, 6, 8), (0, 1, 2), (0, WORD, 2 * WORD), (0, WORD, 3 * WORD)
    )
    faults = check([dict(zip(NAMES, values, strict=True), window=window) for values in space])
    assert faults == {None, isa.Trap.ILLEGAL_INSTRUCTION, isa.Trap.SCRATCHPAD_RANGE, isa.Trap.MEMORY_WINDOW}


def test_windows_that_are_not_there():
    space = itertools.product(
        (1, 2), (1, 2), (0,), (1, 2), (WORD, 2 * WORD), (0, WORD, 2 * WORD, 1 << 20, (1 << 32) - WORD)
    )
    transfers = [
        dict(zip(NAMES, values, strict=True), window=window) for values in space for window in (2, 3, 4, 7, 128, 255)
    ]
    assert check(transfers) == {None, isa.Trap.MEMORY_WINDOW}


def test_alignment():
    space = itertools.product((1,), (1, 2), (0,), (1,), (0, 1, 64, WORD, WORD + 2), (0, 1, 64, WORD, WORD + 64))
    faults = check([dict(zip(NAMES, values, strict=True), window=0) for values in space])
    assert faults == {None, isa.Trap.MISALIGNED}
