"""celosia analyze mapper and mapspace."""

import json
import sys
from pathlib import Path

import pytest


def test_mapper_json(celosia):
    result = celosia("analyze", "mapper", "--preset", "gemmini", "--tokens", "16", "--check", "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["rows"]
    assert [row["operator"] for row in rows] == ["projection", "QxK", "PxV", "W_out", "W1", "W2"]
    assert rows[4]["shape"] == "16 x 768 x 3072"
    for row in rows:
        assert 1 <= row["figures"]["cycles"] / row["best_cycles"] <= 1.02
        assert row["above_best"] == row["figures"]["cycles"] / row["best_cycles"] - 1
        assert row["bound"] <= row["best_cycles"]
        assert row["above_bound"] == row["figures"]["cycles"] / row["bound"] - 1


def test_mapper_replay(celosia):
    """128 x 256 x 64 takes a 16 x 16 array 8192 cycles; the replay adds what no mapping can hide."""
    arguments = ("mapper", "--preset", "transformer", "--matmul", "128x256x64", "--replay")
    (row,) = json.loads(celosia("analyze", *arguments, "--json").stdout)["rows"]
    assert 8192 < row["replayed"] < 1.15 * 8192
    assert row["error"] == row["figures"]["cycles"] / row["replayed"] - 1
    assert row["array_waits"] == row["replayed"] - 8192
    printed = celosia("analyze", *arguments).stdout
    assert f"{row['replayed']:,}" in printed
    assert f"{row['error']:+.2%}" in printed


def test_mapper_prints_the_worst_of_each(celosia):
    arguments = ("mapper", "--preset", "edge", "--tokens", "16", "--tokens", "24")
    rows = json.loads(celosia("analyze", *arguments, "--json").stdout)["rows"]
    printed = celosia("analyze", *arguments, "--markdown").stdout
    for tokens in (16, 24):
        worst = max(row["above_bound"] for row in rows if row["tokens"] == tokens)
        assert f"| edge | {tokens} | 6 | {worst:.2%} | - |" in printed


def test_mapper_table(celosia):
    result = celosia("analyze", "mapper", "--preset", "tiny", "--matmul", "16x32x8")
    assert result.exit_code == 0, result.stderr
    assert "16 x 32 x 8" in result.stdout


def test_what_cannot_be_mapped_has_a_row_with_the_reason(celosia):
    arguments = ("mapper", "--preset", "edge", "--tokens", "1040", "--fused")
    rows = json.loads(celosia("analyze", *arguments, "--json").stdout)["rows"]
    assert [row["operator"] for row in rows if "reason" in row] == ["QxK+softmax"]
    assert [row["operator"] for row in rows if "figures" not in row] == ["QxK+softmax"]
    (reason,) = (row["reason"] for row in rows if "reason" in row)
    assert reason.endswith("post.max_channels = 1024 would fit 1024")
    result = celosia("analyze", *arguments)
    assert result.exit_code == 0
    assert "no mapping" in result.stdout
    result = celosia("analyze", *arguments, "--markdown")
    assert f"| {reason} |" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mapper", "--matmul", "0x4x4"], "rows of matmul must be at least 1, not 0"),
        (["mapper", "--tokens", "0"], "tokens must be at least 1, not 0"),
        (["mapper", "--tokens", "131073"], "rows of projection must be at most 131072, not 131073"),
        (["mapper", "--matmul", "4x4x99999999999"], "outputs of matmul must be at most 131072, not 99999999999"),
        (["mapspace", "-o", "/proc/figures"], "cannot write /proc/figures/figure.svg"),
        (["mapper", "--matmul", "4x4"], "a matmul must read MxKxN, such as 512x768x768, not '4x4'"),
        (["mapper", "--matmul", "4x4x4", "--tokens", "8"], "exclude one another"),
        (["mapper", "--json", "--markdown"], "--json and --markdown exclude one another"),
        (["mapper", "--matmul", "4x99999x4"], "does not fit an int32: 65792 channels of matmul would fit"),
        (["mapspace", "--preset", "edgy"], "no preset 'edgy'; did you mean edge?"),
    ],
)
def test_bad_input_is_one_line(celosia, arguments, told):
    result = celosia("analyze", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1 or result.stderr.splitlines()[0].startswith("celosia: mapping")


def test_mapspace(celosia, tmp_path):
    pytest.importorskip("matplotlib")
    result = celosia(
        "analyze", "mapspace", "--samples", "300", "--preset", "edge", "-o", tmp_path / "figures", "--json"
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    # Printed in the survey.
    assert [row["printed_tenth_percentile"] for row in found["rows"]] == [9.42, 9.84, 7.44, 12.06]
    assert [row["printed_within_3x"] for row in found["rows"]] == [0.0170, 0.0148, 0.0158, 0.0262]
    for row in found["rows"]:
        assert row["samples"] == 300
        assert 1 <= row["tenth_percentile"] <= row["median"] <= 10 ** row["decades"]
    assert len(found["figures"]) == 4
    for path in found["figures"]:
        assert "<svg" in Path(path).read_text(encoding="utf-8")
    again = celosia("analyze", "mapspace", "--samples", "300", "--preset", "edge", "--json")
    assert json.loads(again.stdout)["rows"] == found["rows"]


def test_a_wider_space_has_fewer_good_mappings(celosia):
    """The survey's mappings may do more than the hardware."""
    narrow, wide = (
        json.loads(celosia("analyze", "mapspace", "--samples", "2000", "--json", *more).stdout)
        for more in ((), ("--wide",))
    )
    assert [narrow["wide"], wide["wide"]] == [False, True]
    for few, many in zip(wide["rows"], narrow["rows"], strict=True):
        assert few["within_3x"] < many["within_3x"] / 2
        assert few["tenth_percentile"] > 2 * many["tenth_percentile"]


def test_figures_need_matplotlib(celosia, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = celosia("analyze", "mapspace", "--samples", "10", "-o", tmp_path / "figures")
    assert result.exit_code == 2
    assert "pip install celosia[report]" in result.stderr
    assert not (tmp_path / "figures").exists()
