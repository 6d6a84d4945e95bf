"""Bench of the read arbiter. Parameters: `config`."""

import random
from collections import deque

import cocotb

from celosia.sim.bench.axi_checks import AxiMonitor
from celosia.sim.bench.axi_memory import ReadMemory, SparseMemory
from celosia.sim.bench.harness import parameters, start
from celosia.sim.bench.streams import hub_of, reader

PAGE = 4096
LOAD, FETCH = 0, 1


class Master:
    """Asks for random bursts through the half `prefix` and keeps what comes back: (data, error, last) of every beat."""

    def __init__(self, dut, prefix: str, *, data_bytes: int, stall: float, rng: random.Random) -> None:
        self.hub, self.stall, self.rng, self.data_bytes = hub_of(dut), stall, rng, data_bytes
        self.handles = {name: getattr(dut, prefix + name) for name in ("arvalid", "araddr", "arlen", "rready")}
        names = ("arready", "rvalid", "rdata", "rresp", "rlast")
        self.read = {name: reader(getattr(dut, prefix + name)) for name in names}
        self.hub.driven |= {prefix + name for name in self.handles}
        self.requests: deque[tuple[int, int]] = deque()
        self.taken: list[int] = []
        self.beats: list[tuple[int, int, int]] = []
        self.times: list[int] = []
        self._offered = self._ready = 0
        for handle in self.handles.values():
            handle.value = 0
        self.hub.agents.append(self)

    def ask(self, requests: list[tuple[int, int]]) -> None:
        """Queue bursts: address, beats."""
        self.requests.extend(requests)

    def step(self) -> None:
        """See `Agent`."""
        if self._ready and self.read["rvalid"]():
            self.beats.append((self.read["rdata"](), self.read["rresp"](), self.read["rlast"]()))
            self.times.append(self.hub.cycle)
        if self._offered and self.read["arready"]():
            self.requests.popleft()
            self.taken.append(self.hub.cycle)
            self._offered = 0
        if not self._offered and self.requests and self.rng.random() >= self.stall:
            self._offered = 1
            self.handles["araddr"].value, self.handles["arlen"].value = self.requests[0][0], self.requests[0][1] - 1
        self.handles["arvalid"].value = self._offered
        self._ready = int(self.rng.random() >= self.stall)
        self.handles["rready"].value = self._ready

    def reset(self) -> None:
        """See `Agent`."""
        self._offered = 0


class Bench:
    """Two masters, the arbiter, one memory."""

    def __init__(self, dut, *, stall: float, latency, interleave: bool = False) -> None:
        self.config = config = parameters()["config"]
        size = config.bus.bytes
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.memory = SparseMemory(cocotb.RANDOM_SEED)
        self.monitor = AxiMonitor(dut, "axi__", data_bytes=size, longest=config.bus.burst, half="read")
        self.slave = ReadMemory(
            dut, "axi__", self.memory, data_bytes=size, latency=latency, stall=stall / 2, interleave=interleave
        )
        self.masters = [
            Master(dut, prefix, data_bytes=size, stall=stall, rng=random.Random(f"{cocotb.RANDOM_SEED} {prefix}"))
            for prefix in ("load__", "fetch__")
        ]

    def bursts(self, count: int) -> list[tuple[int, int]]:
        """Random legal bursts."""
        out = []
        for _ in range(count):
            beats = self.rng.randint(1, self.config.bus.burst)
            size = beats * self.config.bus.bytes
            page = self.rng.randrange(1 << (self.config.bus.address_bits - 12)) * PAGE
            out.append((page + self.rng.randrange(0, PAGE - size + 1, self.config.bus.bytes), beats))
        return out

    def expected(self, bursts: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Beats that answer them."""
        size, beats = self.config.bus.bytes, []
        for address, count in bursts:
            for index in range(count):
                at = address + index * size
                data = int.from_bytes(self.memory.read(at, size), "little")
                beats.append((data, 2 * (at in self.memory.bad), int(index == count - 1)))
        return beats


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.4, 0.7], interleave=[False, True])
async def routes(dut, stall, interleave):
    """Every beat reaches its master, in order, whatever the order between masters; errors too."""
    bench = Bench(dut, stall=stall, latency=(1, 30), interleave=interleave)
    asked = [bench.bursts(60), bench.bursts(60)]
    bench.memory.bad = {address for bursts in asked for address, _ in bursts[::7]}
    await start(dut)
    for master, bursts in zip(bench.masters, asked, strict=True):
        master.ask(bursts)
    expected = [bench.expected(bursts) for bursts in asked]
    for _ in range(400):
        await bench.slave.hub.cycles(100)
        if all(len(m.beats) >= len(e) for m, e in zip(bench.masters, expected, strict=True)):
            break
    await bench.slave.hub.cycles(20)
    for master, beats in zip(bench.masters, expected, strict=True):
        assert master.beats == beats
    for number, bursts in enumerate(asked):
        seen = [(burst.address, burst.beats) for burst in bench.monitor.reads if burst.id == number]
        assert seen == bursts
    bench.monitor.check_quiet()


@cocotb.test()
async def fetch_goes_first(dut):
    """A request of fetch overtakes all of LOAD's that have not been taken."""
    bench = Bench(dut, stall=0.0, latency=5)
    await start(dut)
    bench.masters[LOAD].ask(bench.bursts(20))
    await bench.slave.hub.cycles(8)
    bench.masters[FETCH].ask(bench.bursts(5))
    await bench.slave.hub.cycles(60)
    order = [burst.id for burst in bench.monitor.reads]
    first = order.index(FETCH)
    assert order[first : first + 5] == [FETCH] * 5
    fetch, load = bench.masters[FETCH].taken, bench.masters[LOAD].taken
    assert fetch == list(range(fetch[0], fetch[0] + 5))
    assert not set(fetch) & set(load)


@cocotb.test()
async def full_rate(dut):
    """A request a cycle, a beat a cycle, one cycle of latency each way."""
    bench = Bench(dut, stall=0.0, latency=4)
    await start(dut)
    page = [(index * PAGE, 1) for index in range(64)]
    bench.masters[LOAD].ask(page)
    await bench.slave.hub.cycles(100)
    load, seen = bench.masters[LOAD], [burst.cycle for burst in bench.monitor.reads]
    assert load.taken == list(range(load.taken[0], load.taken[0] + 64))
    assert seen == [cycle + 1 for cycle in load.taken]
    assert load.times == [cycle + 1 for cycle in bench.slave.times]
    assert load.times == list(range(load.times[0], load.times[0] + 64))
