"""Instruction layouts as flat lists of fields, for headers and documentation."""

from dataclasses import dataclass

from amaranth.hdl import Shape
from amaranth.lib import data

from celosia.hw import isa


@dataclass(frozen=True, kw_only=True)
class BitField:
    """A field at bits `lsb` ... `lsb + width - 1`. `kind`: the name of its enumeration, or nothing."""

    name: str
    lsb: int
    width: int
    signed: bool
    kind: str


def bit_fields(layout: data.Layout | type[data.Struct]) -> list[BitField]:
    """Fields of a layout in the order of their bits, nested ones by their own names; reserved ones left out."""
    return sorted(_walk(data.Layout.cast(layout), 0), key=lambda field: field.lsb)


def _walk(layout: data.Layout, base: int) -> list[BitField]:
    found: list[BitField] = []
    for name, field in layout:
        shape = field.shape
        if isinstance(shape, type) and issubclass(shape, data.Struct):
            found += _walk(data.Layout.cast(shape), base + field.offset)
        elif not str(name).startswith("reserved"):
            plain = Shape.cast(shape)
            kind = shape.__name__ if isinstance(shape, type) else ""
            found.append(
                BitField(name=str(name), lsb=base + field.offset, width=plain.width, signed=plain.signed, kind=kind)
            )
    return found


def instruction_fields(opcode: isa.Opcode) -> list[BitField]:
    """Fields of an instruction."""
    return bit_fields(isa.LAYOUTS[opcode])
