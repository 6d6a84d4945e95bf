"""What results in a cache depend on: the files of modules and packages."""

import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path


@cache
def source_digest(*modules: str) -> str:
    """A digest of the files of modules and whole packages, by name.

    Errors: ModuleNotFoundError for one that is not there; OSError for a file that cannot be read.
    """
    text = hashlib.sha256()
    for module in modules:
        for name, path in _files(module):
            text.update(f"{module}/{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return text.hexdigest()[:32]


def _files(module: str) -> Iterable[tuple[str, Path]]:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no module {module!r}")
    if not spec.submodule_search_locations:
        return [(Path(spec.origin).name, Path(spec.origin))]
    root = Path(spec.origin).parent
    found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted((path.relative_to(root).as_posix(), path) for path in found)
