"""Encoding and decoding of instructions, derived from the layouts of `celosia.hw.isa`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Shape
from amaranth.lib import data

from celosia.hw import isa
from celosia.hw.isa import INSTRUCTION_BYTES, Opcode, Unit
from celosia.hw.post.kernels.ibert import GeluConstants

_PIECE = 56
"""Bits of a piece of a field that begins anywhere in a byte and ends within the eight bytes from there."""


@dataclass(frozen=True)
class Field:
    """Position of a field in an instruction: first bit, width in bits, two's complement or not."""

    offset: int
    width: int
    signed: bool

    @cached_property
    def mask(self) -> int:
        """As many ones as it has bits."""
        return (1 << self.width) - 1

    @cached_property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << self.width - 1) if self.signed else 0

    @cached_property
    def high(self) -> int:
        """Largest value."""
        return (1 << self.width - self.signed) - 1


@dataclass(frozen=True)
class Instruction:
    """A decoded instruction. `fields`: every field by name, nested ones flattened, reserved ones left out."""

    opcode: Opcode
    wait: int
    signal: int
    fields: dict[str, int]

    @property
    def unit(self) -> Unit | None:
        """The unit that executes it; None for control."""
        return self.opcode.unit

    def __getattr__(self, name: str) -> int:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(name) from None


class CodecError(ValueError):
    """A field that does not fit, or bytes that are no instruction."""


def _flatten(layout: data.Layout, base: int = 0) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for name, member in layout:
        shape = member.shape
        inner = shape.as_shape() if isinstance(shape, type) and issubclass(shape, data.Struct) else shape
        if isinstance(inner, data.Layout):
            fields |= _flatten(inner, base + member.offset)
        elif not str(name).startswith("reserved"):
            cast = Shape.cast(shape)
            fields[str(name)] = Field(base + member.offset, cast.width, cast.signed)
    return fields


@cache
def layout_fields(opcode: Opcode) -> dict[str, Field]:
    """Fields of an opcode's layout, flattened, without reserved ones."""
    return _flatten(isa.LAYOUTS[opcode].as_shape())


@cache
def header_fields() -> dict[str, Field]:
    """Fields of a program's header."""
    return _flatten(isa.Header.as_shape())


def _checked(fields: dict[str, Field], name: str, values: Iterable[Any], what: str) -> Field:
    """The field `name`, which `values` are for. Errors: CodecError."""
    field = fields.get(name)
    if field is None:
        raise CodecError(f"{what} has no field {name!r}; it has {', '.join(fields)}")
    for value in values:
        if not field.low <= value <= field.high:
            raise CodecError(f"{what}.{name} must be from {field.low} to {field.high}, not {value}")
    return field


def pack(fields: dict[str, Field], values: dict[str, Any], what: str) -> bytes:
    """Little-endian bytes of one 32-byte record; absent fields are zero.

    Errors: CodecError on unknown or overflowing fields.
    """
    word = 0
    for name, value in values.items():
        field = _checked(fields, name, [value], what)
        word |= (int(value) & field.mask) << field.offset
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def pack_columns(fields: dict[str, Field], columns: dict[str, npt.NDArray], what: str) -> npt.NDArray[np.uint8]:
    """Many records, [record, byte], each as by `pack`, in a tenth of the time. `columns`: values of each field."""
    count = len(next(iter(columns.values())))
    raw = np.zeros((count, INSTRUCTION_BYTES + 8), np.uint8)  # a piece may begin in the last byte
    for name, column in columns.items():
        field = _checked(fields, name, [column.min(), column.max()], what)
        for bit in range(0, field.width, _PIECE):
            first, shift = divmod(field.offset + bit, 8)
            piece = (column >> bit & field.mask >> bit & (1 << _PIECE) - 1).astype("<u8") << np.uint64(shift)
            raw[:, first : first + 8] |= piece[:, np.newaxis].view(np.uint8)
    return raw[:, :INSTRUCTION_BYTES]


def unpack(fields: dict[str, Field], raw: bytes) -> dict[str, int]:
    """Inverse of `pack`."""
    word = int.from_bytes(raw, "little")
    values = {}
    for name, field in fields.items():
        value = word >> field.offset & (1 << field.width) - 1
        values[name] = value - (1 << field.width) if field.signed and value > field.high else value
    return values


@cache
def _constant_fields() -> dict[str, Field]:
    return _flatten(GeluConstants.as_shape())


def pack_constants(values: dict[str, int]) -> int:
    """The `constants` of REQUANT: fields of the I-BERT GELU, none for other kernels. Errors: CodecError."""
    return int.from_bytes(pack(_constant_fields(), values, "constants"), "little")


def unpack_constants(word: int) -> dict[str, int]:
    """Inverse of `pack_constants`."""
    return unpack(_constant_fields(), word.to_bytes(INSTRUCTION_BYTES, "little"))


def encode(opcode: Opcode, wait: int = 0, signal: int = 0, **values: int) -> bytes:
    """One instruction. `wait`, `signal`: masks of units. Errors: CodecError."""
    head = {"opcode": opcode.value, "wait": wait, "signal": signal}
    return pack(layout_fields(opcode), head | values, opcode.name)


def encode_all(
    opcode: Opcode, wait: Sequence[int], signal: Sequence[int], values: Sequence[dict[str, int]]
) -> npt.NDArray[np.uint8]:
    """Instructions of one opcode, [instruction, byte], from lists of what `encode` takes.

    All have the same fields, in the same order. Errors: CodecError.
    """
    fields, names = layout_fields(opcode), list(values[0])
    fits = all(name not in fields or fields[name].width < 64 for name in names)
    rows = np.fromiter(chain.from_iterable(one.values() for one in values), np.int64 if fits else object)
    columns = dict(zip(names, rows.reshape(len(values), -1).T, strict=True))
    head = {"opcode": np.full(len(values), opcode.value), "wait": np.array(wait), "signal": np.array(signal)}
    return pack_columns(fields, head | columns, opcode.name)


def decode(raw: bytes) -> Instruction:
    """One instruction from its 32 bytes. Errors: CodecError for an illegal opcode or a wrong length."""
    if len(raw) != INSTRUCTION_BYTES:
        raise CodecError(f"an instruction has {INSTRUCTION_BYTES} bytes, not {len(raw)}")
    try:
        opcode = Opcode(raw[0])
    except ValueError:
        raise CodecError(f"illegal opcode {raw[0]:#04x}") from None
    values = unpack(layout_fields(opcode), raw)
    values.pop("opcode")
    return Instruction(opcode, values.pop("wait"), values.pop("signal"), values)


def disassemble(instruction: Instruction) -> str:
    """One line of text: opcode, tokens taken (<), tokens given (>), fields that are not zero."""
    names = [unit.name.lower() for unit in Unit]
    taken = "".join(f" <{names[i]}" for i in range(len(names)) if instruction.wait >> i & 1)
    given = "".join(f" >{names[i]}" for i in range(len(names)) if instruction.signal >> i & 1)
    values = " ".join(
        f"{name}={value:#x}" if "address" in name or name == "offset" else f"{name}={value}"
        for name, value in instruction.fields.items()
        if value
    )
    return f"{instruction.opcode.name:<9}{taken}{given} {values}".rstrip()
