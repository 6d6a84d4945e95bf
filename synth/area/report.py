"""An area report: a tree of modules whose parts add up to the whole."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from celosia.synth.area.functions import function_of
from celosia.synth.area.targets import AreaError

Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """A module where it is used. `path`: instances from the top, of the first where several are alike. `own`: figures
    of its logic alone, `total`: with everything below; both of one instance. `parts`: (instances, row) below."""

    name: str
    module: str
    path: str
    own: Figures
    total: Figures
    parts: tuple[tuple[int, "Row"], ...]

    @classmethod
    def of(cls, name: str, module: str, path: str, own: Figures, parts: list[tuple[int, "Row"]]) -> "Row":
        """A row whose total is its own figures and those of its parts."""
        total = {key: value + sum(n * row.total.get(key, 0) for n, row in parts) for key, value in own.items()}
        return cls(name, module, path, own, total, tuple(parts))

    def walk(self, count: int = 1, depth: int = 0) -> Iterator[tuple[int, int, "Row"]]:
        """(depth, instances in the whole design, row) of it and all below."""
        yield depth, count, self
        for number, row in self.parts:
            yield from row.walk(count * number, depth + 1)


@dataclass(frozen=True)
class Report:
    """Area of a design. `technology`: of the areas, where there are any. `reused`: modules known from before."""

    target: str
    tools: dict[str, str]
    technology: str | None
    seconds: float
    reused: int
    root: Row

    def __post_init__(self) -> None:
        """Errors: AreaError when the parts are not the whole."""
        for key, total in self.totals.items():
            parts = sum(count * row.own[key] for _, count, row in self.root.walk())
            if not math.isclose(parts, total, rel_tol=1e-9, abs_tol=1e-6):
                raise AreaError(f"the parts add up to {parts} {key}, the whole is {total}")

    @property
    def totals(self) -> Figures:
        """Figures of the whole design."""
        return self.root.total

    @property
    def functions(self) -> dict[str, Figures]:
        """Figures of the units that serve one nonlinear function each, all instances."""
        sums: dict[str, Figures] = {}
        for _, count, row in self.root.walk():
            name = function_of(row.path)
            if name:
                mine = sums.setdefault(name, dict.fromkeys(row.own, 0.0))
                for key, value in row.own.items():
                    mine[key] += count * value
        return sums

    def at(self, path: str) -> Row:
        """The module that is used at a path. Errors: KeyError."""
        for _, _, row in self.root.walk():
            if row.path == path:
                return row
        raise KeyError(path)

    @property
    def modules(self) -> list[dict[str, Any]]:
        """A row a module: name, path, count in the design, own and total figures of one instance."""
        return [
            {
                "name": row.name,
                "module": row.module,
                "path": row.path,
                "depth": depth,
                "count": count,
                "own": tidy(row.own),
                "total": tidy(row.total),
            }
            for depth, count, row in self.root.walk()
        ]

    def to_dict(self) -> dict[str, Any]:
        """As printed by --json."""
        return {
            "target": self.target,
            "tools": self.tools,
            "technology": self.technology,
            "seconds": round(self.seconds, 2),
            "reused_modules": self.reused,
            "total": tidy(self.totals),
            "functions": {name: tidy(figures) for name, figures in self.functions.items()},
            "modules": self.modules,
        }


def tidy(figures: Figures) -> dict[str, float | int]:
    """Whole numbers as such, others with one digit."""
    return {key: int(value) if value == int(value) else round(value, 1) for key, value in figures.items()}
