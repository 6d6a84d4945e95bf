"""The results of a sweep: one document in plain values, and the files that it is written to.

`results.json`: the document, which describes itself. `results.csv`, and `results.parquet` where pyarrow is installed:
its rows. `modules.jsonl`: the parts of areas, a line for each point and measure, where there are any. Equal results
give equal bytes: rows are in the order of the space, and nothing tells when or how fast they were found.
"""

import csv
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from celosia.synth.sweep.errors import SweepError, one_line
from celosia.synth.sweep.journal import Entry
from celosia.synth.sweep.pareto import pareto
from celosia.synth.sweep.rows import Row, Status
from celosia.synth.sweep.spec import Measure, Spec
from celosia.synth.sweep.store import write_file

FORMAT = "celosia-sweep-1"
_ABOUT = ("index", "config_hash", "status", "reason", "pareto")


def document(spec: Spec, rows: Sequence[Row], complete: bool) -> dict[str, Any]:
    """All that is known, in plain values.

    `rows`: flat tables with a key for each of `columns`, None where a point has no such value. `columns`: name, unit
    and `kind` (about, field, figure or derived). `measures`: kind, options, and the sources and tools that their
    figures depend on. `counts`: rows by status, and of them on the `pareto` front. `complete`: whether the sweep ended.
    """
    rows = sorted(rows, key=lambda row: row.point.index)
    ok = [row for row in rows if row.status is Status.OK]
    best = pareto([row.figures for row in ok], spec.objectives)
    front = {row.point.index for row, chosen in zip(ok, best, strict=True) if chosen}
    columns = _columns(spec, rows)
    names = [column["name"] for column in columns]
    lines = [dict.fromkeys(names) | _line(row, row.point.index in front) for row in rows]
    return {
        "format": FORMAT,
        "celosia": version("celosia"),
        "complete": complete,
        "spec": spec.to_dict(),
        "spec_hash": spec.digest,
        "combinations": spec.space.size,
        "objectives": [
            {"figure": o.figure, "direction": o.direction, "unit": spec.unit(o.figure)} for o in spec.objectives
        ],
        "measures": {m.name: _about(m) for m in spec.measures},
        "counts": {s.value: sum(row.status is s for row in rows) for s in Status} | {"pareto": len(front)},
        "columns": columns,
        "rows": lines,
    }


def write(folder: Path, found: dict[str, Any], entries: Mapping[int, Entry]) -> list[Path]:
    """Write a document to the files of this module's description; their paths. Errors: SweepError."""
    names = [column["name"] for column in found["columns"]]
    data = {
        "results.json": (json.dumps(found, indent=1) + "\n").encode(),
        "results.csv": _csv(names, found["rows"]),
    }
    if importlib.util.find_spec("pyarrow"):
        data["results.parquet"] = _parquet(names, found["rows"])
    if modules := b"".join(_modules(found["rows"], entries)):
        data["modules.jsonl"] = modules
    for name, content in data.items():
        write_file(folder / name, content)
    return [folder / name for name in data]


def _about(measure: Measure) -> dict[str, Any]:
    about = {"kind": measure.kind, "options": measure.stamped}
    return about | {"sources": measure.sources, "tools": measure.tools}


def _columns(spec: Spec, rows: Iterable[Row]) -> list[dict[str, str]]:
    figures = {figure: None for row in rows for figure in row.figures if figure not in spec.derived}
    # In the order of the file, whichever point was the first to fail.
    order = [measure.name for measure in spec.measures]
    measured = sorted(figures, key=lambda figure: order.index(figure.partition(".")[0]))
    return [
        *({"name": name, "kind": "about", "unit": ""} for name in _ABOUT),
        *({"name": name, "kind": "field", "unit": ""} for name in spec.space.names),
        *({"name": name, "kind": "figure", "unit": spec.unit(name)} for name in measured),
        *({"name": name, "kind": "derived", "unit": spec.unit(name)} for name in spec.derived),
    ]


def _line(row: Row, best: bool) -> dict[str, Any]:
    about = {"index": row.point.index, "config_hash": row.config_hash, "status": row.status.value}
    return about | {"reason": row.reason, "pareto": best} | row.point.values | row.figures


def _csv(names: list[str], rows: Iterable[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(names: list[str], rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    try:
        # Column by column: numbers of one column may be whole in some rows and not in others.
        table = pyarrow.table({name: pyarrow.array([row[name] for row in rows]) for name in names})
    except pyarrow.ArrowException as error:
        raise SweepError(f"the results do not fit into Parquet columns: {one_line(error)}") from None
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _modules(rows: Iterable[dict[str, Any]], entries: Mapping[int, Entry]) -> Iterable[bytes]:
    for row in rows:
        entry = entries.get(row["index"])
        for name, measured in entry.measured.items() if entry else ():
            if measured.modules:
                about = {"index": row["index"], "config_hash": row["config_hash"], "measure": name}
                yield json.dumps(about | {"modules": measured.modules}).encode() + b"\n"
