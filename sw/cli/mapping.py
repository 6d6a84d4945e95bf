"""`celosia analyze mapper` and `mapspace`: the best mapping of an operator, and how good others are."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.hw.presets import PRESETS
from celosia.sw.cli import mapping_tables as tables
from celosia.sw.cli import output, plugins
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import ConfigOption, JsonOption, PresetOption, SetOption, resolve

if TYPE_CHECKING:
    from celosia.hw.config import Config
    from celosia.sw.mapper.mapspace import Spread
    from celosia.sw.mapper.operators import Operator
    from celosia.sw.mapper.space import Mapping

MAPPER_PRESETS = ("gemmini", "transformer", "edge")
LENGTHS = (128, 512, 4096)
SizesOption = Annotated[
    str | None, typer.Option("--matmul", metavar="MxKxN", help="This matmul, instead of BERT-Base's.")
]


MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print tables as Markdown.")]


def mapper(
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    tokens: Annotated[
        list[int] | None, typer.Option(help=f"Length of the sequence; may be repeated.  [default: {LENGTHS}]")
    ] = None,
    matmul: SizesOption = None,
    fused: Annotated[bool, typer.Option("--fused", help="Also matmuls with the softmax or LayerNorm behind.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Search exhaustively too: seconds an operator.")] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also make each mapping a program, and replay it on the performance model.")
    ] = False,
    markdown: MarkdownOption = False,
    json: JsonOption = False,
) -> None:
    """Map every matmul of BERT-Base, and say how far at most that is from the best of all mappings.

    The bound is what no mapping can be below; --check finds the best itself, --replay says how far the mapper's own
    estimate is from the performance model. Without a configuration: gemmini, transformer and edge. An operator that
    cannot be mapped has a row with what would fit.
    """
    if preset is None and config is None and not settings:
        configs = {name: PRESETS[name] for name in MAPPER_PRESETS}
    else:
        choice = resolve(preset, config, settings)
        configs = {choice.label: choice.config}
    _check_output(json, markdown)
    if matmul is not None and tokens:
        raise CliError("--matmul and --tokens exclude one another: give one of them")
    work = [(matmul_of(matmul), None)] if matmul is not None else _encoder(tokens or list(LENGTHS), fused)
    rows: list[dict[str, Any]] = []
    for name, one in configs.items():
        output.progress(f"mapping {len(work)} operators onto {name}")
        rows += [
            {"configuration": name, "tokens": length} | _map(one, operator, check, replay) for operator, length in work
        ]
    reasons = [row["reason"] for row in rows if "reason" in row]
    if len(reasons) == len(rows):
        raise CliError(reasons[0])
    if json:
        output.print_json({"rows": rows})
    else:
        _print_mapped(rows, markdown)


def _print_mapped(rows: list[dict[str, Any]], markdown: bool) -> None:
    _print("mappings", tables.MAPPER, [tables.mapped(row) for row in rows], markdown)
    again = [tables.replayed(row) for row in rows if "replayed" in row]
    if again:
        _print("the same by the performance model", tables.REPLAY, again, markdown)
    if len(rows) > 1:
        _print("the worst of each", tables.SUMMARY, tables.summaries(rows), markdown)
    for title, reason in (("no mapping", "reason"), ("not replayed", "not_replayed")):
        refused = [[*tables.subject(row), row[reason]] for row in rows if reason in row]
        if refused:
            _print(title, tables.REASONS, refused, markdown)


def matmul_of(text: str) -> "Operator":
    """The matmul of MxKxN. Errors: CliError, MapperError."""
    from celosia.sw.mapper.operators import matmul

    try:
        rows, channels, outputs = (int(size) for size in text.lower().split("x"))
    except ValueError:
        raise CliError(f"a matmul must read MxKxN, such as 512x768x768, not {text!r}") from None
    return matmul("matmul", rows, channels, outputs)


def _encoder(lengths: list[int], fused: bool) -> list[tuple["Operator", int | None]]:
    from celosia.sw.analysis.transformer import check_tokens
    from celosia.sw.mapper.operators import After, encoder_operators

    for length in lengths:
        check_tokens(length)
    operators = [(operator, length) for length in lengths for operator in encoder_operators(length)]
    return [(operator, length) for operator, length in operators if fused or operator.after is After.REQUANT]


def _map(config: "Config", operator: "Operator", check: bool, replay: bool) -> dict[str, Any]:
    """A row: what the default finds, and how far above the best that is; or the `reason` why there is no mapping."""
    from celosia.sw.mapper.operators import MapperError
    from celosia.sw.mapper.search import best, exhaustive

    row: dict[str, Any] = {"operator": operator.name, "shape": str(operator)}
    start = time.process_time()
    try:
        found = best(config, operator)
    except MapperError as error:
        return row | {"reason": str(error)}
    row["seconds"] = time.process_time() - start
    cycles = found.figures["cycles"]
    row |= {"mapping": found.mapping.to_dict(), "figures": found.figures, "evaluated": found.evaluated}
    row["of_peak"] = operator.macs / (config.array.rows * config.array.columns * cycles)
    row |= {"bound": found.bound, "above_bound": cycles / found.bound - 1}
    if check:
        row["best_cycles"] = exhaustive(config, operator).figures["cycles"]
        row["above_best"] = cycles / row["best_cycles"] - 1
    return row | (_replayed(config, operator, found.mapping, cycles) if replay else {})


def _replayed(config: "Config", operator: "Operator", mapping: "Mapping", cycles: float) -> dict[str, Any]:
    """What the performance model says of a mapping, and how far the estimate is from it."""
    from celosia.sw.compiler.buffers import CompileError
    from celosia.sw.mapper.program import compile_mapping
    from celosia.sw.performance.prediction import predict

    try:
        found = predict(compile_mapping(config, operator, mapping))
    except CompileError as error:
        return {"not_replayed": str(error)}
    waits = sum(found.stalls.values()) - found.stalls["padding"]
    return {"replayed": found.cycles, "error": cycles / found.cycles - 1, "array_waits": waits}


def _check_output(json: bool, markdown: bool) -> None:
    if json and markdown:
        raise CliError("--json and --markdown exclude one another: give one of them")


def _print(title: str, columns: list[str], rows: list[list[str]], markdown: bool) -> None:
    if markdown:
        print(output.markdown_table(columns, rows), end="\n\n")
    else:
        output.print_tables(output.make_table(title, columns, rows))


def mapspace(
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    samples: Annotated[int, typer.Option(min=1, max=1_000_000, help="Valid mappings of each operator.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the mappings.")] = 0,
    wide: Annotated[
        bool, typer.Option("--wide", help="Also tiles narrower than the array, and partial sums that go to memory.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Write the figures there, as SVG.")
    ] = None,
    markdown: MarkdownOption = False,
    json: JsonOption = False,
) -> None:
    """Draw random mappings of the survey's four operators, and compare their EDP with the best (figures 18 to 20)."""
    from celosia.sw.mapper.mapspace import STUDIES, spread

    _check_output(json, markdown)
    chosen = resolve(preset, config, settings)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise CliError(f"cannot write {folder}: it is a file; -o takes a folder")
    if folder is not None:
        output.check_writable(folder / "figure.svg")
    spreads = []
    for study in STUDIES:
        output.progress(f"{samples:,} mappings of {study.operator.name}")
        spreads.append(spread(chosen.config, study, samples, seed, wide))
    files = _draw(spreads, folder) if folder is not None else []
    if json:
        rows = [one.to_dict() for one in spreads]
        output.print_json({"configuration": chosen.label, "seed": seed, "wide": wide, "rows": rows, "figures": files})
        return
    title = f"EDP over the best of {samples:,} random mappings on {chosen.label}{', wide' if wide else ''}"
    _print(title, tables.SPREADS, [tables.spread(one.to_dict()) for one in spreads], markdown)
    for name in files:
        print(name)


def _draw(spreads: list["Spread"], folder: Path) -> list[str]:
    with plugins.telling("synth error"):
        drawn = plugins.load("mapspace figures")(spreads)
    paths = {folder / name: text for name, text in drawn.items()}
    for path, text in paths.items():
        output.write_file(path, text)
    return [str(path) for path in paths]
