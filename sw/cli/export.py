"""`celosia export`: a configuration and a network's matmuls in the files of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.options import ConfigOption, JsonOption, PresetOption, SetOption, pick, resolve
from celosia.sw.cli.subject import (
    DecoderOption,
    FfnOption,
    HeadsOption,
    HiddenOption,
    LayersOption,
    ModelOption,
    TokensOption,
    WorkloadOption,
    subject,
)


def export(
    tool: Annotated[str, typer.Argument(help="zigzag (PyPI: zigzag-dse) or scalesim (SCALE-Sim 3).")],
    folder: Annotated[Path, typer.Option("-o", "--output", help="New folder to write.")],
    model: ModelOption = None,
    workload: WorkloadOption = None,
    layers: LayersOption = None,
    hidden: HiddenOption = None,
    heads: HeadsOption = None,
    ffn: FfnOption = None,
    tokens: TokensOption = None,
    decoder: DecoderOption = False,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write a configuration and a network's matmuls for another tool; every shape of matmul is one layer."""
    choice = resolve(preset, config, settings)
    chosen = subject(model, workload, {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}, tokens, decoder)
    from celosia.sw.export import distinct
    from celosia.sw.export.running import Tool, files

    target = Tool(pick("tool", tool, list(Tool)))
    found = distinct(chosen.network.operations(chosen.tokens))
    written = files(target, choice.config, found)
    output.write_folder(folder, written)
    matmuls = sum(layer.count for layer in found)
    if json:
        described = {"folder": str(folder), "tool": tool, "configuration": choice.label, "network": chosen.label}
        sizes = {name: len(data) for name, data in written.items()}
        output.print_json({**described, "shapes": len(found), "matmuls": matmuls, "files": sizes})
        return
    print(f"{folder}: {matmuls:,} matmuls in {len(found)} shapes, {', '.join(written)}")
