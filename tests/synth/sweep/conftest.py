"""Sweeps over figures that cost nothing, with a cache of their own."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from celosia.sw.sources import source_digest
from celosia.synth.sweep.evaluate import Outcome, Task, evaluate
from celosia.synth.sweep.executors import Executor
from celosia.synth.sweep.reading import parse
from celosia.synth.sweep.spec import Spec

MODULE = "sweep_figures"
SIZES = [16, 32, 64, 128]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module of figures, an empty cache and an empty log of measurements."""
    shutil.copy(Path(__file__).with_name(f"{MODULE}.py"), tmp_path)
    (tmp_path / "log").mkdir()
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SWEEP_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop(MODULE, None)
    source_digest.cache_clear()


Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    """A sweep over two memories, 16 points."""
    return {
        "base": "transformer",
        "space": {"scratchpad": {"kib": list(SIZES)}, "accumulator": {"kib": list(SIZES)}},
        "measures": {"m": {"kind": "python", "function": f"{MODULE}:memory"}},
        "objectives": {"m": {"area": "minimise", "cycles": "minimise"}},
    }


@pytest.fixture
def make(folder: Path, document: Document) -> Callable[..., Spec]:
    """`make(section=value, ...)`: the sweep of `document` with other sections."""
    return lambda **sections: parse(document | sections, "test", folder)


@pytest.fixture
def measured(folder: Path) -> Callable[[], list[tuple[int, int]]]:
    """`measured()`: scratchpad and accumulator of everything that was measured since the last call, sorted."""

    def take() -> list[tuple[int, int]]:
        files = list((folder / "log").iterdir())
        for file in files:
            file.unlink()
        parts = [file.name.split("-") for file in files]
        return sorted((int(one[0]), int(one[1])) for one in parts)

    return take


class Inline(Executor):
    """Measures in this process, in reverse: nothing may depend on the order. `stop`: interrupt after so many."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.closed = False

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        for task in reversed(tasks):
            if self.stop == 0:
                raise KeyboardInterrupt
            if self.stop is not None:
                self.stop -= 1
            yield evaluate(task)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def inline() -> type[Inline]:
    """The executor of this process."""
    return Inline
