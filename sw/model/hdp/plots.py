"""Figures of quality against sparsity, as SVG by matplotlib: the same text for the same rows."""

from collections.abc import Sequence

from celosia.sw.drawing import blank, look, svg
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp.curves import ALSO, Row

_MARKERS = "osD^vPX*"


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """SVG files by name, one for each figure and kind of text with curves. Errors: ModelError without matplotlib."""
    try:
        __import__("matplotlib")
    except ModuleNotFoundError:
        raise ModelError("figures need matplotlib: run `pip install celosia[report]`") from None
    found = {}
    with look():
        for figure, text in dict.fromkeys((row.figure, row.text) for row in rows):
            curves = curves_of(rows, figure, text)
            if curves:
                found[f"{figure}-{text}.svg"] = _draw(figure, text, curves)
    return found


def curves_of(rows: Sequence[Row], figure: str, text: str) -> dict[str, list[Row]]:
    """Curves of more than one point that a figure shows, by name."""
    names = [row.curve for row in rows if row.figure == figure]
    names += [name for name in ALSO.get(figure, ()) if any(row.curve == name for row in rows)]
    curves = {name: [row for row in rows if row.curve == name and row.text == text] for name in dict.fromkeys(names)}
    return {name: points for name, points in curves.items() if len(points) > 1}


def sparsity_of(row: Row) -> float:
    """The share that a row's curve varies, in per cent."""
    share = row.head_sparsity if row.figure == "heads" else row.total_sparsity
    return 100 * share


def _draw(figure: str, text: str, curves: dict[str, list[Row]]) -> str:
    drawing = blank(5.0, 3.2)
    axes = drawing.add_subplot()
    scored = all(row.difference is not None for points in curves.values() for row in points)
    for index, (name, points) in enumerate(curves.items()):
        ordered = sorted(points, key=sparsity_of)
        values = [row.cosine if row.difference is None else row.difference for row in ordered]
        axes.plot([sparsity_of(row) for row in ordered], values, marker=_MARKERS[index % len(_MARKERS)],
                  markersize=4, linewidth=1.2, label=name)  # fmt: skip
    axes.set_xlabel("heads pruned, %" if figure == "heads" else "blocks not computed, %")
    axes.set_ylabel("Spearman x100, to the dense int8 model" if scored else "cosine to the dense int8 model")
    axes.set_title(f"{figure}, {text}", loc="left")
    if scored:
        # What lies far below is useless, and would press all else together.
        axes.set_ylim(bottom=max(axes.get_ylim()[0], -6.0))
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(frameon=False, fontsize=7)
    return svg(drawing)
