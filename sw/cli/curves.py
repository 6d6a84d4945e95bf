"""`celosia analyze hdp`: curves of quality against sparsity, as tables and figures."""

import hashlib
import json as jsonlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.sw.cache import cache_folder, recall, replacing
from celosia.sw.cli import output
from celosia.sw.cli.options import CalibrationOption, ConfigOption, JsonOption, PresetOption, SetOption, resolve
from celosia.sw.cli.pruning import CalibrationSizeOption, LongOption, SequencesOption, TokensOption, lines_of
from celosia.sw.cli.run import ModelArgument
from celosia.sw.sources import source_digest

if TYPE_CHECKING:
    from celosia.sw.cli.network import Network
    from celosia.sw.model import Pairs
    from celosia.sw.model.hdp.curves import Row, Rule, Text

COLUMNS = ["curve", "text", ">blocks", ">heads", ">not computed", ">K, V not read", ">to int8", ">cosine"]


def curves(
    model: ModelArgument,
    data: Annotated[Path, typer.Option("--data", help="CSV of sentence, sentence, score; no header (STS-B).")],
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="For tables and figures: new.")],
    long: LongOption = None,
    every: Annotated[int, typer.Option(min=1, help="Only every so-manyth pair.")] = 1,
    figure: Annotated[list[str] | None, typer.Option("--figure", help="Only this one; may be repeated.")] = None,
    tokens: TokensOption = 128,
    sequences: SequencesOption = 32,
    sentences: CalibrationSizeOption = 64,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    calibration: CalibrationOption = None,
    json: JsonOption = False,
) -> None:
    """Quality against sparsity of every rule of HDP, of its comparators, and of all together.

    Policies are calibrated on the sentences of --calibration, or the built-in ones; results are those of --data and
    --long. What is finished is kept, and a run that was interrupted goes on from it.
    """
    choice = resolve(preset, config, settings)
    from celosia.sw import model as models
    from celosia.sw.cli.network import prepare
    from celosia.sw.cli.options import pick
    from celosia.sw.model.hdp.curves import RULES

    figures = list(dict.fromkeys(rule.figure for rule in RULES))
    chosen = [pick("figure", name, figures) for name in figure or figures]
    pairs = models.read_pairs(data)
    pairs = models.Pairs(pairs.first[::every], pairs.second[::every], pairs.score[::every])
    texts = None if long is None else lines_of(long)
    output.check_writable(folder)
    network = prepare(choice.config, models.load_model(model), calibration)
    measured = _texts(network, pairs, calibration, texts, tokens, sequences, sentences)
    found: list[Row] = []
    for rule in RULES:
        for text in measured if rule.figure in chosen else ():
            found += _rows(rule, text)
    _write(folder, model, str(data), len(pairs.first), found)
    if json:
        output.print_json([document(row) for row in found])
    else:
        print(table(found))


def _texts(
    network: "Network",
    pairs: "Pairs",
    calibration: Path | None,
    long: list[str] | None,
    tokens: int,
    sequences: int,
    sentences: int,
) -> list["Text"]:
    from celosia.sw.cli.pruning import long_probe, short_probe
    from celosia.sw.model.hdp.curves import Text
    from celosia.sw.model.sentences import SENTENCES

    learning = list(SENTENCES) if calibration is None else lines_of(calibration)
    with output.step("the dense model"):
        both = pairs.first + pairs.second
        result = [
            Text("pairs", short_probe(network, learning, sentences), short_probe(network, both, len(both)), pairs)
        ]
        if long is not None:
            few = max(1, sentences // 8)
            result.append(
                Text(
                    f"{tokens}-tokens",
                    long_probe(network, learning, tokens, few),
                    long_probe(network, long, tokens, sequences),
                )
            )
    return result


def _rows(rule: "Rule", text: "Text") -> list["Row"]:
    """A curve on one text, from the cache when it is there."""
    from celosia.sw.model.hdp.curves import Row, rows
    from celosia.sw.model.hdp.policy import from_toml, to_toml

    name = f"{rule.figure}: {rule.name} on {text.name}"
    path = cache_folder() / "curves" / f"{_key(rule, text)}.json"
    kept = recall(path)
    if isinstance(kept, list):
        output.progress(f"{name}: known")
        return [Row(**{**row, "policy": from_toml(row["policy"])}) for row in kept]
    output.progress(name)
    found = list(rows(rule, text))
    documents: list[dict[str, Any]] = [asdict(row) | {"policy": to_toml(row.policy)} for row in found]
    # Best effort: a cache that cannot be written costs time, not the result.
    with suppress(OSError), replacing(path) as file:
        file.write(jsonlib.dumps(documents).encode())
    return found


def _key(rule: "Rule", text: "Text") -> str:
    """Of all that a curve depends on: embeddings of the dense model stand for model, calibration and sentences."""
    key = hashlib.sha256(repr((rule, text.name)).encode())
    key.update(b"" if text.pairs is None else text.pairs.score.tobytes())
    key.update(source_digest("celosia.sw.model", "celosia.sw.golden").encode())
    for probe in (text.calibration, text.evaluation):
        key.update(repr(probe.ids).encode() + probe.dense.tobytes())
    return key.hexdigest()[:32]


def document(row: "Row") -> dict[str, object]:
    """A row for JSON: its policy in brief."""
    policy = row.policy
    brief = {"rho": list(policy.rho), "tau": list(policy.tau), "cascade": list(policy.cascade)}
    return asdict(row) | {"policy": brief}


def table(rows: list["Row"]) -> str:
    """The rows in Markdown."""
    cells = [
        [
            row.curve,
            row.text,
            *(f"{x:.1%}" for x in (row.block_sparsity, row.head_sparsity, row.total_sparsity, row.bytes_skipped)),
            "" if row.difference is None else f"{row.difference:+.2f}",
            f"{row.cosine:.4f}",
        ]
        for row in rows
    ]
    return output.markdown_table(COLUMNS, cells)


def _write(folder: Path, model: str, data: str, pairs: int, rows: list["Row"]) -> None:
    from celosia.sw.model.hdp.plots import plots

    about = {"model": model, "data": data, "pairs": pairs, "rows": [document(row) for row in rows]}
    files = {"curves.json": jsonlib.dumps(about, indent=1) + "\n", "curves.md": table(rows) + "\n", **plots(rows)}
    output.write_folder(folder, {name: text.encode() for name, text in files.items()})
