"""Data on stdout, progress on stderr, and files that appear whole or not at all."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celosia.sw.cli.errors import CliError

if TYPE_CHECKING:
    from rich.table import Table

_PLAIN_WIDTH = 200  # of tables that go to a file or a pipe, where nothing should be cut


def progress(text: str) -> None:
    """Tell the user what goes on, on stderr."""
    print(f"celosia: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Something that takes a while: a spinner on a terminal, a line elsewhere."""
    if not sys.stderr.isatty():
        progress(text)
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{text} ..."):
        yield


def print_json(value: Any) -> None:
    """A value as JSON on stdout."""
    print(json.dumps(value, indent=2))


def print_tables(*tables: "Table") -> None:
    """Tables on stdout."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    for table in tables:
        console.print(table)


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """A table; columns that start with `>` are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        # Text: brackets of the user's own words are no markup.
        table.add_row(*(Text(cell) for cell in row))
    return table


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    heads = [column.removeprefix(">") for column in columns]
    rule = ["--:" if column.startswith(">") else "---" for column in columns]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, rule, *rows))


def write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Errors: CliError."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    _replace(path, write)


def check_writable(path: Path) -> None:
    """Errors: CliError when a file or folder could not be made at `path`; nothing is left behind."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from None


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Write a new folder of files, whole or not at all. Errors: CliError, also when there is something already."""

    def write(temporary: Path) -> None:
        temporary.mkdir()
        for name, data in files.items():
            (temporary / name).write_bytes(data)

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise CliError(f"cannot write {path}: it exists already")
    _replace(path, write)


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make something in a temporary place beside `path`, then put it there at once."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        write(temporary / path.name)
        os.replace(temporary / path.name, path)
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Errors: CliError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from None


def read_text(path: Path) -> str:
    """A text file. Errors: CliError."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CliError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from None
