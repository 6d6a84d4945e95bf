"""Runs cocotb tests on a component: Verilog, a cached simulator, the tests, and their failures as Python errors.

On the pytest side: `run_bench`. On the cocotb side: `start` and `parameters`.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from amaranth.lib import wiring

from celosia.hw.config import Config, from_dict
from celosia.hw.emit.rtlil import ports_of, rtlil
from celosia.hw.emit.verilog import from_rtlil
from celosia.hw.emit.yosys import version as yosys_version
from celosia.sim import toolchain

_TOP = "dut"
_VERILATOR_FLAGS = [
    "-O3",
    "--vpi",
    "--x-assign",
    "fast",
    "--x-initial",
    "unique",
    "--no-timing",
    "--assert",
    "-Wno-lint",
]
_LOG_TAIL = 6000


class BenchError(AssertionError):
    """A test of a bench failed; the message holds the failures."""


def run_bench(
    component: wiring.Component,
    *modules: str,
    name: str,
    parameters: dict[str, Any] | None = None,
    test_filter: str | None = None,
    seed: int = 1,
) -> None:
    """Run the cocotb tests of the Python modules `modules` on `component`: of all in one simulation.

    `name` names the run in messages. `parameters` reach the tests through `harness.parameters()`: plain values and
    `Config` objects. `test_filter`: a regular expression on test names. CELOSIA_SEED overrides `seed`;
    CELOSIA_SIM=icarus uses Icarus. Errors: BenchError with every failed test's message; ToolError when the build fails.
    """
    text = rtlil(component, _TOP)
    ports = [*sorted(ports_of(component)), "clk", "rst"]
    inputs = [port for port, (_, direction) in ports_of(component).items() if direction.name == "Input"]
    icarus = os.environ.get("CELOSIA_SIM") == "icarus"
    folder = _build_icarus(text) if icarus else _build_verilator(text, ports)
    environment = _environment(modules, test_filter, seed) | {
        "CELOSIA_BENCH": json.dumps(
            {"parameters": {key: _encode(value) for key, value in (parameters or {}).items()}, "inputs": inputs}
        ),
    }
    with tempfile.TemporaryDirectory(prefix=f"celosia-{name}-") as work:
        results = Path(work, "results.xml")
        log = Path(work, "log.txt")
        with log.open("w") as out:
            subprocess.run(
                _icarus_command(folder) if icarus else [str(folder / _TOP), "+verilator+rand+reset+2"],
                cwd=work,
                env=environment | {"COCOTB_RESULTS_FILE": str(results)},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        _judge(name, results, log.read_text(errors="replace"))


def parameters() -> dict[str, Any]:
    """The parameters that `run_bench` was given (in the simulator's process)."""
    return {name: _decode(value) for name, value in json.loads(os.environ["CELOSIA_BENCH"])["parameters"].items()}


async def start(dut, *, clock: str = "clk", reset: str = "rst", active_low: bool = False) -> random.Random:
    """Start the clock, zero every input that nothing drives yet, reset for four cycles.

    Returns a random generator seeded by the test run.
    """
    import cocotb
    from cocotb.clock import Clock

    from celosia.sim.bench.streams import hub_of

    hub = hub_of(dut, clock)
    for name in json.loads(os.environ["CELOSIA_BENCH"])["inputs"]:
        if name not in hub.driven and name not in (clock, reset):
            getattr(dut, name).value = 0
    on, off = (0, 1) if active_low else (1, 0)
    handle = getattr(dut, reset)
    handle.value = on
    Clock(getattr(dut, clock), 2, unit="step").start(start_high=False)
    await hub.cycles(4)
    handle.value = off
    hub.running = True
    return random.Random(cocotb.RANDOM_SEED)


async def reset(dut, *, clock: str = "clk", reset: str = "rst", active_low: bool = False, cycles: int = 2) -> None:
    """Reset in the middle of a test: agents drop what is under way."""
    from celosia.sim.bench.streams import hub_of

    hub = hub_of(dut, clock)
    hub.running = False
    for agent in hub.agents:
        agent.reset()
    handle = getattr(dut, reset)
    handle.value = 0 if active_low else 1
    await hub.cycles(cycles)
    handle.value = 1 if active_low else 0
    hub.running = True


def _encode(value: Any) -> Any:
    if isinstance(value, Config):
        return {"Config": value.to_dict()}
    if isinstance(value, dict):
        return {"dict": {key: _encode(item) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        if "Config" in value:
            return from_dict(value["Config"])
        return {key: _decode(item) for key, item in value["dict"].items()}
    return value


def _build_verilator(text: str, ports: list[str]) -> Path:
    import cocotb
    import cocotb_tools.config

    main = Path(cocotb_tools.config.share_dir) / "lib/verilator/verilator.cpp"
    # Only the ports are visible to the tests: everything public costs speed and build time.
    # Verilator renames a port that is called like a C++ word, and warns; to the tests it keeps its name.
    quiet = "lint_off -rule SYMRSVDWORD\n" if "interrupt" in ports else ""
    public = "".join(f'public_flat_rw -module "{_TOP}" -var "{port}"\n' for port in ports)
    visible = f"`verilator_config\n{quiet}{public}"

    def build(folder: Path) -> None:
        (folder / "dut.sv").write_text(from_rtlil(text, assertions=True))
        (folder / "ports.vlt").write_text(visible)
        toolchain.verilate(folder, ["--exe", "--top-module", _TOP, *_VERILATOR_FLAGS, "ports.vlt", "dut.sv"])
        libraries = cocotb_tools.config.libs_dir
        link = [f"-Wl,-rpath,{libraries}", f"-L{libraries}", "-lcocotbvpi_verilator", "-pthread"]
        toolchain.compile_model(folder, [main], _TOP, flags=["-DVM_ASSERT=1"], link=link, fast="-O1")
        shutil.rmtree(folder / "obj")

    key = toolchain.digest(
        text, visible, *_VERILATOR_FLAGS, *toolchain.hot_flags(), toolchain.versions(), cocotb.__version__, str(main),
        yosys_version(), "1",
    )  # fmt: skip
    return toolchain.cached("bench", key, build)


def _build_icarus(text: str) -> Path:
    if not shutil.which("iverilog"):
        raise toolchain.ToolError("CELOSIA_SIM=icarus, but iverilog is missing: install Icarus Verilog, or unset it")

    def build(folder: Path) -> None:
        (folder / "dut.sv").write_text(from_rtlil(text, assertions=True))
        command = ["iverilog", "-g2012", "-s", _TOP, "-o", "dut.vvp", "dut.sv"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise toolchain.ToolError(f"iverilog failed:\n{done.stderr}")

    return toolchain.cached("icarus", toolchain.digest(text, yosys_version()), build)


def _icarus_command(folder: Path) -> list[str]:
    import cocotb_tools.config

    # The whole file name: by its stem, older releases look for another ending.
    module = Path(cocotb_tools.config.libs_dir) / "libcocotbvpi_icarus.so"
    return ["vvp", "-m", str(module), str(folder / "dut.vvp")]


def _environment(modules: tuple[str, ...], test_filter: str | None, seed: int) -> dict[str, str]:
    import cocotb_tools.config
    import find_libpython

    libpython = os.environ.get("LIBPYTHON_LOC") or find_libpython.find_libpython()
    environment = os.environ | {
        "PATH": os.environ["PATH"] + os.pathsep + str(cocotb_tools.config.libs_dir),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{libpython};{cocotb_tools.config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": _TOP,
        "COCOTB_TEST_MODULES": ",".join(modules),
        "COCOTB_RANDOM_SEED": os.environ.get("CELOSIA_SEED", str(seed)),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "TOPLEVEL_LANG": "verilog",
    }
    if test_filter is not None:
        environment["COCOTB_TEST_FILTER"] = test_filter
    return environment


def _judge(name: str, results: Path, log: str) -> None:
    tail = re.sub(r"\x1b\[[0-9;]*m", "", log)[-_LOG_TAIL:]
    if not results.exists():
        raise BenchError(f"{name}: the simulation ended early\n{tail}")
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    if not cases:
        raise BenchError(f"{name}: no test ran\n{tail}")
    failures = []
    for case in cases:
        for kind in ("failure", "error"):
            for entry in case.findall(kind):
                failures.append(f"{case.get('name')}: {entry.get('message') or entry.get('error_msg') or entry.text}")
        if case.find("skipped") is not None:
            failures.append(f"{case.get('name')}: skipped")
    if failures or "Assertion failed" in log:
        raise BenchError(f"{name}: {len(failures)} of {len(cases)} tests failed\n" + "\n".join(failures) + f"\n{tail}")
