"""A program's instructions as columns: every field of an opcode for all its instructions at once."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from celosia.hw.isa import INSTRUCTION_BYTES, Opcode
from celosia.sw.compiler.codec import Field, layout_fields
from celosia.sw.compiler.program import Program

Column = npt.NDArray[np.int64]
_WIDEST = 57
"""Bits of a field that begins anywhere in a byte and ends within the eight bytes from there."""


class Columns:
    """Instructions of `program`, END included, by opcode. Decoding them one by one takes ten times as long."""

    def __init__(self, program: Program) -> None:
        raw = np.frombuffer(program.code, np.uint8).reshape(-1, INSTRUCTION_BYTES)[1:]
        # A field may begin in the last byte and is read with the seven that follow.
        self._raw = np.pad(raw, ((0, 0), (0, 8)))

    @cached_property
    def opcodes(self) -> list[Opcode]:
        """Those that occur."""
        return [Opcode(int(code)) for code in np.unique(self._raw[:, 0])]

    def places(self, opcode: Opcode) -> Column:
        """Numbers of the instructions of an opcode."""
        return np.flatnonzero(self._raw[:, 0] == opcode.value)

    def field(self, opcode: Opcode, name: str) -> Column:
        """A field of all instructions of an opcode.

        Errors: KeyError when the opcode has none of that name, ValueError when it does not fit into a number.
        """
        field = layout_fields(opcode)[name]
        if field.width > _WIDEST:
            raise ValueError(f"{name} has {field.width} bits, a column at most {_WIDEST}")
        return _extract(self._raw[self.places(opcode)], field)

    def fields(self, opcode: Opcode, *names: str) -> list[list[int]]:
        """Several fields, as lists of plain numbers."""
        return [self.field(opcode, name).tolist() for name in names]


def _extract(rows: npt.NDArray[np.uint8], field: Field) -> Column:
    first, shift = divmod(field.offset, 8)
    word = np.ascontiguousarray(rows[:, first : first + 8]).view("<u8")[:, 0] >> np.uint64(shift)
    value = (word & np.uint64((1 << field.width) - 1)).astype(np.int64)
    return np.where(value > field.high, value - (1 << field.width), value) if field.signed else value
