"""`celosia calibrate`: settings that are found on text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import CalibrationOption, ConfigOption, JsonOption, PresetOption, SetOption, pick, resolve
from celosia.sw.cli.pruning import CalibrationSizeOption, SequencesOption, lines_of
from celosia.sw.cli.run import ModelArgument

if TYPE_CHECKING:
    from celosia.sw.model.hdp import HdpPolicy
    from celosia.sw.model.hdp.calibrate import Fitted
    from celosia.sw.model.hdp.probe import Probe

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Find settings on text: never on the text that results are reported on."""


@app.command("hdp")
def hdp(
    model: ModelArgument,
    data: Annotated[Path, typer.Option("--data", help="Sentences, one a line, or a .csv of sentence pairs.")],
    policy_file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.toml", help="The policy.")],
    sparsity: Annotated[float | None, typer.Option(min=0, max=1, help="Wanted share of pruned blocks.")] = None,
    loss: Annotated[
        float | None, typer.Option(min=0, max=1, help="Instead: the most that 1 - cosine to the dense model may be.")
    ] = None,
    heads: Annotated[float, typer.Option(min=0, max=1, help="Wanted share of pruned heads.")] = 0.0,
    block: Annotated[str, typer.Option(metavar="HEIGHTxWIDTH", help="Queries by keys.")] = "2x2",
    importance: Annotated[str, typer.Option(help="Of a block: abs-sum, sum, max or mean-max.")] = "max",
    zero: Annotated[bool, typer.Option("--zero", help="Pruned scores stay in the softmax as 0.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Kept scores with the product of fractions.")] = False,
    fill: Annotated[
        int, typer.Option(help="Keep the next keys too, up to a multiple of so many: the array's columns. 0: do not.")
    ] = 0,
    tokens: Annotated[
        int | None, typer.Option(min=3, help="Fill sequences of so many tokens; without it, each sentence is one.")
    ] = None,
    sentences: CalibrationSizeOption = 96,
    sequences: SequencesOption = 12,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    calibration: CalibrationOption = None,
    json: JsonOption = False,
) -> None:
    """Find rho of every layer, and tau, for a wanted sparsity or loss; every layer pays the same for its last bit."""
    if (sparsity is None) == (loss is None):
        raise CliError("give either --sparsity or --loss")
    choice = resolve(preset, config, settings)
    from celosia.sw.cli.network import prepare
    from celosia.sw.cli.pruning import long_probe, short_probe
    from celosia.sw.golden.hdp import Importance, Pruned
    from celosia.sw.model import load_model
    from celosia.sw.model.hdp import HdpPolicy, parse_block, to_toml

    shape, texts = parse_block(block), lines_of(data)
    output.check_writable(policy_file)
    network = prepare(choice.config, load_model(model), calibration)
    start = HdpPolicy.dense(
        len(network.encoder.layers),
        block=shape,
        importance=Importance(pick("importance", importance, list(Importance))),
        pruned=Pruned.ZERO if zero else Pruned.EXCLUDED,
        approximate=not exact,
        fill=fill,
    )
    with output.step(f"the dense model on {data}"):
        if tokens is None:
            probe = short_probe(network, texts, sentences)
        else:
            probe = long_probe(network, texts, tokens, sequences)
    with output.step("every layer alone at several settings, then all together"):
        fitted = _fit(probe, start, sparsity, loss, heads)
    found = fitted.measured
    figures = {"cosine": round(found.cosine, 5), **found.sparsity.summary()}
    comment = (
        f"Calibrated for {model} on {data.name}, {len(probe.ids)} sequences: {found.sparsity.block_sparsity:.1%} of "
        f"blocks and {found.sparsity.head_sparsity:.1%} of heads pruned,\ncosine of embeddings to the dense int8 model "
        f"{found.cosine:.4f}."
    )
    output.write_file(policy_file, to_toml(fitted.policy, comment))
    if json:
        output.print_json({"policy": str(policy_file), "sequences": len(probe.ids), **figures})
        return
    rows = [[name, str(value)] for name, value in figures.items()]
    output.print_tables(output.make_table(str(policy_file), ["measured while calibrating", ">"], rows))


def _fit(probe: "Probe", start: "HdpPolicy", sparsity: float | None, loss: float | None, heads: float) -> "Fitted":
    from celosia.sw.model.hdp import calibrate as search

    if heads:
        start = search.heads_for(probe, start, heads).policy
    if sparsity is not None:
        return search.blocks_for(probe, start, sparsity)
    assert loss is not None
    return search.blocks_for_loss(probe, start, loss)
