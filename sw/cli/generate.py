"""`celosia generate`: Verilog, manifest, C header and documentation of an accelerator."""

import time
from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.options import ConfigOption, JsonOption, PresetOption, SetOption, resolve


def generate(
    folder: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    name: Annotated[str, typer.Option(help="Name of the top module and of the files.")] = "celosia",
    json: JsonOption = False,
) -> None:
    """Write an accelerator: one Verilog file, manifest.json, a C header, and a page of registers and instructions."""
    choice = resolve(preset, config, settings)
    output.check_writable(folder.parent / f"{folder.name}.probe")
    began = time.perf_counter()
    with output.step(f"generating {choice.label}"):
        from celosia.hw.emit.package import generate as write

        write(choice.config, folder, name=name)
    result = {
        "folder": str(folder),
        "name": name,
        "preset": choice.name,
        "settings": list(choice.settings),
        "config_hash": f"{choice.config.hash:08x}",
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        "seconds": round(time.perf_counter() - began, 2),
    }
    if json:
        output.print_json(result)
        return
    rows = [[file, f"{size:,}"] for file, size in result["files"].items()]
    output.print_tables(output.make_table(str(folder), ["file", ">bytes"], rows))
