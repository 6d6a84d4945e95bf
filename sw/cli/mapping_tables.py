"""Tables of `celosia analyze mapper` and `mapspace`: columns, and rows as cells."""

from itertools import groupby
from typing import Any

MAPPER = ["configuration", ">tokens", "operator", "shape", ">cycles", ">of peak", ">above the bound", ">best",
          ">above the best", ">seconds", "tile", "block", "kept", "double-buffered"]  # fmt: skip
REPLAY = ["configuration", ">tokens", "operator", "shape", ">estimate", ">replayed", ">error", ">array waits"]
SUMMARY = ["configuration", ">tokens", ">operators", ">most above the bound", ">most above the best", ">most seconds",
           ">largest error"]  # fmt: skip
REASONS = ["configuration", ">tokens", "operator", "shape", "reason"]
SPREADS = ["operator", "shape", ">tenth percentile", ">printed", ">within 3x", ">printed", ">median", ">decades",
           ">default / best"]  # fmt: skip

_FIGURES = (("above_bound", ".2%"), ("above_best", ".2%"), ("seconds", ".2f"), ("error", "+.2%"))
"""Of SUMMARY: names in a row, and formats."""

Row = dict[str, Any]


def subject(row: Row) -> list[str]:
    """What was mapped."""
    return [row["configuration"], str(row["tokens"] or ""), row["operator"], row["shape"]]


def mapped(row: Row) -> list[str]:
    """Cells of MAPPER."""
    first = subject(row)
    if "reason" in row:
        return [*first, "none", *[""] * (len(MAPPER) - len(first) - 1)]
    one, checked = row["mapping"], "best_cycles" in row
    sizes = [" x ".join(str(size) for size in one[level].values()).removesuffix(" x 1") for level in ("tile", "block")]
    return [
        *first,
        f"{row['figures']['cycles']:,.0f}",
        f"{row['of_peak']:.1%}",
        f"{row['above_bound']:.2%}",
        f"{row['best_cycles']:,.0f}" if checked else "",
        f"{row['above_best']:.2%}" if checked else "",
        f"{row['seconds']:.2f}",
        *sizes,
        ", ".join(one["resident"]),
        ", ".join(one["double"]),
    ]


def replayed(row: Row) -> list[str]:
    """Cells of REPLAY, of a row that was replayed."""
    figures = [f"{row['figures']['cycles']:,.0f}", f"{row['replayed']:,}", f"{row['error']:+.2%}"]
    return [*subject(row), *figures, f"{row['array_waits'] / row['replayed']:.2%}"]


def summaries(rows: list[Row]) -> list[list[str]]:
    """Cells of SUMMARY: of each configuration and length, the worst of its operators that have a mapping."""
    found = []
    for (name, tokens), group in groupby(rows, lambda row: (row["configuration"], row["tokens"])):
        some = [row for row in group if "reason" not in row]
        if some:
            worst = [_worst(some, *figure) for figure in _FIGURES]
            found.append([name, str(tokens or ""), str(len(some)), *worst])
    return found


def _worst(rows: list[Row], figure: str, digits: str) -> str:
    values = [row[figure] for row in rows if figure in row]
    return format(max(values, key=abs), digits) if values else "-"


def spread(row: Row) -> list[str]:
    """Cells of SPREADS."""
    return [
        row["operator"],
        row["shape"],
        f"{row['tenth_percentile']:.2f}",
        f"{row['printed_tenth_percentile']:.2f}",
        f"{row['within_3x']:.2%}",
        f"{row['printed_within_3x']:.2%}",
        f"{row['median']:.2f}",
        f"{row['decades']:.1f}",
        f"{row['default_over_best']:.3f}",
    ]
