"""What a figure depends on besides the configuration: sources, tools and files, as text for cache keys."""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from celosia.synth.sweep.errors import SweepError

_FORMAT = 1
"""Of what is kept in the cache and the journal: a change makes older results unknown."""


def key(config: dict[str, Any], kind: str, options: dict[str, Any], sources: str, tools: dict[str, str]) -> str:
    """The name of a measurement: equal keys have equal figures."""
    return digest([_FORMAT, config, kind, options, sources, tools])


def digest(value: Any) -> str:
    """A short name for a value of plain types."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """The same for a file's bytes. Errors: SweepError when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError as error:
        raise SweepError(f"cannot read {path}: {error.strerror}") from None


@cache
def source_digest(modules: tuple[str, ...]) -> str:
    """A digest of the files of modules and whole packages, by name. Errors: SweepError for one that is not there."""
    text = hashlib.sha256()
    for module in modules:
        for name, path in _files(module):
            text.update(f"{module}/{name}\0{file_digest(path)}\0".encode())
    return text.hexdigest()[:32]


def _files(module: str) -> Iterable[tuple[str, Path]]:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise SweepError(f"there is no module {module!r}")
    if not spec.submodule_search_locations:
        return [(Path(spec.origin).name, Path(spec.origin))]
    root = Path(spec.origin).parent
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted((path.relative_to(root).as_posix(), path) for path in found)


@cache
def tool_version(name: str) -> str:
    """Version of a distribution, `-` when it is not there; or of a tool (`module:function` that finds it).

    Errors: SynthError for a tool that is missing, with the command that installs it.
    """
    module, _, function = name.partition(":")
    if function:
        return str(getattr(importlib.import_module(module), function)().version)
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"
