"""Figures for papers, by matplotlib: SVG text, the same for the same results. Letters are paths: no font is needed."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from celosia.sw.drawing import blank, line_colour, look, svg
from celosia.synth.report.document import Areas, Document, Point, ReportError, balanced, front_of, require
from celosia.synth.report.grid import Grid, Lines, Panel, find_grid, find_lines
from celosia.synth.report.style import BROKEN, CELL_INK, CELLS, FRONT, OTHER, figure_name, part_colour
from celosia.synth.report.style import scale as colour_scale
from celosia.synth.report.tree import Node, tree, units
from celosia.synth.report.tree import figures as figures_of
from celosia.synth.report.words import cell, number, short, title
from celosia.synth.sweep.rows import Status
from celosia.synth.sweep.spec import Objective

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 5.0
"""Inches: a column and a half of a paper of two columns."""
_MOST_BARS = 12


def figures(source: Document | Areas) -> dict[str, str]:
    """SVG files by name. Errors: ReportError when matplotlib is not installed.

    Of a sweep: `pareto` for every two objectives, `areas` of points of the front for every measure of areas, `grid`
    for every figure when two fields span a grid, `lines` over the longest numeric field. Of an area report: `areas`.
    """
    require("matplotlib")
    with look():
        drawn = {"areas": bars_of(source)} if isinstance(source, Areas) else dict(_of_sweep(source))
        return {f"{name}.svg": svg(figure) for name, figure in drawn.items()}


def _of_sweep(document: Document) -> Iterator[tuple[str, "Figure"]]:
    for x, y in combinations(document.objectives, 2):
        yield f"pareto-{x.figure}-{y.figure}", pareto(document, x, y)
    names = document.varying or document.fields
    for measure in dict.fromkeys(areas.measure for areas in document.areas):
        shown = [
            (" / ".join(number(point.values[name]) for name in names), areas)
            for point in _some(document)
            for areas in document.areas_of(point.index)
            if areas.measure == measure
        ]
        if shown:
            yield f"areas-{measure}", stacks_of(shown, " / ".join(names))
    grid, lines = find_grid(document), find_lines(document)
    for name in document.shown:
        if grid:
            yield f"grid-{name}", heat_map(document, grid, name)
        if lines:
            yield f"lines-{name}", line_plot(document, lines, name)


def pareto(document: Document, x: Objective, y: Objective) -> "Figure":
    """All points over two objectives, and the front of the sweep."""
    figure, axes = _figure(3.2)
    places: list[tuple[str, Sequence[Point], dict[str, Any]]] = [
        ("breaks a constraint", [p for p in document.measured if p.status is not Status.OK],
         {"color": BROKEN, "marker": "x", "s": 22}),
        ("other points", [p for p in document.ok if not p.best], {"color": OTHER, "s": 20}),
        ("Pareto front", document.best, {"color": FRONT, "s": 34, "zorder": 3}),
    ]  # fmt: skip
    for label, points, marker in places:
        if points:
            axes.scatter(_values(points, x.figure), _values(points, y.figure), label=label, **marker)
    edge = front_of(document.ok, (x, y))
    if edge:
        # Nothing is known between two points but that the worse value of each is reached.
        axes.plot(_values(edge, x.figure), _values(edge, y.figure), color=FRONT, linewidth=1.2,
                  drawstyle="steps-pre" if x.maximise else "steps-post")  # fmt: skip
    best = balanced(document.best, document.objectives)
    if best:
        place = (best.number(x.figure), best.number(y.figure))
        axes.plot(*place, "o", markersize=10, fillstyle="none", color="black", markeredgewidth=1)
        axes.annotate("balanced", place, xytext=(7, 7), textcoords="offset points")
    _axis(axes, "x", title(document, x.figure))
    _axis(axes, "y", title(document, y.figure))
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    return figure


def bars_of(areas: Areas) -> "Figure":
    """Areas of the parts of one design: a bar for each, with its share."""
    nodes = tree(areas)
    name = _main_figure([nodes])
    parts = {part: value for part, value in units(nodes, name).items() if value}
    whole = sum(parts.values())
    figure, axes = _figure(0.7 + 0.24 * len(parts))
    axes.barh(range(len(parts)), list(parts.values()), color=[part_colour(part) for part in parts], height=0.7)
    for place, value in enumerate(parts.values()):
        axes.text(value, place, f" {short(value, fill=True)} ({value / whole:.1%})", va="center", ha="left")
    axes.set_yticks(range(len(parts)), list(parts))
    axes.invert_yaxis()
    axes.margins(x=0.2)
    _axis(axes, "x", f"{figure_name(name)} of {areas.measure}")
    return figure


def stacks_of(shown: Sequence[tuple[str, Areas]], label: str) -> "Figure":
    """Areas of the parts of several designs: a stack for each, with its name; `label`: what the names tell."""
    trees = [tree(areas) for _, areas in shown]
    name = _main_figure(trees)
    parts = [units(nodes, name) for nodes in trees]
    # What cannot be seen in any bar would only lengthen the legend.
    order = dict.fromkeys(part for bar in parts for part in bar if bar[part] > 0.001 * sum(bar.values()))
    figure, axes = _figure(1.2 + 0.25 * len(shown))
    for place, bar in enumerate(parts):
        left = 0.0
        for part in order:
            width = bar.get(part, 0.0)
            axes.barh(place, width, left=left, color=part_colour(part), height=0.75, edgecolor="white", linewidth=0.5)
            left += width
        axes.text(left, place, f" {short(sum(bar.values()), fill=True)}", va="center", ha="left")
    for part in order:
        axes.barh(0, 0, color=part_colour(part), label=part)
    axes.set_yticks(range(len(shown)), [text for text, _ in shown])
    axes.set_ylabel(label)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    _axis(axes, "x", figure_name(name))
    figure.legend(loc="outside upper center", ncols=4, frameon=False, handlelength=1, columnspacing=1.2)
    return figure


def _main_figure(trees: Sequence[list[Node]]) -> str:
    """The figure of areas that says most. Errors: ReportError for designs without any cells."""
    names = [name for nodes in trees for name in figures_of(nodes)]
    if not names:
        raise ReportError("there is no area to draw: the design has no cells")
    return names[0]


def heat_map(document: Document, grid: Grid, name: str) -> "Figure":
    """A figure over two fields: numbers in the cells, the distance to the best below them, the front in frames."""
    rows = -(-len(grid.panels) // 2)
    columns = min(2, len(grid.panels))
    figure = blank(max(_WIDTH, 0.9 + 0.6 * len(grid.xs)) * columns, (0.9 + 0.5 * len(grid.ys)) * rows)
    found = [point.number(name) for point in document.ok or document.measured]
    for place, panel in enumerate(grid.panels, 1):
        axes = figure.add_subplot(rows, columns, place)
        _fill(axes, document, grid, panel, name, (min(found), max(found)))
    notes = [title(document, name)]
    notes += ["frames: Pareto front"] if document.best else []
    notes += ["brackets: break a constraint"] if len(document.ok) < len(document.measured) else []
    figure.suptitle("; ".join(notes), fontsize=9)
    return figure


def _fill(axes: "Axes", document: Document, grid: Grid, panel: Panel, name: str, limits: tuple[float, float]) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    direction = document.direction(name)
    colours = LinearSegmentedColormap.from_list("cells", [tuple(stop) for stop in colour_scale(CELLS, direction)])
    low, high = limits
    for row, points in enumerate(panel.cells):
        for column, point in enumerate(points):
            if point is None:
                continue
            value = point.number(name)
            colour = colours((value - low) / (high - low or 1))
            frame = {"edgecolor": CELL_INK, "linewidth": 1.6, "zorder": 3} if point.best else {"edgecolor": "white"}
            axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=colour, **frame))
            text = f"{cell(point, name)}\n{_distance(value, high if direction == 'maximise' else low)}"
            axes.text(column, row, text, ha="center", va="center", color=CELL_INK, fontsize=7, zorder=4)
    axes.set_xlim(-0.5, len(grid.xs) - 0.5)
    axes.set_ylim(-0.5, len(grid.ys) - 0.5)
    axes.set_xticks(range(len(grid.xs)), [number(value) for value in grid.xs])
    axes.set_yticks(range(len(grid.ys)), [number(value) for value in grid.ys])
    axes.set_xlabel(title(document, grid.x))
    axes.set_ylabel(title(document, grid.y))
    axes.set_title(panel.title, fontsize=8)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def line_plot(document: Document, lines: Lines, name: str) -> "Figure":
    """A figure over a field, a line for each combination of the others."""
    figure, axes = _figure(3.2)
    for place, line in enumerate(lines.lines):
        points = line.points
        label = line.title or None
        axes.plot(_values(points, lines.x), _values(points, name), "o-", markersize=4, linewidth=1.3,
                  color=line_colour(place), label=label)  # fmt: skip
    values = [value for value in document.values(lines.x) if isinstance(value, (int, float))]
    # Sizes that double are at the same distance from one another.
    if min(values) > 0 and max(values) / min(values) >= 8:
        axes.set_xscale("log")
        axes.minorticks_off()
    if len(values) <= 10:
        axes.set_xticks(values, [number(value) for value in values])
    axes.set_xlabel(title(document, lines.x))
    _axis(axes, "y", title(document, name))
    axes.grid(True, color="#dddddd", linewidth=0.6)
    if len(lines.lines) > 1:
        axes.legend(frameon=False, fontsize=7)
    return figure


def _some(document: Document) -> list[Point]:
    """The points whose areas are compared: of a long front, some from one end to the other."""
    points = list(document.best or document.ok)
    if len(points) <= _MOST_BARS:
        return points
    return [points[place * (len(points) - 1) // (_MOST_BARS - 1)] for place in range(_MOST_BARS)]


def _distance(value: float, best: float) -> str:
    if value == best:
        return "best"
    share = (value - best) / abs(best) if best else 0.0
    return f"{share:+.0%}" if abs(share) >= 1 else f"{share:+.1%}" if best else ""


def _values(points: Sequence[Point], name: str) -> list[float]:
    return [point.number(name) for point in points]


def _axis(axes: "Axes", which: str, text: str) -> None:
    from matplotlib.ticker import FuncFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_label_text(text)
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _figure(height: float) -> tuple["Figure", "Axes"]:
    figure = blank(_WIDTH, height)
    return figure, figure.add_subplot()
