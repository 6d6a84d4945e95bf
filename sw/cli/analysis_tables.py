"""Cells of the tables of `celosia analyze`, for the terminal and for the page docs/analysis.md."""

from collections.abc import Mapping, Sequence

from celosia.sw.analysis.comparison import Comparison
from celosia.sw.analysis.latency import Latency
from celosia.sw.analysis.operations import Total
from celosia.sw.analysis.roofline import Point

Rows = list[list[str]]

COMPARISON = ["row", ">tokens", "figure", ">printed", ">ours", "mark"]
INTENSITY = ["operation", ">GFLOPs", ">share", ">GMOPs", ">FLOPs / MOP", ">GB by the cache", ">FLOPs / byte"]
LATENCY = ["operation", ">cycles", ">share", ">of computation", ">of transfers"]
ROOFLINE = ["operation", ">FLOPs / byte", ">unit", ">attainable", "limit", ">cycles at least"]


def comparisons(found: Sequence[Comparison]) -> Rows:
    """Printed entries beside ours; a network stands for the row where a figure has lines."""
    return [[row_name(one), str(one.entry.tokens), one.entry.figure, one.entry.printed, one.text, one.remark]
            for one in found]  # fmt: skip


def row_name(one: Comparison) -> str:
    """The row of a table, or the line of a figure."""
    return one.entry.model if one.entry.row in ("latency", "speed-up") else one.entry.row


def intensities(rows: Mapping[str, Total]) -> Rows:
    """Totals by name; the last one is that of all others."""
    whole = list(rows.values())[-1].flops
    return [
        [name, f"{row.flops / 1e9:,.3f}", f"{row.flops / whole:.1%}", f"{row.mops / 1e9:,.3f}", f"{row.intensity:,.2f}",
         f"{row.traffic / 1e9:,.3f}", f"{row.tiled_intensity:,.2f}"]
        for name, row in rows.items()
    ]  # fmt: skip


def latencies(rows: Mapping[str, Latency]) -> Rows:
    """Cycles by name; the last one is that of all others."""
    whole = list(rows.values())[-1].cycles
    return [
        [name, f"{row.cycles:,.0f}", f"{row.cycles / whole:.1%}", f"{row.compute:,.0f}", f"{row.memory:,.0f}"]
        for name, row in rows.items()
    ]


def roofs(points: Sequence[Point]) -> Rows:
    """Operations under a roof."""
    return [
        [point.name, f"{point.intensity:,.2f}", f"{point.ceiling:,.1f}", f"{point.attainable:,.1f}", str(point.limit),
         f"{point.cycles:,.0f}"]
        for point in points
    ]  # fmt: skip
