"""celosia bench of attention workloads and celosia run --hdp: figures against the golden model."""

import json

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload, attention_workload
from celosia.sw.model import ModelError, calibrate, load_model, quantise, quantise_embedding, run_golden
from celosia.sw.model.hdp import HdpRun, from_toml
from celosia.sw.model.hdp.probe import pack
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
    assert attention_workload("attention-128-64-75-17") == AttentionWorkload(128, 64, 75, pruned_heads=17)
    assert attention_workload("attention-128-64") is None
    for name in ("attention-128-64-100", "attention-128-64-5-100"):
        with pytest.raises(ModelError, match="at most 99"):
            attention_workload(name)
    attention_workload("attention-128-64-75-95")
    with pytest.raises(ModelError, match="one must be left: at most 95 % can be pruned, not 96"):
        attention_workload("attention-128-64-75-96")


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


@pytest.mark.parametrize(("percent", "heads"), [(4, 0), (17, 2), (50, 6), (95, 11)])
def test_the_share_of_heads(percent: int, heads: int) -> None:
    workload = AttentionWorkload(48, 16, 60, pruned_heads=percent)
    config = PRESETS["transformer-hdp"]
    context, run = workload.golden(config, workload.policy(config))
    assert run.sparsity.counts["pruned_heads"].sum() == heads
    assert run.sparsity.block_sparsity == pytest.approx(0.6, abs=0.01)
    assert (context.reshape(48, 12, 16).any(axis=(0, 2))).sum() == 12 - heads
    # What is kept is what both thresholds keep; multiplications at rate 4 are a quarter in the integer pass alone.
    kept = workload.kept_scores(workload.policy(config), run)
    whole = AttentionWorkload(48, 16, 60)
    policy = whole.policy(config)
    assert (kept < whole.kept_scores(policy, whole.golden(config, policy)[1])) == (heads > 0)
    assert workload.macs(kept) - workload.macs(kept, 4) == 12 * 48 * 48 * 16 * 3 // 4


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
    assert found["modelled_cycles"] > sum(found["phases"][name] for name in ("decisions", "scores", "context"))
    assert sum(found["phases"].values()) == found["cycles"]
    assert found["rate"] == 1
    # Without pruning both matmuls are whole, and the decisions come on top.
    tiles = 12 * 6 * 6 * 2 * 4
    assert found["phases"]["decisions"] >= tiles
    assert (found["phases"]["scores"] >= tiles) == (pruned == 0)


def test_bench_of_pruned_heads(celosia, timed) -> None:
    result = celosia("bench", "--preset", "tiny", *SET, "--workload", "attention-24-8-50-17", "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    (found,) = json.loads(result.stdout)
    assert found["head_sparsity"] == round(2 / 12, 4)
    assert found["tau"] is not None
    assert found["golden_exact"] is found["bit_exact"] is True


MODEL_SET = ["--set", "hdp.keys=64", "--set", "hdp.head_width=16", "--set", "scratchpad.kib=32"]


def test_bench_of_a_layer_of_a_model(celosia, timed, model_folder, tmp_path) -> None:
    """The share, the context and the ideal are those of the whole golden model's layer."""
    (tmp_path / "p.toml").write_text(POLICY)
    (tmp_path / "long.txt").write_text("\n".join(TEXTS * 3))
    options = ["--model", model_folder, "--hdp", tmp_path / "p.toml", "--long", tmp_path / "long.txt", "--layer", "0"]
    arguments = ["bench", "--preset", "tiny", *MODEL_SET, "--workload", "attention-20-16"]
    result = celosia(*arguments, *options, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    (found,) = json.loads(result.stdout)
    model = load_model(model_folder)
    encoder = quantise(model, calibrate(model))
    run, seen = HdpRun(from_toml(POLICY), encoder), {}
    ids = pack(model, TEXTS * 3, 20, 1)
    x = quantise_embedding(encoder, embedding_sum(model, ids))[0]
    run_golden(encoder, x, hdp=run, observer=seen.__setitem__)
    assert found["block_sparsity"] == run.sparsity.summary()["block_sparsity"] > 0
    assert found["bytes_skipped"] == run.sparsity.summary()["bytes_skipped"]
    query, key = (seen[f"0.{name}"].reshape(20, 2, 16).swapaxes(0, 1) for name in ("query", "key"))
    blocks = run.decide(0, query, key, np.ones((20, 20), bool)).blocks
    assert found["ideal_cycles"] == (2 * 20 * 20 * 16 + 2 * blocks.sum() * 8 * 16) // 16
    assert found["golden_exact"] is found["bit_exact"] is True
    assert found["workload"].endswith("layer-0")
    without = celosia(*arguments, *(one for one in options if one not in ("--layer", "0")), "--json")
    assert json.loads(without.stdout)[0]["block_sparsity"] == found["block_sparsity"]


def test_layers_that_there_are_not(celosia, model_folder, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(POLICY)
    model, policy = ["--model", model_folder], ["--hdp", tmp_path / "p.toml"]
    for workload, options, expected in [
        ("attention-20-16", [], "give --model and --hdp, or a share to prune, as in attention-20-16-75"),
        ("attention-20-16", model, "--model needs a policy: give --hdp as well"),
        ("attention-20-16-50", policy, "--hdp is of a network: give --model"),
        ("attention-20-16-50", ["--layer", "0"], "--layer is of a network"),
        ("attention-20-16-50", [*model, *policy], "--model is for workloads attention-L-DH"),
        ("attention-20-8", [*model, *policy], "have 16 channels, not 8: attention-20-16 would do"),
        ("attention-20-16", [*model, *policy, "--layer", "1"], "has layers 0 to 0, not 1"),
        ("attention-20-16", [*model, *policy, "--long", tmp_path / "none.txt"], "cannot read"),
        ("attention-2000-16", [*model, *policy], "a text must have from 3 to 40 tokens, not 2000"),
    ]:
        result = celosia("bench", "--preset", "tiny", *MODEL_SET, "--workload", workload, *options)
        assert result.exit_code == 2, (result.stderr, result.exception)
        assert expected in result.stderr.splitlines()[-1]


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
