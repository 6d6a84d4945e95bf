"""Markdown reference of an accelerator: configuration, registers, instructions."""

import inspect
from collections.abc import Iterable

from amaranth.lib import data

from celosia.hw import isa, registers
from celosia.hw.config import Config
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.emit.layout import BitField, bit_fields, instruction_fields
from celosia.hw.interfaces import STALLS


def markdown(config: Config, name: str = "celosia") -> str:
    """The reference's text."""
    return "\n".join([f"# {name}", "", *_configuration(config), *_registers(config), *_instructions()]) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows] + [""]


def _configuration(config: Config) -> list[str]:
    rows = [
        (f"`{section}.{field}`", value)
        for section, fields in config.to_dict().items()
        for field, value in fields.items()
    ]
    rows += [
        *_memories(config),
        ("transfer granule", f"{config.beat_bytes} bytes"),
        ("hash", f"`{config.hash:#010x}`"),
    ]
    return ["## Configuration", *_table(("field", "value"), rows)]


def _memories(config: Config | CoprocessorConfig) -> list[tuple[str, str]]:
    word = f"words of {config.word_bytes} bytes"
    if isinstance(config, CoprocessorConfig):
        return [
            ("LOAD's address space: Q, K, V of each core", f"{config.operands.scratchpad_words} {word}"),
            ("STORE's address space: context of each core", f"{config.contexts.scratchpad_words} {word}"),
        ]
    return [
        ("scratchpad", f"{config.scratchpad_words} {word}"),
        ("accumulator", f"{config.acc_rows} rows of {config.acc_row_bytes} bytes"),
    ]


def _registers(config: Config) -> list[str]:
    identity = registers.identity(config)
    rows = [
        (f"`{r.offset:#05x}`", f"`{r.name}`", r.access, f"`{identity.get(r.name, r.reset):#x}`", r.text)
        for r in registers.REGISTERS
    ]
    lines = [
        "## Registers",
        inspect.cleandoc(registers.__doc__ or "").partition("\n\n")[2],
        "",
        *_table(("offset", "name", "access", "reset", "meaning"), rows),
    ]
    for register in registers.REGISTERS:
        if register.fields:
            fields = [(_bits(f.lsb, f.width), f"`{f.name}`", f.access, f.text) for f in register.fields]
            lines += [f"### {register.name}", *_table(("bits", "field", "access", "meaning"), fields)]
    lines += ["### Traps", *_table(("code", "trap"), [(trap.value, f"`{trap.name}`") for trap in isa.Trap])]
    stalls = [(unit.name, *STALLS[unit]) for unit in isa.Unit]
    lines += ["### What a stalled unit waits for", *_table(("unit", "STALL_IN", "STALL_OUT"), stalls)]
    return lines


def _instructions() -> list[str]:
    lines = ["## Instructions", inspect.cleandoc(isa.__doc__ or "").partition("\n\n")[2], ""]
    lines += _layout("Program header", isa.Header, bit_fields(isa.Header))
    for opcode in isa.Opcode:
        unit = opcode.unit.name if opcode.unit is not None else "control"
        lines += _layout(
            f"{opcode.name} ({opcode.value:#04x}, {unit})", isa.LAYOUTS[opcode], instruction_fields(opcode)
        )
    activations = [(a.value, f"`{a.name}`") for a in isa.Activation]
    return [*lines, "### Activations", *_table(("code", "activation"), activations)]


def _layout(title: str, layout: type[data.Struct], fields: list[BitField]) -> list[str]:
    rows = [(_bits(f.lsb, f.width), f"`{f.name}`", f.kind or ("signed" if f.signed else "")) for f in fields]
    texts = [inspect.getdoc(part) or "" for part in _with_nested(layout)]
    return [f"### {title}", *(line for text in texts for line in (text, "")), *_table(("bits", "field", "type"), rows)]


def _with_nested(layout: type[data.Struct]) -> list[type[data.Struct]]:
    """A layout and the structures inside it, but for the head that all share."""
    shapes = [field.shape for _, field in data.Layout.cast(layout)]
    return [layout, *(s for s in shapes if isinstance(s, type) and issubclass(s, data.Struct) and s is not isa.Head)]


def _bits(lsb: int, width: int) -> str:
    return f"{lsb + width - 1}:{lsb}" if width > 1 else str(lsb)
