"""What travels inside control. Widths come from the instruction set and the configuration."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.legal import executes
from celosia.hw.registers import COUNTERS

PC_BITS = 27
"""Width of an instruction's number: as many as fit a memory window of 4 GiB."""


class Fetched(data.Struct):
    """An instruction and its number, from 0. `past`: there is none; the program has ended before it."""

    instruction: isa.INSTRUCTION_BITS
    pc: PC_BITS
    past: 1


class Cause(data.Struct):
    """Why control stops: a code, an address and the number of an instruction."""

    code: isa.Trap
    address: 64
    pc: PC_BITS


def used_bits(unit: isa.Unit, rate: int) -> int:
    """Bits of the unit's instructions without the reserved ones on top, which a queue need not hold."""
    layouts = [
        layout.as_shape() for opcode, layout in isa.LAYOUTS.items() if opcode.unit == unit and executes(opcode, rate)
    ]
    ends = [
        field.offset + field.width
        for layout in layouts
        for name, field in layout
        if not name.startswith("reserved") and (rate or name not in isa.HDP_FIELDS)
    ]
    return max(ends, default=isa.Head.as_shape().size)


class Queued(data.StructLayout):
    """An instruction in front of its unit: the bits that the unit uses, and its number."""

    def __init__(self, unit: isa.Unit, rate: int) -> None:
        super().__init__({"instruction": used_bits(unit, rate), "pc": PC_BITS})


class CountersSignature(wiring.Signature):
    """Values of all counters, by lower-case name, seen from the counters."""

    def __init__(self, config: Config) -> None:
        super().__init__({name.lower(): Out(config.control.counter_bits) for name in COUNTERS})
