"""Where results that take long to make are kept, whole or not at all: several processes may work at once."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import platformdirs


def cache_folder() -> Path:
    """CELOSIA_CACHE, or `celosia` in the platform's cache folder."""
    chosen = os.environ.get("CELOSIA_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("celosia", appauthor=False))


def recall(path: Path) -> Any:
    """The JSON that is kept there; None when there is nothing, or nothing whole."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` once it is whole; its folder is made. Errors: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
