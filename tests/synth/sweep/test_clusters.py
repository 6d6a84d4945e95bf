"""The same sweep on a Dask cluster of real processes, and on submitit's executor for one machine."""

import os
import sys

import pytest

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.executors.dask import DaskExecutor
from celosia.synth.sweep.executors.slurm import SlurmExecutor
from celosia.synth.sweep.pending import look_up
from celosia.synth.sweep.run import Sweep

FILES = ("results.json", "results.csv", "results.parquet")
FRAGILE = {"m": {"kind": "python", "function": "sweep_figures:fragile"}}


@pytest.fixture
def expected(make, folder, inline, monkeypatch):
    """Files of the sweep on this process; what was measured is forgotten."""
    Sweep(make(), folder / "here", inline).run()
    monkeypatch.setenv("CELOSIA_CACHE", str(folder / "other cache"))
    for file in (folder / "log").iterdir():
        file.unlink()
    return {name: (folder / "here" / name).read_bytes() for name in FILES}


def failures(rows) -> dict[tuple[int, int], str]:
    return {(row["scratchpad.kib"], row["accumulator.kib"]): row["reason"] for row in rows if row["status"] == "failed"}


def workers(folder) -> set[str]:
    return {file.name.split("-")[2] for file in (folder / "log").iterdir()} - {str(os.getpid())}


@pytest.fixture
def cluster():
    import dask
    from distributed import LocalCluster

    # A task is blamed for the first worker that dies with it (by default the fourth, which takes ten seconds).
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster


def test_dask(make, folder, cluster, expected) -> None:
    address = cluster.scheduler_address
    Sweep(make(), folder / "there", lambda: DaskExecutor(address)).run()
    assert {name: (folder / "there" / name).read_bytes() for name in FILES} == expected
    assert len(workers(folder)) == 2
    # Points that fail, and one that kills every worker that tries it.
    spec = make(measures=FRAGILE)
    found = failures(Sweep(spec, folder / "fragile", lambda: DaskExecutor(address)).run()["rows"])
    assert set(found) == {(32, 128), (64, 64)}
    assert found[32, 128] == "m: no such memory"
    assert found[64, 64] == "the worker died: killed, perhaps out of memory"


def test_a_scheduler_that_goes_away(make, folder) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        executor = DaskExecutor(cluster.scheduler_address)
        slow = make(measures={"m": {"kind": "python", "function": "sweep_figures:memory", "pause": 600}})
        tasks = [look_up(spec, spec.space.point(0)).task(spec) for spec in (make(), slow)]
        outcomes = executor.run(tasks)
        assert next(outcomes).reason is None
    with executor, pytest.raises(SweepError, match="is gone: --resume goes on"):
        list(outcomes)


def test_a_scheduler_that_does_not_answer(monkeypatch) -> None:
    from celosia.synth.sweep.executors import dask

    monkeypatch.setattr(dask, "_PATIENCE", 0.5)
    with pytest.raises(SweepError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        DaskExecutor("tcp://127.0.0.1:9")
    with pytest.raises(SweepError, match="no Dask scheduler answers at nonsense"):
        DaskExecutor("nonsense://x")


def test_slurm(make, folder, monkeypatch, inline) -> None:
    """Four points: each is a process of its own, which takes a second to start. The last one kills it."""
    space = {"scratchpad": {"kib": [32, 64]}, "accumulator": {"kib": [128, 64]}}
    spec = make(space=space, measures=FRAGILE)

    # How long submitit hopes for the result of a dead job: file systems of clusters may be slow.
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0.5)

    def executor() -> SlurmExecutor:
        return SlurmExecutor(folder / "there/slurm", 2, {}, "local")

    rows = Sweep(spec, folder / "there", executor).run()["rows"]
    assert len(workers(folder)) == 2
    deadly = rows.pop()
    assert deadly["reason"] == "the worker died: its job ended as FINISHED"
    assert not (folder / "there/slurm").exists()
    monkeypatch.setenv("CELOSIA_CACHE", str(folder / "other cache"))
    here = make(space=space, measures=FRAGILE, constraints=["scratchpad.kib + accumulator.kib != 128"])
    found = Sweep(here, folder / "here", inline).run()["rows"]
    assert [row | {"pareto": None} for row in found] == [row | {"pareto": None} for row in rows]
    assert failures(rows) == {(32, 128): "m: no such memory"}


def test_no_slurm_here(folder, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SweepError, match='Slurm cannot be used: Could not detect "srun"'):
        SlurmExecutor(folder / "slurm", 4, {})


@pytest.mark.parametrize(
    ("module", "make_executor", "command"),
    [
        ("distributed", lambda folder: DaskExecutor("tcp://127.0.0.1:9"), r"pip install celosia\[dask\]"),
        ("submitit", lambda folder: SlurmExecutor(folder, 4, {}), r"pip install celosia\[slurm\]"),
    ],
)
def test_a_missing_package_is_told_with_its_command(folder, monkeypatch, module, make_executor, command) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SweepError, match=command):
        make_executor(folder)
