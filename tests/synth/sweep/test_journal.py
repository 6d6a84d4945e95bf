"""The journal: what is on disk survives, whatever happened to the last line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.journal import NAME, Entry, Journal
from celosia.synth.sweep.objectives import Measured


def entry(index: int) -> Entry:
    return Entry(index, f"{index:08x}", {"m": "k"}, {"m": Measured({"area": index / 3})}, None)


def written(folder: Path, count: int = 3) -> bytes:
    with Journal(folder, "digest", False) as journal:
        for index in range(count):
            journal.append([entry(index)])
    return (folder / NAME).read_bytes()


def test_what_is_written_is_read(tmp_path) -> None:
    written(tmp_path / "x")
    with Journal(tmp_path / "x", "digest", True) as journal:
        assert journal.entries == {index: entry(index) for index in range(3)}


def test_the_last_word_on_a_point_counts(tmp_path) -> None:
    written(tmp_path / "x")
    later = Entry(1, "1", {}, {}, "it failed")
    with Journal(tmp_path / "x", "digest", True) as journal:
        journal.append([later])
    with Journal(tmp_path / "x", "digest", True) as journal:
        assert journal.entries == {0: entry(0), 1: later, 2: entry(2)}


def test_a_torn_line_is_dropped_wherever_it_was_torn(tmp_path) -> None:
    data = written(tmp_path / "x")
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for length in range(0, len(data) + 1, 7):
        (tmp_path / "x" / NAME).write_bytes(data[:length])
        whole = max(sum(end <= length for end in ends) - 1, 0)  # the first line is the sweep's
        with Journal(tmp_path / "x", "digest", True) as journal:
            assert sorted(journal.entries) == list(range(whole)), length
            journal.append([entry(9)])
        lines = (tmp_path / "x" / NAME).read_text().splitlines()
        assert [json.loads(line).get("index") for line in lines] == [None, *range(whole), 9]


def test_damage_elsewhere_is_told(tmp_path) -> None:
    data = written(tmp_path / "x").splitlines(keepends=True)
    (tmp_path / "x" / NAME).write_bytes(b"".join([data[0], b"oops\n", *data[2:]]))
    with pytest.raises(SweepError, match="line 2 is damaged"):
        Journal(tmp_path / "x", "digest", True)


def test_what_is_not_this_sweep_is_refused(tmp_path) -> None:
    before = written(tmp_path / "x")
    with pytest.raises(SweepError, match="holds a sweep already: give --resume"):
        Journal(tmp_path / "x", "digest", False)
    with pytest.raises(SweepError, match="belongs to another sweep"):
        Journal(tmp_path / "x", "other", True)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "thesis.tex").touch()
    for resume in (False, True):
        with pytest.raises(SweepError, match="holds other things already"):
            Journal(tmp_path / "y", "digest", resume)
    (tmp_path / "file").touch()
    with pytest.raises(SweepError, match=r"cannot use .*file: Not a directory"):
        Journal(tmp_path / "file", "digest", True)
    assert (tmp_path / "x" / NAME).read_bytes() == before
    assert [path.name for path in (tmp_path / "y").iterdir()] == ["thesis.tex"]


def test_two_at_a_time_are_refused(tmp_path) -> None:
    with Journal(tmp_path / "x", "digest", False), pytest.raises(SweepError, match="another sweep is at work"):
        Journal(tmp_path / "x", "digest", True)
    Journal(tmp_path / "x", "digest", True).__exit__()


def test_a_full_disk_is_told_and_costs_only_the_last_line(tmp_path) -> None:
    """A limit on the size of files stands in for a full disk: the write that meets it is cut short, then refused."""
    program = """
import resource, sys
from pathlib import Path
from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.journal import Entry, Journal
journal = Journal(Path(sys.argv[1]), "digest", False)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    for index in range(100):
        journal.append([Entry(index, "0", {}, {}, None)])
except SweepError as error:
    print(index, error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True)
    index, _, message = done.stdout.partition(" ")
    assert message == f"cannot write {tmp_path / 'x' / NAME}: File too large\n", done.stderr
    assert (tmp_path / "x" / NAME).stat().st_size == 1000
    with Journal(tmp_path / "x", "digest", True) as journal:
        assert sorted(journal.entries) == list(range(int(index)))
        assert len(journal.entries) > 5
