"""`celosia analyze intensity`, `roofline`, `latency` and `document`: what a network asks of a machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
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

if TYPE_CHECKING:
    from celosia.sw.analysis.comparison import Comparison

TABLES = ("table 3", "table 4", "table 5", "table 12")
LATENCIES = ("figure 32", "text")

PrintedOption = Annotated[
    bool, typer.Option("--printed", help="Instead, what the survey prints beside what the same rules give here.")
]


def intensity(
    model: ModelOption = None,
    workload: WorkloadOption = None,
    layers: LayersOption = None,
    hidden: HiddenOption = None,
    heads: HeadsOption = None,
    ffn: FfnOption = None,
    tokens: TokensOption = None,
    decoder: DecoderOption = False,
    printed: PrintedOption = False,
    json: JsonOption = False,
) -> None:
    """Count FLOPs and memory operations, by the survey's rules, and how many FLOPs there are for each byte."""
    from celosia.sw.analysis.operations import by_name, total
    from celosia.sw.cli import analysis_tables as tables

    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}
    if printed:
        _alone({"model": model, "workload": workload, **sizes, "tokens": tokens, "decoder": decoder or None})
        _print_comparisons(TABLES, json)
        return
    chosen = subject(model, workload, sizes, tokens, decoder)
    operations = chosen.network.operations(chosen.tokens)
    rows = by_name(operations) | {"total": total(operations)}
    if json:
        found = [
            {"operation": name, "flops": row.flops, "mops": row.mops, "intensity": row.intensity,
             "cached_bytes": row.traffic, "cached_intensity": row.tiled_intensity}
            for name, row in rows.items()
        ]  # fmt: skip
        output.print_json({"network": chosen.label, "rows": found})
        return
    output.print_tables(output.make_table(chosen.label, tables.INTENSITY, tables.intensities(rows)))


def roofline(
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
    file: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.svg", help="Also draw it there.")] = None,
    json: JsonOption = False,
) -> None:
    """Say for each operation whether array or bus bounds it on a configuration, and what it can reach."""
    from celosia.sw.analysis import plots
    from celosia.sw.analysis.roofline import points, roof
    from celosia.sw.cli import analysis_tables as tables

    choice = resolve(preset, config, settings)
    chosen = subject(model, workload, {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}, tokens, decoder)
    above, found = roof(choice.config), points(chosen.network.operations(chosen.tokens), choice.config)
    title = f"{chosen.label}\non {choice.label}: {above.flops} FLOPs and {above.bus} bytes a cycle"
    if file is not None:
        _check_file(file, "roofline.svg")
        output.write_file(file, plots.roofline(title, above, found))
    if json:
        rows = [
            {"operation": point.name, "flops": point.flops, "mops": point.mops, "intensity": point.intensity,
             "ceiling": point.ceiling, "attainable": point.attainable, "limit": point.limit, "cycles": point.cycles}
            for point in found
        ]  # fmt: skip
        described = {"configuration": choice.label, "network": chosen.label, "flops": above.flops, "bus": above.bus}
        output.print_json({**described, "ridge": above.ridge, "rows": rows})
        return
    title += f", equal at {above.ridge:g} FLOPs a byte"
    output.print_tables(output.make_table(title, tables.ROOFLINE, tables.roofs(found)))


def latency(
    model: ModelOption = None,
    workload: WorkloadOption = None,
    layers: LayersOption = None,
    hidden: HiddenOption = None,
    heads: HeadsOption = None,
    ffn: FfnOption = None,
    tokens: TokensOption = None,
    decoder: DecoderOption = False,
    printed: PrintedOption = False,
    json: JsonOption = False,
) -> None:
    """Estimate cycles by the survey's analytical model of its accelerator (for ours, see `celosia bench`)."""
    from celosia.sw.analysis.latency import by_operation, whole
    from celosia.sw.cli import analysis_tables as tables

    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}
    if printed:
        _alone({"model": model, "workload": workload, **sizes, "tokens": tokens, "decoder": decoder or None})
        _print_comparisons(LATENCIES, json)
        return
    chosen = subject(model, workload, sizes, tokens, decoder)
    rows = by_operation(chosen.network, chosen.tokens)
    rows["total"] = whole(rows)
    if json:
        found = [
            {"operation": name, "cycles": row.cycles, "compute": row.compute, "memory": row.memory}
            for name, row in rows.items()
        ]
        output.print_json({"network": chosen.label, "rows": found})
        return
    output.print_tables(output.make_table(chosen.label, tables.LATENCY, tables.latencies(rows)))


def document(
    file: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.md", help="Write it there, with its figures beside it."),
    ] = None,
    page: Annotated[
        str, typer.Option("--page", help="analysis: all reproduced tables; fusion: what fusing saves, and the ladder.")
    ] = "analysis",
) -> None:
    """Print a page of reproduced tables, in Markdown: docs/analysis.md or docs/fusion.md."""
    from celosia.sw.cli import analysis_page, fusion_page

    pages = {"analysis": (analysis_page.page, analysis_page.figures), "fusion": (fusion_page.page, dict[str, str])}
    write, draw = pages[pick("page", page, pages)]
    if file is None:
        print(write(), end="")
        return
    _check_file(file, f"{page}.md")
    text, drawn = write(), draw()
    output.write_file(file, text)
    for name, figure in drawn.items():
        output.write_file(file.parent / name, figure)


def _check_file(file: Path, example: str) -> None:
    """Errors: CliError when nothing could be written there."""
    if file.is_dir():
        raise CliError(f"cannot write {file}: it is a folder; give a file, such as {file / example}")
    output.check_writable(file)


def _alone(options: dict[str, object]) -> None:
    """Errors: CliError when one of the options beside --printed is given."""
    for name, value in options.items():
        if value is not None:
            raise CliError(
                f"--printed and --{name} exclude one another: the survey prints its own networks and lengths"
            )


def _print_comparisons(sources: tuple[str, ...], json: bool) -> None:
    from celosia.sw.analysis.comparison import compare
    from celosia.sw.cli import analysis_tables as tables

    found = compare(sources)
    if json:
        output.print_json({"rows": [_described(one) for one in found]})
        return
    grouped: dict[str, list[Comparison]] = {}
    for one in found:
        grouped.setdefault(f"{one.entry.source}: {one.entry.caption}", []).append(one)
    shown = [output.make_table(title, tables.COMPARISON, tables.comparisons(of)) for title, of in grouped.items()]
    output.print_tables(*shown)


def _described(one: "Comparison") -> dict[str, str | int | float]:
    entry = one.entry
    return {
        "source": entry.source, "model": entry.model, "row": entry.row, "tokens": entry.tokens, "figure": entry.figure,
        "printed": entry.printed, "ours": one.ours, "verdict": one.verdict, "remark": one.remark,
    }  # fmt: skip
