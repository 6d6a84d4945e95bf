"""Colours that can be told apart, on white and on black, and the words for figures of areas."""

from collections.abc import Sequence
from typing import Any

from celosia.sw.drawing import line_colour
from celosia.synth.sweep.objectives import KINDS

FRONT, OTHER, BROKEN = "#d9622b", "#5b8db8", "#8d8d8d"
"""Points on the front, other points, and points that break a constraint."""

SCALE = ((0.0, "#1f9e89"), (0.5, "#8a78c8"), (1.0, "#d6463f"))
"""From good to bad, for lines."""
CELLS = ((0.0, "#79cdbd"), (0.5, "#f5e6b3"), (1.0, "#ec9384"))
"""The same for cells, light enough to write on in `CELL_INK`."""
CELL_INK = "#1d232b"

_PARTS = {
    "array": "#426a9c", "post": "#b5640f", "accumulator": "#3f8038", "scratchpad": "#7d5ca3", "control": "#b84240",
    "load": "#2f7b7d", "store": "#8a6347", "arbiter": "#8d7410", "top": "#6e747b",
}  # fmt: skip
"""Dark enough for white letters."""

_FIGURES = {
    "area_um2": "area", "logic_um2": "area of logic", "memory_um2": "area of memories", "ge": "gate equivalents",
    "lut": "LUTs", "ff": "flip-flops", "dsp": "DSPs", "bram": "block RAMs", "memory_bits": "bits of memory",
    "carry": "carry chains",
}  # fmt: skip


def part_colour(part: str) -> str:
    """Colour of a part of the accelerator, the same in all figures."""
    return _PARTS.get(part) or line_colour(sum(part.encode()))


def scale(colours: Sequence[tuple[float, str]], direction: str) -> list[list[Any]]:
    """Places from 0 to 1, low figures to high ones, with colours; `colours` from good to bad."""
    if direction == "maximise":
        return [[1 - place, colour] for place, colour in reversed(colours)]
    return [[place, colour] for place, colour in colours]


def figure_name(figure: str) -> str:
    """A figure of areas in words: area (µm²), LUTs."""
    unit = KINDS["area"].figures.get(figure, "")
    words = _FIGURES.get(figure, figure)
    return f"{words} (µm²)" if unit == "um2" else words
