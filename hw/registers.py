"""The register map: one description for hardware, driver, C header and documentation.

4 KiB of 32-bit registers. The first four are those of Vitis HLS block control (`ap_ctrl_hs`), so that drivers written
for that protocol start the accelerator and take its interrupt. An access to an offset that is not listed answers
SLVERR; a write to a read-only register does nothing.
"""

import enum as pyenum
from dataclasses import dataclass

from amaranth.lib import enum
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.config import GELU_KERNELS, SOFTMAX_KERNELS, Config
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.hdp.core.config import BLOCK

ADDRESS_BITS = 12
"""Width of a register's byte address."""
REGISTER_BYTES = 4
GENERATOR_VERSION = (0, 1)
"""Major and minor version of this package, as the VERSION register tells them."""


class Activity(enum.Enum, shape=3):
    """What a unit does in a cycle; WAIT_x: it is idle and its next instruction waits for a token of unit x (the lowest
    one missing).

    The first four codes are those of `celosia.hw.interfaces.Status`.
    """

    IDLE = 0
    BUSY = 1
    STALL_IN = 2
    STALL_OUT = 3
    WAIT_LOAD = 4
    WAIT_ARRAY = 5
    WAIT_POST = 6
    WAIT_STORE = 7


class Access(pyenum.StrEnum):
    """How software may use a register or a field."""

    RO = "read only"
    RW = "read and write"
    RC = "read only, cleared by reading"
    W1S = "write 1 to set, hardware clears"
    W1C = "write 1 to clear"


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits `lsb` ... `lsb + width - 1` of a register."""

    name: str
    lsb: int
    width: int = 1
    access: Access
    text: str

    @property
    def mask(self) -> int:
        """The field's bits within the register."""
        return ((1 << self.width) - 1) << self.lsb


@dataclass(frozen=True, kw_only=True)
class Register:
    """A 32-bit register at byte `offset`. Without `fields` it is one number. `reset`: its value after a hard reset."""

    name: str
    offset: int
    access: Access
    text: str
    reset: int = 0
    fields: tuple[Field, ...] = ()

    def field(self, name: str) -> Field:
        """The field of that name. Errors: KeyError."""
        return {field.name: field for field in self.fields}[name]


COUNTERS: tuple[str, ...] = (
    "CYCLES",
    "INSTRUCTIONS",
    "BYTES_READ",
    "BYTES_WRITTEN",
    *(f"{unit.name}_{activity.name}" for unit in isa.Unit for activity in Activity if activity != Activity.IDLE),
)
"""The counters. Each is two registers, name_LO and name_HI."""

_COUNTER_BASE = 0x100
_UNIT_COUNTERS = len(Activity) - 1
_COUNTER_TEXTS = {
    "CYCLES": "Cycles since start.",
    "INSTRUCTIONS": "Instructions dispatched, END included.",
    "BYTES_READ": "Bytes that LOAD received: its data beats times the width of the bus.",
    "BYTES_WRITTEN": "Bytes that STORE sent: its data beats times the width of the bus.",
}
_ACTIVITY_TEXTS = {
    Activity.BUSY: "works",
    Activity.STALL_IN: "waits for its input (STALL_IN)",
    Activity.STALL_OUT: "waits for its output or second input (STALL_OUT)",
}


def counter_offset(name: str) -> int:
    """Offset of a counter's low half: common counters first, then 64 bytes a unit. Errors: ValueError on an unknown
    name."""
    if name not in COUNTERS:
        raise ValueError(f"name must be one of COUNTERS, not {name!r}")
    index = COUNTERS.index(name)
    common = len(_COUNTER_TEXTS)
    if index < common:
        return _COUNTER_BASE + 8 * index
    unit, counter = divmod(index - common, _UNIT_COUNTERS)
    return _COUNTER_BASE + 0x40 * (unit + 1) + 8 * counter


def _counter_text(name: str) -> str:
    if name in _COUNTER_TEXTS:
        return _COUNTER_TEXTS[name]
    unit, _, activity = name.partition("_")
    code = Activity[activity]
    if code in _ACTIVITY_TEXTS:
        return f"Cycles in which {unit} {_ACTIVITY_TEXTS[code]}."
    return f"Cycles in which {unit} is idle and waits for a token of {activity.removeprefix('WAIT_')}."


def _bit(name: str, lsb: int, access: Access, text: str) -> Field:
    return Field(name=name, lsb=lsb, access=access, text=text)


def _log2(name: str, lsb: int, width: int, what: str) -> Field:
    return Field(name=name, lsb=lsb, width=width, access=Access.RO, text=f"log2 of {what}.")


_CONTROL = (
    Register(
        name="CTRL",
        offset=0x00,
        access=Access.RW,
        reset=0b0100,
        text="Start and state.",
        fields=(
            _bit("START", 0, Access.W1S, "Write 1: run the program at PROGRAM. Reads 1 until the run has ended."),
            _bit("DONE", 1, Access.RC, "A run has ended, by END or by a trap. Cleared by reading CTRL and by START."),
            _bit("IDLE", 2, Access.RO, "Nothing runs."),
            _bit("READY", 3, Access.RC, "Same as DONE: the next run may be started."),
            _bit("AUTO_RESTART", 7, Access.RW, "Start again when END has been reached. A trap or SOFT_RESET stops it."),
            _bit(
                "SOFT_RESET",
                8,
                Access.W1S,
                "Write 1: stop, let the bus drain, reset the units and the run. Reads 1 until done. Clears START, "
                "AUTO_RESTART, DONE and the trap; the other registers that the host wrote, and the counters, stay.",
            ),
        ),
    ),
    Register(
        name="GIE",
        offset=0x04,
        access=Access.RW,
        text="Global interrupt enable.",
        fields=(_bit("ENABLE", 0, Access.RW, "The interrupt is the OR of ISR when this is 1."),),
    ),
    Register(
        name="IER",
        offset=0x08,
        access=Access.RW,
        text="Interrupt enable: events that set ISR.",
        fields=(
            _bit("DONE", 0, Access.RW, "A run has ended, by END or by a trap."),
            _bit("TRAP", 1, Access.RW, "A run was ended by a trap."),
        ),
    ),
    Register(
        name="ISR",
        offset=0x0C,
        access=Access.W1C,
        text="Interrupt status: enabled events that happened. Write 1 to clear (writing back what was read clears "
        "it, as with the toggle bits of Vitis HLS).",
        fields=(
            _bit("DONE", 0, Access.W1C, "A run has ended, by END or by a trap."),
            _bit("TRAP", 1, Access.W1C, "A run was ended by a trap."),
        ),
    ),
)

_IDENTITY = (
    Register(name="MAGIC", offset=0x10, access=Access.RO, reset=isa.MAGIC, text='Reads "CLSA".'),
    Register(
        name="VERSION",
        offset=0x14,
        access=Access.RO,
        reset=isa.VERSION | GENERATOR_VERSION[1] << 16 | GENERATOR_VERSION[0] << 24,
        text="Versions.",
        fields=(
            Field(
                name="ISA", lsb=0, width=16, access=Access.RO, text="Instruction set; a program's header must agree."
            ),
            Field(name="MINOR", lsb=16, width=8, access=Access.RO, text="Generator, minor."),
            Field(name="MAJOR", lsb=24, width=8, access=Access.RO, text="Generator, major."),
        ),
    ),
    Register(
        name="CONFIG_HASH",
        offset=0x18,
        access=Access.RO,
        text="Hash of the configuration; a program's header must agree.",
    ),
    Register(
        name="GEOMETRY",
        offset=0x1C,
        access=Access.RO,
        text="Sizes.",
        fields=(
            _log2("ROWS", 0, 4, "the array's rows"),
            _log2("COLUMNS", 4, 4, "the array's columns"),
            _log2("LANES", 8, 4, "POST's lanes"),
            _log2("BUS", 12, 4, "the bytes of a bus beat"),
            _log2("SCRATCHPAD_BANKS", 16, 4, "the scratchpad's banks"),
            _log2("ACCUMULATOR_BANKS", 20, 4, "the accumulator's banks"),
            Field(name="ADDRESS_BITS", lsb=24, width=7, access=Access.RO, text="Width of a bus address."),
        ),
    ),
    Register(
        name="CAPABILITIES",
        offset=0x20,
        access=Access.RO,
        text="What POST can do.",
        fields=(
            *(
                _bit(f"SOFTMAX_{k.upper()}", i, Access.RO, f"Softmax kernel {k}.")
                for i, k in enumerate(SOFTMAX_KERNELS)
            ),
            *(
                _bit(f"GELU_{k.upper()}", i + 4, Access.RO, f"Activation kernel {k}.")
                for i, k in enumerate(GELU_KERNELS)
            ),
            Field(name="TABLE_BITS", lsb=8, width=4, access=Access.RO, text="Index width of the activation table."),
            _log2("MAX_CHANNELS", 12, 4, "the channels of the longest row"),
            _log2("STAT_ROWS", 16, 4, "the rows whose statistics are held"),
        ),
    ),
)

_RUN = (
    Register(
        name="PROGRAM",
        offset=0x24,
        access=Access.RW,
        text="Byte offset of the program's header in window 0; with the base, a multiple of the larger "
        "of 32 and the bus's bytes.",
    ),
    Register(name="WATCHDOG", offset=0x28, access=Access.RW, text="Cycles without progress that are a trap; 0: never."),
    Register(
        name="TRAP_CODE",
        offset=0x2C,
        access=Access.RO,
        text="Why the last run was stopped (`isa.Trap`), 0 if it was not.",
    ),
    Register(
        name="TRAP_ADDRESS_LO",
        offset=0x30,
        access=Access.RO,
        text="Faulting address, low half. SEMAPHORE_OVERFLOW: the pair, giver * 4 + receiver. WATCHDOG: what unit i "
        "does (`Activity`) in bits 4 * i ... 4 * i + 2. Illegal opcodes have none.",
    ),
    Register(name="TRAP_ADDRESS_HI", offset=0x34, access=Access.RO, text="Faulting address, high half."),
    Register(
        name="TRAP_PC",
        offset=0x38,
        access=Access.RO,
        text="Instruction of the trap, counted from 0: the one that is illegal or could not be fetched; for a fault in "
        "a unit, the one that the unit started last; for the watchdog, the next to be dispatched.",
    ),
)


def _window(index: int) -> tuple[Register, ...]:
    offset = 0x40 + 0x10 * index
    texts = ("base, low half", "base, high half", "size in bytes")
    return tuple(
        Register(
            name=f"WINDOW{index}_{part}",
            offset=offset + 4 * i,
            access=Access.RW,
            text=f"Memory window {index}: {text}.",
        )
        for i, (part, text) in enumerate(zip(("BASE_LO", "BASE_HI", "SIZE"), texts, strict=True))
    )


def _counter(name: str) -> tuple[Register, ...]:
    text, offset = _counter_text(name), counter_offset(name)
    return tuple(
        Register(
            name=f"{name}_{half}", offset=offset + 4 * i, access=Access.RO, text=f"{text} {('Low', 'High')[i]} half."
        )
        for i, half in enumerate(("LO", "HI"))
    )


REGISTERS: tuple[Register, ...] = (
    *_CONTROL,
    *_IDENTITY,
    *_RUN,
    *(register for index in range(isa.WINDOWS) for register in _window(index)),
    *(register for name in COUNTERS for register in _counter(name)),
)
"""Every register, by offset. Counters are cleared by a start and stand still when the run has ended; while it runs, a
counter is
read high, low, high until both high halves agree."""

BY_NAME: dict[str, Register] = {register.name: register for register in REGISTERS}


def identity(config: Config | CoprocessorConfig) -> dict[str, int]:
    """Values of the registers that tell what an accelerator of that configuration is."""
    if isinstance(config, CoprocessorConfig):
        return _identity(config, *_of_coprocessor(config))
    array, post = config.array, config.post
    geometry = {
        "ROWS": exact_log2(array.rows),
        "COLUMNS": exact_log2(array.columns),
        "LANES": exact_log2(post.lanes),
        "BUS": exact_log2(config.bus.bytes),
        "SCRATCHPAD_BANKS": exact_log2(config.scratchpad.banks),
        "ACCUMULATOR_BANKS": exact_log2(config.accumulator.banks),
        "ADDRESS_BITS": config.bus.address_bits,
    }
    capabilities = {
        f"SOFTMAX_{post.softmax.upper()}": 1,
        f"GELU_{post.gelu.upper()}": 1,
        "TABLE_BITS": post.table_bits,
        "MAX_CHANNELS": exact_log2(post.max_channels),
        "STAT_ROWS": exact_log2(config.accumulator.stat_rows),
    }
    return _identity(config, geometry, capabilities)


def _of_coprocessor(config: CoprocessorConfig) -> tuple[dict[str, int], dict[str, int]]:
    """Of a core, in the fields of the unit in whose place it is: queries and channels at once, codes of context."""
    core = config.core
    geometry = {
        "ROWS": exact_log2(BLOCK),
        "COLUMNS": exact_log2(core.width),
        "LANES": exact_log2(core.lanes),
        "BUS": exact_log2(config.bus.bytes),
        "ADDRESS_BITS": config.bus.address_bits,
    }
    return geometry, {"SOFTMAX_BASE2": int(core.softmax == "base2"), "MAX_CHANNELS": exact_log2(core.width)}


def _identity(
    config: Config | CoprocessorConfig, geometry: dict[str, int], capabilities: dict[str, int]
) -> dict[str, int]:
    return {
        "MAGIC": BY_NAME["MAGIC"].reset,
        "VERSION": BY_NAME["VERSION"].reset,
        "CONFIG_HASH": config.hash,
        "GEOMETRY": _pack("GEOMETRY", geometry),
        "CAPABILITIES": _pack("CAPABILITIES", capabilities),
    }


def _pack(register: str, values: dict[str, int]) -> int:
    return sum(value << BY_NAME[register].field(name).lsb for name, value in values.items())
