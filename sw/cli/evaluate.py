"""`celosia eval`: accuracy of a quantised model on sentence pairs, dense or pruned."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import CalibrationOption, ConfigOption, JsonOption, PresetOption, SetOption, resolve
from celosia.sw.cli.pruning import LongOption, SequencesOption, TokensOption, lines_of, read_policy
from celosia.sw.cli.run import ModelArgument

if TYPE_CHECKING:
    from celosia.sw.cli.network import Network
    from celosia.sw.model import Pairs
    from celosia.sw.model.hdp import HdpPolicy


def evaluate(
    model: ModelArgument,
    data: Annotated[Path, typer.Option("--data", help="CSV of sentence, sentence, score; no header (STS-B).")],
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first rows.")] = None,
    hdp: Annotated[
        Path | None, typer.Option("--hdp", metavar="POLICY", help="Also pruned, by a file of `celosia calibrate hdp`.")
    ] = None,
    long: LongOption = None,
    tokens: TokensOption = 128,
    sequences: SequencesOption = 64,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    calibration: CalibrationOption = None,
    json: JsonOption = False,
) -> None:
    """Spearman's rank correlation with human scores: the float model, and the integers of the accelerator."""
    if long is not None and hdp is None:
        raise CliError("--long compares a pruned model with the dense one: give --hdp as well")
    choice = resolve(preset, config, settings)
    from celosia.sw import model as models
    from celosia.sw.cli.network import prepare

    policy = None if hdp is None else read_policy(hdp)
    texts = None if long is None else lines_of(long)
    pairs = models.read_pairs(data)
    if limit is not None:
        pairs = models.Pairs(pairs.first[:limit], pairs.second[:limit], pairs.score[:limit])
    network = prepare(choice.config, models.load_model(model), calibration)
    result: dict[str, Any] = {"model": model, "data": str(data), "pairs": len(pairs.first)}
    result |= _on_pairs(network, pairs, policy)
    if policy is not None and texts is not None:
        result["long"] = _on_long_text(network, policy, texts, tokens, sequences)
    if json:
        output.print_json(result)
    else:
        _print(data.name, result)


def _on_pairs(network: "Network", pairs: "Pairs", policy: "HdpPolicy | None") -> dict[str, Any]:
    from celosia.sw import model as models
    from celosia.sw.model.hdp import HdpRun

    run = None if policy is None else HdpRun(policy, network.encoder)
    with output.step(f"{len(pairs.first)} pairs through the float and the integer model"):
        accuracy = models.evaluate(network.model, network.encoder, pairs, run)
    result: dict[str, Any] = {
        "float_spearman": round(accuracy.float_spearman, 3),
        "int8_spearman": round(accuracy.int8_spearman, 3),
        "cosine_to_float": round(accuracy.cosine, 6),
    }
    if run is not None and accuracy.hdp_spearman is not None and accuracy.hdp_cosine is not None:
        result["hdp"] = {
            "spearman": round(accuracy.hdp_spearman, 3),
            "difference_to_int8": round(accuracy.hdp_spearman - accuracy.int8_spearman, 3),
            "cosine_to_int8": round(accuracy.hdp_cosine, 6),
            **run.sparsity.summary(),
            "layer_block_sparsity": [round(share, 4) for share in run.sparsity.layer_sparsity()],
        }
    return result


def _on_long_text(
    network: "Network", policy: "HdpPolicy", texts: list[str], tokens: int, sequences: int
) -> dict[str, Any]:
    from celosia.sw.cli.pruning import long_probe

    with output.step(f"sequences of {tokens} tokens"):
        probe = long_probe(network, texts, tokens, sequences)
        found = probe.measure(policy)
    return {
        "tokens": tokens,
        "sequences": len(probe.ids),
        "cosine_to_int8": round(found.cosine, 6),
        **found.sparsity.summary(),
        "layer_block_sparsity": [round(share, 4) for share in found.sparsity.layer_sparsity()],
    }


def _print(title: str, result: dict[str, Any]) -> None:
    columns = ["model", ">pairs", ">Spearman, float", ">Spearman, int8", ">mean cosine to float"]
    row = [
        result["model"],
        str(result["pairs"]),
        f"{result['float_spearman']:.2f}",
        f"{result['int8_spearman']:.2f}",
        f"{result['cosine_to_float']:.5f}",
    ]
    tables = [output.make_table(title, columns, [row])]
    if "hdp" in result:
        columns = [
            "pruned",
            ">Spearman",
            ">to int8",
            ">cosine to int8",
            ">blocks",
            ">heads",
            ">not computed",
            ">K and V not read",
        ]
        rows = [_pruned_row("pairs", result["hdp"])]
        if "long" in result:
            rows.append(_pruned_row(f"{result['long']['tokens']} tokens", result["long"]))
        tables.append(output.make_table("HDP", columns, rows))
    output.print_tables(*tables)


def _pruned_row(name: str, found: dict[str, Any]) -> list[str]:
    scored = "spearman" in found
    skipped = found["bytes_skipped"] / max(found["bytes"], 1)
    return [
        name,
        f"{found['spearman']:.2f}" if scored else "",
        f"{found['difference_to_int8']:+.2f}" if scored else "",
        f"{found['cosine_to_int8']:.4f}",
        *(
            f"{share:.1%}"
            for share in (found["block_sparsity"], found["head_sparsity"], found["total_sparsity"], skipped)
        ),
    ]
