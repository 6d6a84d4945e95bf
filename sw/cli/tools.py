"""`celosia analyze tools`: what other tools predict for matmuls, beside the performance model and the Verilog."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celosia.hw.config import Config
from celosia.sw.cache import cache_folder, recall, replacing
from celosia.sw.cli import output, plugins
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import Choice, ConfigOption, JsonOption, PresetOption, SetOption, pick, resolve
from celosia.sw.cli.subject import DEFAULT_MODEL, ModelOption, subject

if TYPE_CHECKING:
    from celosia.sw.export.layers import Layer
    from celosia.sw.performance.correlate import Row

TITLES = {"zigzag": "ZigZag", "scalesim": "SCALE-Sim"}
"""Columns of the tools."""
RTL, MODEL = "rtl", "model"
TOKENS, MOST_TOKENS = 128, 4096
"""Length: by default, and at most, since every matmul becomes a program."""

Figures = dict[str, list[dict[str, float] | None]]
"""By tool and matmul; None where the tool was not run."""


@dataclass(frozen=True)
class Line:
    """Cycles of one matmul, by predictor, None where it was not asked; `details`: what a tool's cycles consist of."""

    layer: "Layer"
    ideal: int
    cycles: dict[str, int | None]
    details: dict[str, dict[str, float] | None]


def tools(
    model: ModelOption = None,
    tokens: Annotated[int, typer.Option("--tokens", help="Length of the sequence.")] = TOKENS,
    preset: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help=f"Leave out {RTL}, {', '.join(TITLES)}; may be repeated.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option("--python", help="Interpreter of an environment with the tools.  [default: this one]"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Run SCALE-Sim only on matmuls of at most so many ideal cycles."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare cycles that ZigZag and SCALE-Sim predict for the matmuls of one layer with our model and the Verilog.

    SCALE-Sim walks through every cycle in Python: one layer of BERT-Base takes it many minutes.
    """
    if markdown and json:
        raise CliError("--markdown and --json exclude one another: give one of them")
    dropped = {pick("predictor", name, (RTL, *TITLES)) for name in without or []}
    choice = resolve(preset, config, settings)
    network, layers = _layers(model, tokens)
    figures = _predicted(choice.config, layers, [name for name in TITLES if name not in dropped], python, limit)
    lines = _lines(choice.config, layers, _compared(choice.config, layers, RTL not in dropped), figures)
    title = f"cycles of the matmuls of one layer of {network}, {tokens} tokens, on {choice.label}"
    if json:
        output.print_json({"title": title, **described(choice, lines)})
    elif markdown:
        print(output.markdown_table(*table(lines)))
    else:
        output.print_tables(output.make_table(title, *table(lines)))


def table(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells; the last line has the sums, every matmul as often as it occurs."""
    names = list(lines[0].cycles)
    reference = names[0]
    columns = ["matmul", ">M x K x N", ">times", ">ideal", *(f">{_title(name)}" for name in names)]

    def cells(cycles: dict[str, int | None]) -> list[str]:
        return [_cell(value, None if name == reference else cycles[reference]) for name, value in cycles.items()]

    rows = [
        [line.layer.name, f"{line.layer.m} x {line.layer.k} x {line.layer.n}", str(line.layer.count),
         f"{line.ideal:,}", *cells(line.cycles)]
        for line in lines
    ]  # fmt: skip
    ideal, sums = totals(lines)
    return columns, [*rows, ["all", "", str(sum(line.layer.count for line in lines)), f"{ideal:,}", *cells(sums)]]


def totals(lines: Sequence[Line]) -> tuple[int, dict[str, int | None]]:
    """Ideal cycles and those by predictor, of all matmuls as often as they occur; None where one is missing."""
    ideal = sum(line.layer.count * line.ideal for line in lines)
    sums: dict[str, int | None] = {}
    for name in lines[0].cycles:
        found = [(line.layer.count, line.cycles[name]) for line in lines]
        known = [count * cycles for count, cycles in found if cycles is not None]
        sums[name] = sum(known) if len(known) == len(found) else None
    return ideal, sums


def described(choice: Choice, lines: Sequence[Line]) -> dict[str, Any]:
    """For --json. `cycles`: of one matmul, by predictor; `details`: by tool, of what they consist."""
    rows = [asdict(line.layer) | {"ideal": line.ideal, "cycles": line.cycles, "details": line.details}
            for line in lines]  # fmt: skip
    ideal, sums = totals(lines)
    return {"configuration": choice.label, "config_hash": f"{choice.config.hash:08x}", "rows": rows,
            "total": {"ideal": ideal, "cycles": sums}}  # fmt: skip


def _cell(value: int | None, base: int | None) -> str:
    """A number of cycles, and how far it is from `base`."""
    if value is None:
        return "-"
    return f"{value:,}" + ("" if base is None else f" ({value / base - 1:+.1%})")


def _title(name: str) -> str:
    return {RTL: "RTL", MODEL: "model"}.get(name) or TITLES[name]


def _layers(model: str | None, tokens: int) -> tuple[str, list["Layer"]]:
    """The network's name and the matmuls of one of its layers. Errors: CliError, AnalysisError, ExportError."""
    from celosia.sw.analysis.transformer import Transformer, check_tokens
    from celosia.sw.export import distinct

    network = subject(model or DEFAULT_MODEL, None, {}, tokens, decoder=False).network
    if not isinstance(network, Transformer) or network.decoder:
        raise CliError(f"only encoders are compared, and {network.name} is none")
    check_tokens(tokens)
    if tokens > MOST_TOKENS:
        raise CliError(f"tokens must be at most {MOST_TOKENS}, not {tokens}: every matmul becomes a program")
    return network.name, distinct(next(network.steps(tokens)))


def _predicted(
    config: Config, layers: list["Layer"], names: list[str], python: Path | None, limit: int | None
) -> Figures:
    """Figures of every layer by tool. Errors: ExportError."""
    from celosia.sw.export.running import Tool, run

    figures: Figures = {}
    for name in names:
        if Tool(name) is Tool.SCALESIM:
            figures[name] = _walked(config, layers, python, limit)
            continue
        with output.step(f"{TITLES[name]} on {len(layers)} matmuls"):
            figures[name] = list(run(Tool(name), config, layers, python))
    return figures


def _walked(
    config: Config, layers: list["Layer"], python: Path | None, limit: int | None
) -> list[dict[str, float] | None]:
    """Figures of SCALE-Sim, one matmul after the other, the least work first; None beyond `limit`.

    It takes minutes: what it has found is kept, so that a run that was stopped goes on where it was.
    """
    from celosia.sw.export.running import Tool, files, run

    found: dict[Layer, dict[str, float]] = {}
    for one in sorted(layers, key=lambda layer: layer.ideal_cycles(config)):
        if limit is not None and one.ideal_cycles(config) > limit:
            break
        told = [[name, data.decode()] for name, data in files(Tool.SCALESIM, config, [one]).items()]
        key = hashlib.sha256(json.dumps([str(python or ""), told]).encode()).hexdigest()
        kept = cache_folder() / "scalesim" / f"{key[:32]}.json"
        known = recall(kept)
        if isinstance(known, dict):
            output.progress(f"SCALE-Sim on {one.name}: known before")
            found[one] = known
            continue
        with output.step(f"SCALE-Sim on {one.name}"):
            (found[one],) = run(Tool.SCALESIM, config, [one], python)
        with suppress(OSError), replacing(kept) as file:  # a cache that cannot be written costs time, not the result
            file.write(json.dumps(found[one]).encode())
    return [found.get(one) for one in layers]


def _compared(config: Config, layers: list["Layer"], simulated: bool) -> list["Row | int"]:
    """Our model's cycles of every layer, beside those that the RTL counts unless it is left out.

    Errors: CompileError when a matmul does not fit; CliError when the simulator cannot be built.
    """
    from celosia.sw.performance.channels import Memory
    from celosia.sw.performance.correlate import Point, compare
    from celosia.sw.performance.operations import Matmul, compile_operation
    from celosia.sw.performance.prediction import predict

    memory = Memory()
    programs = [compile_operation(config, Matmul(one.m, one.k, one.n)) for one in layers]
    if not simulated:
        return [predict(program, memory).cycles for program in programs]
    found: list[Row | int] = []
    with output.step("Verilog"), plugins.telling("tool error"):
        make = plugins.load("rtl")
        for one, program in zip(layers, programs, strict=True):
            device = make(config, latency=memory.latency, outstanding=memory.outstanding)
            found.append(compare(Point(one.name, program, memory), device))
    return found


def _lines(config: Config, layers: list["Layer"], compared: list["Row | int"], figures: Figures) -> list[Line]:
    lines = []
    for index, (layer, row) in enumerate(zip(layers, compared, strict=True)):
        cycles: dict[str, int | None] = (
            {MODEL: row} if isinstance(row, int) else {RTL: row.measured, MODEL: row.modelled}
        )
        details = {name: found[index] for name, found in figures.items()}
        cycles |= {name: round(one["cycles"]) if one else None for name, one in details.items()}
        lines.append(Line(layer, layer.ideal_cycles(config), cycles, details))
    return lines
