"""`celosia compile`: a program and its memory image, as a host loads them."""

import json as codec
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.options import (
    CalibrationOption,
    CausalOption,
    ConfigOption,
    JsonOption,
    PresetOption,
    SetOption,
    resolve,
)
from celosia.sw.cli.run import ModelArgument


def compile(
    model: ModelArgument,
    tokens: Annotated[int, typer.Option(min=1, help="Length of the sequences.")],
    folder: Annotated[Path, typer.Option("-o", "--output", help="New folder to write.")],
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    causal: CausalOption = False,
    calibration: CalibrationOption = None,
    json: JsonOption = False,
) -> None:
    """Write program.bin, constants.bin and layout.json: what a host puts into memory to run a model on a board."""
    choice = resolve(preset, config, settings)
    from celosia.sw.cli.execution import WINDOWS
    from celosia.sw.cli.network import prepare
    from celosia.sw.model.folder import load_model

    network = prepare(choice.config, load_model(model), calibration, causal)
    program = network.program(tokens)
    layout = {
        "model": model,
        "config_hash": f"{choice.config.hash:08x}",
        "tokens": tokens,
        "windows": [{"use": use, "bytes": size} for use, size in zip(WINDOWS, program.sizes, strict=True)],
        "inputs": {name: asdict(image) for name, image in program.inputs.items()},
        "outputs": {name: asdict(image) for name, image in program.outputs.items()},
        "scales": {"x": network.encoder.scale_in, "y": network.encoder.scale_out},
    }
    files = {
        "program.bin": program.code,
        "constants.bin": program.constants.tobytes(),
        "layout.json": (codec.dumps(layout, indent=2) + "\n").encode(),
    }
    output.write_folder(folder, files)
    result = {
        "folder": str(folder),
        "instructions": len(program.instructions),
        "files": {name: len(data) for name, data in files.items()},
        "windows": list(program.sizes),
        "ideal_cycles": program.ideal_cycles,
    }
    if json:
        output.print_json(result)
    else:
        print(f"{folder}: {result['instructions']:,} instructions, {sum(program.sizes):,} bytes of memory")
