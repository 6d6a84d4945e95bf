"""What surrounds control in its benches: a host, abstract units, programs, and the rules of tokens."""

import functools
import random
import struct
from collections import Counter, deque
from dataclasses import dataclass

import cocotb
from amaranth.hdl import Shape
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.control.dispatch import legal_opcodes
from celosia.hw.interfaces import Status
from celosia.hw.registers import BY_NAME, REGISTER_BYTES, Activity
from celosia.sim.bench import harness
from celosia.sim.bench.axi_checks import AxiMonitor
from celosia.sim.bench.axi_memory import ReadMemory, SparseMemory
from celosia.sim.bench.ports import STATUSES, instruction
from celosia.sim.bench.streams import cycles, hub_of, reader

DONE, TRAP = 1, 2
"""Bits of IER and ISR."""
START, SOFT_RESET, AUTO_RESTART, DONE_BIT, IDLE_BIT = 1 << 0, 1 << 8, 1 << 7, 1 << 1, 1 << 2
"""Bits of CTRL."""

bench = functools.partial(cocotb.test, timeout_time=1_000_000, timeout_unit="step")
"""A test that must end within half a million cycles."""


def random_instruction(rng: random.Random, unit: isa.Unit, *, wait: int = 0, signal: int = 0) -> int:
    """An instruction of the unit with random fields, reserved ones zero; none of HDP."""
    opcode = rng.choice(legal_opcodes(unit, rate=0))
    fields = {}
    for name, field in isa.LAYOUTS[opcode].as_shape():
        if name != "head" and not name.startswith("reserved") and name not in isa.HDP_FIELDS:
            width = Shape.cast(field.shape).width
            fields[name] = _random_field(rng, field.shape, width)
    return instruction(opcode, wait=wait, signal=signal, **fields)


def _random_field(rng: random.Random, shape, width: int):
    if isinstance(shape, type) and issubclass(shape, isa.data.Struct):
        return {name: rng.getrandbits(Shape.cast(field.shape).width) for name, field in shape.as_shape()}
    if shape is isa.Activation:
        return rng.choice(list(isa.Activation))
    return rng.getrandbits(width - 1)


def end() -> int:
    """END."""
    return instruction(isa.Opcode.END)


def program(config: Config, instructions: list[int], **header: int) -> bytes:
    """The bytes of a program; `header` replaces its fields."""
    fields = {"magic": isa.MAGIC, "version": isa.VERSION, "config_hash": config.hash, "count": len(instructions)}
    fields |= header
    head = struct.pack("<IHHII16x", fields["magic"], fields["version"], 0, fields["config_hash"], fields["count"])
    return head + b"".join(bits.to_bytes(isa.INSTRUCTION_BYTES, "little") for bits in instructions)


def random_program(rng: random.Random, length: int) -> list[tuple[isa.Unit, int, int, int]]:
    """Unit, instruction, wait and signal masks of `length` instructions that cannot deadlock.

    An instruction waits only for tokens that are there when all instructions before it are done.
    """
    tokens: Counter[tuple[int, int]] = Counter()
    result = []
    for _ in range(length):
        unit = rng.choice(list(isa.Unit))
        wait = sum(1 << giver for giver in isa.Unit if tokens[giver, unit] and rng.random() < 0.8)
        signal = sum(1 << taker for taker in isa.Unit if tokens[unit, taker] < 20 and rng.random() < 0.4)
        for other in isa.Unit:
            tokens[other, unit] -= wait >> other & 1
            tokens[unit, other] += signal >> other & 1
        result.append((unit, random_instruction(rng, unit, wait=wait, signal=signal), wait, signal))
    return result


@dataclass(frozen=True)
class Event:
    """At clock edge `cycle` the unit took an instruction (`masks`: wait) or reported one (`masks`: signal)."""

    cycle: int
    unit: isa.Unit
    kind: str
    mask: int


def check_tokens(events: list[Event]) -> Counter:
    """The tokens left after the events. Errors: AssertionError when one is taken that was not given in an earlier
    cycle."""
    tokens: Counter[tuple[int, int]] = Counter()
    for event in sorted(events, key=lambda event: (event.cycle, event.kind == "done")):
        for other in isa.Unit:
            if event.mask >> other & 1:
                if event.kind == "take":
                    tokens[other, event.unit] -= 1
                    assert tokens[other, event.unit] >= 0, f"{event}: no token of {other.name}"
                else:
                    tokens[event.unit, other] += 1
    return tokens


_WORKING = (Status.BUSY, Status.STALL_IN, Status.STALL_OUT)


class UnitModel:
    """An abstract unit behind a `UnitSignature` port: takes instructions when it likes, reports them in order.

    `duration`: cycles from taking to reporting. `depth`: instructions under way at a time. `stall`: probability that it
    is not ready in a cycle. `taken`: (cycle, instruction). `events`: shared by the units. `fail`: report this (code,
    address) from now on. `stuck`: report nothing.
    """

    def __init__(self, dut, unit: isa.Unit, events: list[Event]) -> None:
        self.hub = hub_of(dut)
        self.unit, self.events = unit, events
        self.rng = random.Random(f"{cocotb.RANDOM_SEED} {unit.name}")
        self.duration, self.depth, self.stall, self.stuck = (1, 12), 3, 0.3, False
        self.fail: tuple[isa.Trap, int] | None = None
        self.taken: list[tuple[int, int]] = []
        self.statuses: Counter[Status] = Counter()
        name = unit.name.lower()
        inputs = (
            "instruction__ready",
            "done__valid",
            "done__payload",
            "busy",
            "status",
            "fault__valid",
            "fault__payload",
        )
        self.hub.driven |= {f"{name}__{port}" for port in inputs}
        self._inputs = {port: getattr(dut, f"{name}__{port}") for port in inputs}
        self._valid = reader(getattr(dut, f"{name}__instruction__valid"))
        self._payload = reader(getattr(dut, f"{name}__instruction__payload"))
        self._core_reset = reader(dut.core_reset)
        self._held: int | None = None
        self.reset()
        self.hub.agents.append(self)

    def reset(self) -> None:
        """See `Agent`."""
        self._flight: deque[tuple[int, int]] = deque()
        self._held = None
        self._now = dict.fromkeys(self._inputs, 0)
        for handle in self._inputs.values():
            handle.value = 0

    def step(self) -> None:
        """See `Agent`."""
        self.statuses[STATUSES[self._now["status"]]] += 1
        if self._core_reset():
            self.reset()
            self.fail = None
            return
        cycle = self.hub.cycle
        self._sample(cycle)
        done = bool(self._flight) and not self.stuck and self.fail is None and self._flight[0][0] <= cycle
        mask = self._flight.popleft()[1] if done else 0
        if done:
            self.events.append(Event(cycle + 1, self.unit, "done", mask))
        busy = bool(self._flight)
        working = busy and not self.stuck and self.fail is None
        # Which of the working states does not matter, an idle unit may also stall.
        status = self.rng.choice(_WORKING) if working else Status.IDLE
        ready = self.fail is None and len(self._flight) < self.depth and self.rng.random() >= self.stall
        self._drive("instruction__ready", int(ready))
        self._drive("done__valid", int(done))
        self._drive("done__payload", mask)
        self._drive("busy", int(busy))
        self._drive("status", status.value)
        if self.fail is not None:
            self._drive("fault__payload", self.fail[0].value | self.fail[1] << 4)
            self._drive("fault__valid", 1)

    def _sample(self, cycle: int) -> None:
        if not self._valid():
            assert self._held is None, f"{self.unit.name}: an instruction was offered and withdrawn"
            return
        bits = self._payload()
        assert self._held in (None, bits), f"{self.unit.name}: an instruction changed while it was offered"
        self._held = bits
        if self._now["instruction__ready"]:
            self._held = None
            self.taken.append((cycle, bits))
            self.events.append(Event(cycle, self.unit, "take", bits >> 8 & 15))
            self._flight.append((cycle + self.rng.randint(*self.duration) - 1, bits >> 12 & 15))

    def _drive(self, port: str, value: int) -> None:
        if self._now[port] != value:
            self._now[port] = value
            self._inputs[port].value = value


class Bus:
    """The idle inputs of LOAD and STORE: with `busy`, transfers come and go until control asks for quiet; `dead`: they
    never end."""

    def __init__(self, dut, fetch: AxiMonitor) -> None:
        self.hub = hub_of(dut)
        self.rng = random.Random(f"{cocotb.RANDOM_SEED} bus")
        self.dut, self.fetch, self.busy, self.dead = dut, fetch, 0.0, False
        self._left = {"load": 0, "store": 0}
        self._quiesce, self._core_reset = reader(dut.quiesce), reader(dut.core_reset)
        self.quiet_since = 0
        self.resets = 0
        self.hub.driven |= {"load_idle", "store_idle"}
        self.reset()
        self.hub.agents.append(self)

    def reset(self) -> None:
        """See `Agent`."""
        self._left = dict.fromkeys(self._left, 0)
        for name in self._left:
            getattr(self.dut, f"{name}_idle").value = 1

    def step(self) -> None:
        """See `Agent`."""
        if self._core_reset():
            self.resets += 1
            assert not any(self._left.values()), "core reset while a burst is outstanding"
            assert not self.fetch.reading, "core reset while fetch is owed data"
        for name, left in self._left.items():
            if left and not self.dead:
                self._left[name] -= 1
            elif not left and self.rng.random() < self.busy and not self._quiesce():
                self._left[name] = self.rng.randint(1, 20)
            getattr(self.dut, f"{name}_idle").value = int(not self._left[name])


_ACTIVITIES = {activity.value: activity for activity in Activity}


class ActivityCounter:
    """Counts what each unit's activity output shows."""

    def __init__(self, dut) -> None:
        self.seen: dict[isa.Unit, Counter[Activity]] = {unit: Counter() for unit in isa.Unit}
        self._readers = {unit: reader(getattr(dut, f"activity_{unit.name.lower()}")) for unit in isa.Unit}
        hub_of(dut).agents.append(self)

    def step(self) -> None:
        """See `Agent`."""
        for unit, read in self._readers.items():
            self.seen[unit][_ACTIVITIES[read()]] += 1

    def reset(self) -> None:
        """See `Agent`."""


class Host:
    """The host of control: registers by name, programs in memory, and everything around."""

    def __init__(
        self, dut, *, stall: float = 0.3, latency: int | tuple[int, int] = (1, 30), base: int = 0x4000
    ) -> None:
        self.dut = dut
        self.hub = hub_of(dut)
        self.config: Config = harness.parameters()["config"]
        self.base, self.offset, self.size = base, 0x1000, 0x10000
        bus = self.config.bus
        bus_ports = [f"s_axi__{name}" for name in ("awaddr", "awprot", "awvalid", "wdata", "wstrb", "wvalid", "bready")]
        self.hub.driven |= {*bus_ports, *(f"s_axi__{name}" for name in ("araddr", "arprot", "arvalid", "rready"))}
        self.axi = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_"), dut.clk, dut.rst)
        self.memory = SparseMemory(cocotb.RANDOM_SEED)
        self.fetch = AxiMonitor(
            dut, "fetch__", data_bytes=bus.bytes, longest=min(bus.burst, max(1, 256 // bus.bytes)), half="read",
            allowed=lambda address, size: self.base <= address and address + size <= self.base + self.size,
        )  # fmt: skip
        self.bus = Bus(dut, self.fetch)
        self.reads = ReadMemory(dut, "fetch__", self.memory, data_bytes=bus.bytes, latency=latency, stall=stall)
        self.events: list[Event] = []
        self.units = [UnitModel(dut, unit, self.events) for unit in isa.Unit]
        self.activity = ActivityCounter(dut)

    async def begin(self) -> random.Random:
        """Reset, then set up the window, the program's place and the interrupts. Returns the generator of the run."""
        rng = await harness.start(self.dut)
        await self.set_window(self.base, self.size)
        await self.write("PROGRAM", self.offset)
        await self.write("GIE", 1)
        await self.write("IER", DONE | TRAP)
        return rng

    async def set_window(self, base: int, size: int) -> None:
        """Set window 0."""
        self.base, self.size = base, size
        await self.write("WINDOW0_BASE_LO", base & 0xFFFFFFFF)
        await self.write("WINDOW0_BASE_HI", base >> 32)
        await self.write("WINDOW0_SIZE", size)

    async def read(self, name: str) -> int:
        """Value of a register."""
        response = await self.axi.read(BY_NAME[name].offset, REGISTER_BYTES)
        assert response.resp == 0, f"{name}: response {response.resp}"
        return int.from_bytes(response.data, "little")

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        response = await self.axi.write(BY_NAME[name].offset, value.to_bytes(REGISTER_BYTES, "little"))
        assert response.resp == 0, f"{name}: response {response.resp}"

    async def counter(self, name: str) -> int:
        """Value of a counter that stands still."""
        return await self.read(f"{name}_LO") | await self.read(f"{name}_HI") << 32

    def place(self, instructions: list[int], **header: int) -> None:
        """Put a program into memory."""
        self.memory.write(self.base + self.offset, program(self.config, instructions, **header))

    async def start(self) -> None:
        """Start the program."""
        await self.write("CTRL", START)

    async def interrupted(self, timeout: int = 20_000) -> int:
        """Wait for the interrupt, clear it. Returns what ISR showed."""
        deadline = self.hub.cycle + timeout
        while not int(self.dut.irq.value):
            assert self.hub.cycle < deadline, f"no interrupt for {timeout} cycles"
            await cycles(self.dut)
        status = await self.read("ISR")
        await self.write("ISR", status)
        return status

    async def run(self, instructions: list[int], **header: int) -> int:
        """Run a program to its end. Returns what ISR showed."""
        self.place(instructions, **header)
        await self.start()
        return await self.interrupted()

    async def trap(self) -> tuple[isa.Trap, int, int]:
        """Code, address and instruction of the trap."""
        address = await self.read("TRAP_ADDRESS_LO") | await self.read("TRAP_ADDRESS_HI") << 32
        return isa.Trap(await self.read("TRAP_CODE")), address, await self.read("TRAP_PC")

    async def soft_reset(self, timeout: int = 2000) -> None:
        """Reset by CTRL and wait for its end."""
        await self.write("CTRL", SOFT_RESET)
        deadline = self.hub.cycle + timeout
        while await self.read("CTRL") & SOFT_RESET:
            assert self.hub.cycle < deadline, f"soft reset takes more than {timeout} cycles"

    def forget(self) -> None:
        """Drop what was recorded."""
        self.events.clear()
        for unit in self.units:
            unit.taken.clear()

    def set_units(self, **settings) -> None:
        """Set attributes of all unit models."""
        for unit in self.units:
            for name, value in settings.items():
                setattr(unit, name, value)
