"""Files to documents, and what is said of files that are none."""

import json

import pytest
from report_sweep import MODULES, POINTS, make

from celosia.synth.report.document import Areas, ReportError
from celosia.synth.report.reading import read


def test_a_sweep(document) -> None:
    assert document.name == "memories"
    assert document.fields == ("scratchpad.kib", "accumulator.kib", "post.softmax")
    assert document.shown == ("area.ge", "run.speed")
    assert document.figures == ("area.ge", "run.speed", "run.other")
    assert [point.index for point in document.measured] == [0, 1, 2, 3, 5]
    assert [point.index for point in document.ok] == [0, 1, 2, 5]
    assert [point.index for point in document.best] == [0, 5, 1]  # along the area: 40, 50, 64
    assert document.varying == ("scratchpad.kib", "accumulator.kib")
    assert document.values("scratchpad.kib") == [16, 32, 64]
    assert [point.reason for point in document.points] == [point[-1] for point in POINTS]
    assert [areas.index for areas in document.areas] == [0, 5]


def test_a_point_can_fail_with_figures(write) -> None:
    """In a derived value, say: what was measured is kept, but it is no point to choose or to draw."""
    points = [*POINTS, (128, 16, "base2", 1, 99.0, "failed", False, "division by zero")]
    assert [point.index for point in read(write(make(points))).measured] == [0, 1, 2, 3, 5]


def test_results_themselves_are_their_folder(write) -> None:
    folder = write()
    assert read(folder / "results.json").name == "memories"


def test_areas_of_other_points_are_left_out(write) -> None:
    """A file of modules may be older than the results."""
    folder = write(areas={0: MODULES, 77: MODULES})
    assert [areas.index for areas in read(folder).areas] == [0]
    (folder / "modules.jsonl").unlink()
    assert read(folder).areas == ()


def test_an_area_report(tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"preset": "tiny", "settings": ["bus.bytes=4"], "target": "cells", "modules": MODULES}))
    areas = read(path)
    assert isinstance(areas, Areas)
    assert areas.measure == "tiny bus.bytes=4 on cells"
    assert [module.path for module in areas.modules] == [row["path"] for row in MODULES]


def test_without_objectives(write) -> None:
    document = read(write(make() | {"objectives": []}))
    assert document.shown == ("area.ge", "run.speed", "run.other")
    assert document.direction("run.speed") == "minimise"


FAILED = [point for point in POINTS if point[5] in ("failed", "illegal")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "out/results.json is not the results of a sweep"),
        ("[]", "out/results.json is not the results of a sweep"),
        (json.dumps({"format": "celosia-sweep-9"}), "has the format 'celosia-sweep-9', not 'celosia-sweep-1'"),
        (json.dumps(make() | {"rows": [{}]}), "is damaged (KeyError: 'index')"),
        (json.dumps(make() | {"rows": []}), "no point is finished yet: go on with `celosia sweep"),
        (json.dumps(make(FAILED)), "none of 2 points has figures; the first: area: </script><b>yosys</b> ended"),
    ],
)
def test_bad_results(write, text, message) -> None:
    folder = write()
    (folder / "results.json").write_text(text)
    with pytest.raises(ReportError) as error:
        read(folder)
    assert message in str(error.value)


def test_bad_modules(write) -> None:
    folder = write()
    for text in ("{", '{"index": 0}', '{"index": 0, "config_hash": "00000000", "measure": "area", "modules": []}'):
        (folder / "modules.jsonl").write_text(text)
        with pytest.raises(ReportError, match=r"modules\.jsonl is damaged"):
            read(folder)


def test_other_folders(write, tmp_path) -> None:
    folder = write()
    with pytest.raises(ReportError, match=r"is not the folder of a sweep.*did you mean .*/out\?"):
        read(tmp_path)
    (folder / "results.json").unlink()
    with pytest.raises(ReportError, match="give the folder that `celosia sweep -o` wrote"):
        read(folder)
    (folder / "journal.jsonl").touch()
    with pytest.raises(ReportError, match="has no results yet: go on with `celosia sweep"):
        read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*: No such file"),
        ("x", "is not JSON"),
        ('{"a": 1}', "is no area report"),
        ('{"target": "cells", "modules": []}', "is no area report"),
        ("[1]", "is no area report"),
    ],
)
def test_other_files(tmp_path, text, message) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ReportError, match=message):
        read(path)
