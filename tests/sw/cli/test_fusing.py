"""celosia analyze fusion and ladder, and the page docs/fusion.md."""

import json
import re
from pathlib import Path

import pytest

from celosia.sw.cli import fusing, measuring
from celosia.sw.cli.errors import CliError
from celosia.sw.performance.prediction import predict

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/fusion.md"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_of_the_page_is_what_the_command_prints(celosia):
    result = celosia("analyze", "fusion", "--tokens", "512", "--accumulator", "128", "--pair", "softmax", "--json")
    (row,) = json.loads(result.stdout)["rows"]
    found = [
        cells(line) for line in PAGE.read_text().splitlines() if line.startswith("| Q x K, softmax | 128 KiB | 512 ")
    ]
    assert found[0][3:5] == [f"{row['pair_not_fused']:,}", f"{row['pair_fused']:,}"]
    assert found[0][7:9] == [f"{row['part_not_fused']:,}", f"{row['part_fused']:,}"]
    # The array cannot be faster than its 12 x 512 x 512 x 64 multiplications on 256 PEs.
    assert 786_432 <= row["pair_fused"] < row["pair_not_fused"]
    assert row["pair_change"] == row["pair_fused"] / row["pair_not_fused"] - 1


def test_the_page_has_all_of_the_study():
    rows = [cells(line) for line in PAGE.read_text().splitlines() if re.match(r"\| (Q x K|W_out|W_2), ", line)]
    cases = {(row[0], row[1], row[2]) for row in rows if len(row) == len(fusing.FUSION)}
    assert len(cases) == 3 * 2 * 2


def test_the_ladder_of_the_page_adds_up():
    rows = [
        cells(line)
        for line in PAGE.read_text().splitlines()
        if re.search(r"\| (gemmini|transformer(-hdp \S+)?) \|", line)
    ]
    numbers = [[int(cell.replace(",", "").replace("-", "0")) for cell in row[2:5]] for row in rows]
    assert [accelerator + host for accelerator, host, _ in numbers] == [total for _, _, total in numbers]
    assert [row[6] for row in rows] == [f"{numbers[0][2] / total:.1f}x" for _, _, total in numbers]
    assert len(rows) == 6


def test_a_ladder_of_one_token_ends_before_pruning(celosia):
    """One token is one block: no threshold prunes 60 % of it. Asked for, that is an error; otherwise it is said."""
    result = celosia("analyze", "ladder", "--tokens", "1", "--json")
    found = json.loads(result.stdout)
    assert [row["preset"] for row in found["rows"]] == ["gemmini", "transformer", "transformer", "transformer"]
    assert "no steps that prune: no rho prunes 60 % of the blocks" in result.stderr
    asked = celosia("analyze", "ladder", "--tokens", "1", "--pruned", "50")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert asked.stderr.splitlines()[-1].startswith("celosia: no rho prunes 50 % of the blocks")


def test_a_table(celosia):
    table = celosia("analyze", "fusion", "--tokens", "64", "--accumulator", "256", "--pair", "softmax").stdout
    assert re.search(r"Q x K, softmax .* 256 KiB .* 64 .* MHA .* fused", table)


def test_what_was_measured_is_not_measured_again(celosia, monkeypatch):
    """A device that takes twice as long as the model says, and stops after three programs for the first time."""
    ran: list[int] = []

    def run(program) -> int:
        if len(ran) == 3:
            raise CliError("stopped")
        ran.append(2 * predict(program).cycles)
        return ran[-1]

    arguments = ("fusion", "--tokens", "64", "--accumulator", "256", "--pair", "softmax", "--json")
    modelled = json.loads(celosia("analyze", *arguments).stdout)
    monkeypatch.setattr(measuring, "_run", run)
    assert celosia("analyze", *arguments, "--rtl").exit_code == 2
    known, ran[:] = ran[:], []
    monkeypatch.setattr(measuring, "_run", lambda program: ran.append(2 * predict(program).cycles) or ran[-1])
    result = celosia("analyze", *arguments, "--rtl")
    assert result.stderr.count("measured before") == 3
    assert f"{known[0]:,} measured before" in result.stderr
    found = json.loads(result.stdout)
    assert (found["measured"], found["worst_model_error"]) == (True, -0.5)
    for name in ("pair_fused", "pair_not_fused", "part_fused", "part_not_fused"):
        assert found["rows"][0][name] == 2 * modelled["rows"][0][name]
    some = len(ran)
    table = celosia("analyze", *arguments[:-1], "--rtl")
    assert (len(ran), table.stderr.count("measured before")) == (some, some + 3)
    assert "the model is at most 50.00% away" in " ".join(table.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fusion", "--tokens", "0"], "must have at least 1 token, not 0"),
        (["fusion", "--pair", "gelu"], "no pair 'gelu'"),
        (["fusion", "--accumulator", "2"], "accumulator.kib must be at least 3, not 2"),
        (["fusion", "--accumulator", "128", "--tokens", "100000"], "exceeds post.max_channels"),
        (["ladder", "--tokens", "0"], "tokens must be at least 1, not 0"),
        (["ladder", "--tokens", "100000"], "exceeds post.max_channels"),
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
