"""`celosia report`: from a sweep to a page and figures, and what it says to bad input."""

import json
import sys
from pathlib import Path

import pytest

SWEEP = """
base = "tiny"
[space]
scratchpad.kib = [4, 8]
accumulator.kib = [4, 8]
[measures]
m = { kind = "python", function = "report_figures:memory" }
[objectives]
m.area = "minimise"
m.cycles = "minimise"
"""
FUNCTION = """
from celosia.synth.sweep.objectives import Measured

def memory(config):
    s, a = config.scratchpad.kib, config.accumulator.kib
    module = {"name": "celosia", "module": "celosia", "path": "", "depth": 0, "count": 1}
    return Measured({"area": s + 1.5 * a, "cycles": 64 // s + 96 // a}, [module | {"own": {"ge": s + a}, "total": {}}])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, celosia) -> Path:
    """The current folder, with a sweep that is finished in `out`."""
    (tmp_path / "report_figures.py").write_text(FUNCTION)
    (tmp_path / "s.toml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = celosia("sweep", "s.toml", "-o", "out", "--jobs", "1")
    assert result.exit_code == 0, result.stderr
    yield tmp_path
    sys.modules.pop("report_figures", None)


def test_a_page(celosia, folder) -> None:
    result = celosia("report", "out")
    assert (result.exit_code, result.stderr) == (0, "celosia: report of out\n")
    text = (folder / "out/report.html").read_text(encoding="utf-8")
    assert result.stdout == f"out/report.html ({len(text.encode()) / 1e6:.1f} MB)\n"
    figures = json.loads(text.partition('<script type="application/json" id="figures">')[2].partition("</script>")[0])
    front = {trace["name"]: trace for trace in figures["front-0"]["data"]}["Pareto front"]
    # 4/4: 10 and 40; 8/4: 14 and 32; 4/8: 16 and 28; 8/8: 20 and 20. Each is better in one than all others.
    assert sorted(zip(front["x"], front["y"], strict=True)) == [(10, 40), (14, 32), (16, 28), (20, 20)]
    assert {key for key in figures if key.startswith("areas")} == {"areas-0", "areas-1", "areas-2", "areas-3"}
    # The folder is still that of the sweep.
    assert celosia("sweep", "s.toml", "-o", "out", "--resume").exit_code == 0


def test_figures(celosia, folder) -> None:
    result = celosia("report", "out", "-o", "a/b.html", "--figures", "a/svg", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["page"] == "a/b.html"
    assert told["bytes"] == (folder / "a/b.html").stat().st_size
    assert set(told["figures"]) == {f"a/svg/{name}.svg" for name in (
        "pareto-m.area-m.cycles", "areas-m", "grid-m.area", "grid-m.cycles", "lines-m.area", "lines-m.cycles",
    )}  # fmt: skip
    assert {str(path.relative_to(folder)) for path in (folder / "a/svg").iterdir()} == set(told["figures"])
    assert not (folder / "out/report.html").exists()
    before = {path: path.read_bytes() for path in (folder / "a").rglob("*.*")}
    assert celosia("report", "out", "-o", "a/b.html", "--figures", "a/svg").exit_code == 0
    assert {path: path.read_bytes() for path in (folder / "a").rglob("*.*")} == before


def test_an_area_report(celosia, folder) -> None:
    own = {"ge": 12.5}
    module = {"name": "celosia", "module": "celosia", "path": "", "depth": 0, "count": 1, "own": own, "total": own}
    found = {"preset": "tiny", "settings": [], "target": "cells", "modules": [module]}
    (folder / "a.json").write_text(json.dumps(found))
    result = celosia("report", "a.json", "--figures", "f")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1:] == ["f/areas.svg"]
    assert "<h1>Area of tiny on cells</h1>" in (folder / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report"], "Missing argument"),
        (["report", "gone"], "cannot read gone: No such file or directory"),
        (["report", "."], "is not the folder of a sweep, it has no results.json; did you mean out?"),
        (["report", "s.toml"], "s.toml is not JSON: give the folder of a sweep"),
        (["report", "out", "-o", "out"], "cannot write out: it is a folder; give a file, such as out/report.html"),
        (["report", "out", "--figures", "s.toml"], "cannot write s.toml: it is a file"),
        (["report", "out", "-o", "s.toml/x.html"], "cannot write s.toml/x.html"),
        (["report", "out", "--figures", "s.toml/x"], "cannot write s.toml/x"),
    ],
)
def test_bad_input(celosia, folder, arguments, message) -> None:
    before = sorted(folder.rglob("*"))
    result = celosia(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("celosia: ")
    assert message in line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("package", ["plotly", "matplotlib"])
def test_a_missing_extra_is_told_with_the_command(celosia, folder, monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = celosia("report", "out", "--figures", "f")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"celosia: reports need {package}: run `pip install celosia[report]`"
    assert not (folder / "f").exists()
    assert not (folder / "out/report.html").exists()
