"""C header of an accelerator: registers, instruction fields, and the values of its configuration."""

from celosia.hw import isa, registers
from celosia.hw.config import Config
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.emit.layout import bit_fields, instruction_fields


def c_header(config: Config, name: str = "celosia") -> str:
    """The header's text: preprocessor constants with the prefix `NAME_`, for C and C++."""
    prefix = name.upper()
    lines = [
        f"/* Registers and instructions of {name}. Generated: do not edit. */",
        f"#ifndef {prefix}_H",
        f"#define {prefix}_H",
        *_configuration(config),
        *_registers(),
        *_instructions(),
        f"#endif /* {prefix}_H */",
    ]
    return "".join(f"{_with_prefix(line, prefix)}\n" for line in lines)


def _with_prefix(line: str, prefix: str) -> str:
    return line.replace("#define @", f"#define {prefix}_")


def _define(name: str, value: int | str, comment: str = "") -> str:
    number = value if isinstance(value, str) else f"{value:#x}u" if value >= 0 else str(value)
    return f"#define @{name} {number}" + (f" /* {comment} */" if comment else "")


def _configuration(config: Config) -> list[str]:
    lines = ["", "/* Configuration */"]
    for section, fields in config.to_dict().items():
        for field, value in fields.items():
            lines.append(_define(f"{section}_{field}".upper(), f'"{value}"' if isinstance(value, str) else str(value)))
    lines += [_define(key, str(value), text) for key, value, text in _derived(config)]
    lines.append(_define("CONFIG_HASH_VALUE", config.hash))
    return lines


def _derived(config: Config | CoprocessorConfig) -> list[tuple[str, int, str]]:
    word, beat = config.word_bytes, ("BEAT_BYTES", config.beat_bytes, "granule of transfers, in bytes")
    if isinstance(config, CoprocessorConfig):
        return [
            ("WORD_BYTES", word, "bytes of a word of the cores' memories"),
            ("OPERAND_WORDS", config.operands.scratchpad_words, "words that LOAD can write"),
            ("CONTEXT_WORDS", config.contexts.scratchpad_words, "words that STORE can read"),
            beat,
        ]
    return [
        ("WORD_BYTES", word, "bytes of a scratchpad word"),
        ("SCRATCHPAD_WORDS", config.scratchpad_words, "words of the scratchpad"),
        ("ACC_ROWS", config.acc_rows, "rows of the accumulator"),
        beat,
    ]


def _registers() -> list[str]:
    lines = ["", "/* Registers: byte offsets, fields, values after reset */"]
    for register in registers.REGISTERS:
        lines.append(_define(f"REG_{register.name}", register.offset, f"{register.access}"))
        for field in register.fields:
            lines.append(_define(f"{register.name}_{field.name}_SHIFT", str(field.lsb)))
            lines.append(_define(f"{register.name}_{field.name}_MASK", field.mask))
    lines += [_define(f"ACTIVITY_{activity.name}", activity.value) for activity in registers.Activity]
    lines += [_define(f"TRAP_{trap.name}", trap.value) for trap in isa.Trap]
    return lines


def _instructions() -> list[str]:
    lines = ["", "/* Programs: a header and instructions, little-endian */"]
    lines.append(_define("ISA_VERSION", isa.VERSION))
    lines.append(_define("PROGRAM_MAGIC", isa.MAGIC))
    lines.append(_define("INSTRUCTION_BYTES", str(isa.INSTRUCTION_BYTES)))
    lines += _fields("HEADER", bit_fields(isa.Header))
    lines += [_define(f"UNIT_{unit.name}", str(unit.value), "bit of WAIT and SIGNAL") for unit in isa.Unit]
    lines += [_define(f"ACTIVATION_{activation.name}", activation.value) for activation in isa.Activation]
    for opcode in isa.Opcode:
        lines += ["", _define(f"OP_{opcode.name}", opcode.value)]
        lines += _fields(opcode.name, instruction_fields(opcode))
    return lines


def _fields(owner: str, fields) -> list[str]:
    lines = []
    for field in fields:
        stem = f"{owner}_{field.name}".upper()
        lines.append(_define(f"{stem}_LSB", str(field.lsb), "signed" if field.signed else ""))
        lines.append(_define(f"{stem}_BITS", str(field.width)))
    return lines
