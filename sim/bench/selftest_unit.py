"""Tests of the models around a unit, on a unit that copies memory."""

import cocotb
import numpy as np

from celosia.hw import isa
from celosia.hw.interfaces import Status
from celosia.hw.presets import PRESETS
from celosia.sim.bench import harness
from celosia.sim.bench.ports import ReadPortModel, UnitDriver, WritePortModel, instruction

WORDS, WIDTH = 64, 4


def _bench(dut, stall: float, latency: int | tuple[int, int]):
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    source = rng.integers(0, 256, (WORDS, WIDTH), dtype=np.uint8)
    target = np.zeros_like(source)
    unit = UnitDriver(dut, stall=stall)
    reads = ReadPortModel(dut, "source", source, latency=latency, stall=stall)
    writes = WritePortModel(dut, "target", target, granules=WIDTH, address_bits=6, stall=stall)
    return unit, source, target, reads, writes


@cocotb.test()
async def copies_with_stalls(dut) -> None:
    """Whatever the latencies and stalls, memory arrives as it is, and every instruction is reported once, in order."""
    unit, source, target, reads, writes = _bench(dut, 0.3, (1, 9))
    await harness.start(dut)
    unit.issue(*(instruction(isa.Opcode.LOAD, signal=mask, words=WORDS) for mask in (1, 2, 4)))
    assert await unit.finished(3) == [1, 2, 4]
    assert reads.addresses == [*range(WORDS)] * 3
    assert [address for address, _ in writes.writes] == [*range(WORDS)] * 3
    np.testing.assert_array_equal(target, source)


@cocotb.test()
async def copies_at_full_rate(dut) -> None:
    """Without stalls, one word a cycle at any latency, and no bubble between instructions."""
    for_latency = cocotb.RANDOM_SEED % 5 + 1
    unit, source, target, _, writes = _bench(dut, 0.0, for_latency)
    await harness.start(dut)
    unit.issue(*(instruction(isa.Opcode.LOAD, words=WORDS) for _ in range(4)))
    await unit.finished(4)
    assert writes.times[-1] - writes.times[0] == 4 * WORDS - 1
    np.testing.assert_array_equal(target, source)
    assert unit.statuses[Status.BUSY] >= 4 * WORDS


@cocotb.test()
async def reports_a_fault(dut) -> None:
    """An illegal instruction ends in a fault with its code and address."""
    unit, *_ = _bench(dut, 0.0, 1)
    await harness.start(dut)
    unit.issue(instruction(isa.Opcode.STORE, words=WORDS))
    assert await unit.fault() == (isa.Trap.ILLEGAL_INSTRUCTION, 0x40)


@cocotb.test()
async def receives_parameters(dut) -> None:
    """What `run_bench` is given arrives as it is, configurations included."""
    assert harness.parameters() == {"config": PRESETS["edge"], "list": [1, {"config": 2}], "text": "x", "none": None}
