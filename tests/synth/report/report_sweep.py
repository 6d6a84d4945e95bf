"""A small sweep that was never run, and the areas of its points, by hand."""

from typing import Any

FIELDS = ("scratchpad.kib", "accumulator.kib", "post.softmax")
# Fields, area (small is good), speed (large is good), status, whether on the front, reason.
POINTS: list[tuple[Any, ...]] = [
    (16, 16, "base2", 40, 10.0, "ok", True, None),
    (16, 32, "base2", 64, 30.0, "ok", True, None),
    (32, 16, "base2", 56, 9.0, "ok", False, None),  # larger and slower than the first
    (32, 32, "base2", 80, 31.0, "infeasible", False, "not met: area.ge <= 70"),
    (64, 16, "base2", None, None, "failed", False, "area: </script><b>yosys</b> ended"),
    (64, 32, "base2", 50, 25.5, "ok", True, None),
    (64, 64, "base2", None, None, "illegal", False, "too large"),
]


def module(name: str, path: str, depth: int, count: int, ge: float, memory: float = 0) -> dict[str, Any]:
    """A row of an area report: `ge` of logic of an um2 each, and um2 of memory."""
    own = {"ge": ge, "logic_um2": ge, "memory_um2": memory, "area_um2": ge + memory}
    return {"name": name, "module": "m", "path": path, "depth": depth, "count": count, "own": own, "total": {}}


MODULES = [
    module("celosia", "", 0, 1, 1),
    module("core", "core", 1, 1, 0),
    module("array", "core/array", 2, 1, 4),
    module("pe_0_0..", "core/array/pe_0_0", 3, 16, 2),
    module("scratchpad", "core/scratchpad", 2, 1, 3, 100),
    module("post", "core/post", 2, 1, 5),
    module("rows/divider", "core/post/rows/divider", 3, 1, 7),
]
"""32 in the PEs, 4 around them, 3 and 100 in the scratchpad, 5 and 7 in POST, 1 at the top: 152."""


def make(points: list[tuple[Any, ...]] = POINTS) -> dict[str, Any]:
    """The document of results.json."""
    names = ["area.ge", "run.speed", "run.other"]
    rows = [
        {"index": index, "config_hash": f"{index:08x}", "status": status, "reason": reason, "pareto": best}
        | dict(zip(FIELDS, fields, strict=True))
        | {"area.ge": area, "run.speed": speed, "run.other": area and area * 1000}
        for index, (*fields, area, speed, status, best, reason) in enumerate(points)
    ]
    about = [{"name": name, "kind": "about", "unit": ""} for name in list(rows[0])[:5]]
    return {
        "format": "celosia-sweep-1", "celosia": "0.1.0", "complete": True, "spec_hash": "abcd", "combinations": 9,
        "spec": {
            "name": "memories", "base": "tiny", "config": {"scratchpad": {"kib": 8}, "bus": {"bytes": 4}},
            "space": {"scratchpad.kib": [16, 32, 64], "accumulator.kib": [16, 32, 64], "post.softmax": ["base2"]},
            "limits": [], "constraints": ["area.ge <= 70"], "search": {"strategy": "grid"},
        },
        "objectives": [
            {"figure": "area.ge", "direction": "minimise", "unit": "GE"},
            {"figure": "run.speed", "direction": "maximise", "unit": "1/s"},
        ],
        "measures": {
            "area": {"kind": "area", "options": {"target": "cells"}, "sources": "s", "tools": {"yosys": "1.2"}},
        },
        "counts": {},
        "columns": about + [{"name": name, "kind": "field", "unit": ""} for name in FIELDS]
        + [{"name": name, "kind": "figure", "unit": unit} for name, unit in zip(names, ("GE", "1/s", ""), strict=True)],
        "rows": rows,
    }  # fmt: skip
