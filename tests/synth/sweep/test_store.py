"""Files that appear whole or not at all, a cache that may be damaged, and workers that are not what they should be."""

import errno
import os
from dataclasses import replace

import pytest

from celosia.synth.sweep import evaluate, store
from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.evaluate import Job, Task
from celosia.synth.sweep.objectives import Measured


def test_a_full_disk_leaves_the_former_file(folder, monkeypatch) -> None:
    path = folder / "results.json"
    path.write_bytes(b"former")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SweepError, match=r"cannot write .*results\.json: No space left on device"):
        store.write_file(path, b"new")
    assert path.read_bytes() == b"former"
    assert not list(folder.glob(".*"))
    monkeypatch.undo()
    store.write_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_the_cache_survives_damage_and_a_full_disk(folder, monkeypatch) -> None:
    measured = Measured({"area": 0.1}, [{"path": "top"}])
    store.keep({"abc": measured})
    assert store.recall("abc") == measured
    assert store.recall("abd") is None
    (file,) = (folder / "cache/sweep").rglob("*.json")
    for damage in (b"", b"{", b"[]", b'{"figures": {}, "other": 1}'):
        file.write_bytes(damage)
        assert store.recall("abc") is None
    monkeypatch.setenv("CELOSIA_CACHE", str(file))  # no folder can be made there
    store.keep({"abc": measured})
    assert store.recall("abc") is None


def test_a_worker_with_other_sources_says_so(make) -> None:
    spec = make()
    (measure,) = spec.measures
    config = spec.config.to_dict()
    right = Task(7, config, (Job(measure, measure.key(config)),), spec.folder)
    outcome = evaluate.evaluate(right)
    assert (outcome.index, outcome.reason) == (7, None)
    assert outcome.results[measure.key(config)].figures["area"] == 64 + 1.5 * 256
    outcome = evaluate.evaluate(replace(right, jobs=(Job(measure, "of other sources"),)))
    assert outcome.results == {}
    assert outcome.reason == "m: the worker has other sources, tools or files than the machine that started the sweep"


def test_what_was_measured_before_a_failure_is_kept(make, document) -> None:
    odd = {"kind": "python", "function": "sweep_figures:odd", "value": "nan"}
    spec = make(measures=document["measures"] | {"odd": odd} | {"last": document["measures"]["m"]})
    config = spec.config.to_dict()
    jobs = tuple(Job(measure, measure.key(config)) for measure in spec.measures)
    outcome = evaluate.evaluate(Task(0, config, jobs, spec.folder))
    assert list(outcome.results) == [jobs[0].key]
    assert outcome.reason == "odd: area is not a finite number but nan"
    assert "_number" in str(outcome.traceback)
