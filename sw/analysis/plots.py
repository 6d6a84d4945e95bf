"""Figures by matplotlib: a roofline, and the survey's figures 4 to 6 (FLOPs, MOPs and intensity over the length)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.roofline import Limit, Point, Roof
from celosia.sw.analysis.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS = 12
"""Names that fit into a figure; of more points the largest are named."""


def roofline(title: str, roof: Roof, points: Sequence[Point]) -> str:
    """Operations under a roof, both axes logarithmic, as SVG. Errors: AnalysisError without matplotlib."""
    _require()
    from celosia.sw.drawing import blank, line_colour, look, svg

    with look():
        figure = blank(6.0, 4.2)
        axes = figure.add_subplot()
        low = min(0.5, *(point.intensity for point in points)) / 2
        high = max(4 * roof.ridge, *(2 * point.intensity for point in points))
        axes.loglog([low, roof.ridge, high], [low * roof.bus, roof.flops, roof.flops], color="black", linewidth=1.2)
        axes.annotate(f"array: {roof.flops} FLOPs a cycle", (high, roof.flops), xytext=(-2, 4), ha="right",
                      textcoords="offset points")  # fmt: skip
        axes.annotate(f"bus: {roof.bus} bytes a cycle", (low, low * roof.bus), xytext=(10, 0),
                      textcoords="offset points", va="center")  # fmt: skip
        for place, limit in enumerate(Limit):
            bound = [point for point in points if point.limit is limit]
            axes.loglog([point.intensity for point in bound], [point.attainable for point in bound], "o", markersize=5,
                        color=line_colour(place), label=f"limited by {limit}")  # fmt: skip
        _name(axes, points)
        axes.set_title(title)
        axes.set_xlabel("intensity (FLOPs a byte)")
        axes.set_ylabel("attainable (FLOPs a cycle)")
        axes.set_xlim(low, high)
        axes.set_ylim(min(low * roof.bus, *(point.attainable for point in points)) / 2, 3 * roof.flops)
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False, loc="lower right")
        return svg(figure)


def lengths(series: Sequence[Series]) -> str:
    """FLOPs, MOPs and intensity of networks over the sequence length, as SVG. Errors: AnalysisError without
    matplotlib.
    """
    _require()
    from celosia.sw.drawing import blank, line_colour, look, svg

    with look():
        figure = blank(8.0, 2.8)
        titles = ("GFLOPs", "GMOPs", "FLOPs / MOP")
        for place, title in enumerate(titles):
            axes = figure.add_subplot(1, 3, place + 1)
            for number, line in enumerate(series):
                values = [(one.flops / 1e9, one.mops / 1e9, one.intensity)[place] for one in line.totals]
                axes.loglog(line.tokens, values, "o-", markersize=3, linewidth=1.2, color=line_colour(number),
                            label=line.name)  # fmt: skip
            axes.set_title(title)
            axes.set_xlabel("tokens")
            axes.set_xticks(series[0].tokens, [str(count) for count in series[0].tokens], rotation=45)
            axes.minorticks_off()
            axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False)
        return svg(figure)


def _name(axes: "Axes", points: Sequence[Point]) -> None:
    """Names beside the points; those that share a place share a label."""
    places: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(points, key=lambda point: -point.flops)[:_MOST_LABELS]:
        places.setdefault((f"{point.intensity:.2g}", f"{point.attainable:.2g}"), []).append(point)
    for shared in places.values():
        names = ", ".join(point.name for point in shared)
        under = shared[0].limit is Limit.COMPUTE
        axes.annotate(names, (shared[0].intensity, shared[0].attainable), xytext=(0, -6) if under else (6, -3),
                      textcoords="offset points", rotation=-60 if under else 0, fontsize=7,
                      ha="left", va="top" if under else "center", rotation_mode="anchor")  # fmt: skip


def _require() -> None:
    """Errors: AnalysisError with the command that installs matplotlib, when it is missing."""
    try:
        __import__("matplotlib")
    except ModuleNotFoundError:
        raise AnalysisError("plots need matplotlib: run `pip install celosia[report]`") from None
