"""Tables and lists of the page, as HTML."""

from collections.abc import Iterable, Sequence
from html import escape

from celosia.synth.report.document import Document, Point, Value
from celosia.synth.report.style import figure_name
from celosia.synth.report.summary import command
from celosia.synth.report.tree import Node, figures, functions, units
from celosia.synth.report.words import number, quantity, title
from celosia.synth.sweep.rows import Status

Row = tuple[str, Sequence[Value]]
"""Attributes of a row, and its cells."""


def table(heads: Sequence[str], rows: Iterable[Row], extra: int | None = None, label: str = "") -> str:
    """A table that can be sorted by a click on a head. `heads` are HTML; columns from number `extra` on are shown on
    demand. Every cell keeps its exact value beside what it shows."""

    lines = list(rows)
    numeric = [any(_is_number(cells[place]) for _, cells in lines) for place in range(len(heads))]

    def tag(place: int) -> str:
        kinds = ["n"] * numeric[place] + ["more"] * (extra is not None and place >= extra)
        return f' class="{" ".join(kinds)}"' if kinds else ""

    head = "".join(
        f'<th scope="col"{tag(place)}><button type="button">{text}</button></th>' for place, text in enumerate(heads)
    )
    body = "".join(
        f"<tr{attributes}>" + "".join(f"<td{tag(p)}{_exact(v)}>{escape(number(v))}</td>" for p, v in enumerate(cells))
        + "</tr>\n"
        for attributes, cells in lines
    )  # fmt: skip
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
    )


def points(document: Document) -> str:
    """All points: fields and figures that are drawn; other figures on demand."""
    names = [*document.fields, *document.figures]
    heads = ["point", "", *(_head(document, name) for name in names)]
    extra = 2 + len(document.fields) + len(document.shown)
    rows = [
        (
            f' data-point="{point.index}" data-status="{"front" if point.best else point.status.value}"',
            [point.index, "front" if point.best else point.status.value, *(point.values.get(name) for name in names)],
        )
        for point in document.points
    ]
    return table(heads, rows, extra, "points")


def problems(document: Document) -> str:
    """Points that cannot be chosen, with the reasons; empty when there are none."""
    wrong = [point for point in document.points if point.status is not Status.OK]
    if not wrong:
        return ""
    heads = ["point", "", "reason", *(_head(document, name) for name in document.fields)]
    rows = [
        ("", [point.index, point.status.value, point.reason or "", *(point.values[name] for name in document.fields)])
        for point in wrong
    ]
    return table(heads, rows, label="points that cannot be chosen")


def card(document: Document, point: Point) -> str:
    """A point in full, for whoever chooses it."""
    state = "on the Pareto front" if point.best else "" if point.status is Status.OK else point.status.value
    about = ", ".join(filter(None, (f"configuration {point.config_hash}", state, point.reason)))
    figures_of = [(name, quantity(point.values.get(name), document.units.get(name, ""))) for name in document.figures]
    drawn, more = figures_of[: len(document.shown)], pairs(figures_of[len(document.shown) :])
    return (
        f"<h3>Point {point.index}</h3><p class='quiet'>{escape(about)}</p>"
        + pairs((name, number(point.values[name])) for name in document.fields)
        + pairs(drawn)
        + (f"<details><summary>all figures</summary>{more}</details>" if more else "")
        + f"<p class='quiet'>To generate it:</p><pre tabindex='0'>{escape(command(document, point))}</pre>"
    )


def pairs(items: Iterable[tuple[str, str]]) -> str:
    """Names with values."""
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in items)
    return f"<dl>{cells}</dl>" if cells else ""


def parts(nodes: list[Node]) -> str:
    """The parts of the accelerator, and the nonlinear functions in them, by all figures of an area report."""
    names = figures(nodes)
    by_part = {name: units(nodes, name) for name in names}
    by_function = {name: functions(nodes, name) for name in names}
    rows: list[Row] = [("", [part, *(by_part[name][part] for name in names)]) for part in by_part[names[0]]]
    rows += [("", [f"of these, {one}", *(by_function[n][one] for n in names)]) for one in by_function[names[0]]]
    rows.append((' class="total"', ["whole", *(nodes[0].figures[name] for name in names)]))
    return table(["part", *(escape(figure_name(name)) for name in names)], rows, label="parts")


def modules(nodes: list[Node]) -> str:
    """All modules of an area report: all instances of each, with what is below."""
    names = figures(nodes)
    whole = nodes[0].figures[names[0]] or 1
    rows = [
        ("", [node.path or node.name, node.count, f"{node.figures[names[0]] / whole:.1%}",
              *(node.figures.get(name) for name in names)])
        for node in nodes
    ]  # fmt: skip
    heads = ["module", "instances", "share", *(escape(figure_name(name)) for name in names)]
    return table(heads, rows, label="modules")


def _head(document: Document, name: str) -> str:
    # Long names may be broken where they have a joint.
    return escape(title(document, name)).replace(".", ".<wbr>").replace("_", "_<wbr>")


def _exact(value: Value) -> str:
    """The value to sort by, where the cell shows a rounded one."""
    return f' data-v="{value!r}"' if _is_number(value) else ""


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
