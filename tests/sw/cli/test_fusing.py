"""celosia analyze fusion and ladder."""

import json
import re

import pytest


def test_softmax(celosia):
    result = celosia("analyze", "fusion", "--tokens", "64", "--accumulator", "128", "--pair", "softmax", "--json")
    (row,) = json.loads(result.stdout)["rows"]
    # The array cannot be faster than its 12 x 64 x 64 x 64 multiplications on 256 PEs.
    assert 12 * 64**3 / 256 <= row["pair_fused"] < row["pair_not_fused"]
    assert row["pair_change"] == row["pair_fused"] / row["pair_not_fused"] - 1


def test_a_table(celosia):
    table = celosia("analyze", "fusion", "--tokens", "64", "--accumulator", "256", "--pair", "softmax").stdout
    assert re.search(r"Q x K, softmax .* 256 KiB .* 64 .* MHA .* fused", table)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fusion", "--tokens", "0"], "must have at least 1 token, not 0"),
        (["fusion", "--pair", "gelu"], "no pair 'gelu'"),
        (["fusion", "--accumulator", "2"], "accumulator.kib must be at least 3, not 2"),
        (["fusion", "--accumulator", "128", "--tokens", "100000"], "exceeds post.max_channels"),
        (["ladder", "--tokens", "0"], "tokens must be at least 1, not 0"),
        (["ladder", "--host", "nowhere.toml"], "nowhere.toml: No such file"),
        (["document", "--page", "fusions"], "no page 'fusions'; did you mean fusion?"),
    ],
)
def test_bad_input(celosia, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    result = celosia("analyze", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("celosia: ")
    assert expected in last


def test_a_bad_host(celosia, tmp_path):
    (tmp_path / "host.toml").write_text("[cycles_per_element]\nsoftmax = -1\n")
    result = celosia("analyze", "ladder", "--host", tmp_path / "host.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cycles_per_element.softmax must be a number of at least 0, not -1" in result.stderr
