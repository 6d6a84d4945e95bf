"""Workers of this machine: they die alone, and never live longer than the sweep."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.executors.local import LocalExecutor
from celosia.synth.sweep.run import Sweep

COMMAND = [sys.executable, "-c", "from celosia.sw.cli.main import main; main()", "sweep"]
FILES = ("results.json", "results.csv", "results.parquet")
POINTS = 36


def test_figures_of_processes_are_those_of_this_one(make, folder, inline, monkeypatch) -> None:
    Sweep(make(), folder / "here", inline).run()
    monkeypatch.setenv("CELOSIA_CACHE", str(folder / "other cache"))
    Sweep(make(), folder / "there", lambda: LocalExecutor(2)).run()
    for name in FILES:
        assert (folder / "here" / name).read_bytes() == (folder / "there" / name).read_bytes()
    workers = {file.name.split("-")[2] for file in (folder / "log").iterdir()}
    assert len(workers - {str(os.getpid())}) == 2


def test_a_worker_that_dies_is_one_failed_row(make, folder) -> None:
    spec = make(measures={"m": {"kind": "python", "function": "sweep_figures:fragile"}})
    rows = Sweep(spec, folder / "o", lambda: LocalExecutor(2)).run()["rows"]
    failed = {(row["scratchpad.kib"], row["accumulator.kib"]): row["reason"] for row in rows if row["status"] != "ok"}
    assert failed == {
        (32, 128): "m: no such memory",
        (64, 64): "the worker died: killed, perhaps out of memory",
    }
    assert len(rows) == 16


def test_jobs_must_be_positive() -> None:
    with pytest.raises(SweepError, match="the number of jobs must be at least 1, not 0"):
        LocalExecutor(0)


def write_spec(folder: Path, function: str = "memory", pause: float = 0.0) -> Path:
    """A file with POINTS points."""
    file = folder / "sweep.toml"
    file.write_text(f"""
[space]
scratchpad.kib = {{ low = 16, high = 96, step = 16 }}
accumulator.kib = {{ low = 16, high = 96, step = 16 }}
[measures]
m = {{ kind = "python", function = "sweep_figures:{function}"{f", pause = {pause}" if pause else ""} }}
[objectives]
m.area = "minimise"
m.cycles = "minimise"
""")
    return file


def start(file: Path, out: Path, *options: str) -> subprocess.Popen:
    # A session of its own, as in a terminal of its own: signals to it do not reach the tests. And it takes Ctrl-C, even
    # where the tests run in the background of a shell and so ignore it.
    arguments = [*COMMAND, str(file), "-o", str(out), "--jobs", "2", *options]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that is dead but has not been waited for does not."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_sweep(folder, number) -> None:
    """Neither workers nor the tools that they have started, whatever ends it."""
    run = start(write_spec(folder, "hangs"), folder / "o")
    until(lambda: len(psutil.Process(run.pid).children(recursive=True)) >= 4)  # two workers, two tools
    until(lambda: len(list((folder / "log").iterdir())) == 2)
    family = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(number)
    _, stderr = run.communicate(timeout=30)
    until(lambda: not alive(family))
    if number is signal.SIGKILL:
        return
    assert run.returncode == 130
    assert stderr.splitlines()[-2:] == [
        f"celosia: what is finished is kept in {folder / 'o'}; --resume goes on with it",
        "celosia: interrupted",
    ]
    assert json.loads((folder / "o/results.json").read_text())["complete"] is False


def test_killed_at_random_moments(folder, monkeypatch) -> None:
    """Twenty times: nothing that the journal holds is measured again, and the files are those of an undisturbed run."""
    file = write_spec(folder, pause=0.04)
    run = start(file, folder / "whole")
    run.communicate(timeout=60)
    assert run.returncode == 0
    expected = {name: (folder / "whole" / name).read_bytes() for name in FILES}
    generator, kills, completed, out = random.Random(11), 0, 0, folder / "o0"
    while kills < 20 or not completed:
        # Without the cache: only the journal may know what is finished.
        monkeypatch.setenv("CELOSIA_CACHE", str(folder / f"cache {kills} {completed}"))
        finished = finished_points(out)
        for old in (folder / "log").iterdir():
            old.unlink()
        run = start(file, out, "--resume")
        try:
            run.communicate(timeout=generator.uniform(0.2, 1.6) if kills < 20 else 60)
        except subprocess.TimeoutExpired:
            run.kill()
            run.communicate()
            kills += 1
        else:
            assert run.returncode == 0
            assert {name: (out / name).read_bytes() for name in FILES} == expected
            completed += 1
            out = folder / f"o{completed}"
        again = {tuple(path.name.split("-")[:2]) for path in (folder / "log").iterdir()}
        assert not again & finished


def finished_points(out: Path) -> set[tuple[str, str]]:
    """Scratchpad and accumulator of the points in a journal, read without the code under test."""
    try:
        lines = (out / "journal.jsonl").read_text().splitlines(keepends=True)[1:]
    except FileNotFoundError:
        return set()
    indices = [json.loads(line)["index"] for line in lines if line.endswith("\n")]
    return {(str(16 * (index // 6 + 1)), str(16 * (index % 6 + 1))) for index in indices}
