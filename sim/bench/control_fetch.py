"""Program fetch alone, on memories that stall: every bus width, requests within bounds, rate."""

import random

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.control.layouts import Fetched
from celosia.sim.bench import harness
from celosia.sim.bench.axi_checks import AxiMonitor
from celosia.sim.bench.axi_memory import ReadMemory, SparseMemory
from celosia.sim.bench.control_models import bench, program
from celosia.sim.bench.streams import StreamSink, cycles, hub_of

SIZE = 0x4000


class Bench:
    """Fetch, the memory it reads, and a sink."""

    def __init__(self, dut, *, stall: float, latency: int | tuple[int, int]) -> None:
        self.dut, self.hub = dut, hub_of(dut)
        self.config: Config = harness.parameters()["config"]
        bus = self.config.bus
        self.base = 0x3000
        self.memory = SparseMemory(1)
        self.monitor = AxiMonitor(dut, "axi__", data_bytes=bus.bytes, longest=bus.burst, half="read")
        self.reads = ReadMemory(dut, "axi__", self.memory, data_bytes=bus.bytes, latency=latency, stall=stall)
        self.sink = StreamSink(dut, "o", Fetched, stall=stall)

    async def fetch(self, rng: random.Random, offset: int, length: int) -> list[int]:
        """Reset, place a program of random words, start it. Returns its instructions."""
        code = [rng.getrandbits(isa.INSTRUCTION_BITS) for _ in range(length)]
        self.memory.write(self.base + offset, program(self.config, code))
        self.hub.running = False
        self.dut.rst.value = 1
        await cycles(self.dut, 2)
        self.dut.rst.value = 0
        self.hub.running = True
        self.sink.reset()
        self.sink.values.clear()
        self.sink.times.clear()
        self.monitor.reads.clear()
        self.dut.base.value, self.dut.size.value, self.dut.program.value = self.base, SIZE, offset
        self.dut.go.value = 1
        await cycles(self.dut)
        self.dut.go.value = 0
        return code

    def check_requests(self, offset: int, length: int) -> None:
        """Together the requests are the program, every byte once, and no more than the last beat needs."""
        beat = self.config.bus.bytes
        next_address = self.base + offset
        for burst in self.monitor.reads:
            assert burst.address == next_address
            assert burst.beats * beat <= 8 * isa.INSTRUCTION_BYTES or burst.beats == 1
            next_address += burst.beats * beat
        end = self.base + offset + isa.INSTRUCTION_BYTES * (length + 1)
        assert next_address == -(-end // beat) * beat


@bench()
async def random_programs(dut) -> None:
    """Programs of any length and place arrive whole, numbered, marked past their end; requests cover them exactly."""
    setup = Bench(dut, stall=0.2, latency=(1, 40))
    rng = await harness.start(dut)
    step = max(isa.INSTRUCTION_BYTES, setup.config.bus.bytes)
    for length in (0, 1, 2, 3, 7, 8, 9, *(rng.randrange(120) for _ in range(8))):
        offset = step * rng.randrange(SIZE // 2 // step)
        code = await setup.fetch(rng, offset, length)
        await setup.sink.received(length + 3)
        got = [Fetched.from_bits(bits) for bits in setup.sink.values[: length + 3]]
        assert [(value.instruction, value.pc, value.past) for value in got[:length]] == [
            (bits, pc, 0) for pc, bits in enumerate(code)
        ]
        assert all(value.past and value.pc == length for value in got[length:])
        setup.check_requests(offset, length)
        assert int(dut.idle.value)
        setup.monitor.check_quiet()


@bench()
async def stops_when_told(dut) -> None:
    """After `stop` no new request leaves, what is owed is taken, whatever the sink does; then it is idle for good."""
    setup = Bench(dut, stall=0.0, latency=(10, 30))
    rng = await harness.start(dut)
    for wait in range(1, 120, 7):
        setup.sink.blocked = wait % 2 == 0
        await setup.fetch(rng, 0, 100)
        await cycles(dut, wait)
        dut.stop.value = 1
        # A request that was on offer is finished; that is all.
        await cycles(dut, 4)
        asked = len(setup.monitor.reads)
        await cycles(dut, 40 + 2 * setup.config.bus.burst + 512 // setup.config.bus.bytes)
        assert len(setup.monitor.reads) == asked
        assert int(dut.idle.value)
        setup.monitor.check_quiet()
        dut.stop.value = 0


@bench()
async def keeps_room_for_data(dut) -> None:
    """A sink that takes nothing never holds up the bus, which LOAD shares; still it reads well ahead."""
    setup = Bench(dut, stall=0.0, latency=5)
    rng = await harness.start(dut)
    setup.sink.blocked = True
    code = await setup.fetch(rng, 0, 60)
    for _ in range(600):
        await cycles(dut)
        assert int(dut.axi__rready.value)
    setup.monitor.check_quiet()
    beats = sum(burst.beats for burst in setup.monitor.reads)
    assert 9 * 32 <= beats * setup.config.bus.bytes <= (1 + 16) * 32 + max(32, setup.config.bus.bytes)
    setup.sink.blocked = False
    await setup.sink.received(60)
    assert [Fetched.from_bits(bits).instruction for bits in setup.sink.values[:60]] == code


@bench()
async def rate(dut) -> None:
    """At a short latency the bus is used fully; the first instruction comes two round trips after the start."""
    latency = 4
    setup = Bench(dut, stall=0.0, latency=latency)
    rng = await harness.start(dut)
    length = 96
    begin = hub_of(dut).cycle
    await setup.fetch(rng, 0, length)
    await setup.sink.received(length)
    each = max(1, isa.INSTRUCTION_BYTES // setup.config.bus.bytes)
    # A burst needs four cycles, more than its data when it is only two beats.
    busy = each if setup.config.bus.burst > 2 else each * 4 // 2
    first = setup.sink.times[0] - begin
    assert first <= 2 * (latency + 6 + busy), f"the first instruction came after {first} cycles"
    span = setup.sink.times[length - 1] - setup.sink.times[16]
    assert span <= busy * (length - 17) * 1.03, f"{span} cycles for {length - 17} instructions of {each} beats"
