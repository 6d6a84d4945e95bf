"""Reads what a report is about: a sweep's folder, or the JSON of `celosia area --json`."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from celosia.synth.report.document import Areas, Column, Document, Module, Point, ReportError
from celosia.synth.sweep.journal import NAME as JOURNAL
from celosia.synth.sweep.results import FORMAT
from celosia.synth.sweep.rows import Status
from celosia.synth.sweep.spec import Objective

RESULTS, MODULES = "results.json", "modules.jsonl"
_T = TypeVar("_T")
_ABOUT = {"index", "config_hash", "status", "reason", "pareto"}
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading a file of another shape raises."""


def read(source: Path) -> Document | Areas:
    """A sweep's folder, or its results.json, as a document; the JSON of an area report as its areas.

    Errors: ReportError for anything else, and for a sweep of which no point has figures.
    """
    if source.is_dir():
        return _read_folder(source)
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {source}: {error.strerror}") from None
    except ValueError:
        raise ReportError(
            f"{source} is not JSON: give the folder of a sweep, or a file of `celosia area --json`"
        ) from None
    if isinstance(found, dict) and found.get("format") == FORMAT:
        return _read_folder(source.parent)
    try:
        name = " ".join([found.get("preset", source.stem), *found.get("settings", [])])
        return Areas(0, f"{name} on {found['target']}", _modules(found["modules"]))
    except _DAMAGED:
        raise ReportError(
            f"{source} is no area report: give the folder of a sweep, or a file of `celosia area --json`"
        ) from None


def _read_folder(folder: Path) -> Document:
    path = folder / RESULTS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(_no_results(folder)) from None
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        found = None
    kind = found.get("format") if isinstance(found, dict) else None
    if kind != FORMAT:
        # A number of the format that is not ours tells of another version; anything else is another file.
        what = f"has the format {kind!r}, not {FORMAT!r}" if kind else "is not the results of a sweep"
        raise ReportError(f"{path} {what}: repeat `celosia sweep` with --resume to write it anew")
    document = _checked(path, lambda: _document(found))
    modules = folder / MODULES
    if modules.exists():
        known = {(point.index, point.config_hash) for point in document.points}
        document = replace(document, areas=_checked(modules, lambda: tuple(_areas(modules, known))))
    if not document.measured:
        raise ReportError(_nothing(folder, document))
    return document


def _checked(path: Path, convert: Callable[[], _T]) -> _T:
    """What `convert` makes of a file. Errors: ReportError when the file is of another shape."""
    try:
        return convert()
    except _DAMAGED as error:
        told = f"{type(error).__name__}: {error}"
        raise ReportError(f"{path} is damaged ({told}): repeat `celosia sweep` with --resume") from None


def _no_results(folder: Path) -> str:
    if (folder / JOURNAL).exists():
        return f"{folder} has no results yet: go on with `celosia sweep FILE.toml -o {folder} --resume`"
    below = sorted(path.parent for path in folder.glob(f"*/{RESULTS}"))
    hint = f"did you mean {below[0]}?" if below else "give the folder that `celosia sweep -o` wrote"
    return f"{folder} is not the folder of a sweep, it has no {RESULTS}; {hint}"


def _nothing(folder: Path, document: Document) -> str:
    if not document.points:
        return f"{folder}: no point is finished yet: go on with `celosia sweep FILE.toml -o {folder} --resume`"
    reason = next((point.reason for point in document.points if point.reason), "no figures")
    return f"{folder}: none of {len(document.points)} points has figures; the first: {reason}"


def _document(found: dict[str, Any]) -> Document:
    columns = tuple(Column(c["name"], c["kind"], c["unit"]) for c in found["columns"] if c["kind"] != "about")
    return Document(
        name=found["spec"]["name"],
        about={key: value for key, value in found.items() if key not in ("rows", "columns")},
        columns=columns,
        objectives=tuple(Objective(o["figure"], o["direction"]) for o in found["objectives"]),
        points=tuple(_point(row) for row in found["rows"]),
    )


def _point(row: dict[str, Any]) -> Point:
    values = {name: value for name, value in row.items() if name not in _ABOUT}
    return Point(row["index"], row["config_hash"], Status(row["status"]), row["reason"], row["pareto"], values)


def _areas(path: Path, points: set[tuple[int, str | None]]) -> Iterator[Areas]:
    """Areas of known points: a file of modules may be older than the results."""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if (found["index"], found["config_hash"]) in points:
            yield Areas(found["index"], found["measure"], _modules(found["modules"]))


def _modules(rows: list[dict[str, Any]]) -> tuple[Module, ...]:
    modules = tuple(Module(row["name"], row["path"], row["depth"], row["count"], row["own"]) for row in rows)
    if not modules or modules[0].depth != 0 or any(module.depth < 1 for module in modules[1:]):
        raise ValueError("the modules are not one tree")
    return modules
