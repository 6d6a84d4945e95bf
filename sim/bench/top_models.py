"""What surrounds the accelerator in its bench: memory, host, monitor; and the device that the driver sees."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from cocotb.task import bridge, resume
from cocotb.triggers import Event, First, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiSlave

from celosia.hw.config import Config
from celosia.hw.registers import REGISTER_BYTES
from celosia.sim.bench import harness
from celosia.sim.bench.axi_checks import AxiMonitor
from celosia.sim.bench.streams import hub_of
from celosia.sw.runtime.device import Bytes, Device, DeviceError

_CLOCK = {"clock": "aclk", "reset": "aresetn", "active_low": True}


class Target:
    """The memory behind `m_axi`. `bad`: addresses whose access is an error."""

    def __init__(self) -> None:
        self.contents = np.zeros(0, np.uint8)
        self.bad = range(0)

    def _check(self, address: int, size: int) -> None:
        if address + size > len(self.contents) or any(address <= bad < address + size for bad in self.bad):
            raise IndexError(f"{size} bytes at {address:#x}")

    async def read(self, address: int, size: int) -> bytes:
        """Bytes. Errors: IndexError, which the bus answers with SLVERR."""
        self._check(address, size)
        return self.contents[address : address + size].tobytes()

    async def write(self, address: int, data: bytes) -> None:
        """Write bytes. Errors: as `read`."""
        self._check(address, len(data))
        self.contents[address : address + len(data)] = np.frombuffer(data, np.uint8)


class BenchDevice(Device):
    """The accelerator in the simulator, for code that runs in a thread of `Top.host`."""

    name = "bench"

    def __init__(self, top: "Top") -> None:
        self.top, self.config = top, top.config

    def read_register(self, offset: int) -> int:
        """See `Device`. Errors: DeviceError."""
        return int.from_bytes(resume(self.top.read)(offset), "little")

    def write_register(self, offset: int, value: int) -> None:
        """See `Device`. Errors: DeviceError."""
        resume(self.top.write)(offset, value)

    def read_memory(self, address: int, size: int) -> Bytes:
        """See `Device`."""
        return self.top.target.contents[address : address + size].copy()

    def write_memory(self, address: int, data: Bytes) -> None:
        """See `Device`."""
        self.top.target.contents[address : address + len(data)] = data

    def reserve(self, size: int) -> None:
        """See `Device`."""
        contents = self.top.target.contents
        if size > len(contents):
            self.top.target.contents = np.concatenate([contents, np.zeros(size - len(contents), np.uint8)])

    def wait(self, max_cycles: int) -> None:
        """See `Device`. Errors: DeviceError."""
        if not resume(self.top.interrupted)(max_cycles):
            raise DeviceError(f"no interrupt in {max_cycles} cycles")

    def hard_reset(self) -> None:
        """Reset by `aresetn`, the bus models included."""
        resume(self.top.reset)()

    @property
    def interrupt(self) -> bool:
        """The interrupt line."""
        return bool(self.top.dut.interrupt.value)


class Top:
    """Everything around the accelerator. `pause`: probability of a pause, a cycle and channel."""

    def __init__(self, dut, pause: float) -> None:
        self.dut, self.pause = dut, pause
        self.config: Config = harness.parameters()["config"]
        self.hub = hub_of(dut, "aclk")
        self.hub.driven |= set(_bus_inputs())
        clock, reset = dut.aclk, dut.aresetn
        self.target = Target()
        self.memory = AxiSlave(
            AxiBus.from_prefix(dut, "m_axi"), clock, reset, target=self.target, reset_active_level=False
        )
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), clock, reset, reset_active_level=False)
        bus = self.config.bus
        self.monitor = AxiMonitor(
            dut, "m_axi_", data_bytes=bus.bytes, longest=bus.burst, outstanding=bus.outstanding, clock="aclk"
        )
        self.device = BenchDevice(self)

    async def begin(self) -> random.Random:
        """Reset and start the pauses. Returns the generator of the run."""
        rng = await harness.start(self.dut, **_CLOCK)
        if self.pause:
            for half in (self.memory, self.registers):
                channels = ("aw_channel", "w_channel", "b_channel"), ("ar_channel", "r_channel")
                for part, names in zip((half.write_if, half.read_if), channels, strict=True):
                    for name in names:
                        getattr(part, name).set_pause_generator(self._pauses(rng.random()))
        return rng

    def _pauses(self, seed: float):
        rng = random.Random(seed)
        return (rng.random() < self.pause for _ in itertools.count())

    async def host(self, work: Callable[[], Any]) -> None:
        """Run `work`, which uses `device`, to its end."""
        await bridge(work)()

    async def read(self, offset: int) -> bytes:
        """Bytes of a register. Errors: DeviceError."""
        answer = await self.registers.read(offset, REGISTER_BYTES)
        if answer.resp:
            raise DeviceError(f"register {offset:#x} cannot be read")
        return answer.data

    async def write(self, offset: int, value: int) -> None:
        """Write a register. Errors: DeviceError."""
        answer = await self.registers.write(offset, value.to_bytes(REGISTER_BYTES, "little"))
        if answer.resp:
            raise DeviceError(f"register {offset:#x} cannot be written")

    async def interrupted(self, max_cycles: int) -> bool:
        """Whether the interrupt comes within `max_cycles`."""
        if not int(self.dut.interrupt.value):
            timeout = Event()
            self.hub.wake_at(self.hub.cycle + max_cycles, timeout)
            await First(RisingEdge(self.dut.interrupt), timeout.wait())
        return bool(int(self.dut.interrupt.value))

    async def reset(self) -> None:
        """Reset by `aresetn`."""
        await harness.reset(self.dut, **_CLOCK)


def _bus_inputs() -> list[str]:
    slave = ("awready", "wready", "bid", "bresp", "bvalid", "arready", "rid", "rdata", "rresp", "rlast", "rvalid")
    master = (
        "awaddr",
        "awprot",
        "awvalid",
        "wdata",
        "wstrb",
        "wvalid",
        "bready",
        "araddr",
        "arprot",
        "arvalid",
        "rready",
    )
    return [*(f"m_axi_{name}" for name in slave), *(f"s_axi_{name}" for name in master)]
