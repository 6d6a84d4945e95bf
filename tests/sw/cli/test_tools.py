"""celosia export and celosia analyze tools, with stand-ins for the tools and for the RTL device."""

import json

import pytest
import yaml

from celosia.sw.export import running
from celosia.sw.export.layers import ExportError

SHAPES = ["128 x 768 x 768", "128 x 64 x 128", "128 x 128 x 64", "128 x 768 x 3072", "128 x 3072 x 768"]


@pytest.fixture
def tools(monkeypatch):
    """Both tools say 1000 cycles and a row more for every layer; notes what they were asked."""
    asked = []

    def pretend(tool, config, layers, python=None):
        asked.append((tool, [(one.m, one.k, one.n) for one in layers], python))
        return [{"cycles": 1000.0 + one.m, "stalls": 5.0} for one in layers]

    monkeypatch.setattr(running, "run", pretend)
    return asked


def test_export_zigzag(celosia, tmp_path):
    folder = tmp_path / "new"
    result = celosia("export", "zigzag", "--preset", "edge", "--workload", "minilm-16", "-o", folder, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["shapes"], found["matmuls"]) == (5, 180)
    assert set(found["files"]) == {path.name for path in folder.iterdir()}
    accelerator = yaml.safe_load((folder / "accelerator.yaml").read_text())
    assert accelerator["operational_array"]["sizes"] == [8, 8]
    workload = yaml.safe_load((folder / "workload.yaml").read_text())
    assert workload[0]["loop_sizes"] == [16, 384, 384]


def test_export_scalesim(celosia, tmp_path):
    folder = tmp_path / "new"
    result = celosia("export", "scalesim", "--model", "bert-base", "--tokens", "128", "-o", folder)
    assert result.exit_code == 0, result.stderr
    assert "360 matmuls in 5 shapes, scale.cfg" in result.stdout
    assert "W_2,128,768,3072," in (folder / "topology.csv").read_text()


@pytest.mark.parametrize("tool", ["zigzag", "scalesim"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "resnet50"], "this one has convolutions"),
        (["--preset", "huge"], "no preset 'huge'"),
        (["--tokens", "0"], "tokens must be at least 1"),
        (["--set", "array.rows=5"], "array.rows must be a power of two"),
    ],
)
def test_export_of_bad_input(celosia, tmp_path, tool, arguments, said):
    result = celosia("export", tool, *arguments, "-o", tmp_path / "new")
    assert result.exit_code == 2
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_export_overwrites_nothing(celosia, tmp_path):
    (tmp_path / "mine").write_text("mine")
    result = celosia("export", "zigzag", "-o", tmp_path)
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_tools(celosia, tools, timed):
    result = celosia("analyze", "tools", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    rows = found["rows"]
    assert [f"{row['m']} x {row['k']} x {row['n']}" for row in rows] == SHAPES
    # 16 x 16 PEs: 128 rows through 48 x 48, 4 x 8, 8 x 4, 48 x 192, 192 x 48 blocks of weights.
    assert [row["ideal"] for row in rows] == [128 * blocks for blocks in (2304, 32, 32, 9216, 9216)]
    for row in rows:
        assert set(row["cycles"]) == {"rtl", "model", "zigzag", "scalesim"}
        assert (row["cycles"]["rtl"], row["cycles"]["zigzag"]) == (10_000, 1128)
        assert row["cycles"]["model"] > row["ideal"]
        assert row["details"]["scalesim"]["stalls"] == 5
    # Four projections, twelve heads twice, two matmuls of the FFN.
    assert found["total"]["cycles"]["rtl"] == 30 * 10_000
    assert found["total"]["ideal"] == 128 * (4 * 2304 + 24 * 32 + 2 * 9216)
    # The memory behind the bus is the model's.
    assert [(made["latency"], made["outstanding"]) for made in timed.made] == [(20, 16)] * 5


def test_a_limit_of_the_slow_one(celosia, tools, timed, tmp_path):
    python = tmp_path / "python"
    result = celosia("analyze", "tools", "--limit", "4096", "--markdown", "--python", python)
    assert result.exit_code == 0, result.stderr
    # The slow one walks through one matmul at a time.
    assert [(tool, len(shapes), where) for tool, shapes, where in tools] == [
        ("zigzag", 5, python), ("scalesim", 1, python), ("scalesim", 1, python)
    ]  # fmt: skip
    table = result.stdout.splitlines()
    assert table[0] == "| matmul | M x K x N | times | ideal | RTL | model | ZigZag | SCALE-Sim |"
    assert "| Q x K | 128 x 64 x 128 | 12 | 4,096 | 10,000 |" in result.stdout
    assert table[2].endswith("| 1,128 (-88.7%) | - |")
    assert "| 1,128 (-88.7%) | 1,128 (-88.7%) |" in table[3]
    assert table[-1].endswith("| 33,840 (-88.7%) | - |")


def test_what_the_slow_one_found_is_kept(celosia, tools, timed, monkeypatch):
    """Stopped on its third matmul, it begins there again; the smallest come first, figures stay with their matmuls."""
    arguments = ("analyze", "tools", "--without", "rtl", "--without", "zigzag", "--json")
    noting = running.run

    def pretend(tool, config, layers, python=None):
        return [found | {"cycles": one.k} for found, one in zip(noting(tool, config, layers), layers, strict=True)]

    def stopped(*told):
        if len(tools) == 2:
            raise ExportError("stopped")
        return pretend(*told)

    monkeypatch.setattr(running, "run", stopped)
    assert celosia(*arguments).exit_code == 2
    assert [shapes for _, shapes, _ in tools] == [[(128, 64, 128)], [(128, 128, 64)]]
    monkeypatch.setattr(running, "run", pretend)
    tools.clear()
    result = celosia(*arguments)
    assert [shapes for _, shapes, _ in tools] == [[(128, 768, 768)], [(128, 768, 3072)], [(128, 3072, 768)]]
    assert [row["cycles"]["scalesim"] for row in json.loads(result.stdout)["rows"]] == [768, 64, 128, 768, 3072]
    tools.clear()
    assert celosia(*arguments).stdout == result.stdout
    assert tools == []
    # Another configuration is another matter.
    celosia(*arguments, "--preset", "edge", "--limit", "20000")
    assert len(tools) == 2


def test_without(celosia, tools, timed):
    result = celosia("analyze", "tools", "--without", "rtl", "--without", "scalesim", "--model", "minilm", "--json")
    rows = json.loads(result.stdout)["rows"]
    assert all(set(row["cycles"]) == {"model", "zigzag"} for row in rows)
    assert timed.made == []


def test_a_missing_tool_is_told_before_anything_is_built(celosia, timed, monkeypatch):
    def refuse(*arguments):
        raise ExportError("zigzag is not installed")

    monkeypatch.setattr(running, "run", refuse)
    result = celosia("analyze", "tools")
    assert result.exit_code == 2
    assert timed.made == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--without", "verilog"], "no predictor 'verilog'"),
        (["--model", "gpt2"], "only encoders are compared"),
        (["--model", "resnet50"], "only encoders are compared"),
        (["--json", "--markdown"], "exclude one another"),
    ],
)
def test_bad_input(celosia, tools, arguments, said):
    result = celosia("analyze", "tools", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert tools == []
