"""The functional device: programs on golden functions, behind the same registers as the hardware."""

import random
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from celosia.hw.config import Config
from celosia.hw.control.requests import burst_beats
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.isa import INSTRUCTION_BYTES, MAGIC, UNITS, VERSION, WINDOWS, Opcode, Trap, Unit
from celosia.hw.legal import executes
from celosia.hw.registers import BY_NAME, REGISTERS, Activity, identity
from celosia.sw.compiler.codec import CodecError, Instruction, decode, header_fields, unpack
from celosia.sw.runtime.checks import TrapError
from celosia.sw.runtime.cores import CoprocessorMachine
from celosia.sw.runtime.device import Bytes, Device, DeviceError
from celosia.sw.runtime.machine import Machine

_OFFSETS = {register.offset: register for register in REGISTERS}
SEMAPHORE_LIMIT = 255


def machine_of(config: Config, late: bool = False) -> Machine | CoprocessorMachine:
    """What an accelerator is inside. `late`: see `Machine`."""
    return CoprocessorMachine(config) if isinstance(config, CoprocessorConfig) else Machine(config, late)


class FunctionalDevice(Device):
    """Executes programs instruction by instruction; it has no notion of cycles.

    `seed`: None runs the units in turn; a number picks, at every step, a random unit among those whose tokens are
    there, so that a program whose tokens do not keep its dependencies gives other results. `gathered`: the keys
    that each gather instruction of the last run worked on, by its number, or the blocks that each ATTEND kept.
    """

    name = "functional"

    def __init__(self, config: Config, seed: int | None = None) -> None:
        self.config = config
        self.machine = machine_of(config, late=seed is not None)
        self.random = random.Random(seed) if seed is not None else None
        self.registers = {register.offset: register.reset for register in REGISTERS}
        self.registers |= {BY_NAME[name].offset: value for name, value in identity(config).items()}
        self.executed = 0
        self.gathered: dict[int, npt.NDArray[Any]] = {}

    def read_register(self, offset: int) -> int:
        """A register. Errors: DeviceError when there is none at `offset`."""
        if offset not in _OFFSETS:
            raise DeviceError(f"there is no register at {offset:#x}")
        return self.registers[offset]

    def write_register(self, offset: int, value: int) -> None:
        """Write a register; CTRL bit 0 runs the program to its end, bit 8 resets the on-chip state."""
        if offset not in _OFFSETS:
            raise DeviceError(f"there is no register at {offset:#x}")
        name = _OFFSETS[offset].name
        if name == "CTRL":
            if value >> 8 & 1:
                self._reset()
            elif value & 1:
                self._run()
        elif name == "ISR":
            self.registers[offset] &= ~value
        else:
            self.registers[offset] = value & 0xFFFFFFFF

    def read_memory(self, address: int, size: int) -> Bytes:
        """Bytes of memory."""
        return self.machine.memory[address : address + size].copy()

    def write_memory(self, address: int, data: Bytes) -> None:
        """Write bytes."""
        self.machine.memory[address : address + len(data)] = data

    def reserve(self, size: int) -> None:
        """Grow the memory."""
        memory = self.machine.memory
        if size > len(memory):
            self.machine.memory = np.concatenate([memory, np.zeros(size - len(memory), np.uint8)])

    def wait(self, max_cycles: int) -> int:
        """A run is over as soon as it was started. Errors: DeviceError when none was."""
        if not self._register("CTRL") & 2:
            raise DeviceError("nothing was started")
        return 0

    def _register(self, name: str) -> int:
        return self.registers[BY_NAME[name].offset]

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self.registers[BY_NAME[name].offset] = value & 0xFFFFFFFF

    def _reset(self) -> None:
        memory, self.machine = self.machine.memory, machine_of(self.config, self.random is not None)
        self.machine.memory = memory
        self._set(CTRL=BY_NAME["CTRL"].reset, TRAP_CODE=0, TRAP_ADDRESS_LO=0, TRAP_ADDRESS_HI=0, TRAP_PC=0)

    def _wide(self, name: str) -> int:
        return self._register(f"{name}_LO") | self._register(f"{name}_HI") << 32

    def _run(self) -> None:
        machine = self.machine
        machine.windows = [(self._wide(f"WINDOW{i}_BASE"), self._register(f"WINDOW{i}_SIZE")) for i in range(WINDOWS)]
        machine.bytes_read = machine.bytes_written = self.executed = 0
        self.gathered = {}
        trap = TrapError(Trap.NONE)
        try:
            instructions, end = self._fetch()
            self._execute(instructions, end)
        except TrapError as error:
            trap = error
        ended = trap.code is Trap.NONE
        self._set(
            TRAP_CODE=trap.code.value, TRAP_ADDRESS_LO=trap.address, TRAP_ADDRESS_HI=trap.address >> 32,
            TRAP_PC=trap.pc or 0, INSTRUCTIONS_LO=self.executed + ended,
            BYTES_READ_LO=machine.bytes_read, BYTES_READ_HI=machine.bytes_read >> 32,
            BYTES_WRITTEN_LO=machine.bytes_written, BYTES_WRITTEN_HI=machine.bytes_written >> 32,
            CTRL=0b1110,
        )  # fmt: skip

    def _fetch(self) -> tuple[list[Instruction], TrapError | None]:
        """The instructions before END, and what ends the program if it is not END. Errors: TrapError."""
        base, size = self.machine.windows[0]
        start = self._register("PROGRAM")
        if (base + start) % max(INSTRUCTION_BYTES, self.config.bus.bytes):
            raise TrapError(Trap.MISALIGNED, (base + start) // self.config.bus.bytes * self.config.bus.bytes)
        if (outside := beyond_window(self.config, base, start, size, 0)) is not None:
            raise outside
        header = unpack(header_fields(), bytes(self.read_memory(base + start, INSTRUCTION_BYTES)))
        wanted = {"magic": MAGIC, "version": VERSION, "config_hash": self.config.hash}
        if any(header[name] != value for name, value in wanted.items()):
            raise TrapError(Trap.BAD_HEADER, base + start)
        count = header["instructions"]
        outside = beyond_window(self.config, base, start, size, count)
        instructions: list[Instruction] = []
        for pc in range(count if outside is None else outside.pc or 0):
            raw = self.read_memory(base + start + INSTRUCTION_BYTES * (pc + 1), INSTRUCTION_BYTES)
            try:
                one = decode(bytes(raw))
            except CodecError:
                return instructions, TrapError(Trap.ILLEGAL_INSTRUCTION, pc=pc)
            if one.opcode is Opcode.END:
                return instructions, None
            if not executes(one.opcode, self.config.rate):
                return instructions, TrapError(Trap.ILLEGAL_INSTRUCTION, pc=pc)
            instructions.append(one)
        return instructions, outside or TrapError(Trap.ILLEGAL_INSTRUCTION, pc=count)

    def _execute(self, instructions: list[Instruction], end: TrapError | None) -> None:
        """Run the four queues until they are empty, then raise `end`. Errors: TrapError, DeviceError on a deadlock."""
        queues: list[deque[tuple[int, Instruction]]] = [deque() for _ in range(UNITS)]
        for pc, one in enumerate(instructions):
            if one.unit is not None:
                queues[one.unit].append((pc, one))
        tokens = [[0] * UNITS for _ in range(UNITS)]  # tokens[consumer][producer]

        def missing(unit: int) -> list[int]:
            wait = queues[unit][0][1].wait
            return [p for p in range(UNITS) if wait >> p & 1 and not tokens[unit][p]]

        while any(queues):
            able = [unit for unit in range(UNITS) if queues[unit] and not missing(unit)]
            if not able:
                raise end or self._deadlock(queues, {unit: missing(unit) for unit in range(UNITS) if queues[unit]})
            unit = self.random.choice(able) if self.random else able[-1]
            pc, one = queues[unit].popleft()
            for producer in range(UNITS):
                tokens[unit][producer] -= one.wait >> producer & 1
            self._step(pc, one)
            for consumer in range(UNITS):
                tokens[consumer][unit] += one.signal >> consumer & 1
                if tokens[consumer][unit] > SEMAPHORE_LIMIT:
                    raise TrapError(Trap.SEMAPHORE_OVERFLOW, unit * UNITS + consumer, pc)
        if end is not None:
            raise end

    def _step(self, pc: int, one: Instruction) -> None:
        try:
            kept: npt.NDArray[Any] | None = self.machine.execute(one)
        except TrapError as error:
            raise TrapError(error.code, error.address, pc) from None
        if kept is not None:
            self.gathered[pc] = kept
        self.executed += 1

    def _deadlock(self, queues: list[deque[tuple[int, Instruction]]], missing: dict[int, list[int]]) -> Exception:
        """What a program that waits forever ends in: the watchdog's trap if it is on."""
        if not self._register("WATCHDOG"):
            heads = ", ".join(f"{Unit(u).name} waits {queues[u][0][1].wait:#x}" for u in missing)
            return DeviceError(f"the program is deadlocked after {self.executed} instructions: {heads}")
        waits = (Activity[f"WAIT_{Unit(lacking[0]).name}"].value << 4 * unit for unit, lacking in missing.items())
        # A queue that is full keeps all that follows from being dispatched.
        full = [queue[self.config.control.queue][0] for queue in queues if len(queue) > self.config.control.queue]
        total = self.executed + sum(len(queue) for queue in queues)
        return TrapError(Trap.WATCHDOG, sum(waits), min(full, default=total + 1))


def beyond_window(config: Config, base: int, start: int, size: int, count: int) -> TrapError | None:
    """The trap of a program of `count` instructions at byte `start` of a window that it does not fit into.

    Its address is that of the first burst which leaves the window.
    """
    beat = config.bus.bytes
    beats, most = -(-INSTRUCTION_BYTES * (count + 1) // beat), burst_beats(config)
    first = -(-INSTRUCTION_BYTES // beat)
    asked, address = 0, (base + start) // beat
    if start // beat + beats <= size // beat:
        return None
    while True:
        # The header is read alone: it tells how much follows.
        left = (first if asked < first else beats) - asked
        burst = min(left, most - address % most)
        if start // beat + asked + burst > size // beat:
            return TrapError(Trap.MEMORY_WINDOW, address * beat, max(asked * beat // INSTRUCTION_BYTES - 1, 0))
        asked, address = asked + burst, address + burst
