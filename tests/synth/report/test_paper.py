"""Figures for papers: what is drawn, by the words and shapes of the SVG."""

import re
import sys
from itertools import pairwise, product
from xml.etree import ElementTree

import pytest
from report_sweep import MODULES, make

from celosia.synth.report.document import Areas, Module, ReportError
from celosia.synth.report.paper import figures
from celosia.synth.report.reading import read

SVG = "{http://www.w3.org/2000/svg}"


def words(text: str) -> list[str]:
    """Letters are paths; matplotlib leaves each text beside them as a comment."""
    return [word.strip() for word in re.findall(r"<!--(.*?)-->", text, re.DOTALL)]


def pairs(told: list[str]) -> list[tuple[str, str]]:
    """Numbers of cells, with the distance to the best that stands below each."""
    return [(a, b) for a, b in pairwise(told) if b == "best" or b.endswith("%")]


def test_the_files(document) -> None:
    found = figures(document)
    assert list(found) == [
        "pareto-area.ge-run.speed.svg", "areas-area.svg",
        "grid-area.ge.svg", "lines-area.ge.svg", "grid-run.speed.svg", "lines-run.speed.svg",
    ]  # fmt: skip
    for text in found.values():
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert not root.findall(f".//{SVG}text")  # a font that a reader lacks would change it
        assert "<dc:date>" not in text


def test_equal_results_make_equal_files(write) -> None:
    folder = write()
    assert figures(read(folder)) == figures(read(folder))


def test_the_front(document) -> None:
    text = figures(document)["pareto-area.ge-run.speed.svg"]
    assert {"area.ge (GE)", "run.speed (1/s)", "breaks a constraint", "Pareto front", "balanced"} <= set(words(text))
    # Of the three collections one holds the infeasible point, one the other, and one the front of three.
    uses = [len(group.findall(f".//{SVG}use")) for group in ElementTree.fromstring(text).iter(f"{SVG}g")
            if re.fullmatch(r"PathCollection_\d", group.get("id", ""))]  # fmt: skip
    assert uses[:3] == [1, 1, 3]


def test_numbers_of_the_heat_map(document) -> None:
    told = words(figures(document)["grid-area.ge.svg"])
    assert told[:5] == ["16", "32", "64", "scratchpad.kib", "16"]
    # By hand: of the points that can be chosen, 40 is the smallest; 56 is 40 % more.
    cells = pairs(told)
    expected = [("40", "best"), ("56", "+40.0%"), ("64", "+60.0%"), ("(80)", "+100%"), ("50", "+25.0%")]
    assert cells == expected
    assert told[-1] == "area.ge (GE); frames: Pareto front; brackets: break a constraint"
    speed = pairs(words(figures(document)["grid-run.speed.svg"]))
    assert ("30", "best") in speed
    assert ("25.50", "-15.0%") in speed


def test_lines(write) -> None:
    fields = list(product((16, 32, 64), (8, 16), ["base2"]))
    points = [(*one, index, 1.0, "ok", False, None) for index, one in enumerate(fields)]
    text = figures(read(write(make(points), {})))["lines-area.ge.svg"]
    assert {"scratchpad.kib", "accumulator.kib 8", "accumulator.kib 16", "area.ge (GE)"} <= set(words(text))
    assert [word for word in words(text) if word in ("16", "32", "64")] == ["16", "32", "64"]


def test_areas_of_the_front(document) -> None:
    told = words(figures(document)["areas-area.svg"])
    # Along the area: points 0 and 5, of the sizes of their memories; 1 has no areas.
    assert [word for word in told if re.fullmatch(r"\d+ / \d+", word)] == ["16 / 16", "64 / 32"]
    assert told.count("152") == 2
    assert {"scratchpad.kib / accumulator.kib", "area (µm²)", "scratchpad", "array", "post"} <= set(told)


def test_an_area_report() -> None:
    modules = tuple(Module(r["name"], r["path"], r["depth"], r["count"], r["own"]) for r in MODULES)
    (told,) = (words(text) for text in figures(Areas(0, "tiny on cells", modules)).values())
    assert {"103 (67.8%)", "36 (23.7%)", "12 (7.9%)", "1 (0.7%)", "area (µm²) of tiny on cells"} <= set(told)
    nothing = Areas(0, "tiny", (Module("celosia", "", 0, 1, {"ge": 0}),))
    with pytest.raises(ReportError, match="there is no area to draw"):
        figures(nothing)


def test_matplotlib_is_missing(document, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ReportError, match=r"reports need matplotlib: run `pip install celosia\[report\]`"):
        figures(document)
