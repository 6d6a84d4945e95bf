"""celosia run: results against the models themselves, comparison of devices, and lengths."""

import json

import numpy as np
import pytest

from celosia.hw.presets import PRESETS
from celosia.sw.model import QuantiseOptions, calibrate, embed, embed_golden, load_model, quantise
from celosia.sw.model.reference import embedding_sum, encode, pool

TEXTS = ["a cat sleeps on the mat", "the dog runs in rain", "a red boat sails far away"]
ARGUMENTS = [argument for text in TEXTS for argument in ("--text", text)]


@pytest.fixture
def run(celosia, model_folder):
    """`run(*arguments)`: JSON of a run of TEXTS on preset tiny."""

    def call(*arguments):
        result = celosia("run", model_folder, "--preset", "tiny", *ARGUMENTS, "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return call


def test_numbers_are_those_of_the_models(run, model_folder):
    """Neither the compiler nor a device has a part in the expected values."""
    model = load_model(model_folder)
    encoder = quantise(model, calibrate(model), QuantiseOptions(table_bits=PRESETS["tiny"].post.table_bits))
    ids = model.tokenize(TEXTS)
    exact, integers = embed(model, ids), embed_golden(model, encoder, ids)
    found = run("--device", "functional")
    np.testing.assert_allclose(found["similarity"], integers @ integers.T, atol=2e-6)
    np.testing.assert_allclose(found["similarity_float"], exact @ exact.T, atol=2e-6)
    cosines = (exact * integers).sum(axis=1)
    np.testing.assert_allclose([one["cosine_to_float"] for one in found["texts"]], cosines, atol=2e-6)
    assert found["cosine_to_float"] == pytest.approx(cosines.min(), abs=2e-6)
    assert [one["tokens"] for one in found["texts"]] == [8, 7, 8]
    assert [one["text"] for one in found["texts"]] == TEXTS
    # No cycles on the functional device; 8 tokens through 32 channels: 4 projections, an FFN of 64, two products.
    assert found["cycles"] is found["utilisation"] is found["check"] is None
    macs = 8 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 8 * 32)
    assert found["texts"][0]["ideal_cycles"] == macs / 16


def test_causal(run, model_folder):
    model = load_model(model_folder)
    ids = model.tokenize(TEXTS)
    exact = np.array([pool(encode(model, embedding_sum(model, [one]), causal=True))[0] for one in ids])
    causal, plain = run("--device", "functional", "--causal"), run("--device", "functional")
    np.testing.assert_allclose(causal["similarity_float"], exact @ exact.T, atol=2e-6)
    assert causal["cosine_to_float"] > 0.999
    assert causal["similarity"] != plain["similarity"]


def test_utilisation_of_a_timed_device(run, timed):
    found = run("--latency", "7", "--stalls", "0.25", "--seed", "3")
    assert timed.made == [{"latency": 7, "stalls": 0.25, "seed": 3}]
    assert [one["cycles"] for one in found["texts"]] == [10_000] * 3
    assert found["cycles"] == 30_000
    assert found["utilisation"] == pytest.approx(found["ideal_cycles"] / 30_000, abs=1e-4)
    assert found["device"] == "rtl"


def test_check_passes_on_equal_devices(run, timed):
    check = run("--check")["check"]
    assert check["bit_exact"] is True
    assert check["differing"] == 0
    assert check["bytes"] > 3 * 10_000  # three runs with all their weights


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("output", "output y, row 3, channel 5"),
        ("input", "input x, row 0, channel 0"),
        ("constants", "constants, offset 0x40"),
        ("program", "program, offset 0x40"),
    ],
)
def test_check_tells_the_first_difference(celosia, model_folder, timed, monkeypatch, where, expected):
    """A device that spoils one bit of memory must not pass, wherever it is."""
    from celosia.sw.runtime import driver

    layout = []
    original = driver.Driver.__init__

    def spy(self, device, program):
        original(self, device, program)
        image = program.outputs["y"]
        # int16, word 4: row 3, channel 5 is block 1, row 3, element 1 of the first tile.
        tile = image.tiles[0]
        element = 1 * tile.rows_padded * 4 + 3 * 4 + 1
        bases = self.bases
        flips = {
            "output": bases[2] + tile.offset + 2 * element,
            "input": bases[2] + program.inputs["x"].tiles[0].offset,
            "constants": bases[1] + 0x40,
            "program": bases[0] + 0x40,
        }
        layout.append(flips)
        timed.flip = (flips[where],)

    monkeypatch.setattr(driver.Driver, "__init__", spy)
    result = celosia("run", model_folder, "--preset", "tiny", "--check", "--text", TEXTS[0])
    assert result.exit_code == 1
    assert expected in result.stdout.replace("\n", " ")
    assert "1 differ" in result.stdout
    assert f"memory address {layout[0][where]:#x}" in result.stdout
    assert result.stderr.splitlines()[-1] == "celosia: the device differs from the functional one"


def test_check_prefers_an_output(celosia, model_folder, timed, monkeypatch):
    """An intermediate tensor differs as well, at a lower address: the output is what the user knows."""
    from celosia.sw.runtime import driver

    original = driver.Driver.__init__

    def spy(self, device, program):
        original(self, device, program)
        timed.flip = (self.bases[1], self.bases[2] + program.outputs["y"].tiles[0].offset)

    monkeypatch.setattr(driver.Driver, "__init__", spy)
    result = celosia("run", model_folder, "--preset", "tiny", "--check", "--text", TEXTS[0], "--json")
    check = json.loads(result.stdout)["check"]
    assert result.exit_code == 1
    assert check["differing"] == 2
    assert check["bit_exact"] is False
    assert check["first_difference"].startswith("output y, row 0, channel 0")


def test_table(celosia, model_folder):
    result = celosia("run", model_folder, "--preset", "tiny", "--device", "functional", "--check", *ARGUMENTS)
    assert result.exit_code == 0
    assert TEXTS[1] in result.stdout
    assert "all equal" in result.stdout
    assert "compiling" not in result.stdout  # progress goes to stderr
    assert "compiling" in result.stderr


def test_one_program_for_each_length(celosia, model_folder, monkeypatch):
    from celosia.sw.cli import network

    lengths = []
    original = network.compile_encoder

    def spy(config, encoder, tokens, **options):
        lengths.append(tokens)
        return original(config, encoder, tokens, **options)

    monkeypatch.setattr(network, "compile_encoder", spy)
    assert celosia("run", model_folder, "--preset", "tiny", "--device", "functional", *ARGUMENTS).exit_code == 0
    assert lengths == [8, 7]  # the third text has 8 tokens again


def test_longest_sequence_is_told_and_runs(celosia, model_folder):
    setting = ["--preset", "tiny", "--set", "accumulator.kib=1", "--device", "functional"]
    result = celosia("run", model_folder, *setting, "--text", "cat " * 33)
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("celosia: a sequence of 35 tokens does not fit: ")
    longest = int(line.rpartition("the longest that fits has ")[2])
    assert 2 < longest < 35
    assert celosia("run", model_folder, *setting, "--text", "cat " * (longest - 2)).exit_code == 0
    assert celosia("run", model_folder, *setting, "--text", "cat " * (longest - 1)).exit_code == 2


def test_a_text_is_not_cut_in_silence(celosia, model_folder):
    arguments = ["run", model_folder, "--preset", "tiny", "--device", "functional", "--text"]
    assert celosia(*arguments, "cat " * 38).exit_code == 0  # 40 positions with the two special tokens
    result = celosia(*arguments, "cat " * 39)
    assert result.exit_code == 2
    assert "a sequence of 41 tokens does not fit" in result.stderr
    assert "the longest that fits has 40" in result.stderr


def test_calibration_file(celosia, run, model_folder, tmp_path):
    """Other sentences give other scales; a .csv of pairs and a text with the same sentences give the same."""
    (tmp_path / "lines.txt").write_text("a cat runs\n\nthe dog sleeps in the house\n")
    (tmp_path / "pairs.csv").write_text("a cat runs,the dog sleeps in the house,1\na cat runs,a cat runs,5\n")
    lines, pairs = (run("--device", "functional", "--calibration", tmp_path / f) for f in ("lines.txt", "pairs.csv"))
    assert lines["similarity"] == pairs["similarity"] != run("--device", "functional")["similarity"]
    (tmp_path / "empty.txt").write_text("\n")
    result = celosia("run", model_folder, "--text", "cat", "--calibration", tmp_path / "empty.txt")
    assert result.exit_code == 2
    assert "holds no sentences" in result.stderr


def test_calibration_is_cached(celosia, run, cache, monkeypatch):
    from celosia.sw.cli import cache as module

    first = run("--device", "functional")
    (file,) = cache.rglob("*.npz")
    monkeypatch.setattr(module, "calibrate", lambda *arguments: pytest.fail("calibrated again"))
    second = run("--device", "functional")
    assert second["similarity"] == first["similarity"]
    monkeypatch.undo()
    monkeypatch.setenv("CELOSIA_CACHE", str(cache))
    file.write_bytes(b"damaged")
    assert run("--device", "functional")["similarity"] == first["similarity"]


@pytest.mark.simulator
def test_rtl(celosia, model_folder):
    """The whole way on the compiled Verilog: bit for bit, behind a slow memory that stalls."""
    arguments = ["--preset", "tiny", "--check", "--latency", "9", "--stalls", "0.2", "--json"]
    result = celosia("run", model_folder, *arguments, "--text", TEXTS[0], "--text", TEXTS[1])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["check"]["bit_exact"] is True
    assert found["cycles"] > found["ideal_cycles"]
    assert 0 < found["utilisation"] < 1
