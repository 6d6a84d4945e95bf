"""What place and route says of a design."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celosia.synth.netlist import Netlist


@dataclass(frozen=True)
class Segment:
    """A part of a path. `kind`: clk-to-q, logic, routing or setup. `unit`: the module that drives it, as a path of
    instances. `delay`: in ns. `net`: of a routing segment."""

    kind: str
    unit: str
    delay: float
    net: str


@dataclass(frozen=True)
class Outcome:
    """One seed. `fmax` in MHz. `path`: the critical one, from register to register."""

    seed: int
    fmax: float
    path: tuple[Segment, ...]
    used: Mapping[str, tuple[int, int]]

    @property
    def units(self) -> list[tuple[str, float, int]]:
        """The critical path by module: (path of the module, delay in ns, logic cells), in order."""
        rows: list[tuple[str, float, int]] = []
        for segment in self.path:
            logic = int(segment.kind == "logic")
            if rows and rows[-1][0] == segment.unit:
                rows[-1] = (segment.unit, rows[-1][1] + segment.delay, rows[-1][2] + logic)
            else:
                rows.append((segment.unit, segment.delay, logic))
        return rows


@dataclass(frozen=True)
class PnrReport:
    """All seeds of a design. `target`: frequency in MHz that was asked for."""

    device: str
    target: float
    tools: dict[str, str]
    seconds: float
    outcomes: tuple[Outcome, ...]

    @property
    def fmax_median(self) -> float:
        """Median of the seeds, in MHz: single ones differ by more than a factor of two."""
        return statistics.median(outcome.fmax for outcome in self.outcomes)

    @property
    def typical(self) -> Outcome:
        """The seed nearest to the median."""
        return min(self.outcomes, key=lambda outcome: (abs(outcome.fmax - self.fmax_median), outcome.seed))

    def to_dict(self) -> dict[str, Any]:
        """As printed by --json."""
        speeds = [outcome.fmax for outcome in self.outcomes]
        return {
            "device": self.device,
            "target_mhz": self.target,
            "tools": self.tools,
            "seconds": round(self.seconds, 1),
            "fmax_mhz": {
                "median": round(self.fmax_median, 2),
                "minimum": round(min(speeds), 2),
                "maximum": round(max(speeds), 2),
            },
            "seeds": [{"seed": o.seed, "fmax_mhz": round(o.fmax, 2)} for o in self.outcomes],
            "utilisation": {
                name: {"used": used, "available": available}
                for name, (used, available) in self.typical.used.items()
                if used
            },
            "critical_path": [
                {"unit": unit, "ns": round(delay, 2), "logic_cells": cells} for unit, delay, cells in self.typical.units
            ],
            "critical_nets": [
                {"unit": s.unit, "net": s.net, "ns": round(s.delay, 2)} for s in self.typical.path if s.net
            ],
        }


def read_outcome(report: dict[str, Any], seed: int, netlist: Netlist) -> Outcome:
    """A seed's result from the JSON report of nextpnr. Cells are attributed to the modules of `netlist`.

    Errors: KeyError when the report has no timing of a clock.
    """
    fmax = min(clock["achieved"] for clock in report["fmax"].values())
    inside = [path for path in report["critical_paths"] if path["from"] == path["to"]]
    longest: dict[str, Any] = max(
        inside, key=lambda path: sum(step["delay"] for step in path["path"]), default={"path": []}
    )
    segments = tuple(
        Segment(step["type"], unit_of(netlist, step["from"]["cell"]), step["delay"], step.get("net", ""))
        for step in longest["path"]
    )
    used = {name: (row["used"], row["available"]) for name, row in report["utilization"].items()}
    return Outcome(seed, fmax, segments, used)


def unit_of(netlist: Netlist, cell: str) -> str:
    """The module that a cell of the flattened design is in, by the instances that its name starts with."""
    name = netlist.top
    path: list[str] = []
    for part in cell.split("."):
        below = dict(netlist.modules[name].children)
        if part not in below:
            break
        path.append(part)
        name = below[part]
    return "/".join(path[1:]) or "/"
