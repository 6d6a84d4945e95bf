"""The journal of a sweep: what is finished, a line of JSON each, on disk before anything else is done with it.

The first line says which sweep it is. A line that was cut off by the end of the process is dropped when the sweep is
resumed; everything before it counts.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from celosia.synth.sweep.errors import SweepError, cannot_write, one_line
from celosia.synth.sweep.objectives import Measured

NAME = "journal.jsonl"
_FORMAT = "celosia-sweep-journal-1"


@dataclass
class Entry:
    """A finished point. `keys`: of its results, by measure. `measured`: results by measure; not all when it failed."""

    index: int
    config_hash: str
    keys: dict[str, str]
    measured: dict[str, Measured] = field(default_factory=dict)
    reason: str | None = None
    traceback: str | None = None


class Journal:
    """The journal in `folder`, open for appending; `entries`: what it held, the last word on each point.

    Without `resume` the folder must be new or empty. Errors: SweepError when it is not, when it belongs to the sweep of
    another `digest`, when another process is at work in it, and when it cannot be written.
    """

    def __init__(self, folder: Path, digest: str, resume: bool) -> None:
        self.path = folder / NAME
        self.entries: dict[int, Entry] = {}
        _refuse(folder, resume)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a line is written by one call, or the call tells how much of it.
            self._file = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            self._lock()
            self._read(digest)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, entries: Iterable[Entry]) -> None:
        """Write finished points; on return they are on disk. Errors: SweepError, as of a full disk."""
        lines = [_line(asdict(entry)) for entry in entries]
        if lines:
            self._write(b"".join(lines))

    def _lock(self) -> None:
        with contextlib.suppress(ImportError):  # where there is no flock, nobody is warned
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SweepError(f"another sweep is at work in {self.path.parent}: wait for it, or end it") from None

    def _read(self, digest: str) -> None:
        self._file.seek(0)
        data = self._file.readall()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            # What follows must not be joined to a line that was cut off.
            self._file.truncate(whole)
        lines = self._parse(data[:whole])
        header = next(lines, None)
        if header is None:
            self._write(_line({"format": _FORMAT, "spec": digest}))
            return
        if header.get("format") != _FORMAT:
            raise SweepError(f"{self.path} is not a journal of this version of celosia: give another folder")
        if header.get("spec") != digest:
            raise SweepError(
                f"{self.path.parent} belongs to another sweep than this file describes: give another folder "
                "(points that both have come from the cache)"
            )
        for line in lines:
            measured = {name: Measured(**value) for name, value in line.pop("measured").items()}
            self.entries[line["index"]] = Entry(measured=measured, **line)

    def _parse(self, data: bytes) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(data.splitlines(), 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise SweepError(f"{self.path}: line {number} is damaged: remove that line") from None

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from None


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _refuse(folder: Path, resume: bool) -> None:
    """Errors: SweepError when there is something in the folder that the sweep must not touch."""
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise SweepError(f"cannot use {folder}: {error.strerror or one_line(error)}") from None
    if NAME in names and not resume:
        raise SweepError(f"{folder} holds a sweep already: give --resume to go on with it, or another folder")
    if names and NAME not in names:
        raise SweepError(f"{folder} holds other things already: give a new folder")
