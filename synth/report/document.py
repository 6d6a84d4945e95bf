"""What a report is about: the points of a sweep, or the areas of one design, in checked and typed form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from celosia.synth.errors import SynthError
from celosia.synth.sweep.pareto import pareto
from celosia.synth.sweep.rows import Status
from celosia.synth.sweep.spec import Objective

Value = int | float | str | bool | None


class ReportError(SynthError):
    """There is nothing to report, or it cannot be read; the message is one line."""


def require(package: str) -> None:
    """Errors: ReportError with the command that installs a package, when it is missing."""
    try:
        __import__(package)
    except ModuleNotFoundError:
        raise ReportError(f"reports need {package}: run `pip install celosia[report]`") from None


@dataclass(frozen=True)
class Column:
    """A column of the points. `kind`: field, figure or derived."""

    name: str
    kind: str
    unit: str


@dataclass(frozen=True, eq=False)
class Point:
    """One configuration. `values`: by column, None where it has none. `reason`: why it is not ok."""

    index: int
    config_hash: str | None
    status: Status
    reason: str | None
    best: bool
    values: Mapping[str, Value]

    def number(self, column: str) -> float:
        """A value that is known to be a number: 0 or 1 for truth values. Errors: TypeError."""
        value = self.values[column]
        if not isinstance(value, (int, float)):
            raise TypeError(f"{column} of point {self.index} is {value!r}")
        return value


@dataclass(frozen=True)
class Module:
    """A row of an area report, as `celosia.synth.area.report.Report.modules` makes it. `own`: of one instance, without
    what is below; `count`: instances in the whole design."""

    name: str
    path: str
    depth: int
    count: int
    own: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Areas:
    """The parts of one design, in depth-first order. `index`: of its point. `measure`: its name in the sweep, or the
    target of the report."""

    index: int
    measure: str
    modules: tuple[Module, ...]


@dataclass(frozen=True, eq=False)
class Document:
    """A sweep. `about`: what its document tells beside the points. `areas`: of points that have any."""

    name: str
    about: Mapping[str, Any]
    columns: tuple[Column, ...]
    objectives: tuple[Objective, ...]
    points: tuple[Point, ...]
    areas: tuple[Areas, ...] = field(default=())

    @cached_property
    def units(self) -> dict[str, str]:
        """Unit of each column; empty where it has none."""
        return {column.name: column.unit for column in self.columns}

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Fields of the configuration that were changed."""
        return tuple(column.name for column in self.columns if column.kind == "field")

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Everything that was measured or calculated: the objectives first."""
        first = [objective.figure for objective in self.objectives]
        rest = [c.name for c in self.columns if c.kind in ("figure", "derived") and c.name not in first]
        return (*first, *rest)

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """Figures that are drawn: the objectives; without any, the first figures."""
        return tuple(objective.figure for objective in self.objectives) or self.figures[:3]

    @cached_property
    def measured(self) -> tuple[Point, ...]:
        """Points that have all figures that are drawn: those that are ok, and infeasible ones."""
        there = (Status.OK, Status.INFEASIBLE)
        return tuple(
            point
            for point in self.points
            if point.status in there and all(point.values.get(name) is not None for name in self.shown)
        )

    @cached_property
    def ok(self) -> tuple[Point, ...]:
        """Points that can be chosen."""
        return tuple(point for point in self.measured if point.status is Status.OK)

    @cached_property
    def best(self) -> tuple[Point, ...]:
        """The Pareto front, along the first objective."""
        return tuple(sorted((p for p in self.ok if p.best), key=lambda p: [p.number(name) for name in self.shown]))

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Fields with more than one value among the measured points."""
        return tuple(name for name in self.fields if len(self.values(name)) > 1)

    def values(self, name: str) -> list[Value]:
        """The values of a field among the measured points: numbers in order, others as the sweep has them."""
        found = list(dict.fromkeys(point.values[name] for point in self.measured))
        return sorted(found, key=lambda value: value if isinstance(value, (int, float)) else 0)

    def is_numeric(self, name: str) -> bool:
        """Whether a field only takes numbers."""
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values(name))

    def direction(self, figure: str) -> str:
        """minimise or maximise; figures that are no objective are costs."""
        return next((o.direction for o in self.objectives if o.figure == figure), "minimise")

    def areas_of(self, index: int) -> list[Areas]:
        """Areas of a point, one for each measure that has any."""
        return [areas for areas in self.areas if areas.index == index]


def front_of(points: Sequence[Point], objectives: Sequence[Objective]) -> list[Point]:
    """Those of `points` that no other one beats in these objectives, along the first of them."""
    figures = [{o.figure: point.number(o.figure) for o in objectives} for point in points]
    chosen = [point for point, best in zip(points, pareto(figures, objectives), strict=True) if best]
    return sorted(chosen, key=lambda point: [point.number(o.figure) for o in objectives])


def balanced(points: Sequence[Point], objectives: Sequence[Objective]) -> Point | None:
    """Of a front: the point nearest to the (unreachable) one that is best in everything, with each objective scaled to
    0..1 over the front; None without objectives or points."""
    if not points or not objectives:
        return None

    def distance(point: Point) -> float:
        total = 0.0
        for objective in objectives:
            all_values = [one.number(objective.figure) for one in points]
            low, high = min(all_values), max(all_values)
            ideal = high if objective.maximise else low
            total += ((point.number(objective.figure) - ideal) / (high - low or 1)) ** 2
        return total

    return min(points, key=distance)
