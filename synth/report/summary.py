"""What a sweep was about and what came of it, in words."""

from collections.abc import Iterator
from typing import Any

from celosia.synth.report.document import Document, Point, balanced
from celosia.synth.report.words import count, listed, number, quantity, setting
from celosia.synth.sweep.rows import Status
from celosia.synth.sweep.spec import Objective

_CHOICE = {
    "grid": "every combination",
    "random": "chosen at random",
    "optuna": "chosen by Optuna's search",
}
_SUPERLATIVES = {"minimise": "smallest", "maximise": "largest"}
_MANY = 8
"""Values of a field up to which all are named."""


def sentences(document: Document) -> list[str]:
    """The sweep in a few sentences."""
    told = [_extent(document)]
    if document.objectives:
        goals = listed(f"the {_SUPERLATIVES[o.direction]} {o.figure}" for o in document.objectives)
        rules = [*document.about["spec"]["limits"], *document.about["spec"]["constraints"]]
        told.append(f"Wanted: {goals}{f', with {listed(rules)}' if rules else ''}.")
        told.append(_front(document))
    told += _rest(document)
    return told


def choices(document: Document) -> list[tuple[str, Point]]:
    """Points that a user may want, each with the reasons: the balanced one, and the best in each objective."""
    reasons: dict[int, list[str]] = {}
    if len(document.objectives) > 1 and (point := balanced(document.best, document.objectives)):
        reasons[point.index] = ["balanced"]
    for o in document.objectives:
        if document.ok:
            point = _extreme(document, o)
            value = quantity(point.values[o.figure], document.units[o.figure])
            reasons.setdefault(point.index, []).append(f"{_SUPERLATIVES[o.direction]} {o.figure}: {value}")
    places = {point.index: point for point in document.ok}
    return [(", ".join(texts), places[index]) for index, texts in reasons.items()]


def _extreme(document: Document, objective: Objective) -> Point:
    """The best point in an objective; of equals, one on the front."""
    sign = -1 if objective.maximise else 1
    return min(document.best or document.ok, key=lambda point: sign * point.number(objective.figure))


def command(document: Document, point: Point) -> str:
    """The command that generates a point's Verilog."""
    base = document.about["spec"]["base"]
    from celosia.hw.presets import PRESETS

    start = f"--preset {base}" if base in PRESETS else f"--config {base}"
    known = PRESETS[base].to_dict() if base in PRESETS else document.about["spec"]["config"]
    fixed = {
        f"{section}.{name}": value
        for section, values in document.about["spec"]["config"].items()
        for name, value in values.items()
        if known.get(section, {}).get(name) != value
    }
    changes = fixed | {name: point.values[name] for name in document.fields}
    settings = " ".join(f"--set {name}={_plain(value)}" for name, value in changes.items())
    return f"celosia generate {start} {settings} -o build".replace("  ", " ")


def measures(document: Document) -> list[tuple[str, str]]:
    """How each figure was measured: name, and kind with options and tools."""
    return [(name, _measure(about)) for name, about in document.about["measures"].items()]


def _measure(about: dict[str, Any]) -> str:
    options = [f"{name} {number(value)}" for name, value in about["options"].items()]
    tools = [f"{name.rpartition(':')[2]} {version}" for name, version in about["tools"].items()]
    return "; ".join(filter(None, (about["kind"], ", ".join(options), ", ".join(tools))))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _extent(document: Document) -> str:
    spec = document.about["spec"]
    axes = [f"{name} ({_span(values)})" for name, values in spec["space"].items()]
    how = _CHOICE.get(spec["search"]["strategy"], spec["search"]["strategy"])
    if how == _CHOICE["grid"] and spec["limits"]:
        how = "every combination within the limits"
    total = document.about["combinations"]
    told = f"{count(len(document.points), 'configuration')} of {spec['base']}"
    return f"{told}, out of {count(total, 'combination')} of {listed(axes)}: {how}."


def _span(values: list[Any]) -> str:
    if len(values) <= _MANY:
        return ", ".join(number(value) for value in values)
    return f"{number(values[0])}, {number(values[1])} ... {number(values[-1])}"


def _front(document: Document) -> str:
    if not document.ok:
        return "No point meets all constraints."
    best = count(len(document.best), "point")
    verb = "is" if len(document.best) == 1 else "are"
    # Points with equal figures are on the front together: they do not beat one another.
    return f"{best} of {len(document.ok)} {verb} on the Pareto front: nothing else is as good in everything."


def _rest(document: Document) -> Iterator[str]:
    counts = {status: sum(p.status is status for p in document.points) for status in Status}
    parts = [f"{number} {status.value}" for status, number in counts.items() if number and status is not Status.OK]
    if parts:
        verb = "is" if sum(counts.values()) - counts[Status.OK] == 1 else "are"
        yield f"{listed(parts)} {verb} listed below with the reasons."
    for name in document.figures:
        # The bound that the performance model gives for its own cycles.
        values = [point.number(name) for point in document.ok if point.values.get(name) is not None]
        if name.endswith(".error") and any(values):
            yield f"Cycles of {name.removesuffix('.error')} are modelled, to within {max(values):.1%}."


def heading(document: Document) -> str:
    """The title of a page."""
    return f"Sweep: {document.name}"


def label(document: Document, point: Point) -> str:
    """A point in a list of choices."""
    return f"{setting(document, point)} (point {point.index})"
