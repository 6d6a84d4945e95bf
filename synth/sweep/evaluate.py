"""Measures one point: a pure function of its task, run by workers on this machine or on others."""

import importlib
import math
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celosia.hw.config import from_dict
from celosia.synth.sweep.errors import SweepError, one_line
from celosia.synth.sweep.objectives import Measured
from celosia.synth.sweep.spec import Measure


@dataclass(frozen=True)
class Job:
    """One measurement. `key`: the name of its result, calculated where the sweep was started."""

    measure: Measure
    key: str


@dataclass(frozen=True)
class Task:
    """What is to be measured at the point `index`. `config`: nested plain values. `folder`: of the sweep's file."""

    index: int
    config: dict[str, Any]
    jobs: tuple[Job, ...]
    folder: Path


@dataclass
class Outcome:
    """What came of a task: results by key, and, when something failed, the `reason` in one line and its traceback."""

    index: int
    results: dict[str, Measured] = field(default_factory=dict)
    reason: str | None = None
    traceback: str | None = None


def evaluate(task: Task) -> Outcome:
    """Measure a point. Whatever a measurement raises becomes the outcome's reason; those before it are kept."""
    outcome = Outcome(task.index)
    if str(task.folder) not in sys.path:
        sys.path.append(str(task.folder))
    for job in task.jobs:
        try:
            outcome.results[job.key] = _measure(job, task.config)
        except Exception as error:
            outcome.reason = f"{job.measure.name}: {_told(error)}"
            outcome.traceback = traceback.format_exc()
            break
    return outcome


def _measure(job: Job, config: dict[str, Any]) -> Measured:
    measure = job.measure
    if measure.stamp().key(config) != job.key:
        raise SweepError("the worker has other sources, tools or files than the machine that started the sweep")
    module, _, name = measure.definition.evaluator.partition(":")
    options = measure.options | {option: str(path) for option, path in measure.files.items()}
    measured: Measured = getattr(importlib.import_module(module), name)(from_dict(config), **options)
    measured.figures = {figure: _number(figure, value) for figure, value in measured.figures.items()}
    return measured


def _number(figure: str, value: Any) -> int | float:
    """A plain finite number: what JSON can hold, and read back the same. Errors: SweepError."""
    value = value.item() if hasattr(value, "item") else value  # of numpy
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SweepError(f"{figure} is not a finite number but {value!r}")
    return value


def _told(error: Exception) -> str:
    # Of other errors the message alone may mean little: a KeyError says only the key.
    known = isinstance(error, (ValueError, RuntimeError, OSError)) and str(error)
    return one_line(error) if known else f"{type(error).__name__}: {one_line(error)}"
