"""Figures of `celosia analyze mapspace`: how EDP of random mappings spreads."""

from typing import TYPE_CHECKING

import numpy as np

from celosia.sw.drawing import blank, look, svg
from celosia.synth.report.document import require
from celosia.synth.report.style import FRONT, OTHER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from celosia.sw.mapper.mapspace import Spread

_BINS = 80


def figures(spreads: list["Spread"]) -> dict[str, str]:
    """SVG files by name, one a study. Errors: ReportError when matplotlib is not installed."""
    require("matplotlib")
    with look():
        return {f"{one.study.file}.svg": svg(spread_of(one)) for one in spreads}


def spread_of(one: "Spread") -> "Figure":
    """A histogram, and the share of mappings up to each ratio, over a logarithmic axis."""
    figure = blank(5.0, 2.6)
    axes = figure.subplots()
    axes.hist(one.ratios, bins=np.geomspace(1, one.ratios[-1] * 1.001, _BINS).tolist(), color=OTHER)
    axes.set_xscale("log")
    axes.set_xlabel("EDP over the best")
    axes.set_ylabel("mappings")
    axes.set_title(f"{one.study.operator.name}, {one.study.operator}")
    share = axes.twinx()
    share.plot(one.ratios, np.linspace(0, 1, len(one.ratios)), color=FRONT)
    share.set_ylim(0, 1)
    share.set_ylabel("share up to it", color=FRONT)
    for value, text in (
        (one.tenth, f"tenth percentile {one.tenth:.2f}"),
        (one.study.tenth, f"printed {one.study.tenth}"),
    ):
        axes.axvline(value, color="black", linewidth=0.8, linestyle="-" if value == one.tenth else ":", label=text)
    axes.legend(frameon=False, loc="upper right")
    return figure
