"""Figures of the page, by plotly: each a pure function of what is shown. Colours of paper and ink are the page's."""

from collections.abc import Sequence
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any

from celosia.synth.report.document import Document, Point, front_of
from celosia.synth.report.grid import Grid, Panel
from celosia.synth.report.style import BROKEN, CELL_INK, CELLS, FRONT, OTHER, SCALE, figure_name, part_colour, scale
from celosia.synth.report.tree import Node, figures
from celosia.synth.report.words import cell, number, quantity, setting, title
from celosia.synth.sweep.rows import Status
from celosia.synth.sweep.spec import Objective

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_TICKS = 12
"""Values of a field up to which each of them gets a place of its own on an axis."""

_MOST_EQUALS = 3
"""Points with the same figures that are named where they lie under one another."""


def fronts(document: Document) -> dict[str, "Figure"]:
    """Scatter plots of every two objectives, by a name for people; of a single one over the points."""
    if len(document.objectives) == 1:
        return {title(document, document.shown[0]): front(document, None, document.objectives[0])}
    return {
        f"{title(document, y.figure)} over {title(document, x.figure)}": front(document, x, y)
        for x, y in combinations(document.objectives, 2)
    }


def front(document: Document, x: Objective | None, y: Objective) -> "Figure":
    """Points over two objectives (over their number without `x`), those on the front highlighted.

    The line encloses what can be reached in these two: with more objectives, points of the front may lie off it.
    """

    def trace(points: Sequence[Point], name: str, **marker: Any) -> Any:
        return _go().Scatter(
            x=[_place(point, x) for point in points],
            y=[point.number(y.figure) for point in points],
            text=_hovers(document, points),
            customdata=[point.index for point in points],
            name=name,
            mode="markers",
            hovertemplate="%{text}<extra></extra>",
            marker=marker,
        )

    broken = [point for point in document.measured if point.status is not Status.OK]
    others = [point for point in document.ok if not point.best]
    traces = [
        trace(broken, "breaks a constraint", size=8, color=BROKEN, symbol="x-thin-open", line={"width": 2}),
        trace(others, "other points", size=9, color=OTHER, opacity=0.75),
        trace(document.best, "Pareto front", size=13, color=FRONT, line={"width": 1.5, "color": "white"}),
    ]
    if x is not None:
        edge = front_of(document.ok, (x, y))
        name = "front" if len(document.objectives) == 2 else "front of these two alone"
        line = trace(edge, name)
        # Nothing is known between two points but that the worse value of each is reached.
        line.update(mode="lines", line={"color": FRONT, "width": 2, "shape": "vh" if x.maximise else "hv"})
        line.update(hoverinfo="skip", hovertemplate=None, text=None)
        traces.insert(2, line)
    figure = _figure([one for one in traces if len(one.x)])
    figure.update_layout(
        xaxis=_axis(document, x) if x else {"title": {"text": "point"}},
        yaxis=_axis(document, y),
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        margin={"l": 70, "r": 16, "t": 30, "b": 96},
    )
    return figure


def hover(document: Document, point: Point) -> str:
    """What is told about a point: its configuration, its figures, and what became of it."""
    lines = [f"<b>point {point.index}</b>  {point.config_hash or ''}".rstrip()]
    lines += [f"{escape(name)} = <b>{escape(number(point.values[name]))}</b>" for name in document.fields]
    lines += [
        f"{escape(name)}: {escape(quantity(point.values[name], document.units.get(name, '')))}"
        for name in document.shown
    ]
    if point.best:
        lines.append("on the Pareto front")
    if point.reason:
        lines.append(escape(point.reason))
    return "<br>".join(lines)


def _hovers(document: Document, points: Sequence[Point]) -> list[str]:
    """What is told about points, with the names of those that lie under them."""
    places: dict[tuple[float, ...], list[Point]] = {}
    for point in points:
        places.setdefault(tuple(point.number(name) for name in document.shown), []).append(point)
    texts = []
    for point in points:
        same = [one for one in places[tuple(point.number(name) for name in document.shown)] if one is not point]
        told = [f"<i>equal: {escape(setting(document, one))}</i>" for one in same[:_MOST_EQUALS]]
        more = [f"<i>and {len(same) - _MOST_EQUALS} more</i>"] if len(same) > _MOST_EQUALS else []
        texts.append("<br>".join([hover(document, point), *told, *more]))
    return texts


def parallel(document: Document) -> "Figure":
    """Parallel coordinates over the fields that differ and the figures that are drawn, coloured by the first figure."""
    points, first = document.measured, document.shown[0]
    dimensions = [_dimension(document, name) for name in document.varying]
    dimensions += [
        {"label": _broken(title(document, name)), "values": [point.number(name) for point in points],
         "tickformat": _format(point.number(name) for point in points)}
        for name in document.shown
    ]  # fmt: skip
    colours = [point.number(first) for point in points]
    trace = _go().Parcoords(
        dimensions=dimensions,
        line={
            "color": colours,
            "colorscale": scale(SCALE, document.direction(first)),
            "showscale": True,
            "colorbar": {"title": {"text": _broken(title(document, first))}, "thickness": 12, "tickformat": "~s"},
        },
        labelfont={"size": 13},
        tickfont={"size": 12},
    )
    figure = _figure([trace])
    figure.update_layout(margin={"l": 56, "r": 24, "t": 76, "b": 24})
    return figure


def treemap(nodes: Sequence[Node]) -> "Figure":
    """Modules by area. Every module is as large as its parts, and the own logic of one is a part of its own.

    The trace's `meta` holds the values of all figures by name; the first of them is shown.
    """
    names = figures(list(nodes))
    values = {name: [round(node.figures.get(name, 0), 1) for node in nodes] for name in names}
    trace = _go().Treemap(
        ids=[str(node.place) for node in nodes],
        parents=["" if node.parent is None else str(node.parent) for node in nodes],
        labels=[escape(_label(node)) for node in nodes],
        values=values[names[0]],
        branchvalues="total",
        customdata=[[escape(node.path or node.name), f"{node.count:,}"] for node in nodes],
        marker={"colors": [part_colour(node.unit) for node in nodes], "line": {"width": 1}, "pad": {"t": 20}},
        texttemplate="%{label}<br>%{value:,.4~s}<br>%{percentRoot:.1%}",
        hovertemplate="<b>%{customdata[0]}</b><br>%{value:,.6~r}, %{percentRoot:.2%} of the whole, "
        "%{percentParent:.1%} of %{parent}<br>instances: %{customdata[1]}<extra></extra>",
        textfont={"color": "white"},
        tiling={"packing": "squarify", "pad": 2},
        meta={"values": values, "titles": {name: figure_name(name) for name in names}},
    )
    figure = _figure([trace])
    figure.update_layout(margin={"l": 0, "r": 0, "t": 26, "b": 0})
    return figure


def _label(node: Node) -> str:
    """The name, with the number of instances where it stands for several."""
    name = node.name.removesuffix("..")
    return name if name == node.name else f"{name} x {node.count:,}"


def heat_maps(document: Document, grid: Grid) -> dict[str, "Figure"]:
    """A figure over a grid, for each figure that is drawn and each panel, by a name for people."""
    return {
        ": ".join(filter(None, (title(document, name), panel.title))): heat_map(document, grid, panel, name)
        for name in document.shown
        for panel in grid.panels
    }


def heat_map(document: Document, grid: Grid, panel: Panel, name: str) -> "Figure":
    """A figure over two fields, with numbers in the cells; those of points on the front are bold."""

    def text(point: Point | None) -> str:
        told = cell(point, name) if point else ""
        return f"<b>{told} ●</b>" if point and point.best else told

    cells = panel.cells
    # One scale for all panels, so that they can be compared.
    found = [point.number(name) for point in document.ok or document.measured]
    trace = _go().Heatmap(
        zmin=min(found),
        zmax=max(found),
        x=[number(value) for value in grid.xs],
        y=[number(value) for value in grid.ys],
        z=[[point.number(name) if point else None for point in row] for row in cells],
        text=[[text(point) for point in row] for row in cells],
        customdata=[[point.index if point else None for point in row] for row in cells],
        hovertext=[[hover(document, point) if point else "" for point in row] for row in cells],
        texttemplate="%{text}",
        hovertemplate="%{hovertext}<extra></extra>",
        hoverongaps=False,
        textfont={"color": CELL_INK},
        colorscale=scale(CELLS, document.direction(name)),
        colorbar={"thickness": 12, "tickformat": "~s"},
        xgap=2,
        ygap=2,
    )
    figure = _figure([trace])
    figure.update_layout(
        xaxis={"title": {"text": title(document, grid.x)}, "type": "category", "showgrid": False},
        yaxis={"title": {"text": title(document, grid.y)}, "type": "category", "showgrid": False},
        margin={"l": 70, "r": 16, "t": 16, "b": 56},
    )
    return figure


def _go() -> Any:
    # Only where a figure is drawn: it takes a second to import.
    import plotly.graph_objects

    return plotly.graph_objects


def _figure(traces: Sequence[Any]) -> "Figure":
    # The default template would add its own colours, and 7 kB to each figure.
    return _go().Figure(data=traces, layout={"template": _go().layout.Template(), "autosize": True})


def _place(point: Point, objective: Objective | None) -> float:
    return point.index if objective is None else point.number(objective.figure)


def _axis(document: Document, objective: Objective) -> dict[str, Any]:
    better = "more is better" if objective.maximise else "less is better"
    text = f"{escape(title(document, objective.figure))}, {better}"
    values = (point.number(objective.figure) for point in document.measured)
    return {"title": {"text": text}, "tickformat": _format(values), "zeroline": False}


def _format(values: Any) -> str:
    """Of ticks: prefixes for large numbers; small ones would be told in milli and micro."""
    return "~s" if max(map(abs, values), default=0) >= 10_000 else ",.4~g"


def _dimension(document: Document, name: str) -> dict[str, Any]:
    values = document.values(name)
    dimension: dict[str, Any] = {"label": _broken(name)}
    if document.is_numeric(name) and len(values) > _MOST_TICKS:
        return dimension | {"values": [point.number(name) for point in document.measured]}
    # Every value at the same distance: sizes are often powers of two.
    places = {value: place for place, value in enumerate(values)}
    return dimension | {
        "values": [places[point.values[name]] for point in document.measured],
        "tickvals": list(places.values()),
        "ticktext": [number(value) for value in values],
        "range": [-0.1, len(values) - 0.9],
    }


def _broken(text: str) -> str:
    """A name in several lines: axes stand close to one another."""
    return escape(text).replace(".", ".<br>", 1).replace(" (", "<br>(")
