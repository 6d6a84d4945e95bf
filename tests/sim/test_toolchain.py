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
