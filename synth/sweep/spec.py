"""A sweep as data: what is explored, what is measured, what counts, and how points are chosen."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from celosia.hw.config import Config
from celosia.synth.sweep import fingerprint
from celosia.synth.sweep.errors import SweepError, one_line
from celosia.synth.sweep.evaluators import load
from celosia.synth.sweep.expressions import Expression
from celosia.synth.sweep.objectives import KINDS, Kind
from celosia.synth.sweep.space import Space

STRATEGIES = ("grid", "random", "optuna")
SAMPLERS = ("nsga2", "tpe")
DIRECTIONS = ("minimise", "maximise")


@dataclass(frozen=True, eq=False)  # by identity: it is a key of tables
class Measure:
    """One measurement by its name in the file. `files`: options that are files, with their place on this machine;
    `stamps`: what they contain, the same on every machine."""

    name: str
    kind: str
    options: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)

    @property
    def definition(self) -> Kind:
        """Its entry in the table."""
        return KINDS[self.kind]

    @property
    def stamped(self) -> dict[str, Any]:
        """Options with the contents of files instead of their places."""
        return self.options | self.stamps

    @property
    def sources(self) -> str:
        """Digest of the code that its figures depend on."""
        modules = self.definition.sources
        if self.kind == "python":
            modules = (*modules, load(self.options["function"]).__module__)
        return fingerprint.source_digest(modules)

    @property
    def tools(self) -> dict[str, str]:
        """Versions of the tools that its figures depend on."""
        return {name: fingerprint.tool_version(name) for name in self.definition.tools}

    def stamp(self) -> "Measure":
        """The same with the contents that its files have now. Errors: SweepError for one that cannot be read."""
        stamps = {name: f"{path.name} {fingerprint.file_digest(path)}" for name, path in self.files.items()}
        return replace(self, stamps=stamps)

    def check_files(self) -> None:
        """Errors: SweepError for a file that its reader refuses."""
        for name, path in self.files.items():
            reader = self.definition.options[name].reader
            if reader is not None:
                try:
                    load(reader)(path)
                except (ValueError, OSError) as error:
                    raise SweepError(f"measures.{self.name}.{name}: {one_line(error)}") from None

    def key(self, config: dict[str, Any]) -> str:
        """The name of its result for a configuration (nested plain values)."""
        return fingerprint.key(config, self.kind, self.stamped, self.sources, self.tools)


@dataclass(frozen=True)
class Objective:
    """A figure, or a derived value, that should be small (or, with `maximise`, large)."""

    figure: str
    direction: str

    @property
    def maximise(self) -> bool:
        """Whether more is better."""
        return self.direction == "maximise"


@dataclass(frozen=True, kw_only=True)
class Search:
    """How points are chosen. `points`: how many (0: all of a grid). `batch`: points that Optuna proposes at a time,
    whatever the number of workers, so that a search can be repeated. `population`: of NSGA-II."""

    strategy: str = "grid"
    points: int = 0
    seed: int = 0
    sampler: str = "nsga2"
    batch: int = 8
    population: int = 16


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A sweep. `base`: how the file calls its base. `limits`: constraints over fields alone, which bound the space.
    `constraints`: those over results, which tell feasible points. `derived`: values by name, in order.
    `units`: of derived values. `folder`: of the file; functions of the user's and files are found from there."""

    name: str
    base: str
    space: Space
    limits: tuple[Expression, ...]
    constraints: tuple[Expression, ...]
    measures: tuple[Measure, ...]
    derived: dict[str, Expression]
    units: dict[str, str]
    objectives: tuple[Objective, ...]
    search: Search
    folder: Path

    @property
    def config(self) -> Config:
        """The configuration that the fields of the space change."""
        return self.space.base

    def allows(self, index: int) -> bool:
        """Whether the point at an index meets all limits. Errors: SweepError for a limit that cannot be calculated."""
        if not self.limits:
            return True
        fields = self.space.fields(index)
        return all(limit(fields) for limit in self.limits)

    def unit(self, column: str) -> str:
        """Unit of a figure or derived value; empty when it has none or it is not known."""
        if column in self.derived:
            return self.units.get(column, "")
        name, _, figure = column.partition(".")
        return next((m.definition.figures.get(figure, "") for m in self.measures if m.name == name), "")

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values, without places on this machine."""
        return {
            "name": self.name,
            "base": self.base,
            "config": self.config.to_dict(),
            "space": {axis.field: list(axis.values) for axis in self.space.axes},
            "limits": [limit.text for limit in self.limits],
            "constraints": [constraint.text for constraint in self.constraints],
            "measures": {m.name: {"kind": m.kind} | m.stamped for m in self.measures},
            "derived": {name: {"value": e.text, "unit": self.units.get(name, "")} for name, e in self.derived.items()},
            "objectives": {objective.figure: objective.direction for objective in self.objectives},
            "search": vars(self.search),
        }

    @cached_property
    def digest(self) -> str:
        """Identifies the sweep: a file with another name or other comments is the same one."""
        # The order of axes numbers the points; sorting keys for the digest would lose it.
        return fingerprint.digest(self.to_dict() | {"name": None, "axes": self.space.names})
