"""Cache of builds, and what is said when a tool is missing."""

import threading
import time
from pathlib import Path

import pytest

from celosia.sim import toolchain


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path))
    return tmp_path


def test_one_builds_and_the_others_wait(cache) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        time.sleep(0.05)
        (folder / "result").write_text("done")

    found = []
    threads = [threading.Thread(target=lambda: found.append(toolchain.cached("kind", "key", build))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert {path.joinpath("result").read_text() for path in found} == {"done"}


def test_nothing_is_left_of_a_failed_build(cache) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        toolchain.cached("kind", "key", fail)
    assert [path.name for path in (cache / "kind").iterdir()] == ["key.lock"]
    assert toolchain.cached("kind", "key", lambda folder: None).is_dir()


def test_digests_depend_on_every_part() -> None:
    assert toolchain.digest("ab", "c") != toolchain.digest("a", "bc")
    assert toolchain.digest("a", b"b") == toolchain.digest("a", "b")


def test_missing_compiler_names_the_remedies(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    toolchain.compiler.cache_clear()
    try:
        with pytest.raises(
            toolchain.ToolError, match=r"install g\+\+ or clang\+\+, set CXX, or run `pip install ziglang`"
        ):
            toolchain.compiler()
    finally:
        toolchain.compiler.cache_clear()


def test_a_compiler_can_be_chosen(monkeypatch) -> None:
    chosen = toolchain.compiler().command[0]
    monkeypatch.setenv("CXX", f"{chosen} -pipe")
    toolchain.compiler.cache_clear()
    try:
        assert toolchain.compiler().command == (chosen, "-pipe")
    finally:
        toolchain.compiler.cache_clear()


def test_small_sources_are_joined(tmp_path) -> None:
    """Every source once, in order, and a file is never longer than the limit unless one source is."""
    sizes = [10, 50, 40, 1, 200, 5, 95]
    sources = [tmp_path / f"s{index}.cpp" for index in range(len(sizes))]
    for source, size in zip(sources, sizes, strict=True):
        source.write_text("x" * size)
    files = toolchain._joined(tmp_path / "hot", sources, limit=100)
    included = [[line.split('"')[1] for line in file.read_text().splitlines()] for file in files]
    assert included == [[str(sources[index]) for index in group] for group in ((0, 1, 2), (3,), (4,), (5, 6))]


@pytest.mark.parametrize(
    ("version", "any_flags"),
    [("g++ (Debian 12.2.0-14) 12.2.0", True), ("Apple clang version 15.0.0", False), ("clang version 19.1.0", False)],
)
def test_flags_of_gcc_are_not_given_to_others(monkeypatch, version: str, any_flags: bool) -> None:
    monkeypatch.setattr(toolchain, "compiler", lambda: toolchain.Compiler(("c++",), version))
    assert bool(toolchain.hot_flags()) == any_flags
