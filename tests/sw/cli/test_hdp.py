"""celosia calibrate hdp, eval --hdp and analyze hdp on a small model, and what they say to bad input."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from celosia.sw import model as models
from celosia.sw.model.hdp import HdpRun, from_toml
from celosia.sw.model.hdp.probe import Probe, pack

TEXT = "the cat sleeps on a mat in rain the red house runs far away a green boat sails the dog"
WORDS = TEXT.split()
SENTENCES = [" ".join(WORDS[i : i + 6]) for i in range(0, 14, 2)]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with text to calibrate on, pairs to report on, and a long text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.txt").write_text("\n".join(SENTENCES))
    rows = [f"{a},{b},{i % 5}" for i, (a, b) in enumerate(pairwise(SENTENCES))]
    (tmp_path / "dev.csv").write_text("\n".join(rows))
    (tmp_path / "long.txt").write_text("\n".join(" ".join(WORDS) for _ in range(6)))
    return tmp_path


@pytest.fixture
def policy(celosia, model_folder, files) -> Path:
    result = celosia("calibrate", "hdp", model_folder, "--data", "train.txt", "--preset", "tiny", "-o", "p.toml",
                     "--sparsity", "0.4", "--heads", "0.2", "--block", "2x1")  # fmt: skip
    assert result.exit_code == 0, (result.stderr, result.exception)
    return files / "p.toml"


def test_calibrate_then_evaluate(celosia, model_folder, policy):
    text = policy.read_text()
    assert text.startswith("# Calibrated for ")
    long = ["--long", "long.txt", "--tokens", "20", "--sequences", "3"]
    result = celosia("eval", model_folder, "--data", "dev.csv", "--preset", "tiny", "--hdp", policy, *long, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    found = json.loads(result.stdout)
    model = models.load_model(model_folder)
    encoder = models.quantise(model, models.calibrate(model))
    pairs = models.read_pairs(Path("dev.csv"))
    run = HdpRun(from_toml(text), encoder)
    expected = models.evaluate(model, encoder, pairs, run)
    assert found["hdp"]["spearman"] == pytest.approx(expected.hdp_spearman, abs=1e-3)
    assert found["hdp"]["difference_to_int8"] == pytest.approx(expected.hdp_spearman - expected.int8_spearman, abs=1e-3)
    assert found["hdp"]["cosine_to_int8"] == pytest.approx(expected.hdp_cosine, abs=1e-6)
    assert found["hdp"]["block_sparsity"] == round(run.sparsity.block_sparsity, 4) > 0
    probe = Probe(model, encoder, pack(model, Path("long.txt").read_text().splitlines(), 20, 3))
    assert np.shape(probe.ids) == (3, 20)
    assert found["long"]["cosine_to_int8"] == pytest.approx(probe.measure(from_toml(text)).cosine, abs=1e-6)
    plain = celosia("eval", model_folder, "--data", "dev.csv", "--preset", "tiny", "--hdp", policy)
    assert plain.exit_code == 0
    assert f"{found['hdp']['block_sparsity']:.1%}" in plain.stdout


def test_calibrate_for_a_loss_on_long_sequences(celosia, model_folder, files):
    result = celosia("calibrate", "hdp", model_folder, "--data", "long.txt", "--preset", "tiny", "-o", "p.toml",
                     "--loss", "0.02", "--tokens", "16", "--sequences", "2", "--json")  # fmt: skip
    assert result.exit_code == 0, (result.stderr, result.exception)
    found = json.loads(result.stdout)
    assert found["sequences"] == 2
    assert found["cosine"] >= 0.98
    assert found["block_sparsity"] > 0
    assert from_toml((files / "p.toml").read_text()).approximate


def test_curves(celosia, model_folder, files):
    pytest.importorskip("matplotlib")
    text = "--data dev.csv --calibration train.txt --long long.txt --tokens 16 --sequences 2 --sentences 8"
    options = f"{text} --figure top-k --figure parts --preset tiny -o out"
    result = celosia("analyze", "hdp", model_folder, *options.split())
    assert result.exit_code == 0, (result.stderr, result.exception)
    names = {path.name for path in (files / "out").iterdir()}
    assert names == {"curves.json", "curves.md", "top-k-pairs.svg", "top-k-16-tokens.svg"}
    rows = json.loads((files / "out/curves.json").read_text())["rows"]
    assert {row["curve"] for row in rows} == {
        "approximation alone", "published softmax alone", "2x2 max, top-k", "2x2 abs-sum, top-k, zero"
    }  # fmt: skip
    table = (files / "out/curves.md").read_text()
    assert result.stdout == table
    assert len(table.splitlines()) == 2 + len(rows)


def test_curves_go_on_from_what_is_known(celosia, model_folder, files, monkeypatch):
    """An interrupted run loses the curve that it was at, and nothing else; other text is measured anew."""
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("CELOSIA_CACHE", str(files / "cache"))
    line = "analyze hdp --data dev.csv --calibration train.txt --figure parts --preset tiny"
    words = line.split()
    words.insert(2, str(model_folder))
    first = celosia(*words, "-o", "one")
    (gone,) = (path for path in (files / "cache/curves").iterdir() if "approximation" in path.read_text())
    gone.unlink()
    again = celosia(*words, "-o", "two")
    assert "approximation alone on pairs: known" not in again.stderr
    assert "published softmax alone on pairs: known" in again.stderr
    assert first.stdout == again.stdout
    assert (files / "one/curves.json").read_text() == (files / "two/curves.json").read_text()
    assert "known" not in celosia(*words, "--every", "2", "-o", "three").stderr


def test_calibrate_with_fill(celosia, model_folder, files):
    """Blocks that fill keeps do not count as pruned."""
    for fill in (0, 4):
        name = f"fill{fill}.toml"
        result = celosia("calibrate", "hdp", model_folder, "--data", "train.txt", "--preset", "tiny", "-o", name,
                         "--sparsity", "0.3", "--block", "2x1", "--fill", str(fill), "--json")  # fmt: skip
        assert result.exit_code == 0, (result.stderr, result.exception)
        found, policy = json.loads(result.stdout), from_toml((files / name).read_text())
        assert policy.fill == fill
        assert found["block_sparsity"] == pytest.approx(0.3, abs=0.05)
        model = models.load_model(model_folder)
        encoder = models.quantise(model, models.calibrate(model))
        probe = Probe(model, encoder, model.tokenize(SENTENCES))
        assert found["block_sparsity"] == round(probe.measure(policy).sparsity.block_sparsity, 4)


CALIBRATE = "calibrate hdp --data train.txt -o p.toml"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (CALIBRATE, "give either --sparsity or --loss"),
        (f"{CALIBRATE} --sparsity 1.5", "--sparsity"),
        (f"{CALIBRATE} --sparsity 0.5 --block 2", "a block must read HEIGHTxWIDTH, such as 16x2, not '2'"),
        (f"{CALIBRATE} --sparsity 0.5 --block 0x2", "block height must be a positive integer, not 0"),
        (f"{CALIBRATE} --sparsity 0.5 --fill 12", "fill must be 0 or a power of two, not 12"),
        (f"{CALIBRATE} --sparsity 0.5 --importance mx", "did you mean max?"),
        (f"{CALIBRATE} --sparsity 0.5 --tokens 2000", "tokens must be from 3 to 40, not 2000"),
        (f"{CALIBRATE} --sparsity 0.99", "the share of blocks must be from 0 to 0."),
        ("calibrate hdp --data none.txt -o p.toml --sparsity 0.5", "cannot read none.txt"),
        ("eval --data dev.csv --hdp none.toml", "cannot read none.toml"),
        ("eval --data dev.csv --hdp train.txt", "train.txt: "),
        ("eval --data dev.csv --hdp three.toml", "rho for 3 layers"),
        ("eval --data dev.csv --hdp tau.toml", "does not fit 32 bits"),
        ("eval --data dev.csv --long long.txt", "give --hdp as well"),
        ("analyze hdp --data dev.csv -o out --figure shape", "did you mean shapes?"),
    ],
)
def test_bad_input(celosia, model_folder, files, line, expected):
    (files / "three.toml").write_text("rho = [0, 0, 0]")
    (files / "tau.toml").write_text("rho = [0]\ntau = [1e12]")
    before = sorted(files.iterdir())
    verb, _, options = line.partition(" --")
    result = celosia(*verb.split(), model_folder, *f"--{options}".split(), "--preset", "tiny")
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert result.stdout == ""
    assert expected in result.stderr.splitlines()[-1]
    assert [path for path in sorted(files.iterdir()) if path.name != "cache"] == before
