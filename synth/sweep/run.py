"""Runs a sweep: points from a strategy, answers from journal, cache or workers, results in files."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celosia.synth.sweep import results, store
from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.executors import Executor
from celosia.synth.sweep.journal import Entry, Journal
from celosia.synth.sweep.pending import Pending, is_current, look_up
from celosia.synth.sweep.rows import Row, Status, illegal, make_row
from celosia.synth.sweep.search import batches
from celosia.synth.sweep.space import Point
from celosia.synth.sweep.spec import Spec


@dataclass
class Progress:
    """How far a sweep is, in points. `resumed`: answered by the journal; `cached`: by the cache; `measured`: by
    workers; `failed`: of all these."""

    total: int = 0
    resumed: int = 0
    cached: int = 0
    measured: int = 0
    illegal: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """Points with an answer."""
        return self.resumed + self.cached + self.measured + self.illegal


@dataclass
class Sweep:
    """One run of `spec` in `folder`.

    `start`: makes the executor, which happens only when there is something to measure. `report`: is called whenever
    the progress changes. `resume`: go on with what is in the folder; `retry`: measure again what failed there.
    `files`: what was written.
    """

    spec: Spec
    folder: Path
    start: Callable[[], Executor]
    report: Callable[[Progress], None] = lambda _: None
    resume: bool = False
    retry: bool = False
    progress: Progress = field(default_factory=Progress)
    files: list[Path] = field(default_factory=list)
    _entries: dict[int, Entry] = field(default_factory=dict)
    _rows: dict[int, Row] = field(default_factory=dict)
    _executor: Executor | None = None

    def run(self) -> dict[str, Any]:
        """The document of `results.document`, which is also written to the folder.

        An interruption (Ctrl-C, SIGTERM) ends the workers, writes the results so far, and is raised again. Errors:
        SweepError; what was finished before is kept.
        """
        search = batches(self.spec)
        batch = next(search)  # an empty space is told before anything is written
        with _signals(), Journal(self.folder, self.spec.digest, self.resume) as journal:
            try:
                while batch:
                    self._answer(batch, journal)
                    try:
                        batch = search.send({point.index: self._rows[point.index] for point in batch})
                    except StopIteration:
                        batch = []
                return self._finish(complete=True)
            except BaseException:
                # Never fewer than the last time: an interruption may come before the journal was looked at.
                if len(self._entries) >= len(journal.entries):
                    with suppress(SweepError):
                        self._finish(complete=False)
                raise
            finally:
                if self._executor is not None:
                    self._executor.close()

    def _answer(self, batch: list[Point], journal: Journal) -> None:
        """Find a row for every point of a batch."""
        several = self.spec.search.strategy == "optuna"
        self.progress.total = self.spec.search.points if several else len(batch)
        unknown = [point for point in batch if not self._recall(point, journal)]
        pending = [look_up(self.spec, point) for point in unknown]
        cached = [(one, one.entry()) for one in pending if one.complete]
        journal.append(entry for _, entry in cached)
        for one, entry in cached:
            self._add(one.point, entry)
        self.progress.cached += len(cached)
        self.report(self.progress)
        self._measure({one.point.index: one for one in pending if not one.complete}, journal)

    def _recall(self, point: Point, journal: Journal) -> bool:
        """Take a point's row from the rules or the journal; whether there was one."""
        if point.config is None:
            self._rows[point.index] = illegal(point)
            self.progress.illegal += 1
            return True
        entry = journal.entries.get(point.index)
        if entry is None or (self.retry and entry.reason) or not is_current(self.spec, point, entry):
            return False
        self._add(point, entry)
        self.progress.resumed += 1
        return True

    def _measure(self, pending: dict[int, Pending], journal: Journal) -> None:
        """Let workers measure points, and write each down as it comes."""
        if not pending:
            return
        if self._executor is None:
            self._executor = self.start()
        for outcome in self._executor.run([one.task(self.spec) for one in pending.values()]):
            one = pending[outcome.index]
            entry = one.entry(outcome)
            journal.append([entry])
            store.keep(outcome.results)
            self._add(one.point, entry)
            self.progress.measured += 1
            self.report(self.progress)

    def _add(self, point: Point, entry: Entry) -> None:
        row = make_row(self.spec, point, entry.measured, entry.reason)
        self._entries[point.index], self._rows[point.index] = entry, row
        self.progress.failed += row.status is Status.FAILED

    def _finish(self, complete: bool) -> dict[str, Any]:
        rows: Iterable[Row] = self._rows.values()
        found = results.document(self.spec, list(rows), complete)
        self.files = results.write(self.folder, found, self._entries)
        return found


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does. In other threads than the main one signals cannot be caught."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
