"""`celosia area`: what a configuration costs on a target, module by module."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from celosia.sw.cli import output, plugins
from celosia.sw.cli.options import AnyPresetOption, Choice, ConfigOption, JsonOption, SetOption, resolve


class TargetName(StrEnum):
    """What the logic is mapped to."""

    CELLS = "cells"
    ECP5 = "ecp5"
    ICE40 = "ice40"
    XC7 = "xc7"
    GOWIN = "gowin"


def area(
    preset: AnyPresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    target: Annotated[TargetName, typer.Option("--target", help="What the logic is mapped to.")] = TargetName.CELLS,
    liberty: Annotated[
        Path | None, typer.Option("--liberty", help="cells: map to this library instead of generic gates.")
    ] = None,
    technology: Annotated[
        Path | None, typer.Option("--technology", help="cells: areas of gates and memories, for the built-in 45 nm.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Levels of modules in the table.")] = 4,
    cache: Annotated[bool, typer.Option(help="Keep mapped modules, and use those of earlier runs.")] = True,
    element: Annotated[
        bool, typer.Option("--element", help="The array's processing element alone, in Yosys's generic cells.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Report the area of an accelerator: LUTs, flip-flops, DSPs and block RAMs, or gates and memories."""
    choice = resolve(preset, config, settings, coprocessors=not element)
    if element:
        _element(choice, json)
        return
    measure = plugins.load("area")
    with plugins.telling("synth error"), output.step(f"area of {choice.label} on {target}"):
        report = measure(choice.config, target.value, liberty, technology, cache)
    described = {"preset": choice.name, "settings": list(choice.settings), **report.to_dict()}
    if json:
        output.print_json(described)
    else:
        _print(choice.label, described, depth)


def _element(choice: Choice, json: bool) -> None:
    with plugins.telling("synth error"):
        cells = plugins.load("element")(choice.config)
    total, gemmini = sum(cells.values()), plugins.load("element of gemmini")
    if json:
        output.print_json({"preset": choice.name, "settings": list(choice.settings), "cells": cells, "total": total,
                           "gemmini": gemmini})  # fmt: skip
    else:
        share = f"{total / gemmini:.1%} of Gemmini's {gemmini:,}"
        print(f"processing element of {choice.label}: {total:,} generic cells after `synth -flatten`, {share}")


def _print(label: str, report: dict[str, Any], depth: int) -> None:
    figures = list(report["total"])
    rows = [
        ["  " * row["depth"] + row["name"], f"{row['count']:,}", *(_number(row["total"][key]) for key in figures)]
        for row in report["modules"]
        if row["depth"] <= depth
    ]
    title = f"{label} on {report['target']}: one instance with all that is in it, {_tools(report)}"
    output.print_tables(output.make_table(title, ["module", ">count", *(f">{key}" for key in figures)], rows))
    shares = [[name, *(_share(own[key], report["total"][key]) for key in figures)]
              for name, own in report["functions"].items()]  # fmt: skip
    output.print_tables(
        output.make_table("Nonlinear functions, of the whole", ["function", *(f">{key}" for key in figures)], shares)
    )


def _tools(report: dict[str, Any]) -> str:
    return f"{report['tools']['yosys']}, {report['seconds']:.1f} s, {report['reused_modules']} modules from the cache"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def _share(part: float, whole: float) -> str:
    return f"{_number(part)} ({part / whole:.1%})" if whole else "-"
