"""Bench of LOAD. Parameters: `config`."""

import random

import cocotb

from celosia.hw import isa
from celosia.hw.interfaces import Status, write_layout
from celosia.sim.bench.axi_checks import AxiMonitor
from celosia.sim.bench.axi_memory import ReadMemory, SparseMemory
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
from celosia.sim.bench.ports import UnitDriver
from celosia.sim.bench.streams import StreamSink, reader


class Bench:
    """LOAD between a memory and a scratchpad that notes every write."""

    def __init__(self, dut, *, stall: float = 0.0, latency=20) -> None:
        self.dut = dut
        self.config = config = parameters()["config"]
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.windows = windows_of(config, self.rng)
        self.memory = SparseMemory(cocotb.RANDOM_SEED)
        self.monitor = AxiMonitor(
            dut,
            "axi__",
            data_bytes=config.bus.bytes,
            longest=config.bus.burst,
            outstanding=config.bus.outstanding,
            half="read",
            allowed=self._allowed,
        )
        self.slave = ReadMemory(
            dut, "axi__", self.memory, data_bytes=config.bus.bytes, latency=latency, stall=stall * self.rng.random()
        )
        self.unit = UnitDriver(dut, stall=stall)
        layout = write_layout(
            len(dut.write__write__payload) - 9 * config.word_bytes, 8 * config.word_bytes, config.word_bytes
        )
        self.sink = StreamSink(dut, "write__write", layout, stall=stall)
        self.hub = self.unit.hub

    def _allowed(self, address: int, size: int) -> bool:
        return any(base <= address and address + size <= base + length for base, length in self.windows)

    async def begin(self) -> None:
        """Reset."""
        await start(self.dut)
        set_windows(self.dut, self.windows)
        await self.hub.cycles(2)

    def check_writes(self, moves: list[tuple[int, int]]) -> None:
        """Compare all writes with the memory's words."""
        word = self.config.word_bytes
        assert len(self.sink.values) == len(moves)
        for index, (write, (address, place)) in enumerate(zip(self.sink.consts(), moves, strict=True)):
            expected = int.from_bytes(self.memory.read(address, word), "little")
            assert (write.address, write.data) == (place, expected), f"word {index} from {address:#x} to {place:#x}"
            assert write.mask == (1 << word) - 1

    async def run(self, transfers: list[dict[str, int]]) -> None:
        """Send transfers, wait for them and check everything about them."""
        results = [expect(self.config, transfer, self.windows) for transfer in transfers]
        masks = [self.rng.randrange(16) for _ in transfers]
        self.unit.issue(*(encode(isa.Opcode.LOAD, t, signal=m) for t, m in zip(transfers, masks, strict=True)))
        await self.unit.finished(len(transfers))
        assert [mask for _, mask in self.unit.done] == masks
        moves = [move for result in results for move in result.moves]
        self.check_writes(moves)
        ends = [sum(len(result.moves) for result in results[: index + 1]) for index in range(len(results))]
        # An instruction is done in the cycle after its last word.
        assert [cycle for cycle, _ in self.unit.done] == [self.sink.times[end - 1] + 1 for end in ends]
        assert [(burst.address, burst.beats) for burst in self.monitor.reads] == [
            burst for result in results for burst in result.bursts
        ]
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


async def _cycles(bench: Bench, transfers: list[dict[str, int]]) -> float:
    """Cycles over the least that bus and scratchpad port need, without what the memory's latency costs once."""
    await bench.begin()
    await bench.run(transfers)
    least = max(len(bench.sink.values), bench.monitor.beats_in)
    return (bench.sink.times[-1] - bench.unit.issued[0] - 26) / least


@cocotb.test()
async def throughput_segments(dut):
    """Short segments, long instructions: as many beats in flight as the latency needs."""
    bench = Bench(dut, latency=20)
    # The slot of a burst is free again six cycles after its last beat, at the worst.
    beats = max(4, -(-26 // bench.config.bus.outstanding) + 1, bench.config.beat_bytes // bench.config.bus.bytes)
    beats = 1 << (beats - 1).bit_length()
    ratio = await _cycles(bench, row(bench.config, segments=40, beats=beats, stride=beats * 2, count=6))
    assert ratio < 1.02, ratio


@cocotb.test()
async def throughput_instructions(dut):
    """One segment each: instructions follow one another without a gap."""
    bench = Bench(dut, latency=20)
    ratio = await _cycles(bench, row(bench.config, segments=1, beats=32, stride=0, count=40))
    assert ratio < 1.02, ratio


@cocotb.test()
async def throughput_long_latency(dut):
    """Segments that touch travel as long bursts: 200 cycles of latency are hidden where bursts are long enough."""
    bench = Bench(dut, latency=200)
    bus = bench.config.bus
    depth = bus.burst * bus.outstanding
    transfers = row(bench.config, segments=64, beats=8, stride=8, count=8)
    await bench.begin()
    await bench.run(transfers)
    least = max(len(bench.sink.values), bench.monitor.beats_in)
    # A burst in flight covers latency plus its own length, and a few cycles until its slot is used again.
    beat_cycles = max(1, bus.bytes // bench.config.word_bytes)
    rate = min(1.0, depth / (204 + bus.burst * beat_cycles))
    cycles = bench.sink.times[-1] - bench.unit.issued[0] - 206
    assert cycles < 1.03 * max(least, bench.monitor.beats_in / rate), (cycles, least, rate)


@cocotb.test()
async def latency(dut):
    """Six cycles from an instruction to its request."""
    bench = Bench(dut, latency=1)
    await bench.begin()
    await bench.run(row(bench.config, segments=1, beats=32, stride=0, count=1))
    assert bench.monitor.reads[0].cycle - bench.unit.issued[0] == 6


@cocotb.test()
async def status_and_beats(dut):
    """Every cycle of an instruction has its name; beats are counted."""
    bench = Bench(dut, latency=20)
    await bench.begin()
    counts = dict.fromkeys(Status, 0)
    beats = 0

    class Watch:
        def step(self):
            nonlocal beats
            counts[Status(int(dut.control__status.value))] += 1
            beats += int(dut.beat.value)

    bench.hub.agents.append(Watch())
    bench.sink.blocked = True
    bench.unit.issue(encode(isa.Opcode.LOAD, row(bench.config, segments=1, beats=32, stride=0, count=1)[0]))
    await bench.hub.cycles(100)
    assert counts[Status.STALL_IN] >= 20
    assert counts[Status.STALL_OUT] >= 40
    assert counts[Status.BUSY] <= 32
    bench.sink.blocked = False
    await bench.unit.finished(1)
    assert beats == bench.monitor.beats_in == 32
    assert counts[Status.BUSY] >= 32


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
    before = len(bench.monitor.reads)
    bench.unit.issue(*(encode(isa.Opcode.LOAD, transfer) for transfer in [bad, *good]))
    await bench.hub.cycles(300)
    assert bench.unit.faults == [expected.fault]
    seen = [(burst.address, burst.beats) for burst in bench.monitor.reads[before:]]
    assert seen == expected.bursts[: len(seen)]
    assert len(bench.unit.done) == len(good)
    assert int(dut.idle.value) == 1
    bench.monitor.check_quiet()


@cocotb.test()
@cocotb.parametrize(opcode=[0x11, 0x40, 0x00])
async def wrong_opcode(dut, opcode):
    bench = Bench(dut)
    await bench.begin()
    transfer = random_transfer(bench.config, bench.windows, bench.rng)
    bench.unit.issue(encode(isa.Opcode.LOAD, transfer) & ~0xFF | opcode)
    await bench.hub.cycles(30)
    assert bench.unit.faults[0][0] == isa.Trap.ILLEGAL_INSTRUCTION
    assert not bench.monitor.reads


@cocotb.test()
async def misaligned_base(dut):
    bench = Bench(dut)
    bench.windows[1] = (bench.windows[1][0] + bench.config.bus.bytes // 2, bench.windows[1][1])
    await bench.begin()
    transfer = random_transfer(bench.config, bench.windows, bench.rng) | {"window": 1, "offset": 0}
    bench.unit.issue(encode(isa.Opcode.LOAD, transfer))
    await bench.hub.cycles(30)
    assert bench.unit.faults == [(isa.Trap.MISALIGNED, bench.windows[1][0])]
    assert not bench.monitor.reads


class Shy:
    """Keeps the scratchpad from being ready before a word is valid, as an arbiter may."""

    def __init__(self, bench: Bench) -> None:
        self.sink, self.valid = bench.sink, reader(bench.dut.write__write__valid)
        # Before the sink, which looks at `blocked` for the next cycle.
        bench.hub.agents.insert(0, self)

    def step(self) -> None:
        """See `Agent`."""
        # Never ready in the cycle after a word was taken: it cannot know yet that there is another.
        self.sink.blocked = not self.valid() or not self.sink.blocked

    def reset(self) -> None:
        """See `Agent`."""


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5], shy=[False, True])
async def bus_error(dut, stall, shy):
    """The burst's address; what was in flight is taken; nothing of the bad instruction is done."""
    bench = Bench(dut, stall=stall, latency=(5, 30))
    if shy:
        Shy(bench)
    await bench.begin()
    transfers = [random_transfer(bench.config, bench.windows, bench.rng) for _ in range(20)]
    results = [expect(bench.config, transfer, bench.windows) for transfer in transfers]
    victim = results[8]
    address, beats = bench.rng.choice(victim.bursts)
    bad = address + bench.config.bus.bytes * bench.rng.randrange(beats)
    bench.memory.bad = {bad}
    # The first instruction that touches the beat is the one that fails.
    order = [
        (index, start)
        for index, r in enumerate(results)
        for start, n in r.bursts
        if start <= bad < start + n * bench.config.bus.bytes
    ]
    first, where = order[0]
    bench.unit.issue(*(encode(isa.Opcode.LOAD, transfer) for transfer in transfers))
    await bench.unit.finished(first)
    await bench.hub.cycles(3000)
    assert bench.unit.faults == [(isa.Trap.BUS_ERROR, where)]
    assert len(bench.unit.done) == first
    bench.check_writes([move for result in results for move in result.moves][: len(bench.sink.values)])
    assert int(dut.idle.value) == 1
    bench.monitor.check_quiet()
    requests = len(bench.monitor.reads)
    await bench.hub.cycles(50)
    assert len(bench.monitor.reads) == requests


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5])
async def quiesce(dut, stall):
    """No new burst, those in flight end, idle rises; afterwards everything goes on as if nothing had been."""
    bench = Bench(dut, stall=stall, latency=(5, 60))
    await bench.begin()
    transfers = [random_transfer(bench.config, bench.windows, bench.rng) for _ in range(30)]
    task = cocotb.start_soon(bench.run(transfers))
    for _ in range(6):
        await bench.hub.cycles(bench.rng.randint(20, 150))
        dut.quiesce.value = 1
        # A request that is on its way out may still leave, no more than the two that are buffered.
        before = len(bench.monitor.reads)
        for _ in range(3000):
            await bench.hub.cycles(1)
            if int(dut.idle.value):
                break
        else:
            raise AssertionError("not idle")
        assert len(bench.monitor.reads) - before <= 3
        bench.monitor.check_quiet()
        dut.quiesce.value = 0
    await task
