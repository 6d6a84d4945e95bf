"""Bench of STORE. Parameters: `config`."""

import random

import cocotb
import numpy as np

from celosia.hw import isa
from celosia.hw.interfaces import Status
from celosia.sim.bench.axi_checks import AxiMonitor
from celosia.sim.bench.axi_memory import SparseMemory, WriteMemory
from celosia.sim.bench.harness import parameters, start
from celosia.sim.bench.load_store import (
    FAULTS,
    encode,
    expect,
    faulty,
    random_transfer,
    row,
    set_windows,
    windows_of,
)
from celosia.sim.bench.ports import ReadPortModel, UnitDriver


class Bench:
    """STORE between a scratchpad with random contents and a memory."""

    def __init__(self, dut, *, stall: float = 0.0, latency=20) -> None:
        self.dut = dut
        self.config = config = parameters()["config"]
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.windows = windows_of(config, self.rng)
        self.memory = SparseMemory(cocotb.RANDOM_SEED)
        self.before = SparseMemory(cocotb.RANDOM_SEED)
        self.monitor = AxiMonitor(
            dut,
            "axi__",
            data_bytes=config.bus.bytes,
            longest=config.bus.burst,
            outstanding=config.bus.outstanding,
            half="write",
            allowed=self._allowed,
        )
        self.slave = WriteMemory(
            dut, "axi__", self.memory, data_bytes=config.bus.bytes, latency=latency, stall=stall * self.rng.random()
        )
        self.unit = UnitDriver(dut, stall=stall)
        self.hub = self.unit.hub
        generator = np.random.default_rng(cocotb.RANDOM_SEED)
        shape = (config.scratchpad_words, config.word_bytes)
        self.scratchpad = generator.integers(0, 256, shape, dtype=np.uint8)
        self.port = ReadPortModel(dut, "read", self.scratchpad, stall=stall)

    def _allowed(self, address: int, size: int) -> bool:
        return any(base <= address and address + size <= base + length for base, length in self.windows)

    async def begin(self) -> None:
        """Reset."""
        await start(self.dut)
        set_windows(self.dut, self.windows)
        await self.hub.cycles(2)

    def check_memory(self, moves: list[tuple[int, int]]) -> None:
        """Apply moves to a copy of the memory; nothing else may have changed."""
        for address, place in moves:
            self.before.write(address, self.scratchpad[place].tobytes())
        for page in self.memory.pages:
            assert self.memory.read(page * 4096, 4096) == self.before.read(page * 4096, 4096), f"page {page:#x}"

    async def run(self, transfers: list[dict[str, int]]) -> None:
        """Send transfers, wait for them and check everything about them."""
        results = [expect(self.config, transfer, self.windows) for transfer in transfers]
        masks = [self.rng.randrange(16) for _ in transfers]
        self.unit.issue(*(encode(isa.Opcode.STORE, t, signal=m) for t, m in zip(transfers, masks, strict=True)))
        await self.unit.finished(len(transfers))
        assert [mask for _, mask in self.unit.done] == masks
        self.check_memory([move for result in results for move in result.moves])
        bursts = [burst for result in results for burst in result.bursts]
        assert [(burst.address, burst.beats) for burst in self.monitor.writes] == bursts
        ends = [sum(len(result.bursts) for result in results[: index + 1]) for index in range(len(results))]
        # An instruction is done in the cycle after its last acknowledgement.
        assert [cycle for cycle, _ in self.unit.done] == [self.slave.answered[end - 1] + 1 for end in ends]
        await self.hub.cycles(2)
        self.monitor.check_quiet()
        assert int(self.dut.idle.value) == 1
        assert int(self.dut.control__busy.value) == 0
        assert int(self.dut.control__status.value) == Status.IDLE.value
        assert not self.unit.faults


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.3, 0.7])
async def random_transfers(dut, stall):
    bench = Bench(dut, stall=stall, latency=(1, 60))
    await bench.begin()
    await bench.run([random_transfer(bench.config, bench.windows, bench.rng) for _ in range(60)])


async def _ratio(bench: Bench, transfers: list[dict[str, int]]) -> float:
    """Cycles over the least that bus and scratchpad port need, without what starting costs once."""
    await bench.begin()
    await bench.run(transfers)
    least = max(len(bench.port.addresses), bench.monitor.beats_out)
    return (bench.slave.times[-1] - bench.unit.issued[0] - 12) / least


@cocotb.test()
async def throughput_segments(dut):
    """Short segments, long instructions: as many beats in flight as the latency needs."""
    bench = Bench(dut, latency=20)
    # The slot of a burst is free again a few cycles after its acknowledgement.
    beats = max(4, -(-26 // bench.config.bus.outstanding) + 1, bench.config.beat_bytes // bench.config.bus.bytes)
    beats = 1 << (beats - 1).bit_length()
    ratio = await _ratio(bench, row(bench.config, segments=40, beats=beats, stride=beats * 2, count=6))
    assert ratio < 1.02, ratio


@cocotb.test()
async def throughput_instructions(dut):
    """One segment each: instructions follow one another without a gap."""
    bench = Bench(dut, latency=10)
    ratio = await _ratio(bench, row(bench.config, segments=1, beats=32, stride=0, count=40))
    assert ratio < 1.02, ratio


@cocotb.test()
async def throughput_long_bursts(dut):
    """Segments that touch travel as long bursts."""
    bench = Bench(dut, latency=20)
    ratio = await _ratio(bench, row(bench.config, segments=64, beats=8, stride=8, count=8))
    assert ratio < 1.02, ratio
    assert max(burst.beats for burst in bench.monitor.writes) == bench.config.bus.burst


@cocotb.test()
async def latency(dut):
    """Six cycles from an instruction to its request."""
    bench = Bench(dut, latency=1)
    await bench.begin()
    await bench.run(row(bench.config, segments=1, beats=32, stride=0, count=1))
    assert bench.monitor.writes[0].cycle - bench.unit.issued[0] == 6


@cocotb.test()
async def status_and_beats(dut):
    """Every cycle of an instruction has its name; beats are counted."""
    bench = Bench(dut, latency=20)
    await bench.begin()
    beats = 0

    class Watch:
        def step(self):
            nonlocal beats
            beats += int(dut.beat.value)

    bench.hub.agents.append(Watch())
    counts = bench.unit.statuses
    transfer = encode(isa.Opcode.STORE, row(bench.config, segments=1, beats=32, stride=0, count=1)[0])
    bench.slave.blocked = True
    bench.unit.issue(transfer)
    await bench.hub.cycles(100)
    assert counts[Status.STALL_OUT] >= 80
    assert counts[Status.BUSY] <= 1
    bench.slave.blocked = False
    before = counts[Status.STALL_OUT]
    await bench.unit.finished(1)
    assert counts[Status.STALL_OUT] - before >= 18, "waiting for the acknowledgement"
    assert beats == bench.monitor.beats_out == 32
    assert counts[Status.BUSY] == 32
    bench.port.room = 0  # the scratchpad gives nothing
    bench.unit.issue(transfer)
    before = counts[Status.STALL_IN]
    await bench.hub.cycles(100)
    assert counts[Status.STALL_IN] - before >= 80


@cocotb.test()
@cocotb.parametrize(kind=list(FAULTS))
async def faults(dut, kind):
    """A bad instruction ends in a fault with its cause and address; nothing of the bad segment, nor anything after,
    leaves.
    """
    bench = Bench(dut, stall=0.2, latency=(1, 10))
    await bench.begin()
    good = [random_transfer(bench.config, bench.windows, bench.rng) for _ in range(3)]
    await bench.run(good)
    bad = faulty(bench.config, bench.windows, kind)
    expected = expect(bench.config, bad, bench.windows)
    assert expected.fault is not None
    before = len(bench.monitor.writes)
    bench.unit.issue(*(encode(isa.Opcode.STORE, transfer) for transfer in [bad, *good]))
    await bench.hub.cycles(300)
    assert bench.unit.faults == [expected.fault]
    seen = [(burst.address, burst.beats) for burst in bench.monitor.writes[before:]]
    assert seen == expected.bursts[: len(seen)]
    assert len(bench.unit.done) == len(good)
    assert int(dut.idle.value) == 1
    bench.monitor.check_quiet()


@cocotb.test()
async def wrong_opcode(dut):
    bench = Bench(dut)
    await bench.begin()
    bench.unit.issue(encode(isa.Opcode.LOAD, random_transfer(bench.config, bench.windows, bench.rng)))
    await bench.hub.cycles(30)
    assert bench.unit.faults[0][0] == isa.Trap.ILLEGAL_INSTRUCTION
    assert not bench.monitor.writes


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5], last=[False, True])
async def bus_error(dut, stall, last):
    """The burst's address; what was in flight is finished; nothing of the bad instruction nor after it is done."""
    bench = Bench(dut, stall=stall, latency=(5, 30))
    await bench.begin()
    config, bus = bench.config, bench.config.bus.bytes
    transfers = [random_transfer(config, bench.windows, bench.rng) for _ in range(20)]
    if last:
        transfers = row(config, segments=1, beats=config.beat_bytes // bus, stride=0, count=20)
    results = [expect(config, transfer, bench.windows) for transfer in transfers]
    # The burst that ends an instruction, or any one of a long series.
    address, beats = results[2].bursts[-1] if last else bench.rng.choice(results[8].bursts)
    bad = address + bus * bench.rng.randrange(beats)
    bench.memory.bad = {bad}
    # The first instruction that touches the beat is the one that fails.
    touched = [(i, at) for i, result in enumerate(results) for at, n in result.bursts if at <= bad < at + n * bus]
    first, where = touched[0]
    bench.unit.issue(*(encode(isa.Opcode.STORE, transfer) for transfer in transfers))
    await bench.unit.finished(first)
    await bench.hub.cycles(3000)
    assert bench.unit.faults == [(isa.Trap.BUS_ERROR, where)]
    assert len(bench.unit.done) == first
    assert int(dut.idle.value) == 1
    bench.monitor.check_quiet()


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5], room=[0, 8])
async def quiesce(dut, stall, room):
    """No new burst; beats owed go out with strobes 0 even when the scratchpad gives nothing; idle rises; nothing is
    done.
    """
    bench = Bench(dut, stall=stall, latency=(5, 60))
    await bench.begin()
    transfers = [random_transfer(bench.config, bench.windows, bench.rng) for _ in range(30)]
    bench.unit.issue(*(encode(isa.Opcode.STORE, transfer) for transfer in transfers))
    await bench.unit.finished(4)
    await bench.hub.cycles(bench.rng.randint(20, 150))
    bench.port.room = room
    await bench.hub.cycles(5)
    dut.quiesce.value = 1
    await bench.hub.cycles(1)
    requests, beats, done = len(bench.monitor.writes), len(bench.slave.strobes), len(bench.unit.done)
    await bench.hub.cycles(3000)
    assert int(dut.idle.value) == 1
    bench.monitor.check_quiet()
    # Two requests and two beats may have been on their way; the cycle in which it rose counts as before.
    assert len(bench.monitor.writes) - requests <= 3
    assert not any(bench.slave.strobes[beats + 3 :])
    assert len(bench.unit.done) - done <= 1
