"""The package: header, reference, manifest, and that it is whole or not there."""

import hashlib
import json
import random
import re
import subprocess
from pathlib import Path

import pytest
from amaranth.hdl import Shape
from amaranth.lib import data

from celosia.hw import isa, registers
from celosia.hw.config import ArrayConfig, Config, PostConfig
from celosia.hw.emit import package
from celosia.hw.emit.document import markdown
from celosia.hw.emit.header import c_header
from celosia.hw.emit.package import PackageError, generate
from celosia.hw.presets import PRESETS
from celosia.sim import toolchain

TINY = PRESETS["tiny"]
ODD = Config(array=ArrayConfig(rows=4, columns=16), post=PostConfig(lanes=2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The package of the tiny preset, generated once."""
    return generate(TINY, tmp_path_factory.mktemp("package") / "tiny")


@pytest.fixture
def quick(monkeypatch) -> None:
    """Packages with hardware that is quick to make."""
    monkeypatch.setattr(package, "verilog", lambda component, name: f"module {name};\nendmodule\n")
    monkeypatch.setattr("celosia.hw.top.Accelerator", lambda config: None)


def _defines(text: str) -> dict[str, str]:
    return dict(re.findall(r"^#define (\w+) (\S+)", text, re.MULTILINE))


def _number(text: str) -> int:
    return int(text.rstrip("u"), 0)


def _flat(layout, values: dict) -> dict[str, int]:
    flat: dict[str, int] = {}
    for name, field in data.Layout.cast(layout):
        if isinstance(values.get(name), dict):
            flat |= _flat(field.shape, values[name])
        elif name in values:
            flat[name] = values[name]
    return flat


def _random_values(layout, rng: random.Random) -> dict:
    values: dict = {}
    for name, field in data.Layout.cast(layout):
        if isinstance(field.shape, type) and issubclass(field.shape, data.Struct):
            values[name] = _random_values(field.shape, rng)
        elif not name.startswith("reserved") and name not in ("opcode", "activation"):
            signed = Shape.cast(field.shape).signed
            values[name] = rng.randrange(1 << (field.width - signed)) - (1 << field.width - 1 if signed else 0)
    return values


@pytest.mark.parametrize("opcode", isa.Opcode)
def test_header_packs_instructions_like_the_hardware_unpacks_them(opcode: isa.Opcode) -> None:
    defines = _defines(c_header(TINY))
    rng = random.Random(opcode.value)
    for _ in range(5):
        values = _random_values(isa.LAYOUTS[opcode], rng)
        word = 0
        for name, value in _flat(isa.LAYOUTS[opcode], values).items():
            stem = f"CELOSIA_{opcode.name}_{name}".upper()
            lsb, bits = _number(defines[f"{stem}_LSB"]), _number(defines[f"{stem}_BITS"])
            word |= (value & (1 << bits) - 1) << lsb
        assert word == isa.LAYOUTS[opcode].const(values).as_value().value
    assert _number(defines[f"CELOSIA_OP_{opcode.name}"]) == opcode.value
    assert _number(defines[f"CELOSIA_{opcode.name}_OPCODE_LSB"]) == 0


def test_header_has_every_register_and_value() -> None:
    defines = _defines(c_header(ODD, "odd"))
    for register in registers.REGISTERS:
        assert _number(defines[f"ODD_REG_{register.name}"]) == register.offset
        for field in register.fields:
            mask, shift = (_number(defines[f"ODD_{register.name}_{field.name}_{part}"]) for part in ("MASK", "SHIFT"))
            assert mask == ((1 << field.width) - 1) << shift == field.mask
    assert (_number(defines["ODD_ARRAY_ROWS"]), _number(defines["ODD_ARRAY_COLUMNS"])) == (4, 16)
    assert _number(defines["ODD_CONFIG_HASH_VALUE"]) == ODD.hash
    # Published values: the block control of Vitis HLS.
    known = {"REG_CTRL": 0, "REG_GIE": 4, "REG_IER": 8, "REG_ISR": 0xC, "CTRL_START_MASK": 1, "CTRL_DONE_MASK": 2}
    assert {name: _number(defines[f"ODD_{name}"]) for name in known} == known


def test_header_names_nothing_twice() -> None:
    names = re.findall(r"^#define (\w+) ", c_header(TINY), re.MULTILINE)
    assert len(names) == len(set(names))


def test_header_compiles(tmp_path) -> None:
    (tmp_path / "celosia.h").write_text(c_header(TINY))
    (tmp_path / "use.cpp").write_text(
        '#include "celosia.h"\n#include "celosia.h"\n'
        f'static_assert(CELOSIA_PROGRAM_MAGIC == {isa.MAGIC} && CELOSIA_OP_MATMUL == 32, "values");\n'
        "int main() { return sizeof CELOSIA_POST_SOFTMAX == 6 ? 0 : 1; }\n"
    )
    command = [*toolchain.compiler().command, "-Wall", "-Wextra", "-Werror", "-pedantic", "use.cpp", "-o", "use"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([tmp_path / "use"], check=True)


def test_reference_lists_everything() -> None:
    text = markdown(ODD, "odd")
    for register in registers.REGISTERS:
        assert f"| `{register.offset:#05x}` | `{register.name}` |" in text
    for opcode in isa.Opcode:
        assert f"### {opcode.name} ({opcode.value:#04x}, " in text
    matmul = text[text.index("### MATMUL") : text.index("### REQUANT")]
    assert "| 7:0 | `opcode` | Opcode |" in matmul
    assert "| `diagonal` | signed |" in matmul
    assert "whole on chip" in matmul
    assert f"`{ODD.hash:#010x}`" in text
    assert "reserved" not in text
    # Every line of a table has as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_documentation_holds_the_present_reference() -> None:
    """docs/reference.md is what `celosia generate --preset transformer` writes."""
    page = Path(__file__).parents[2] / "docs" / "reference.md"
    assert page.read_text(encoding="utf-8") == markdown(PRESETS["transformer"])


def test_package_is_whole(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert {path.name for path in whole.iterdir()} == {"manifest.json", *manifest["files"]}
    assert set(manifest["files"]) == {"celosia.v", "celosia.h", "celosia.md", "celosia.vlt"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((whole / name).read_bytes()).hexdigest() == digest
    assert manifest["configuration"] == TINY.to_dict()
    assert manifest["configuration_hash"] == f"{TINY.hash:#010x}"
    assert [path.name for path in whole.parent.iterdir()] == ["tiny"]


def test_same_configuration_same_bytes(whole: Path, tmp_path) -> None:
    again = generate(TINY, tmp_path / "again")
    for path in whole.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


@pytest.mark.usefixtures("quick")
def test_an_earlier_package_is_replaced(tmp_path) -> None:
    folder = generate(TINY, tmp_path / "a", name="one")
    generate(ODD, folder, name="two")
    assert {path.name for path in folder.iterdir()} == {"two.v", "two.h", "two.md", "two.vlt", "manifest.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.usefixtures("quick")
def test_other_files_are_not_touched(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(PackageError, match="holds other files than an earlier package"):
        generate(TINY, tmp_path / "mine")
    folder = generate(TINY, tmp_path / "a")
    (folder / "notes.txt").write_text("keep")
    with pytest.raises(PackageError, match="holds other files"):
        generate(TINY, folder)
    assert (folder / "notes.txt").read_text() == (tmp_path / "mine/notes.txt").read_text() == "keep"


@pytest.mark.usefixtures("quick")
def test_a_failure_leaves_the_earlier_package(tmp_path, monkeypatch) -> None:
    folder = generate(TINY, tmp_path / "a")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError("no space")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no space"):
        generate(ODD, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["Upper", "1st", "a-b", ""])
def test_names_are_checked(tmp_path, name: str) -> None:
    with pytest.raises(PackageError, match="name must be a lower-case identifier"):
        generate(TINY, tmp_path / "a", name=name)
