"""The page: sections of words, charts and tables in one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from celosia.synth.report import interactive, summary, tables
from celosia.synth.report.document import Areas, Document, Point, require
from celosia.synth.report.grid import find_grid
from celosia.synth.report.style import figure_name
from celosia.synth.report.tree import Node, tree
from celosia.synth.report.tree import figures as figures_of
from celosia.synth.report.words import count

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_TREES = 60
"""Points whose areas a page without a front shows: each adds some 10 kB."""

_AXIS = 110
"""Pixels that an axis of parallel coordinates, or a column of a grid, needs at least."""


@dataclass
class _Page:
    """A page in the making. `figures`: by the key that the script finds them with."""

    title: str
    sections: list[str] = field(default_factory=list)
    figures: dict[str, "Figure"] = field(default_factory=dict)
    templates: list[str] = field(default_factory=list)

    def add(self, heading: str, content: str, note: str = "", name: str = "") -> None:
        """Add a section."""
        self.sections.append(_section(heading, content, note, name))

    def chart(self, name: str, charts: Mapping[str, "Figure"], width: int = 0) -> str:
        """A chart, and a choice where there are several. `width`: pixels below which it is scrolled sideways."""
        keys = {text: f"{name}-{number}" for number, text in enumerate(charts)}
        self.figures |= {keys[text]: figure for text, figure in charts.items()}
        choice = _choice(name, [(keys[text], text, None) for text in charts]) if len(charts) > 1 else ""
        drawn = _chart(name, next(iter(keys.values())), f"min-width:{width}px")
        return choice + f'<div class="wide">{drawn}</div>'

    def html(self) -> str:
        """The whole page. Errors: ReportError when plotly is not installed."""
        parts = {name: (files("celosia.synth.report") / f"page.{name}").read_text("utf-8") for name in ("css", "js")}
        figures = {key: json.loads(figure.to_json()) for key, figure in self.figures.items()}
        script = _plotly_script()
        template = Template((files("celosia.synth.report") / "page.html").read_text("utf-8"))
        values = parts | {
            "title": escape(self.title),
            "sections": "\n".join(self.sections),
            "templates": "".join(self.templates),
            # Nothing in a text may end the script that it is in.
            "figures": json.dumps(figures, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"),
            "plotly": script,
        }
        size = len(template.substitute(values, footer="").encode())
        footer = (
            f"Made by celosia {version('celosia')}. This file of {size / 1e6:.1f} MB works offline; "
            f"{len(script.encode()) / 1e6:.1f} MB of it are plotly.js (MIT licence), which draws the charts."
        )
        return template.substitute(values, footer=footer)


def page(source: Document | Areas) -> str:
    """The page of a sweep or of an area report. Errors: ReportError when plotly is not installed."""
    require("plotly")
    return _area_page(source) if isinstance(source, Areas) else _sweep_page(source)


def _area_page(areas: Areas) -> str:
    nodes = tree(areas)
    made = _Page(f"Area of {areas.measure}")
    _add_areas(made, [("", None, nodes)])
    made.add("Parts", tables.parts(nodes), "Every module belongs to one part; nonlinear functions are inside of them.")
    made.add("Modules", tables.modules(nodes), "All instances of a module together, with everything in them.")
    return made.html()


def _sweep_page(document: Document) -> str:
    made = _Page(summary.heading(document))
    choices = summary.choices(document)
    chosen = choices[0][1] if choices else document.measured[0]
    made.sections.append(_summary(document, choices))
    card = tables.card(document, chosen)
    card = f'<section id="chosen" data-point="{chosen.index}" aria-live="polite">{card}</section>'
    made.templates += [
        f'<template data-point="{p.index}">{tables.card(document, p)}</template>' for p in document.measured
    ]
    if document.objectives:
        drawn = made.chart("front", interactive.fronts(document))
        section = _section("Pareto front", drawn, "Hover over a point for its configuration; click to choose it.")
        made.sections.append(f'<div class="pair">{section}{card}</div>')
    else:
        made.sections.append(card)
    _add_areas(made, _trees(document, chosen))
    if document.varying:
        axes = len(document.varying) + len(document.shown)
        drawn = made.chart("parallel", {"": interactive.parallel(document)}, _AXIS * axes)
        note = "A line for each point, green where the first figure is good. Drag along an axis to keep some lines."
        made.add("Fields and figures", drawn, note)
    if grid := find_grid(document):
        drawn = made.chart("grid", interactive.heat_maps(document, grid), _AXIS * len(grid.xs))
        made.add(f"{grid.y} against {grid.x}", drawn, "● on the Pareto front; in brackets: breaks a constraint.")
    _add_tables(made, document)
    return made.html()


def _summary(document: Document, choices: Sequence[tuple[str, Point]]) -> str:
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in summary.sentences(document))
    if not document.about["complete"]:
        told = "<p class='warning'>The sweep has not ended: these are its results so far.</p>" + told
    buttons = "".join(
        f'<button type="button" class="choice" data-point="{point.index}"><b>{escape(reason)}</b>'
        f"{escape(summary.label(document, point))}</button>"
        for reason, point in choices
    )
    note = (
        "Balanced: of the front, nearest to the best of every objective, each scaled to its range over the front."
        if len(document.objectives) > 1 and choices
        else ""
    )
    return _section("In short", f'{told}<div class="choices">{buttons}</div>', note, after=True)


def _trees(document: Document, chosen: Point) -> list[tuple[str, Point | None, list[Node]]]:
    """Areas of the front, and of the chosen point, which comes first."""
    points = list(document.best) or list(document.ok[:_MOST_TREES])
    points.sort(key=lambda point: point is not chosen)
    several = len({areas.measure for areas in document.areas}) > 1
    return [
        (summary.label(document, point) + (f", {areas.measure}" if several else ""), point, tree(areas))
        for point in points
        for areas in document.areas_of(point.index)
    ]


def _add_areas(made: _Page, trees: Sequence[tuple[str, Point | None, list[Node]]]) -> None:
    """A treemap with choices of the point and of the figure."""
    # Nothing can be drawn of a design without any cells.
    trees = [one for one in trees if figures_of(one[2])]
    if not trees:
        return
    options = []
    for number, (label, point, nodes) in enumerate(trees):
        made.figures[f"areas-{number}"] = interactive.treemap(nodes)
        options.append((f"areas-{number}", label, point))
    names = dict.fromkeys(name for _, _, nodes in trees for name in figures_of(nodes))
    of = "".join(f'<option value="{escape(name)}">{escape(figure_name(name))}</option>' for name in names)
    choice = _choice("areas", options) if trees[0][1] is not None else ""
    choice += f'<label>by <select data-figure-of="areas">{of}</select></label>'
    note = (
        "Click a module to look into it, and the bar above to come back. "
        "Own logic and memories are what a module holds beside its parts."
    )
    made.add("Area by module", choice + _chart("areas", "areas-0"), note)


def _add_tables(made: _Page, document: Document) -> None:
    filters = "".join(
        f'<option value="{value}">{text}</option>'
        for value, text in (("all", "all"), ("front", "on the front"), ("ok", "ok"), ("rest", "not ok"))
    )
    tools = f"<label>points <select data-filter>{filters}</select></label>"
    if len(document.figures) > len(document.shown):
        tools += '<label><input type="checkbox" data-all> all figures</label>'
    note = "Click a head to sort, a row to choose the point."
    made.add("Points", tools + tables.points(document), note, "points")
    if wrong := tables.problems(document):
        number = len(document.points) - len(document.ok)
        made.add(f"{count(number, 'point').capitalize()} that cannot be chosen", wrong)
    about = [("sweep", document.about["spec_hash"]), ("celosia", document.about["celosia"])]
    made.add("How it was measured", f'<div class="about">{tables.pairs(summary.measures(document) + about)}</div>')


def _section(heading: str, content: str, note: str = "", name: str = "", after: bool = False) -> str:
    quiet = f"<p class='quiet'>{escape(note)}</p>" if note else ""
    body = content + quiet if after else quiet + content
    place = f' id="{name}"' if name else ""
    return f"<section{place}><h2>{escape(heading)}</h2>{body}</section>"


def _choice(chart: str, options: Sequence[tuple[str, str, Point | None]]) -> str:
    items = ""
    for key, text, point in options:
        which = f' data-point="{point.index}"' if point else ""
        items += f'<option value="{key}"{which}>{escape(text)}</option>'
    return f'<label>show <select data-chart="{chart}">{items}</select></label>'


def _chart(name: str, key: str, style: str = "") -> str:
    return f'<div class="chart" id="{name}" data-figure="{key}" style="{style}"></div>'


def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
