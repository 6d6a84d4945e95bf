"""celosia on co-processors: bench against the golden model, and what they are not for."""

import json

import numpy as np
import pytest

from celosia.hw.config import Config
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.sw.attention import attention_workload
from celosia.sw.performance import WORKLOAD_ERROR

EDGE = COPROCESSORS["hdp-edge"]


@pytest.mark.parametrize("pruned", [0, 50])
def test_bench(celosia, pruned: int) -> None:
    """On the functional device: exact, the ideal cycles of two queries a cycle, and those of the performance model."""
    name = f"attention-24-32-{pruned}"
    result = celosia("bench", "--preset", "hdp-edge", "--device", "functional", "--workload", name, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    (found,) = json.loads(result.stdout)
    workload = attention_workload(name)
    policy = workload.policy(EDGE)
    _, run = workload.golden(Config(), policy)
    decided = run.decide(0, *workload.codes[:2], np.ones((24, 24), bool)).blocks
    assert found["golden_exact"] is True
    assert found["block_sparsity"] == round(1 - decided.mean(), 4)
    # 12 pairs of queries by 24 keys, four a cycle; of a kept block each of two keys twice. Dense: no integer pass.
    whole = 12 * 12 * 24 * 2
    assert found["dense_ideal_cycles"] == whole
    assert found["ideal_cycles"] == (12 * 12 * 24 // 4 + 4 * decided.sum() if pruned else whole)
    assert found["cycles"] is None
    # What the RTL takes.
    assert found["modelled_cycles"] == pytest.approx(4_940 if pruned else 8_678, rel=WORKLOAD_ERROR)
    assert found["modelled_dense_cycles"] == pytest.approx(8_678, rel=WORKLOAD_ERROR)
    assert found["speed_up"] == round(found["modelled_dense_cycles"] / found["modelled_cycles"], 4)


def test_bench_of_several_cores_as_a_table(celosia) -> None:
    """Cores share the heads; a row has as many cells as the table."""
    settings = ("--set", "coprocessor.cores=3", "--device", "functional", "--workload", "attention-24-32-50")
    one, three = (
        json.loads(celosia("bench", "--preset", "hdp-edge", *options, "--json").stdout)[0]
        for options in (settings[2:], settings)
    )
    assert three["ideal_cycles"] == -(-one["ideal_cycles"] // 3)
    assert three["ideal_cycles"] < three["modelled_cycles"] < one["modelled_cycles"]
    result = celosia("bench", "--preset", "hdp-edge", *settings)
    assert result.exit_code == 0, result.stderr
    assert "attention-24-32-50" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "minilm", "--tokens", "4", "-o", "x", "--preset", "hdp-edge"], "is a co-processor of attention"),
        (["run", "minilm", "--text", "a", "--preset", "hdp-server"], "for config, generate, area and bench"),
        (["bench", "--preset", "hdp-edge", "--workload", "minilm-16"], "co-processors have no workload 'minilm-16'"),
        (["bench", "--preset", "hdp-edge", "--workload", "attention-256-64-0"], "from 1 to 128 tokens"),
        (["bench", "--preset", "hdp-edge", "--workload", "attention-16-128-0"], "exceed the core's width of 64"),
        (["area", "--preset", "hdp-edge", "--element"], "is a co-processor of attention"),
        (["config", "--preset", "hdp-edg"], "did you mean hdp-edge?"),
        (["config", "--preset", "hdp-edge", "--set", "core.rate=3"], "rate must be 1, 2 or 4"),
    ],
)
def test_what_they_are_not_for(celosia, arguments: list[str], message: str) -> None:
    result = celosia(*arguments)
    assert result.exit_code != 0
    assert message in result.stderr.splitlines()[-1]


def test_config_is_read_back(celosia, tmp_path) -> None:
    text = celosia("config", "--preset", "hdp-server", "--set", "core.rate=2").stdout
    (tmp_path / "mine.toml").write_text(text)
    again = celosia("config", "--config", tmp_path / "mine.toml").stdout
    assert text.split("\n", 1)[1] == again.split("\n", 1)[1]
    listed = json.loads(celosia("config", "--list", "--json").stdout)
    assert listed["hdp-server"] == COPROCESSORS["hdp-server"].to_dict()
