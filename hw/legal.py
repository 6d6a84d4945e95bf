"""Which instructions an accelerator executes."""

from celosia.hw.config import COPROCESSOR
from celosia.hw.isa import Opcode

HDP_OPCODES = (Opcode.DECIDE, Opcode.KEYS)
"""Opcodes of accelerators with HDP: illegal in others."""
RATE_OPCODES = (Opcode.KEYS,)
"""Those of accelerators with a nibble rate above 1."""
COPROCESSOR_OPCODES = (Opcode.END, Opcode.LOAD, Opcode.ATTEND, Opcode.STORE)
"""Opcodes of co-processors, which have no others. ATTEND is illegal in other accelerators."""


def executes(opcode: Opcode, rate: int) -> bool:
    """Whether it is legal in an accelerator of nibble rate `rate` (`Config.rate`)."""
    if rate == COPROCESSOR or opcode is Opcode.ATTEND:
        return rate == COPROCESSOR and opcode in COPROCESSOR_OPCODES
    return rate > 1 or opcode not in (RATE_OPCODES if rate else HDP_OPCODES)
