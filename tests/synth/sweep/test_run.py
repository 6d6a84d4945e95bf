"""A whole sweep in this process: rows, constraints, cache, resumption."""

import csv
import json
from pathlib import Path

import pytest

from celosia.sw.sources import source_digest
from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.run import Sweep

SIZES = [16, 32, 64, 128]
ALL = sorted((s, a) for s in SIZES for a in SIZES)
FILES = ("results.json", "results.csv", "results.parquet")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_rows_by_hand(make, folder, inline) -> None:
    spec = make(
        constraints=["scratchpad.kib != 64", "m.area <= 200"],
        derived={"product": {"value": "m.area * m.cycles", "unit": "KiB cycles"}},
    )
    found = Sweep(spec, folder / "o", inline).run()
    rows = found["rows"]
    places = [(s, a) for s in (16, 32, 128) for a in SIZES]
    assert [(row["scratchpad.kib"], row["accumulator.kib"]) for row in rows] == places
    assert [row["index"] for row in rows] == [
        i for i, (s, _) in enumerate((s, a) for s in SIZES for a in SIZES) if s != 64
    ]
    for row, (s, a) in zip(rows, places, strict=True):
        area, cycles = s + 1.5 * a, 1_000_000 // s + 3_000_000 // a
        assert (row["m.area"], row["m.cycles"], row["product"]) == (area, cycles, area * cycles)
        assert row["status"] == ("ok" if area <= 200 else "infeasible")
        assert row["reason"] == (None if area <= 200 else "not met: m.area <= 200")
    # The front, by hand: of the feasible, 16/16 is smallest; each of the others has fewer cycles than all smaller ones.
    assert [(r["scratchpad.kib"], r["accumulator.kib"]) for r in rows if r["pareto"]] == [
        (16, 16), (16, 32), (16, 64), (32, 16), (32, 32), (32, 64),
    ]  # fmt: skip
    assert found["counts"] == {"ok": 8, "infeasible": 4, "illegal": 0, "failed": 0, "pareto": 6}
    kinds = {column["name"]: (column["kind"], column["unit"]) for column in found["columns"]}
    assert kinds["scratchpad.kib"] == ("field", "")
    assert kinds["product"] == ("derived", "KiB cycles")
    assert list(rows[0]) == list(kinds)


def test_files_agree(make, folder, inline) -> None:
    from pyarrow import parquet

    found = Sweep(make(), folder / "o", inline).run()
    assert json.loads((folder / "o/results.json").read_text()) == found
    names = [column["name"] for column in found["columns"]]
    with (folder / "o/results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [list(line) for line in lines] == [names] * 16
    assert [line["m.area"] for line in lines] == [str(row["m.area"]) for row in found["rows"]]
    assert parquet.read_table(folder / "o/results.parquet").to_pylist() == found["rows"]
    assert found["rows"][0]["config_hash"] == f"{make().space.point(0).config.hash:08x}"


def test_failures_are_rows(make, folder, inline) -> None:
    measures = {"m": {"kind": "python", "function": "sweep_figures:odd", "value": "nan"}}
    for value, reason in (
        ("nan", "m: area is not a finite number but nan"),
        ("text", "m: area is not a finite number but 'large'"),
        ("list", "m: sweep_figures:odd must give a dict of figures, not list"),
        ("gone", "m: KeyError: 'gone'"),
    ):
        measures["m"]["value"] = value
        found = Sweep(make(measures=measures, objectives={}), folder / value, inline).run()
        assert {(row["status"], row["reason"]) for row in found["rows"]} == {("failed", reason)}
    found = Sweep(make(objectives={"m": {"aera": "minimise"}}), folder / "o", inline).run()
    assert {row["reason"] for row in found["rows"]} == {"there is no figure m.aera; there are m.area, m.cycles"}
    found = Sweep(make(derived={"x": "1 / (scratchpad.kib - 16) + 0 * m.area"}), folder / "p", inline).run()
    assert [row["status"] for row in found["rows"]] == ["failed"] * 4 + ["ok"] * 12
    assert "division by zero" in found["rows"][0]["reason"]
    assert found["rows"][0]["m.area"] == 40  # what was found is kept


def test_illegal_combinations_are_rows(make, folder, inline, measured) -> None:
    spec = make(space={"array": {"rows": [8, 16]}, "post": {"lanes": [8, 16]}})
    found = Sweep(spec, folder / "o", inline).run()
    assert [row["status"] for row in found["rows"]] == ["ok", "illegal", "ok", "ok"]
    assert found["rows"][1]["config_hash"] is None
    assert len(measured()) == 3


def test_the_cache_answers(make, folder, inline, measured) -> None:
    first = Sweep(make(), folder / "a", inline)
    first.run()
    assert measured() == ALL

    def no_workers():
        raise AssertionError("nothing was left to measure")

    again = Sweep(make(), folder / "b", no_workers)
    again.run()
    assert contents(folder / "a") == contents(folder / "b")
    assert (first.progress.measured, again.progress.cached) == (16, 16)
    # Another objective, constraint or axis measures only what is new.
    wider = {"scratchpad": {"kib": [*SIZES, 256]}, "accumulator": {"kib": SIZES}}
    Sweep(make(space=wider, objectives={}, constraints=["m.area > 0"]), folder / "c", inline).run()
    assert measured() == [(256, a) for a in SIZES]


def test_measures_are_cached_one_by_one(make, folder, inline, measured, document) -> None:
    Sweep(make(), folder / "a", inline).run()
    measured()
    more = document["measures"] | {"n": {"kind": "python", "function": "sweep_figures:memory", "scale": 2.0}}
    found = Sweep(make(measures=more), folder / "b", inline).run()
    assert measured() == ALL
    assert all(row["n.area"] == 2 * row["m.area"] for row in found["rows"])


def test_changed_sources_are_measured_again(make, folder, inline, measured) -> None:
    Sweep(make(), folder / "a", inline).run()
    before = contents(folder / "a")
    measured()
    with (folder / "sweep_figures.py").open("a") as file:
        file.write("\n# changed\n")
    source_digest.cache_clear()
    Sweep(make(), folder / "b", inline).run()
    assert measured() == ALL
    # The journal's entries of the former sources do not count either.
    again = Sweep(make(), folder / "a", inline, resume=True)
    again.run()
    assert (again.progress.resumed, again.progress.cached) == (0, 16)
    assert contents(folder / "a") == contents(folder / "b") != before


def test_interrupted_and_resumed(make, folder, inline, measured, monkeypatch) -> None:
    Sweep(make(), folder / "whole", inline).run()
    monkeypatch.setenv("CELOSIA_CACHE", str(folder / "other cache"))
    measured()
    executor = inline(stop=5)
    with pytest.raises(KeyboardInterrupt):
        Sweep(make(), folder / "o", lambda: executor).run()
    assert executor.closed
    done = measured()
    assert len(done) == 5
    partial = json.loads((folder / "o/results.json").read_text())
    assert (partial["complete"], len(partial["rows"])) == (False, 5)
    monkeypatch.setenv("CELOSIA_CACHE", str(folder / "third cache"))
    Sweep(make(), folder / "o", inline, resume=True).run()
    assert sorted([*done, *measured()]) == ALL
    assert contents(folder / "o") == contents(folder / "whole")
    # Once more: nothing is left to do.
    Sweep(make(), folder / "o", inline, resume=True).run()
    assert measured() == []
    assert contents(folder / "o") == contents(folder / "whole")


def test_failed_points_are_measured_again_on_request(make, folder, inline, measured) -> None:
    spec = make(
        space={"scratchpad": {"kib": [16, 32]}, "accumulator": {"kib": [128]}},
        measures={"m": {"kind": "python", "function": "sweep_figures:fragile"}},
    )
    found = Sweep(spec, folder / "o", inline).run()
    assert [(row["status"], row["reason"]) for row in found["rows"]] == [("ok", None), ("failed", "m: no such memory")]
    trace = (folder / "o/journal.jsonl").read_text()
    assert "in fragile" in trace  # where it failed is kept for who looks for it
    for retry, count in ((False, 0), (True, 1)):
        again = Sweep(spec, folder / "o", inline, resume=True, retry=retry)
        assert again.run() == found
        assert again.progress.measured == count


def test_an_empty_space_is_told_before_anything_is_written(make, folder, inline) -> None:
    spec = make(constraints=["scratchpad.kib + accumulator.kib == 5"])
    with pytest.raises(SweepError, match=r"the space is empty: none of its 16 points meets scratchpad\.kib \+"):
        Sweep(spec, folder / "o", inline).run()
    assert not (folder / "o").exists()


def test_results_that_cannot_be_written(make, folder, inline) -> None:
    (folder / "o/results.csv/in the way").mkdir(parents=True)
    (folder / "o/journal.jsonl").touch()
    with pytest.raises(SweepError, match=r"cannot write .*results\.csv: Is a directory"):
        Sweep(make(), folder / "o", inline, resume=True).run()
    assert not list((folder / "o").glob(".*"))


def test_modules_are_kept_aside(make, folder, inline) -> None:
    (folder / "with_modules.py").write_text(
        "from celosia.synth.sweep.objectives import Measured\n"
        "def area(config):\n"
        "    return Measured({'ge': 3}, [{'path': 'top', 'ge': config.scratchpad.kib}])\n"
    )
    spec = make(measures={"a": {"kind": "python", "function": "with_modules:area"}}, objectives={})
    for name in ("o", "from the cache"):
        Sweep(spec, folder / name, inline).run()
        lines = [json.loads(line) for line in (folder / name / "modules.jsonl").read_text().splitlines()]
        assert [line["index"] for line in lines] == list(range(16))
        assert [line["modules"] for line in lines] == [[{"path": "top", "ge": s}] for s in SIZES for _ in SIZES]
