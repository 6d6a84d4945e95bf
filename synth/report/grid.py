"""Fields that span a grid, and fields that figures can be drawn over as lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from celosia.synth.report.document import Document, Point, Value
from celosia.synth.report.words import number

_MOST_PANELS, _MOST_LINES = 6, 8


@dataclass(frozen=True, eq=False)
class Panel:
    """One grid. `title`: values of the other fields. `cells`: by row (y) and column (x); None where nothing was
    measured."""

    title: str
    cells: tuple[tuple[Point | None, ...], ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """Points over two numeric fields; `panels`: one for each combination of the other fields."""

    x: str
    y: str
    xs: tuple[Value, ...]
    ys: tuple[Value, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, eq=False)
class Line:
    """Points along a field. `title`: values of the other fields."""

    title: str
    points: tuple[Point, ...]


@dataclass(frozen=True, eq=False)
class Lines:
    """Points over one numeric field; a line for each combination of the others."""

    x: str
    lines: tuple[Line, ...]


def find_grid(document: Document) -> Grid | None:
    """The grid of the two numeric fields with the most values, the sweep's first across; None when there are none, when
    less than half of it was measured, or when the other fields make too many panels."""
    numeric = [name for name in document.varying if document.is_numeric(name)]
    if len(numeric) < 2:
        return None
    widest = sorted(numeric, key=lambda name: -len(document.values(name)))[:2]
    x, y = (name for name in numeric if name in widest)
    xs, ys = tuple(document.values(x)), tuple(document.values(y))
    groups = _groups(document, [name for name in document.varying if name not in (x, y)])
    if len(groups) > _MOST_PANELS or 2 * len(document.measured) < len(groups) * len(xs) * len(ys):
        return None
    panels = []
    for text, points in groups.items():
        places = {(point.values[x], point.values[y]): point for point in points}
        panels.append(Panel(text, tuple(tuple(places.get((a, b)) for a in xs) for b in ys)))
    return Grid(x, y, xs, ys, tuple(panels))


def find_lines(document: Document) -> Lines | None:
    """The numeric field with the most values, and lines over it; None when there is none, or the others make too many
    lines. Fields that follow from that one (of an equal total, say) make no lines of their own."""
    numeric = [name for name in document.varying if document.is_numeric(name)]
    for x in sorted(numeric, key=lambda name: -len(document.values(name))):
        others = [name for name in document.varying if name != x and not _follows(document.measured, name, x)]
        groups = _groups(document, others)
        if len(groups) <= _MOST_LINES and 2 * len(groups) <= len(document.measured):
            lines = [
                Line(text, tuple(sorted(points, key=lambda point: point.number(x)))) for text, points in groups.items()
            ]
            return Lines(x, tuple(lines))
    return None


def _groups(document: Document, names: Sequence[str]) -> dict[str, list[Point]]:
    """Measured points by the values of some fields, in words."""
    order = {name: {value: place for place, value in enumerate(document.values(name))} for name in names}
    points = sorted(document.measured, key=lambda p: [order[name][p.values[name]] for name in names])
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(", ".join(f"{name} {number(point.values[name])}" for name in names), []).append(point)
    return groups


def _follows(points: Sequence[Point], name: str, x: str) -> bool:
    """Whether a field has one value for each value of `x`."""
    pairs = {(point.values[x], point.values[name]) for point in points}
    return not any(a[0] == b[0] for a, b in combinations(pairs, 2))
