"""The functional device: programs on golden functions, behind the same registers as the hardware."""

import random
from collections import deque

import numpy as np

from celosia.hw.config import Config
from celosia.hw.isa import INSTRUCTION_BYTES, UNITS, WINDOWS, Trap, Unit
from celosia.hw.registers import BY_NAME, REGISTERS, identity
from celosia.sw.compiler.codec import Instruction
from celosia.sw.compiler.program import ProgramError, parse
from celosia.sw.runtime.device import Bytes, Device, DeviceError
from celosia.sw.runtime.machine import Machine, TrapError

_OFFSETS = {register.offset: register for register in REGISTERS}
SEMAPHORE_LIMIT = 255


class FunctionalDevice(Device):
    """Executes programs instruction by instruction; it has no notion of cycles.

    `seed`: None runs the units in turn; a number picks, at every step, a random unit among those whose tokens are
    there, so that a program whose tokens do not keep its dependencies gives other results.
    """

    name = "functional"

    def __init__(self, config: Config, seed: int | None = None) -> None:
        self.config = config
        self.machine = Machine(config)
        self.random = random.Random(seed) if seed is not None else None
        self.registers = {register.offset: register.reset for register in REGISTERS}
        self.registers |= {BY_NAME[name].offset: value for name, value in identity(config).items()}
        self.executed = 0

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

    def wait(self, max_cycles: int) -> None:
        """A run is over as soon as it was started. Errors: DeviceError when none was."""
        if not self._register("CTRL") & 2:
            raise DeviceError("nothing was started")

    def _register(self, name: str) -> int:
        return self.registers[BY_NAME[name].offset]

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self.registers[BY_NAME[name].offset] = value & 0xFFFFFFFF

    def _reset(self) -> None:
        memory, self.machine = self.machine.memory, Machine(self.config)
        self.machine.memory = memory
        self._set(CTRL=BY_NAME["CTRL"].reset, TRAP_CODE=0, TRAP_ADDRESS_LO=0, TRAP_ADDRESS_HI=0, TRAP_PC=0)

    def _wide(self, name: str) -> int:
        return self._register(f"{name}_LO") | self._register(f"{name}_HI") << 32

    def _run(self) -> None:
        machine = self.machine
        machine.windows = [(self._wide(f"WINDOW{i}_BASE"), self._register(f"WINDOW{i}_SIZE")) for i in range(WINDOWS)]
        machine.bytes_read = machine.bytes_written = self.executed = 0
        trap, pc = TrapError(Trap.NONE), 0
        try:
            instructions = self._fetch()
            pc = len(instructions)
            self._execute(instructions)
        except TrapError as error:
            trap, pc = error, self.executed
        self._set(
            TRAP_CODE=trap.code.value, TRAP_ADDRESS_LO=trap.address, TRAP_ADDRESS_HI=trap.address >> 32, TRAP_PC=pc,
            INSTRUCTIONS_LO=self.executed, BYTES_READ_LO=machine.bytes_read, BYTES_READ_HI=machine.bytes_read >> 32,
            BYTES_WRITTEN_LO=machine.bytes_written, BYTES_WRITTEN_HI=machine.bytes_written >> 32,
            CTRL=0b1110,
        )  # fmt: skip

    def _fetch(self) -> list[Instruction]:
        base, size = self.machine.windows[0]
        start = self._register("PROGRAM")
        if start + INSTRUCTION_BYTES > size:
            raise TrapError(Trap.MEMORY_WINDOW, base + start)
        head = bytes(self.read_memory(base + start, INSTRUCTION_BYTES))
        count = int.from_bytes(head[12:16], "little")
        code = bytes(self.read_memory(base + start, INSTRUCTION_BYTES * (count + 1)))
        try:
            return parse(code, self.config)
        except ProgramError as error:
            illegal = "illegal opcode" in str(error)
            raise TrapError(Trap.ILLEGAL_INSTRUCTION if illegal else Trap.BAD_HEADER) from error

    def _execute(self, instructions: list[Instruction]) -> None:
        """Run the four queues until they are empty. Errors: DeviceError on a deadlock."""
        queues: list[deque[Instruction]] = [deque() for _ in range(UNITS)]
        for one in instructions:
            if one.unit is not None:
                queues[one.unit].append(one)
        tokens = [[0] * UNITS for _ in range(UNITS)]  # tokens[consumer][producer]

        def runnable(unit: int) -> bool:
            wait = queues[unit][0].wait if queues[unit] else 0
            return bool(queues[unit]) and all(tokens[unit][p] for p in range(UNITS) if wait >> p & 1)

        while any(queues):
            able = [unit for unit in range(UNITS) if runnable(unit)]
            if not able:
                heads = ", ".join(f"{Unit(u).name} waits {queues[u][0].wait:#x}" for u in range(UNITS) if queues[u])
                raise DeviceError(f"the program is deadlocked after {self.executed} instructions: {heads}")
            unit = self.random.choice(able) if self.random else able[-1]
            one = queues[unit].popleft()
            for producer in range(UNITS):
                tokens[unit][producer] -= one.wait >> producer & 1
            self.machine.execute(one)
            self.executed += 1
            for consumer in range(UNITS):
                tokens[consumer][unit] += one.signal >> consumer & 1
                if tokens[consumer][unit] > SEMAPHORE_LIMIT:
                    raise TrapError(Trap.SEMAPHORE_OVERFLOW, unit * UNITS + consumer)
