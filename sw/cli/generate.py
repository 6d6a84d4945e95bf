"""`celosia generate`: Verilog, manifest, C header and documentation of an accelerator."""

import time
from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import AnyPresetOption, ConfigOption, JsonOption, SetOption, resolve


def generate(
    folder: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    preset: AnyPresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    name: Annotated[str, typer.Option(help="Name of the top module and of the files.")] = "celosia",
    json: JsonOption = False,
) -> None:
    """Write an accelerator: one Verilog file, manifest.json, a C header, and a page of registers and instructions."""
    choice = resolve(preset, config, settings, coprocessors=True)
    output.check_writable(folder)  # told before the generation, not after it
    from celosia.hw.emit.package import PackageError
    from celosia.hw.emit.package import generate as write

    began = time.perf_counter()
    try:
        with output.step(f"generating {choice.label}"):
            write(choice.config, folder, name=name)
    except PackageError as error:
        raise CliError(str(error)) from None
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    result = {
        "folder": str(folder),
        "name": name,
        "preset": choice.name,
        "settings": list(choice.settings),
        "config_hash": f"{choice.config.hash:08x}",
        "files": files,
        "seconds": round(time.perf_counter() - began, 2),
    }
    if json:
        output.print_json(result)
        return
    rows = [[file, f"{size:,}"] for file, size in files.items()]
    output.print_tables(output.make_table(str(folder), ["file", ">bytes"], rows))
