"""The host driver: puts a program and its data into memory, runs it, reads the results and the counters."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celosia.hw.isa import MAGIC, Trap, Unit
from celosia.hw.registers import BY_NAME, COUNTERS, Activity, counter_offset
from celosia.sw.compiler.program import CONSTANTS, PROGRAM, Program, TensorImage
from celosia.sw.compiler.tensors import from_blocked, round_up, to_blocked
from celosia.sw.runtime.device import Bytes, Device, DeviceError

WINDOW_ALIGN = 4096
DEFAULT_MAX_CYCLES = 1 << 40


class TrapReportError(DeviceError):
    """The accelerator stopped with a trap."""

    def __init__(self, code: int, address: int, pc: int) -> None:
        self.code, self.address, self.pc = Trap(code), address, pc
        super().__init__(f"the accelerator stopped: {self.code.name} at address {address:#x}, instruction {pc}")


@dataclass(frozen=True)
class Counters:
    """The hardware's counters after a run, by name (`celosia.hw.registers.COUNTERS`)."""

    values: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    @property
    def cycles(self) -> int:
        """Cycles of the run."""
        return self.values["CYCLES"]

    def activity(self, unit: Unit) -> dict[str, int]:
        """Cycles of a unit by activity; IDLE is what is left."""
        counted = {a.name: self.values[f"{unit.name}_{a.name}"] for a in Activity if a is not Activity.IDLE}
        return counted | {Activity.IDLE.name: self.cycles - sum(counted.values())}


class Driver:
    """Runs one program, any number of times, on a device."""

    def __init__(self, device: Device, program: Program) -> None:
        self.device, self.program = device, program
        if self._read("MAGIC") != MAGIC:
            raise DeviceError(f"this is no accelerator: its first own register reads {self._read('MAGIC'):#x}")
        self.bases: list[int] = []
        end = 0
        for size in program.sizes:
            self.bases.append(end)
            end = round_up(end + size, WINDOW_ALIGN)
        device.reserve(end)
        device.write_memory(self.bases[PROGRAM], np.frombuffer(program.code, np.uint8))
        device.write_memory(self.bases[CONSTANTS], program.constants)

    def run(self, max_cycles: int = DEFAULT_MAX_CYCLES, **inputs: npt.NDArray) -> dict[str, npt.NDArray]:
        """Outputs by name for inputs by name. Errors: TrapReportError, DeviceError."""
        for name, image in self.program.inputs.items():
            self._write_tensor(image, inputs[name])
        for index, (base, size) in enumerate(zip(self.bases, self.program.sizes, strict=True)):
            self._write(f"WINDOW{index}_BASE_LO", base & 0xFFFFFFFF)
            self._write(f"WINDOW{index}_BASE_HI", base >> 32)
            self._write(f"WINDOW{index}_SIZE", size)
        self._write("PROGRAM", 0)
        self._write("GIE", 1)
        self._write("IER", 3)
        self._write("ISR", 3)
        self._write("CTRL", 1)
        self.device.wait(max_cycles)
        self._write("ISR", 3)
        if code := self._read("TRAP_CODE"):
            address = self._read("TRAP_ADDRESS_LO") | self._read("TRAP_ADDRESS_HI") << 32
            raise TrapReportError(code, address, self._read("TRAP_PC"))
        return {name: self._read_tensor(image) for name, image in self.program.outputs.items()}

    def soft_reset(self) -> None:
        """Make the accelerator usable after a trap."""
        self._write("CTRL", 1 << 8)
        for _ in range(1000):
            if not self._read("CTRL") >> 8 & 1:
                return
        raise DeviceError("the accelerator does not come out of its soft reset")

    def counters(self) -> Counters:
        """The counters of the last run."""
        read = self.device.read_register
        return Counters({n: read(counter_offset(n)) | read(counter_offset(n) + 4) << 32 for n in COUNTERS})

    def memory(self) -> Bytes:
        """Every byte of the program's windows, for comparing devices."""
        return self.device.read_memory(0, self.bases[-1] + self.program.sizes[-1])

    def _read(self, name: str) -> int:
        return self.device.read_register(BY_NAME[name].offset)

    def _write(self, name: str, value: int) -> None:
        self.device.write_register(BY_NAME[name].offset, value)

    def _write_tensor(self, image: TensorImage, value: npt.NDArray) -> None:
        if value.shape != image.shape:
            raise ValueError(f"the program takes a tensor of shape {image.shape}, not {value.shape}")
        word = self.program.config.word_bytes
        for tile in image.tiles:
            padded = np.zeros((tile.rows_padded, tile.channels), image.dtype)
            part = value[tile.row : tile.row + tile.rows, tile.channel : tile.channel + tile.channels]
            padded[: part.shape[0], : part.shape[1]] = part
            self.device.write_memory(self.bases[image.window] + tile.offset, to_blocked(padded, word))

    def _read_tensor(self, image: TensorImage) -> npt.NDArray:
        word = self.program.config.word_bytes
        rows = max(tile.row + tile.rows for tile in image.tiles)
        channels = max(tile.channel + tile.channels for tile in image.tiles)
        value = np.zeros((rows, channels), image.dtype)
        for tile in image.tiles:
            size = tile.rows_padded * tile.channels * value.itemsize
            raw = self.device.read_memory(self.bases[image.window] + tile.offset, size)
            matrix = from_blocked(raw, tile.rows_padded, tile.channels, image.dtype, word)
            value[tile.row : tile.row + tile.rows, tile.channel : tile.channel + tile.channels] = matrix[: tile.rows]
        return value[: image.shape[0], : image.shape[1]]
