"""celosia analyze intensity, roofline, latency and document."""

import json
import re
import sys
from pathlib import Path

import pytest

from celosia.sw.analysis.models import MODELS
from celosia.sw.cli import analysis_page

ROOT = Path(__file__).parents[3]


def rows(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["rows"]


def test_intensity(celosia):
    found = rows(celosia("analyze", "intensity", "--tokens", "128", "--json"))
    assert found[-1]["operation"] == "total"
    assert found[-1]["flops"] == sum(row["flops"] for row in found[:-1])
    assert round(found[-1]["intensity"], 2) == 159.68
    assert round(found[-1]["cached_intensity"], 3) == 106.11
    table = celosia("analyze", "intensity", "--tokens", "128").stdout
    assert "bert-base (12 layers, 768 channels, 12 heads, 3072 in the FFN), 128 tokens" in table
    assert re.search(r"total .* 22\.422 .* 100\.0% .* 159\.68 .* 106\.11", table)


def test_sizes_change_the_model(celosia):
    sizes = ["--layers", "2", "--hidden", "32", "--heads", "2", "--ffn", "64", "--tokens", "8"]
    found = rows(celosia("analyze", "intensity", *sizes, "--json"))
    by_name = {row["operation"]: row for row in found}
    assert by_name["W_Q"]["flops"] == 2 * 2 * 8 * 32 * 32
    assert by_name["W_1"]["flops"] == 2 * 2 * 8 * 32 * 64
    assert by_name["Q x K"]["flops"] == 2 * 2 * 8 * 8 * (2 * 16 - 1)


def test_a_decoder(celosia):
    ours = rows(celosia("analyze", "intensity", "--decoder", "--tokens", "16", "--json"))
    assert ours == rows(celosia("analyze", "intensity", "--model", "gpt2", "--tokens", "16", "--json"))
    assert ours[-1]["intensity"] < 2


def test_a_workload(celosia):
    ours = rows(celosia("analyze", "intensity", "--workload", "bert-base-layer-128", "--json"))
    assert ours == rows(celosia("analyze", "intensity", "--layers", "1", "--tokens", "128", "--json"))
    published = celosia("analyze", "latency", "--workload", "minilm-16", "--json")
    assert published.stdout == celosia("analyze", "latency", "--model", "minilm", "--tokens", "16", "--json").stdout


def test_printed(celosia):
    tables = celosia("analyze", "intensity", "--printed").stdout
    for title in ("table 3", "table 4", "table 5", "table 12"):
        assert f"{title}: " in tables
    assert re.search(r"FFN .* 558\.54 .* 558\.55 .* misprint", tables)
    found = rows(celosia("analyze", "latency", "--printed", "--json"))
    assert {row["source"] for row in found} == {"figure 32", "text"}
    assert len(found) == 19
    assert all(row["verdict"] in ("same", "close") for row in found)


def test_latency(celosia):
    found = rows(celosia("analyze", "latency", "--tokens", "128", "--json"))
    assert all(row["cycles"] == max(row["compute"], row["memory"]) for row in found[:-1])
    assert found[-1]["cycles"] == sum(row["cycles"] for row in found[:-1])
    table = celosia("analyze", "latency", "--tokens", "128").stdout
    assert re.search(r"W_Q .* 3,538,944 .* 7\.3%", table)


def test_roofline(celosia, tmp_path):
    file = tmp_path / "new" / "roof.svg"
    result = celosia("analyze", "roofline", "--set", "bus.bytes=8", "-o", file, "--json")
    described = json.loads(result.stdout)
    assert described["configuration"] == "transformer bus.bytes=8"
    assert (described["flops"], described["bus"], described["ridge"]) == (512, 8, 64.0)
    limits = {row["operation"]: row["limit"] for row in described["rows"]}
    assert (limits["W_Q"], limits["softmax"]) == ("compute", "bus")
    assert file.read_text().count("<svg") == 1
    table = celosia("analyze", "roofline", "--preset", "edge", "--model", "resnet50").stdout
    assert "resnet50, one image\non edge: 128 FLOPs and 8 bytes a cycle, equal at 16 FLOPs a byte" in re.sub(
        r" +\n", "\n", table
    )
    assert "conv5_3 1x1 out" in table


def test_every_model_is_offered(celosia):
    text = re.sub(r"[\s│]+", " ", celosia("analyze", "intensity", "--help").stdout)
    assert [name for name in MODELS if not re.search(rf"[ ,]{name}[,. ]", text)] == []


def test_the_page_is_what_the_command_prints(celosia):
    """docs/analysis.md is what `celosia analyze document` prints, and its figures are there."""
    page = (ROOT / "docs/analysis.md").read_text()
    assert celosia("analyze", "document").stdout == page
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert sorted(links) == sorted([analysis_page.ROOFLINE_FIGURE, analysis_page.LENGTH_FIGURE])
    assert all((ROOT / "docs" / link).is_file() for link in links)


def test_document_writes_page_and_figures(celosia, tmp_path):
    result = celosia("analyze", "document", "-o", tmp_path / "page.md")
    assert (result.exit_code, result.stdout) == (0, "")
    names = {"page.md", analysis_page.ROOFLINE_FIGURE, analysis_page.LENGTH_FIGURE}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["intensity", "--tokens", "0"], "tokens must be at least 1, not 0"),
        (["latency", "--model", "gpt2", "--tokens", "-3"], "tokens must be at least 1, not -3"),
        (["intensity", "--tokens", "9" * 20], f"tokens of an encoder must be at most 16777216, not {'9' * 20}"),
        (["roofline", "--tokens", "16777217"], "tokens of an encoder must be at most 16777216, not 16777217"),
        (["latency", "--tokens", "9" * 20], f"tokens of an encoder must be at most 16777216, not {'9' * 20}"),
        (["intensity", "--printed", "--tokens", "5"], "--printed and --tokens exclude one another"),
        (["latency", "--printed", "--decoder"], "--printed and --decoder exclude one another"),
        (["mapspace", "--samples", "9" * 20], "less than or equal to 1000000"),
        (["correlate", "--points", "9" * 20], "less than or equal to 10000"),
        (["roofline", "--heads", "7"], "heads must divide hidden = 768, not 7; the nearest legal value is 6"),
        (["intensity", "--layers", "0"], "layers must be from 1"),
        (["latency", "--model", "bert"], "no model 'bert'; did you mean bert-base?"),
        (["intensity", "--model", "xyzzy"], "there are minilm, bert-base"),
        (["roofline", "--workload", "minilm-61"], "no workload 'minilm-61'; did you mean minilm-16?"),
        (["roofline", "--workload", "minilm-16", "--tokens", "3"], "--workload says it all"),
        (["roofline", "--preset", "transfomer"], "did you mean transformer?"),
        (["intensity", "--model", "resnet50", "--heads", "3"], "--heads is for transformers, and resnet50 is none"),
        (["intensity", "--model", "resnet50", "--decoder"], "--decoder is for transformers"),
        (["latency", "--model", "resnet50", "--tokens", "2"], "tokens must be 1, not 2"),
        (["document", "-o", "."], "it is a folder; give a file"),
        (["roofline", "-o", "."], "it is a folder; give a file"),
    ],
)
def test_bad_input(celosia, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    result = celosia("analyze", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("celosia: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra(celosia, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = celosia("analyze", "roofline", "-o", tmp_path / "roof.svg")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "celosia: plots need matplotlib: run `pip install celosia[report]`\n"
    assert list(tmp_path.iterdir()) == []
