"""The accelerator's RTL as a device: compiled Verilog, with its memory and bus modelled in C++."""

import ctypes
import enum
import weakref
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.sim.rtl.library import EVENT, ErrorRange, Library, Options, build, view
from celosia.sw.runtime.device import Bytes, Device, DeviceError


class Response(enum.IntEnum):
    """AXI responses that are errors."""

    SLVERR = 2
    DECERR = 3


class BusError(DeviceError):
    """A register access that the device answered with an error."""


class ProtocolError(DeviceError):
    """The RTL broke a rule of AXI; the message says in which cycle, and what."""


_INTERRUPT, _LIMIT, _PROTOCOL, _ERROR_RESPONSE = range(4)
_PIECE = 100_000
"""Cycles, less than a second, that run without a look at Python."""
_RESET_CYCLES = 8


class RtlDevice(Device):
    """A device on compiled RTL. Cycle counts are those of the hardware behind a memory of the given properties.

    `latency`: cycles from a read request to its first beat, and from the last beat of a write to its response (0: the
    first cycle that AXI allows, which is the next one, as with 1). `bandwidth`: beats a cycle of each direction, at
    most 1. `stalls`: probability that a channel pauses in a cycle, drawn from `seed`. `outstanding`: requests that the
    memory takes before it has answered. `memory_bytes`: size of the memory, which starts at address 0. `component`:
    simulate this one instead of the accelerator of `config`. `cycles`: clock cycles since reset.
    """

    name = "rtl"

    def __init__(
        self,
        config: Config,
        *,
        latency: int = 20,
        bandwidth: float = 1.0,
        stalls: float = 0.0,
        seed: int = 0,
        outstanding: int = 16,
        memory_bytes: int = 0,
        component: Any = None,
    ) -> None:
        self.config = config
        self._options = _options(latency, bandwidth, stalls, seed, outstanding)
        self._library = Library(build(config, component))
        self._handle = self._library.create(memory_bytes, self._options)
        weakref.finalize(self, self._library.destroy, self._handle)

    def read_register(self, offset: int) -> int:
        """See `Device`. A real AXI4-Lite transaction. Errors: BusError, ProtocolError."""
        value = ctypes.c_uint32()
        self._judge(self._library.read_register(self._handle, offset, value), f"register {offset:#x} cannot be read")
        return value.value

    def write_register(self, offset: int, value: int) -> None:
        """See `Device`. A real AXI4-Lite transaction. Errors: BusError, ProtocolError."""
        self._judge(
            self._library.write_register(self._handle, offset, value), f"register {offset:#x} cannot be written"
        )

    def read_memory(self, address: int, size: int) -> Bytes:
        """See `Device`."""
        return self.memory[self._range(address, size)].copy()

    def write_memory(self, address: int, data: Bytes) -> None:
        """See `Device`."""
        data = (
            np.frombuffer(data, np.uint8) if isinstance(data, (bytes, bytearray)) else data.reshape(-1).view(np.uint8)
        )
        self.memory[self._range(address, data.size)] = data

    def wait(self, max_cycles: int) -> int:
        """See `Device`; the cycles that passed. Errors: DeviceError after `max_cycles`, ProtocolError."""
        before, status, left = self.cycles, _LIMIT, max_cycles
        while status == _LIMIT and left:
            # In pieces, so that Ctrl-C is seen.
            piece = min(left, _PIECE)
            status = self._library.run(self._handle, piece)
            left -= piece
        self._judge(status, f"no interrupt in {max_cycles} cycles")
        return self.cycles - before

    def reserve(self, size: int) -> None:
        """See `Device`. Views of `memory` that were taken before are void."""
        self._library.reserve(self._handle, size)

    @property
    def memory(self) -> Bytes:
        """The memory itself, without a copy; void after `reserve`."""
        return view(self._library.memory(self._handle), self._library.memory_bytes(self._handle))

    @property
    def cycles(self) -> int:
        """Clock cycles since the device was made."""
        return self._library.cycles(self._handle)

    @property
    def beats(self) -> tuple[int, int]:
        """Beats that were read and written on the memory bus."""
        return self._library.beats_read(self._handle), self._library.beats_written(self._handle)

    @property
    def interrupt(self) -> bool:
        """The interrupt line."""
        return bool(self._library.interrupt(self._handle))

    def step(self, cycles: int) -> None:
        """Let `cycles` cycles pass, whatever the interrupt does. Errors: ProtocolError."""
        self._check(self._library.step(self._handle, cycles))

    def reset(self) -> None:
        """Hard reset, at any moment: of the accelerator and of what the bus has under way. Memory stays."""
        self._library.reset(self._handle, _RESET_CYCLES)

    def set_bus(
        self, *, latency: int = 20, bandwidth: float = 1.0, stalls: float = 0.0, seed: int = 0, outstanding: int = 16
    ) -> None:
        """Change the properties of the memory."""
        self._options = _options(latency, bandwidth, stalls, seed, outstanding)
        self._library.set_options(self._handle, self._options)

    def inject_error(
        self, begin: int, end: int, response: Response = Response.SLVERR, *, reads: bool = True, writes: bool = True
    ) -> None:
        """Answer accesses to addresses begin ... end - 1 with an error from now on."""
        self._library.inject(self._handle, ErrorRange(begin, end, reads, writes, response))

    def clear_errors(self) -> None:
        """Forget all injected errors."""
        self._library.clear_errors(self._handle)

    def record(self, on: bool = True) -> None:
        """Start recording activity (afresh), or stop."""
        self._library.trace(self._handle, on)

    @property
    def events(self) -> npt.NDArray[Any]:
        """What was recorded: a copy, fields of `library.EVENT`."""
        return view(self._library.events(self._handle), self._library.event_count(self._handle), EVENT).copy()

    def _range(self, address: int, size: int) -> slice:
        end = self._library.memory_bytes(self._handle)
        if address < 0 or size < 0 or address + size > end:
            raise DeviceError(
                f"addresses must be within the {end} bytes of memory, not {address:#x} ... {address + size:#x}"
            )
        return slice(address, address + size)

    def _check(self, status: int) -> None:
        if status == _PROTOCOL:
            raise ProtocolError(self._library.complaint(self._handle).decode())

    def _judge(self, status: int, message: str) -> None:
        self._check(status)
        if status == _ERROR_RESPONSE:
            raise BusError(f"{message}: the device answered with an error")
        if status == _LIMIT:
            raise DeviceError(message)


def _options(latency: int, bandwidth: float, stalls: float, seed: int, outstanding: int) -> Options:
    if not 0 <= latency < 1 << 31:
        raise ValueError(f"latency must be at least 0, not {latency!r}")
    if not 0 < bandwidth <= 1:
        raise ValueError(f"bandwidth must be above 0 and at most 1 beat a cycle, not {bandwidth!r}")
    if not 0 <= stalls < 1:
        raise ValueError(f"stalls must be from 0 to below 1, not {stalls!r}")
    if outstanding < 1:
        raise ValueError(f"outstanding must be at least 1, not {outstanding!r}")
    rate = Fraction(bandwidth).limit_denominator(256)
    return Options(seed & 0xFFFFFFFFFFFFFFFF, stalls, latency, rate.numerator, rate.denominator, outstanding)
