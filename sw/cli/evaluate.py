"""`celosia eval`: accuracy of a quantised model on sentence pairs."""

from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.options import CalibrationOption, ConfigOption, JsonOption, PresetOption, SetOption, resolve
from celosia.sw.cli.run import ModelArgument


def evaluate(
    model: ModelArgument,
    data: Annotated[Path, typer.Option("--data", help="CSV of sentence, sentence, score; no header (STS-B).")],
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first rows.")] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    calibration: CalibrationOption = None,
    json: JsonOption = False,
) -> None:
    """Spearman's rank correlation with human scores: the float model, and the integers of the accelerator."""
    choice = resolve(preset, config, settings)
    from celosia.sw import model as models
    from celosia.sw.cli.network import prepare

    pairs = models.read_pairs(data)
    if limit is not None:
        pairs = models.Pairs(pairs.first[:limit], pairs.second[:limit], pairs.score[:limit])
    loaded = models.load_model(model)
    network = prepare(choice.config, loaded, calibration)
    with output.step(f"{len(pairs.first)} pairs through the float and the integer model"):
        accuracy = models.evaluate(loaded, network.encoder, pairs)
    result = {
        "model": model,
        "data": str(data),
        "pairs": len(pairs.first),
        "float_spearman": round(accuracy.float_spearman, 3),
        "int8_spearman": round(accuracy.int8_spearman, 3),
        "cosine_to_float": round(accuracy.cosine, 6),
    }
    if json:
        output.print_json(result)
        return
    columns = ["model", ">pairs", ">Spearman, float", ">Spearman, int8", ">mean cosine to float"]
    row = [
        model,
        str(result["pairs"]),
        f"{accuracy.float_spearman:.2f}",
        f"{accuracy.int8_spearman:.2f}",
        f"{accuracy.cosine:.5f}",
    ]
    output.print_tables(output.make_table(data.name, columns, [row]))
