"""celosia bench of attention workloads and celosia run --hdp: figures against the golden model."""

import json

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload, attention_workload
from celosia.sw.model import ModelError, calibrate, load_model, quantise, quantise_embedding, run_golden
from celosia.sw.model.hdp import HdpRun, from_toml
from celosia.sw.model.reference import embedding_sum

SETTINGS = [
    "hdp.lists=8", "hdp.keys=64", "hdp.head_width=16", "scratchpad.kib=32", "accumulator.kib=32",
]  # fmt: skip
SET = [part for setting in SETTINGS for part in ("--set", setting)]
CONFIG = override(PRESETS["tiny"], SETTINGS)
POLICY = 'rho = [0.2]\nblock = [4, 2]\nimportance = "mean-max"\napproximate = false\n'
TEXTS = ["a cat sleeps on the mat", "the dog runs in rain and the boat sails far away"]
ARGUMENTS = [argument for text in TEXTS for argument in ("--text", text)]


def test_names() -> None:
    assert attention_workload("attention-128-64-75") == AttentionWorkload(128, 64, 75)
    assert attention_workload("minilm-16") is None
    with pytest.raises(ModelError, match="at most 99"):
        attention_workload("attention-128-64-100")


@pytest.mark.parametrize("pruned", [30, 50, 75, 90])
def test_the_share_is_the_one_that_was_asked_for(pruned: int) -> None:
    workload = AttentionWorkload(128, 32, pruned, heads=3)
    config = PRESETS["transformer-hdp"]
    _, run = workload.golden(config, workload.policy(config))
    assert run.sparsity.block_sparsity == pytest.approx(pruned / 100, abs=0.01)
    codes = workload.codes
    assert all(np.array_equal(a, b) for a, b in zip(codes, AttentionWorkload(128, 32, 0, heads=3).codes, strict=True))


@pytest.mark.parametrize("fill", [None, True, False])
@pytest.mark.parametrize("pruned", [50, 75, 87])
def test_fill_reaches_the_share_in_whole_tiles(pruned: int, fill: bool | None) -> None:
    """As many keys as whole tiles hold, but for ties; the share counts them."""
    workload, config = AttentionWorkload(128, 32, pruned, heads=3), PRESETS["transformer-hdp"]
    policy = workload.policy(config, fill)
    assert policy.fill == (0 if fill is False else 16)
    _, run = workload.golden(config, policy)
    assert run.sparsity.block_sparsity == pytest.approx(pruned / 100, abs=0.01)
    # Blocks of two keys.
    kept = run.decide(0, *workload.codes[:2], np.ones((128, 128), bool)).blocks.sum(axis=-1) * 2
    assert (np.mean(kept % 16 == 0) > 0.9) == bool(policy.fill)


def test_fill_that_cannot_reach_the_share(celosia) -> None:
    """A tile of 16 of 128 keys is the least: at 90 % there is no fill, unless it is asked for."""
    workload, config = AttentionWorkload(128, 32, 90, heads=2), PRESETS["transformer-hdp"]
    assert workload.policy(config).fill == 0
    assert AttentionWorkload(128, 32, 50, heads=2).policy(override(config, ["hdp.fill=false"])).fill == 0
    with pytest.raises(
        ModelError, match=r"no rho prunes 90 % of the blocks of attention-128-32-90 with fill: .* 87\.\d%"
    ):
        workload.policy(config, True)
    options = ["--preset", "tiny", *SET, "--set", "hdp.fill=false", "--workload", "attention-24-8-50", "--fill"]
    result = celosia("bench", *options)
    assert result.exit_code == 2
    assert "cannot run a policy with fill = 4; fill = 0 would do" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("fill", [None, "--fill", "--no-fill"])
@pytest.mark.parametrize("pruned", [0, 50])
def test_bench_of_attention(celosia, timed, pruned: int, fill: str | None) -> None:
    name = f"attention-24-8-{pruned}"
    result = celosia("bench", "--preset", "tiny", *SET, "--workload", name, "--json", *([fill] if fill else []))
    assert result.exit_code == 0, (result.stderr, result.exception)
    (found,) = json.loads(result.stdout)
    workload = attention_workload(name)
    policy = workload.policy(CONFIG, {"--fill": True, "--no-fill": False}.get(fill))
    assert found["fill"] == policy.fill == (0 if fill == "--no-fill" else 4)
    _, run = workload.golden(CONFIG, policy)
    decided = run.decide(0, *workload.codes[:2], np.ones((24, 24), bool)).blocks
    assert found["block_sparsity"] == round(1 - decided.mean(), 4)
    assert (pruned == 0) == (found["block_sparsity"] == 0)
    # A block has 4 x 2 scores; the integer pass has all of them; 8 channels; 16 PEs.
    assert found["ideal_cycles"] == (12 * 24 * 24 * 8 + 2 * decided.sum() * 8 * 8) // 16
    assert found["bytes_skipped"] == (~decided).sum() * 2 * 2 * 8
    assert found["golden_exact"] is found["bit_exact"] is True
    assert found["cycles"] == found["dense_cycles"] == 10_000
    assert found["speed_up"] == 1
    assert found["modelled_cycles"] > sum(found["phases"].values())
    # Without pruning both matmuls are whole, and the decisions come on top.
    tiles = 12 * 6 * 6 * 2 * 4
    assert found["phases"]["decisions"] >= tiles
    assert (found["phases"]["scores"] >= tiles) == (pruned == 0)


def test_a_wrong_context_is_a_failure(celosia, timed, monkeypatch) -> None:
    golden = AttentionWorkload.golden

    def other(*args):
        context, run = golden(*args)
        return context + 1, run

    monkeypatch.setattr(AttentionWorkload, "golden", other)
    result = celosia("bench", "--preset", "tiny", *SET, "--workload", "attention-24-8-50", "--json")
    assert result.exit_code == 1
    assert "attention-24-8-50 differs from the golden model" in result.stderr.splitlines()[-1]


def test_run_with_a_policy(celosia, model_folder, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(POLICY)
    options = ["--hdp", tmp_path / "p.toml", "--device", "functional"]
    result = celosia("run", model_folder, "--preset", "tiny", *SET, *ARGUMENTS, *options, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    found = json.loads(result.stdout)["hdp"]
    model = load_model(model_folder)
    encoder = quantise(model, calibrate(model))
    run = HdpRun(from_toml(POLICY), encoder)
    for one in model.tokenize(TEXTS):
        run_golden(encoder, quantise_embedding(encoder, embedding_sum(model, [one]))[0], hdp=run)
    expected = run.sparsity.summary()
    assert {name: found[name] for name in expected} == expected
    assert found["block_sparsity"] > 0
    assert found["golden_exact"] is True
    assert min(found["phases"].values()) > 0
    plain = celosia("run", model_folder, "--preset", "tiny", *SET, *ARGUMENTS, *options)
    assert f"{found['block_sparsity']:.1%}" in plain.stdout


@pytest.mark.parametrize(
    ("policy", "settings", "expected"),
    [
        (POLICY, [], "such as preset transformer-hdp"),
        ("rho = [0]", SET, "approximate = true; approximate = false would do"),
        (POLICY.replace("4, 2", "2, 2"), SET, "blocks of 2x2 cannot be pruned on this array; 4x1 or 4x2 would do"),
        (POLICY.replace("0.2", "0.2, 0.2"), SET, "the policy has rho for 2 layers; this encoder has 1"),
        ("rho = 7", SET, "rho must be a list of numbers, not 7"),
    ],
)
def test_policies_that_cannot_run(celosia, model_folder, tmp_path, policy, settings, expected) -> None:
    (tmp_path / "p.toml").write_text(policy)
    options = ["--hdp", tmp_path / "p.toml", "--device", "functional"]
    result = celosia("run", model_folder, "--preset", "tiny", *settings, *ARGUMENTS, *options)
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert expected in result.stderr.splitlines()[-1]
