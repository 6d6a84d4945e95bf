"""`celosia config` and `celosia disassemble`: what a configuration and a program hold."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.hw.config import Config
from celosia.hw.coprocessor.config import OPERANDS
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.hw.hdp.core.config import BLOCK
from celosia.hw.presets import PRESETS
from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import AnyPresetOption, ConfigOption, JsonOption, SetOption, resolve

if TYPE_CHECKING:
    from celosia.sw.compiler.codec import Instruction


def to_toml(config: Config) -> str:
    """The configuration as a TOML file that `--config` reads."""
    sections = []
    for section, fields in config.to_dict().items():
        # All values are whole numbers, truths or plain words: as JSON, which is TOML too.
        lines = [f"{name} = {dumps(value)}" for name, value in fields.items()]
        sections.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(sections)


def config(
    preset: AnyPresetOption = None,
    file: ConfigOption = None,
    settings: SetOption = None,
    presets: Annotated[bool, typer.Option("--list", help="List the presets.")] = False,
    json: JsonOption = False,
) -> None:
    """Print the resolved configuration as TOML, or list the presets."""
    if presets:
        _list_presets(json)
        return
    choice = resolve(preset, file, settings, coprocessors=True)
    if json:
        output.print_json(choice.config.to_dict() | {"hash": f"{choice.config.hash:08x}"})
    else:
        print(f"# {choice.label}; hash {choice.config.hash:08x}\n{to_toml(choice.config)}")


def _list_presets(json: bool) -> None:
    if json:
        plain = {name: one.to_dict() for name, one in PRESETS.items()}
        output.print_json(plain | {name: one.to_dict() for name, one in COPROCESSORS.items()})
        return
    columns = ["preset", ">array", ">scratchpad", ">accumulator", ">bus", ">lanes", "hash"]
    rows = [
        [
            name,
            f"{one.array.rows} x {one.array.columns}",
            f"{one.scratchpad.kib} KiB",
            f"{one.accumulator.kib} KiB",
            f"{one.bus.bytes} B a cycle",
            str(one.post.lanes),
            f"{one.hash:08x}",
        ]
        for name, one in PRESETS.items()
    ]
    columns_of_cores = ["co-processor", ">cores", ">PEs of a core", ">tokens", ">memories of a core", ">bus", "hash"]
    cores = [
        [
            name,
            str(one.cores),
            f"{BLOCK} x {one.core.width}",
            str(one.core.length),
            f"{(OPERANDS + 1) * one.core.rows * one.core.width // 1024} KiB",
            f"{one.bus.bytes} B a cycle",
            f"{one.hash:08x}",
        ]
        for name, one in COPROCESSORS.items()
    ]
    output.print_tables(
        output.make_table("presets", columns, rows), output.make_table("co-processors", columns_of_cores, cores)
    )


def disassemble(
    program: Annotated[Path, typer.Argument(help="A program: program.bin of `celosia compile`.")],
    preset: AnyPresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> None:
    """List a program's instructions. Without a configuration, a preset is looked for that it was compiled for."""
    code = output.read_bytes(program)
    given = preset is not None or config is not None or bool(settings)
    name, instructions = _parse(
        program, code, resolve(preset, config, settings, coprocessors=True).config if given else None
    )
    from celosia.sw.compiler.codec import disassemble as text

    if json:
        listing = [
            {"index": i, "opcode": one.opcode.name, "wait": one.wait, "signal": one.signal, "fields": one.fields}
            for i, one in enumerate(instructions)
        ]
        output.print_json({"program": str(program), "preset": name, "instructions": listing})
        return
    print("\n".join(f"{index:6d}  {text(one)}" for index, one in enumerate(instructions)))


def _parse(path: Path, code: bytes, config: Config | None) -> tuple[str | None, list["Instruction"]]:
    """Instructions, and the preset that they are for. Errors: CliError."""
    from celosia.sw.compiler.codec import header_fields, unpack
    from celosia.sw.compiler.program import ProgramError, parse

    name = None
    if config is None:
        # A program tells the hash of its configuration. With another one it is refused below, for what is wrong.
        wanted: Any = unpack(header_fields(), code[:32])["config_hash"]
        name = next((preset for preset, one in PRESETS.items() if one.hash == wanted), None)
        config = PRESETS[name] if name else Config()
    try:
        return name, parse(code, config)
    except ProgramError as error:
        hint = "; give its --preset or --config" if "config_hash" in str(error) else ""
        raise CliError(f"{path}: {error}{hint}") from None
