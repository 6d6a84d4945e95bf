"""Numbers and points in words, the same on pages and in figures."""

from collections.abc import Iterable

from celosia.synth.report.document import Document, Point, Value
from celosia.synth.sweep.rows import Status

_UNITS = {"um2": "µm²"}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: Value) -> str:
    """A value in full: 1,234,567, 0.1235, base2."""
    if value is None:
        return "-"
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def short(value: float, digits: int = 4, fill: bool = False) -> str:
    """A number in few characters: 1.234M, 456k, 78.9. Whole numbers below 1000 are as they are.

    `fill`: with zeros to `digits`, for numbers that stand beside one another.
    """
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
    if not prefix and value == int(value):
        return str(int(value))
    told = f"{value / scale:#.{digits}g}" if fill else f"{float(f'{value / scale:.{digits}g}'):g}"
    return told.rstrip(".") + prefix


def unit(name: str) -> str:
    """A unit as people write it."""
    return _UNITS.get(name, name)


def quantity(value: Value, of: str) -> str:
    """A value with its unit, which may be empty."""
    return f"{number(value)} {unit(of)}".rstrip()


def title(document: Document, column: str) -> str:
    """A column with its unit, unless its name says so already."""
    of = document.units.get(column, "")
    return column if not of or column.endswith(of) else f"{column} ({unit(of)})"


def setting(document: Document, point: Point, names: Iterable[str] | None = None) -> str:
    """A point by its fields: those that differ between points, unless others are asked for."""
    chosen = list(names if names is not None else document.varying or document.fields)
    return ", ".join(f"{name} {number(point.values[name])}" for name in chosen) or f"point {point.index}"


def cell(point: Point, figure: str) -> str:
    """A figure of a point in few characters, in brackets where the point breaks a constraint."""
    text = short(point.number(figure), fill=True)
    return text if point.status is Status.OK else f"({text})"


def count(number: int, noun: str) -> str:
    """1 point, 2 points."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    *front, last = list(parts) or ["none"]
    return f"{', '.join(front)} and {last}" if front else last
