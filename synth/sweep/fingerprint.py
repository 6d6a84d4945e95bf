"""What a figure depends on besides the configuration: sources, tools and files, as text for cache keys."""

import hashlib
import importlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path
from typing import Any

from celosia.sw import sources
from celosia.synth.sweep.errors import SweepError

_FORMAT = 1
"""Of what is kept in the cache and the journal: a change makes older results unknown."""


def key(config: dict[str, Any], kind: str, options: dict[str, Any], code: str, tools: dict[str, str]) -> str:
    """The name of a measurement: equal keys have equal figures."""
    return digest([_FORMAT, config, kind, options, code, tools])


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


def source_digest(modules: tuple[str, ...]) -> str:
    """A digest of the files of modules and whole packages. Errors: SweepError for one that is not there."""
    try:
        return sources.source_digest(*modules)
    except (ModuleNotFoundError, OSError) as error:
        raise SweepError(str(error)) from None


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
