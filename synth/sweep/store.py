"""Results by key in the user's cache, and files that appear whole or not at all."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from celosia.sw import cache
from celosia.synth.errors import SynthError
from celosia.synth.files import remember
from celosia.synth.sweep.errors import cannot_write
from celosia.synth.sweep.objectives import Measured


def recall(key: str) -> Measured | None:
    """The result of a measurement that was made before; None when there is none, or a damaged one."""
    try:
        return Measured(**cache.recall(_path(key)))
    except TypeError:
        return None


def keep(results: Mapping[str, Measured]) -> None:
    """Keep results. Best effort: a cache that cannot be written costs time, not the result."""
    for key, measured in results.items():
        with suppress(SynthError):
            remember(_path(key), asdict(measured))


def write_file(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, also when the power fails. Errors: SweepError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache.cache_folder() / "sweep" / key[:2] / f"{key}.json"
