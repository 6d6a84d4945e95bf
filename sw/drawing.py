"""Figures by matplotlib: SVG text, the same for the same data. Letters are paths: no font is needed."""

import io
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#426a9c", "#d9822b", "#3f8038", "#b84240", "#7d5ca3", "#2f7b7d", "#8a6347", "#8d7410")
"""Of lines, dark enough for white letters."""


def line_colour(number: int) -> str:
    """Colour of a line by its number."""
    return COLOURS[number % len(COLOURS)]


def look() -> AbstractContextManager[None]:
    """Settings that every figure is made and written under."""
    from matplotlib import rc_context

    return rc_context(
        {
            "svg.hashsalt": "celosia",  # names of clips and markers are random without it
            "svg.fonttype": "path",
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def blank(width: float, height: float) -> "Figure":
    """An empty figure of that many inches."""
    # Not by pyplot: that keeps figures, and looks for a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: "Figure") -> str:
    """A figure as SVG text."""
    text = io.StringIO()
    # Neither the date nor the version may make equal results differ.
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
