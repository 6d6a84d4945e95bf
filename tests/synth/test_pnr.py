"""The frame that gives every port to a shift register, a run of the real tools on it, and reports read from JSON."""

import sys
import threading

import pytest
from amaranth.sim import Simulator
from designs import WIDTH, Pair

from celosia.hw.emit.rtlil import rtlil
from celosia.hw.emit.shell import Shell
from celosia.synth import tools
from celosia.synth.errors import SynthError
from celosia.synth.netlist import Netlist
from celosia.synth.pnr import run
from celosia.synth.pnr.report import Outcome, PnrReport, read_outcome, unit_of


@pytest.fixture(scope="module")
def netlist() -> Netlist:
    return Netlist(rtlil(Shell(Pair()), "shell"))


def test_ports_are_reached_through_the_shift_register():
    """What is shifted in arrives at the inputs: q = (d ^ e) ^ (f ^ g) comes out after a capture."""
    shell = Shell(Pair())
    inputs = ["d", "e", "f", "g", "address", "write"]
    values = {"d": 0x5A, "e": 0x0F, "f": 0x81, "g": 0x3C, "address": 3, "write": 0}
    widths = {"address": 10, "write": 1}
    order = [str(path[0]) for path, member, _ in shell.component.signature.flatten(shell.component)
             if path[0] in inputs]  # fmt: skip
    bits = [values[name] >> i & 1 for name in order for i in range(widths.get(name, WIDTH))]
    outputs = [str(path[0]) for path, _, _ in shell.component.signature.flatten(shell.component)
               if path[0] in ("q", "read")]  # fmt: skip
    seen = []

    async def bench(ctx):
        ctx.set(shell.aresetn, 1)

        async def edge():
            ctx.set(shell.aclk, 0)
            await ctx.delay(1e-9)
            ctx.set(shell.aclk, 1)
            await ctx.delay(1e-9)

        for bit in bits:
            ctx.set(shell.shift_in, bit)
            await edge()
        # The register shifts on; hold its contents by feeding what leaves it is not needed: capture at once.
        ctx.set(shell.capture, 1)
        await edge()
        ctx.set(shell.capture, 0)
        for _ in range(2 * WIDTH):
            seen.append(ctx.get(shell.shift_out))
            await edge()

    simulator = Simulator(shell)
    simulator.add_testbench(bench)
    simulator.run()
    start = outputs.index("q") * WIDTH
    found = sum(bit << i for i, bit in enumerate(seen[start : start + WIDTH]))
    # The design registers: what is captured is of the cycle before the last bit arrived.
    shifted = dict(values)
    word = sum(bit << i for i, bit in enumerate(bits)) << 1
    for name in order:
        width = widths.get(name, WIDTH)
        shifted[name] = word & (1 << width) - 1
        word >>= width
    assert found == shifted["d"] ^ shifted["e"] ^ shifted["f"] ^ shifted["g"]


def test_place_and_route_of_a_small_design(tmp_path, monkeypatch):
    monkeypatch.setenv("CELOSIA_CACHE", str(tmp_path))
    heard = []
    text = rtlil(Shell(Pair()), "shell")
    report = run.route_text(text, "25k", seeds=2, target=50.0, jobs=2, tell=heard.append)
    used = report.typical.used
    assert used["DP16KD"] == (2, 56)  # two memories of 8 Kibit; an LFE5U-25F has 56 blocks
    assert len(report.outcomes) == 2
    assert report.to_dict()["fmax_mhz"]["minimum"] <= report.fmax_median <= report.to_dict()["fmax_mhz"]["maximum"]
    # A path takes as long as the clock that it allows: nanoseconds of the segments against MHz.
    for outcome in report.outcomes:
        assert sum(s.delay for s in outcome.path) == pytest.approx(1000 / outcome.fmax, abs=0.6)
    assert heard[0] == "synthesis"
    heard.clear()
    again = run.route_text(text, "25k", seeds=2, target=50.0)
    assert not heard
    assert again.outcomes == report.outcomes


def test_progress_of_a_seed():
    heard, stopped = [], threading.Event()
    hear = run.Progress("seed 4", heard.append, stopped)
    for line in (
        "Info: Running simulated annealing placer for refinement.",
        "Info: Max frequency for clock '$glbnet$clk': 53.50 MHz (FAIL at 80.00 MHz)",
        "Info:      19000 |     3439      15560 |  213   787 |    171409|       1.17     128.49|",
        "Info:      20000 |     3601      16398 |  162   838 |    170729|       1.08     129.57|",
        "Info: Max frequency for clock '$glbnet$clk': 69.30 MHz (FAIL at 80.00 MHz)",
    ):
        hear(line)
    assert heard == ["seed 4: placed, 53.5 MHz expected", "seed 4: 170,729 arcs to route"]
    stopped.set()
    with pytest.raises(InterruptedError):
        hear("Info: more")


def test_a_tool_that_nobody_waits_for_is_killed():
    def hear(line: str) -> None:
        raise InterruptedError(line)

    tool = tools.Tool((sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"), "python")
    with pytest.raises(InterruptedError, match="up"):
        tool.run([], {}, [], hear=hear)


def test_cells_belong_to_the_module_that_their_name_starts_with(netlist):
    assert unit_of(netlist, "design.core.first.q_TRELLIS_FF_Q_3") == "core/first"
    assert unit_of(netlist, "design.core.second.memory.cells.0.0") == "core/second/memory"
    assert unit_of(netlist, "design.core.q_LUT4_Z") == "core"
    assert unit_of(netlist, "source_TRELLIS_FF_Q") == "/"


def step(kind: str, delay: float, cell: str, net: str | None = None) -> dict:
    return {"type": kind, "delay": delay, "from": {"cell": cell}, "to": {"cell": cell}} | ({"net": net} if net else {})


def test_critical_path_by_module(netlist):
    report = {
        "fmax": {"clk": {"achieved": 80.0, "constraint": 50.0}},
        "utilization": {"TRELLIS_FF": {"used": 16, "available": 24288}},
        "critical_paths": [
            {"from": "async", "to": "posedge clk", "path": [step("routing", 99.0, "design.core.x", "n")]},
            {
                "from": "posedge clk",
                "to": "posedge clk",
                "path": [
                    step("clk-to-q", 0.5, "design.core.first.q_FF"),
                    step("routing", 1.5, "design.core.first.q_FF", "q"),
                    step("logic", 0.25, "design.core.q_LUT4"),
                    step("setup", 0.1, "design.core.second.q_FF"),
                ],
            },
        ],
    }
    outcome = read_outcome(report, 3, netlist)
    assert outcome.fmax == 80.0
    assert outcome.units == [("core/first", 2.0, 0), ("core", 0.25, 1), ("core/second", 0.1, 0)]
    assert outcome.used == {"TRELLIS_FF": (16, 24288)}


def test_median_and_typical_seed():
    outcomes = tuple(
        Outcome(seed, fmax, (), {}) for seed, fmax in ((1, 61.0), (2, 90.0), (3, 40.0), (4, 70.0), (5, 66.0))
    )
    report = PnrReport("85k", 80.0, {}, 1.0, outcomes)
    assert report.fmax_median == 66.0
    assert report.typical.seed == 5
    assert report.to_dict()["fmax_mhz"] == {"median": 66.0, "minimum": 40.0, "maximum": 90.0}


def test_bad_requests():
    with pytest.raises(SynthError, match="no device '99k'; there are 12k, 25k"):
        run.route_text("", "99k")
    with pytest.raises(SynthError, match="at least one seed"):
        run.route_text("", "85k", seeds=[])
