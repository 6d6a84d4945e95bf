"""A point's line in the results: from its measurements to status, figures and derived values."""

from dataclasses import dataclass, field
from enum import StrEnum

from celosia.synth.sweep.errors import SweepError, listed
from celosia.synth.sweep.objectives import Figures, Measured
from celosia.synth.sweep.space import Point
from celosia.synth.sweep.spec import Spec


class Status(StrEnum):
    """What became of a point."""

    OK = "ok"
    INFEASIBLE = "infeasible"
    """Measured, but breaks a constraint over results."""
    ILLEGAL = "illegal"
    """Its values do not go together: there is no such configuration."""
    FAILED = "failed"
    """A measurement failed."""


@dataclass
class Row:
    """A point with its figures (`measure.figure`, and derived values). `violations`: by constraint, 0 when met."""

    point: Point
    status: Status
    reason: str | None = None
    figures: Figures = field(default_factory=dict)
    violations: tuple[float, ...] = ()

    @property
    def config_hash(self) -> str | None:
        """As in registers and manifests; None for an illegal point."""
        return f"{self.point.config.hash:08x}" if self.point.config else None


def illegal(point: Point) -> Row:
    """The row of a point without a configuration."""
    return Row(point, Status.ILLEGAL, point.reason)


def make_row(spec: Spec, point: Point, measured: dict[str, Measured], reason: str | None) -> Row:
    """The row of a measured point; `measured`: by measure; `reason`: why not all of them are there."""
    figures = {f"{name}.{figure}": value for name, one in measured.items() for figure, value in one.figures.items()}
    if reason is not None:
        return Row(point, Status.FAILED, reason, figures)
    fields = spec.space.fields(point.index)
    try:
        for name, expression in spec.derived.items():
            figures[name] = expression(fields | figures)
        violations = tuple(constraint.violation(fields | figures) for constraint in spec.constraints)
        for objective in spec.objectives:
            if objective.figure not in figures:
                raise SweepError(f"there is no figure {objective.figure}; there are {listed(figures)}")
    except SweepError as error:
        return Row(point, Status.FAILED, str(error), figures)
    broken = [c.text for c, violation in zip(spec.constraints, violations, strict=True) if violation > 0]
    if broken:
        return Row(point, Status.INFEASIBLE, f"not met: {' and '.join(broken)}", figures, violations)
    return Row(point, Status.OK, None, figures, violations)
