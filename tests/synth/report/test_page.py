"""The page, read as a browser reads it: its charts' data, its tables, and what it asks of the network."""

import json
import re
from html.parser import HTMLParser

import pytest
from report_sweep import FIELDS, MODULES, POINTS, make

from celosia.synth.report import page as pages
from celosia.synth.report.document import ReportError
from celosia.synth.report.page import page
from celosia.synth.report.reading import read


class Reader(HTMLParser):
    """A page's elements: (tag, attributes, text up to the next tag)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes) -> None:
        self.elements.append((tag, dict(attributes), ""))

    def handle_endtag(self, tag) -> None:
        self.elements.append((f"/{tag}", {}, ""))

    def handle_data(self, data) -> None:
        if self.elements:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        return [text for name, attributes, text in self.elements
                if name == tag and all(attributes.get(key) == value for key, value in wanted.items())]  # fmt: skip

    @property
    def figures(self) -> dict:
        (text,) = self.texts("script", type="application/json")
        return json.loads(text)

    def rows(self, number: int) -> list[list[str]]:
        """Cells of a table's rows."""
        rows: list[list[str]] = []
        table = -1
        for tag, _, text in self.elements:
            table += tag == "table"
            if table == number and tag == "tr":
                rows.append([])
            if table == number and tag == "td":
                rows[-1].append(text)
        return [row for row in rows if row]


@pytest.fixture
def made(write) -> Reader:
    return Reader(page(read(write())))


def test_the_front(made) -> None:
    traces = {trace["name"]: trace for trace in made.figures["front-0"]["data"]}
    assert list(traces) == ["breaks a constraint", "other points", "front", "Pareto front"]
    places = {name: list(zip(t["x"], t["y"], strict=True)) for name, t in traces.items()}
    assert places == {
        "breaks a constraint": [(80, 31)],
        "other points": [(56, 9)],
        "front": [(40, 10), (50, 25.5), (64, 30)],
        "Pareto front": [(40, 10), (50, 25.5), (64, 30)],
    }
    assert traces["Pareto front"]["customdata"] == [0, 5, 1]
    # Towards more area the speed stays as it is until the next point is reached.
    assert traces["front"]["line"]["shape"] == "hv"
    axes = made.figures["front-0"]["layout"]
    assert axes["xaxis"]["title"]["text"] == "area.ge (GE), less is better"
    assert axes["yaxis"]["title"]["text"] == "run.speed (1/s), more is better"


def test_hover_tells_the_configuration(made) -> None:
    traces = {trace["name"]: trace for trace in made.figures["front-0"]["data"]}
    text = traces["Pareto front"]["text"][1]
    lines = text.split("<br>")
    assert lines[0] == "<b>point 5</b>  00000005"
    assert lines[1:4] == [
        "scratchpad.kib = <b>64</b>", "accumulator.kib = <b>32</b>", "post.softmax = <b>base2</b>",
    ]  # fmt: skip
    assert lines[4:] == ["area.ge: 50 GE", "run.speed: 25.5 1/s", "on the Pareto front"]
    assert "not met: area.ge &lt;= 70" in traces["breaks a constraint"]["text"][0]


def test_points_that_hide_one_another_are_named(write) -> None:
    points = [*POINTS, (128, 16, "base2", 40, 10.0, "ok", True, None)]
    traces = Reader(page(read(write(make(points))))).figures["front-0"]["data"]
    texts = dict(zip(traces[-1]["customdata"], traces[-1]["text"], strict=True))
    assert texts[0].endswith("equal: scratchpad.kib 128, accumulator.kib 16</i>")
    assert texts[7].endswith("equal: scratchpad.kib 16, accumulator.kib 16</i>")


def test_three_objectives_make_three_charts(write) -> None:
    found = make()
    found["objectives"].append({"figure": "run.other", "direction": "minimise", "unit": ""})
    made = Reader(page(read(write(found))))
    assert made.texts("option", value="front-1") == ["run.other over area.ge (GE)"]
    line = next(trace for trace in made.figures["front-1"]["data"] if trace["mode"] == "lines")
    # Both grow together: the smallest of both is all that there is to choose from.
    assert (line["name"], line["x"], line["y"]) == ("front of these two alone", [40], [40_000])
    maximised = next(trace for trace in made.figures["front-2"]["data"] if trace["mode"] == "lines")
    assert maximised["line"]["shape"] == "vh"


def test_one_objective_and_none(write) -> None:
    found = make()
    made = Reader(page(read(write(found | {"objectives": found["objectives"][:1]}))))
    assert made.figures["front-0"]["layout"]["xaxis"]["title"]["text"] == "point"
    none = Reader(page(read(write(found | {"objectives": []}))))
    assert not [key for key in none.figures if key.startswith("front")]
    assert "parallel-0" in none.figures


def test_treemaps_add_up(made) -> None:
    for key in ("areas-0", "areas-1"):
        (trace,) = made.figures[key]["data"]
        parents = set(trace["parents"])
        for name, whole in {"area_um2": 152, "ge": 52, "memory_um2": 100}.items():
            values = trace["meta"]["values"][name]
            leaves = [v for place, v in zip(trace["ids"], values, strict=True) if place not in parents]
            assert sum(leaves) == values[0] == whole
        assert trace["values"] == trace["meta"]["values"]["area_um2"]
        assert trace["labels"][5] == "pe_0_0 x 16"
    # The chosen point comes first.
    assert made.texts("option", value="areas-0") == ["scratchpad.kib 64, accumulator.kib 32 (point 5)"]
    assert made.texts("option", value="areas-1") == ["scratchpad.kib 16, accumulator.kib 16 (point 0)"]
    assert made.texts("option", value="memory_um2") == ["area of memories (µm²)"]


def test_parallel_coordinates(made) -> None:
    (trace,) = made.figures["parallel-0"]["data"]
    axes = trace["dimensions"]
    # Fields by the place of their value, figures as they are; of points 0, 1, 2, 3 and 5.
    assert [axis["values"] for axis in axes] == [
        [0, 0, 1, 1, 2], [0, 1, 0, 1, 1], [40, 64, 56, 80, 50], [10, 30, 9, 31, 25.5],
    ]  # fmt: skip
    assert axes[0]["ticktext"] == ["16", "32", "64"]
    assert trace["line"]["color"] == axes[2]["values"]


def test_heat_maps(made) -> None:
    (area,), (speed,) = (made.figures[f"grid-{number}"]["data"] for number in (0, 1))
    assert (area["x"], area["y"]) == (["16", "32", "64"], ["16", "32"])
    assert area["z"] == [[40, 56, None], [64, 80, 50]]
    assert area["text"] == [["<b>40 ●</b>", "56", ""], ["<b>64 ●</b>", "(80)", "<b>50 ●</b>"]]
    assert (area["zmin"], area["zmax"]) == (40, 64)  # of the points that can be chosen
    # Good is the same colour, be it much or little.
    assert area["colorscale"][0][1] == speed["colorscale"][-1][1]


def test_tables(made) -> None:
    points, problems = made.rows(0), made.rows(1)
    assert [row[:2] for row in points] == [
        ["0", "front"], ["1", "front"], ["2", "ok"], ["3", "infeasible"], ["4", "failed"], ["5", "front"],
        ["6", "illegal"],
    ]  # fmt: skip
    assert points[1][2:] == ["16", "32", "base2", "64", "30", "64,000"]
    assert points[4][2:] == ["64", "16", "base2", "-", "-", "-"]
    assert [row[1:3] for row in problems] == [
        ["infeasible", "not met: area.ge <= 70"],
        ["failed", "area: </script><b>yosys</b> ended"],
        ["illegal", "too large"],
    ]
    cells = [attributes for tag, attributes, text in made.elements if tag == "td" and text == "64,000"]
    assert cells[0]["data-v"] == "64000"


def test_the_summary(made) -> None:
    sentences = made.texts("p")
    assert sentences[0] == (
        "7 configurations of tiny, out of 9 combinations of scratchpad.kib (16, 32, 64), accumulator.kib (16, 32, 64) "
        "and post.softmax (base2): every combination."
    )
    assert sentences[1] == "Wanted: the smallest area.ge and the largest run.speed, with area.ge <= 70."
    assert sentences[2] == "3 points of 4 are on the Pareto front: nothing else is as good in everything."
    assert sentences[3] == "1 infeasible, 1 illegal and 1 failed are listed below with the reasons."
    buttons = [attributes["data-point"] for tag, attributes, _ in made.elements if attributes.get("class") == "choice"]
    assert buttons == ["5", "0", "1"]
    reasons = made.texts("b")
    assert reasons == ["balanced", "smallest area.ge: 40 GE", "largest run.speed: 30 1/s"]


def test_the_card_of_a_point(made) -> None:
    """The command gives the sweep's base, what it changes for all points (bus.bytes), and the point."""
    assert made.texts("pre")[0] == (
        "celosia generate --preset tiny --set bus.bytes=4 --set scratchpad.kib=64 --set accumulator.kib=32 "
        "--set post.softmax=base2 -o build"
    )
    (chosen,) = [attributes for _, attributes, _ in made.elements if attributes.get("id") == "chosen"]
    assert chosen["data-point"] == "5"
    templates = [attributes["data-point"] for tag, attributes, _ in made.elements if tag == "template"]
    assert templates == ["0", "1", "2", "3", "5"]


def test_a_sweep_that_has_not_ended_says_so(write) -> None:
    assert "has not ended" in page(read(write(make() | {"complete": False})))
    assert "has not ended" not in page(read(write()))


def test_nothing_feasible(write) -> None:
    text = page(read(write(make([point for point in POINTS if point[5] == "infeasible"]), {})))
    assert "No point meets all constraints." in text


def test_it_needs_nothing_else(write) -> None:
    """No address is referred to outside of plotly.js, which is there once; and the page forbids itself to load any."""
    text = page(read(write()))
    made = Reader(text)
    scripts = [body for body in made.texts("script") if "plotly.js v" in body]
    assert len(scripts) == 1
    rest = text.replace(scripts[0], "")
    assert "//" not in re.sub(r"(?m)^\s*// .*$|  // .*$", "", rest.replace("</", "<"))
    assert not [attributes for _, attributes, _ in made.elements if {"src", "href"} & set(attributes)]
    assert not re.search(r"@import|url\(", rest)
    (policy,) = [a["content"] for _, a, _ in made.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_nothing_ends_the_script_that_it_is_in(write) -> None:
    """One reason is `</script>`, and hover texts have tags of their own."""
    text = page(read(write()))
    data = text.partition('id="figures">')[2].partition("</script>")[0]
    assert "<" not in data
    assert "\\u003cb>point 0" in data


def test_it_tells_its_size(write) -> None:
    text = page(read(write()))
    (told,) = re.findall(r"This file of (\d+\.\d) MB works offline", text)
    assert float(told) == pytest.approx(len(text.encode()) / 1e6, abs=0.06)
    assert float(told) < 6


def test_light_and_dark(made) -> None:
    (css,) = made.texts("style")
    names = r"--paper|--panel|--ink|--quiet|--rule|--accent|--tint"
    blocks = re.findall(r"([^{}]*)\{([^{}]*)\}", css)
    light = next(body for head, body in blocks if head.strip() == ":root")
    dark = [body for head, body in blocks if '="light"])' in head or '="dark"]' in head]
    assert "@media (prefers-color-scheme: dark)" in css
    assert len(dark) == 2
    colours = [dict(re.findall(rf"({names}): (#\w+);", body)) for body in (light, *dark)]
    assert [len(one) for one in colours] == [7, 7, 7]
    assert colours[1] == colours[2]
    for one in (colours[0], colours[1]):
        # Against both backgrounds letters have the contrast that WCAG asks for: 4.5.
        for ink in ("--ink", "--quiet", "--accent"):
            assert min(contrast(one[ink], one[ground]) for ground in ("--paper", "--panel", "--tint")) > 4.5, ink


def test_parts_can_be_written_on() -> None:
    from celosia.synth.report.style import CELL_INK, CELLS, part_colour

    parts = ("array", "post", "accumulator", "scratchpad", "control", "load", "store", "arbiter", "top")
    assert len({part_colour(part) for part in parts}) == len(parts)
    assert min(contrast("#ffffff", part_colour(part)) for part in parts) > 4
    assert min(contrast(CELL_INK, colour) for _, colour in CELLS) > 4.5


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_an_area_report(tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"preset": "tiny", "settings": [], "target": "cells", "modules": MODULES}))
    made = Reader(page(read(path)))
    assert made.texts("h1") == ["Area of tiny on cells"]
    assert list(made.figures) == ["areas-0"]
    parts = {row[0]: row[1:] for row in made.rows(0)}
    assert parts == {
        "scratchpad": ["103", "3", "3", "100"], "array": ["36", "36", "36", "0"], "post": ["12", "12", "12", "0"],
        "top": ["1", "1", "1", "0"], "of these, softmax": ["7", "7", "7", "0"], "whole": ["152", "52", "52", "100"],
    }  # fmt: skip
    assert made.rows(1)[5] == ["core/array/pe_0_0", "16", "21.1%", "32", "32", "32", "0"]


def test_plotly_is_missing(document, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    with pytest.raises(ReportError, match=r"reports need plotly: run `pip install celosia\[report\]`"):
        pages.page(document)


def test_equal_results_make_equal_pages(write) -> None:
    folder = write()
    assert page(read(folder)) == page(read(folder))
    assert FIELDS[0] in page(read(folder))
