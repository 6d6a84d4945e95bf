"""Areas of designs that can be counted by hand, on every target; what must not get lost; what is mapped again."""

from collections import Counter
from pathlib import Path

import pytest
from designs import DEPTH, WIDTH, Pair

from celosia.hw.emit.rtlil import rtlil
from celosia.sw.technology import load
from celosia.synth.area import flow
from celosia.synth.area.functions import function_of
from celosia.synth.area.report import Report, Row
from celosia.synth.area.targets import TARGETS, AreaError
from celosia.synth.liberty import Liberty, LibertyError
from celosia.synth.netlist import Netlist

LIBRARY = Path(__file__).with_name("small.lib")


@pytest.fixture(scope="module")
def text() -> str:
    return rtlil(Pair(), "celosia")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELOSIA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize(
    ("target", "lut", "bram"),
    [
        # Four exclusive ors of eight bits each, one a LUT. A memory of 8 Kibit fits half of a block of 16 Kibit (two
        # blocks of 4 Kibit on iCE40; half of a block of 36 Kibit counts as 0.5).
        ("ecp5", 32, 2),
        ("ice40", 32, 4),
        ("xc7", 32, 1),
        ("gowin", 32, 2),
    ],
)
def test_fpga_figures(text, target, lut, bram):
    totals = flow.measure_text(text, target).totals
    assert totals["lut"] == pytest.approx(lut, abs=1)  # the inverted reset, where it is not absorbed
    assert totals["ff"] == 2 * WIDTH
    assert totals["bram"] == bram
    assert totals["dsp"] == 0


def test_cells_are_gates_and_macros(text):
    report = flow.measure_text(text, "cells")
    process = load()
    totals = report.totals
    assert totals["ff"] == 2 * WIDTH
    assert totals["memory_bits"] == 2 * WIDTH * DEPTH
    assert totals["memory_um2"] == pytest.approx(2 * process.sram(DEPTH, WIDTH).area_um2)
    # A reset is an AND with its inverse in front of a flip-flop: NOR of reset and XNOR.
    assert 4 * WIDTH <= totals["gates"] <= 6 * WIDTH + 2 * 2 * WIDTH + 1
    assert totals["area_um2"] == pytest.approx(totals["ge"] * process.gate_um2 + totals["memory_um2"])


def test_liberty_areas_are_those_of_the_file(text):
    totals = flow.measure_text(text, "cells", LIBRARY).totals
    areas = {"INVX": 1, "NAND2X": 2, "XOR2X": 5}
    assert totals["ff"] == 2 * WIDTH
    gates_um2 = totals["logic_um2"] - 10 * totals["ff"]
    assert min(areas.values()) * totals["gates"] <= gates_um2 <= max(areas.values()) * totals["gates"]
    assert totals["ge"] == pytest.approx(totals["logic_um2"] / 2)


def test_tree_and_counts(text):
    report = flow.measure_text(text, "ecp5")
    rows = {row["path"]: row for row in report.modules}
    leaf = rows["core/first"]
    assert leaf["count"] == 2
    assert leaf["name"] == "first.."
    assert (leaf["own"]["lut"], leaf["own"]["ff"], leaf["own"]["bram"]) == (WIDTH, WIDTH, 0)
    assert (rows["core/first/memory"]["count"], rows["core/first/memory"]["own"]["bram"]) == (2, 1)
    assert rows["core"]["own"] == {"lut": 2 * WIDTH, "ff": 0, "dsp": 0, "bram": 0}
    assert rows[""]["total"] == report.to_dict()["total"]


def test_only_what_changed_is_mapped_again(text):
    flow.measure_text(text, "ice40")
    again = flow.measure_text(text, "ice40")
    assert again.reused == len(again.modules)
    other = flow.measure_text(text.replace("\\address", "\\place"), "ice40")
    assert other.reused < len(other.modules)
    assert other.totals == again.totals


def test_a_lost_instance_is_noticed(text):
    netlist = Netlist(text)
    mapped = {unit: Counter(below for _, below in netlist.instances(unit)) for unit in netlist.units}
    flow._check_conserved(netlist, TARGETS["ecp5"], mapped)
    parent = next(unit for unit in netlist.units if unit.endswith("core"))
    mapped[parent] -= Counter([next(iter(mapped[parent]))])
    with pytest.raises(AreaError, match="lost or gained instances"):
        flow._check_conserved(netlist, TARGETS["ecp5"], mapped)


def test_a_lost_memory_is_noticed(text):
    netlist = Netlist(text)
    mapped = {unit: Counter(below for _, below in netlist.instances(unit)) for unit in netlist.units}
    with pytest.raises(AreaError, match=r"has the memories \{'SRAM_1024x8_1r1w': 1\}"):
        flow._check_conserved(netlist, TARGETS["cells"], mapped)


def test_an_unknown_cell_is_an_error():
    with pytest.raises(AreaError, match=r"does not know the cell \$_DLATCH_P_"):
        TARGETS["ecp5"].count({"LUT4": 3, "$_DLATCH_P_": 1})


def test_parts_must_be_the_whole():
    part = Row.of("part", "m", "a", {"lut": 2.0}, [])
    whole = Row("top", "t", "", {"lut": 1.0}, {"lut": 4.0}, ((2, part),))
    with pytest.raises(AreaError, match=r"parts add up to 5.0 lut, the whole is 4.0"):
        Report("ecp5", {}, None, 0.0, 0, whole)
    assert Report("ecp5", {}, None, 0.0, 0, Row.of("top", "t", "", {"lut": 1.0}, [(2, part)])).totals == {"lut": 5.0}


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("core/post/lanes/lane0/exponential", "softmax"),
        ("core/post/lanes/lane12/activation", "gelu"),
        ("core/post/rows/root", "layernorm"),
        ("core/post/lanes/lane0", None),
        ("core/array/systolic", None),
    ],
)
def test_functions(path, function):
    assert function_of(path) == function


def test_liberty_is_for_cells(text):
    with pytest.raises(AreaError, match="a Liberty file is for the cells target, not for ecp5"):
        flow.measure_text(text, "ecp5", LIBRARY)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a Liberty file"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"library (x) { cell (A) { pin (Y) { } } }", "the cell A has no area"),
        (b"library (x) { cell (A) { area : 1; } }", "has no flip-flop"),
    ],
)
def test_unreadable_liberty(tmp_path, content, message):
    path = tmp_path / "bad.lib"
    path.write_bytes(content)
    with pytest.raises(LibertyError, match=message):
        Liberty.read(path)


def test_missing_liberty(tmp_path):
    with pytest.raises(LibertyError, match=r"cannot read .*none.lib: No such file"):
        Liberty.read(tmp_path / "none.lib")
