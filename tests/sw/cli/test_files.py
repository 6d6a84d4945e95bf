"""celosia config, generate, compile and disassemble: what they print and write."""

import json
import tomllib

import numpy as np
import pytest

from celosia.hw.config import Config, from_dict, override
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.program import parse


@pytest.mark.parametrize("preset", PRESETS)
def test_config_can_be_read_back(celosia, tmp_path, preset):
    text = celosia("config", "--preset", preset).stdout
    assert from_dict(tomllib.loads(text)) == PRESETS[preset]
    (tmp_path / "mine.toml").write_text(text)
    again = json.loads(celosia("config", "--config", tmp_path / "mine.toml", "--json").stdout)
    assert again.pop("hash") == f"{PRESETS[preset].hash:08x}"
    assert again == PRESETS[preset].to_dict()


def test_config_settings(celosia):
    result = celosia("config", "--preset", "tiny", "--set", "array.columns=8", "--set", "post.gelu=ibert")
    expected = override(PRESETS["tiny"], ["array.columns=8", "post.gelu=ibert"])
    assert from_dict(tomllib.loads(result.stdout)) == expected
    assert result.stdout.startswith("# tiny array.columns=8 post.gelu=ibert; hash ")


def test_config_file_over_defaults(celosia, tmp_path):
    """What a file leaves out has the default values, not those of a preset."""
    (tmp_path / "mine.toml").write_text("[array]\nrows = 32\n")
    text = celosia("config", "--config", tmp_path / "mine.toml").stdout
    assert from_dict(tomllib.loads(text)) == override(Config(), ["array.rows=32"])


def test_presets_are_listed(celosia):
    names = [*PRESETS, *COPROCESSORS]
    assert all(name in celosia("config", "--list").stdout for name in names)
    assert list(json.loads(celosia("config", "--list", "--json").stdout)) == names


def test_version(celosia):
    assert celosia("--version").stdout == "celosia 0.1.0\n"


def test_generate(celosia, tmp_path):
    """The package is that of the configuration; how it is written is tested with the package."""
    result = celosia(
        "generate", "--preset", "tiny", "--set", "bus.burst=8", "--name", "mine", "-o", tmp_path / "a/b", "--json"
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    config = override(PRESETS["tiny"], ["bus.burst=8"])
    assert found["config_hash"] == f"{config.hash:08x}"
    assert found["files"] == {path.name: path.stat().st_size for path in (tmp_path / "a/b").iterdir()}
    assert {"mine.v", "mine.h", "manifest.json"} <= found["files"].keys()
    assert "module mine(" in (tmp_path / "a/b/mine.v").read_text()
    assert json.loads((tmp_path / "a/b/manifest.json").read_text())["configuration"] == config.to_dict()


@pytest.fixture
def compiled(celosia, model_folder, tmp_path):
    result = celosia("compile", model_folder, "--tokens", "7", "--preset", "tiny", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "out", json.loads(result.stdout)


def test_compile(compiled):
    folder, found = compiled
    code = (folder / "program.bin").read_bytes()
    layout = json.loads((folder / "layout.json").read_text())
    assert found["files"] == {path.name: path.stat().st_size for path in folder.iterdir()}
    assert found["instructions"] == len(parse(code, PRESETS["tiny"]))
    assert [window["bytes"] for window in layout["windows"]] == found["windows"]
    assert found["windows"][:2] == [len(code), (folder / "constants.bin").stat().st_size]
    assert layout["inputs"]["x"]["shape"] == layout["outputs"]["y"]["shape"] == [7, 32]
    assert layout["config_hash"] == f"{PRESETS['tiny'].hash:08x}"


def test_compiled_image_runs(compiled, model_folder):
    """A host that knows only the three files and the register map gets the golden model's output."""
    from celosia.hw.registers import BY_NAME
    from celosia.sw.model import calibrate, load_model, quantise, quantise_embedding, run_golden
    from celosia.sw.model.reference import embedding_sum
    from celosia.sw.runtime.functional import FunctionalDevice

    folder, _ = compiled
    layout = json.loads((folder / "layout.json").read_text())
    model = load_model(model_folder)
    encoder = quantise(model, calibrate(model))
    ids = [2, 4, 6, 8, 10, 11, 3]
    x = quantise_embedding(encoder, embedding_sum(model, [ids])[0])
    device = FunctionalDevice(PRESETS["tiny"])
    device.reserve(1 << 20)
    bases = [0x10000 * (index + 1) for index in range(4)]
    for base, name in zip(bases, ("program.bin", "constants.bin"), strict=False):
        device.write_memory(base, np.fromfile(folder / name, np.uint8))
    for index, base in enumerate(bases):
        device.write_register(BY_NAME[f"WINDOW{index}_BASE_LO"].offset, base)
        device.write_register(BY_NAME[f"WINDOW{index}_SIZE"].offset, layout["windows"][index]["bytes"])

    def places(image):
        """(row, channel, address) of every element."""
        for tile in image["tiles"]:
            for row in range(tile["rows"]):
                for channel in range(tile["channels"]):
                    element = (channel // 4 * tile["rows_padded"] + row) * 4 + channel % 4
                    yield tile["row"] + row, tile["channel"] + channel, bases[2] + tile["offset"] + 2 * element

    for row, channel, address in places(layout["inputs"]["x"]):
        device.write_memory(address, x[row : row + 1, channel].view(np.uint8))
    device.write_register(BY_NAME["CTRL"].offset, 1)
    device.wait(1000)
    assert device.read_register(BY_NAME["TRAP_CODE"].offset) == 0
    y = np.zeros((7, 32), np.int16)
    for row, channel, address in places(layout["outputs"]["y"]):
        y[row, channel] = device.read_memory(address, 2).view(np.int16)[0]
    np.testing.assert_array_equal(y, run_golden(encoder, x))


def test_disassemble(celosia, compiled):
    folder, found = compiled
    text = celosia("disassemble", folder / "program.bin")  # the preset is found by its hash
    assert text.exit_code == 0
    lines = text.stdout.splitlines()
    assert len(lines) == found["instructions"]
    assert lines[0].split()[1] == "LOAD"
    assert lines[-1].split()[1] == "END"
    listing = json.loads(celosia("disassemble", folder / "program.bin", "--json").stdout)
    assert listing["preset"] == "tiny"
    assert [one["opcode"] for one in listing["instructions"]] == [line.split()[1] for line in lines]
    assert listing["instructions"][0]["fields"]["words"] > 0
