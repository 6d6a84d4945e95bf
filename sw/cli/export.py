"""`celosia export`: a configuration and a network's matmuls in the files of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.options import ConfigOption, JsonOption, PresetOption, SetOption, resolve
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

app = typer.Typer(help="Write a configuration and a network for other tools.", no_args_is_help=True)

FolderOption = Annotated[Path, typer.Option("-o", "--output", help="New folder to write.")]


@app.callback()
def _group() -> None:
    """Write a configuration and a network for other tools."""


@app.command("zigzag")
def zigzag(
    folder: FolderOption,
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
    """Write accelerator, workload and mapping for ZigZag (PyPI: zigzag-dse); every shape of matmul is one layer."""
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}
    _write("zigzag", folder, (model, workload, sizes, tokens, decoder), (preset, config, settings), json)


@app.command("scalesim")
def scalesim(
    folder: FolderOption,
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
    """Write configuration and topology for SCALE-Sim 3 (PyPI: scalesim); every shape of matmul is one layer."""
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}
    _write("scalesim", folder, (model, workload, sizes, tokens, decoder), (preset, config, settings), json)


def _write(
    tool: str,
    folder: Path,
    asked: tuple[str | None, str | None, dict[str, int | None], int | None, bool],
    configured: tuple[str | None, Path | None, list[str] | None],
    json: bool,
) -> None:
    """Errors: CliError, ConfigError, AnalysisError, ExportError."""
    choice, chosen = resolve(*configured), subject(*asked)
    from celosia.sw.export import distinct
    from celosia.sw.export.running import Tool, files

    found = distinct(chosen.network.operations(chosen.tokens))
    written = files(Tool(tool), choice.config, found)
    output.write_folder(folder, written)
    matmuls = sum(layer.count for layer in found)
    if json:
        described = {"folder": str(folder), "tool": tool, "configuration": choice.label, "network": chosen.label}
        sizes = {name: len(data) for name, data in written.items()}
        output.print_json({**described, "shapes": len(found), "matmuls": matmuls, "files": sizes})
        return
    print(f"{folder}: {matmuls:,} matmuls in {len(found)} shapes, {', '.join(written)}")
