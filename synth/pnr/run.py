"""Runs synthesis once and nextpnr once a seed, and remembers each result."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celosia.hw.config import Config
from celosia.hw.emit.rtlil import rtlil
from celosia.hw.emit.shell import Shell
from celosia.hw.top import Accelerator
from celosia.sw.cache import cache_folder, recall
from celosia.synth import tools
from celosia.synth.errors import SynthError
from celosia.synth.files import remember
from celosia.synth.netlist import Netlist
from celosia.synth.pnr.report import PnrReport, read_outcome

DEVICES = ("12k", "25k", "45k", "85k", "um-25k", "um-45k", "um-85k", "um5g-25k", "um5g-45k", "um5g-85k")
"""ECP5 devices, by nextpnr's names; 85k is the LFE5U-85F."""
_PACKAGE, _SPEED = "CABGA381", "6"
_TOP = "shell"
# The electrostatic placer leaves wires a fifth shorter than the default one does. Router 2 is faster where it
# converges; wide words between multipliers and memories are too much for it (docs/synthesis.md).
_ALGORITHMS = ("--placer", "static", "--router", "router1")
# ABC9 maps for depth; reads during a write of the same address give an undefined word (hw.common.sram).
_ESTIMATE = re.compile(r"Info: Max frequency for clock .*: (\d+\.\d+) MHz")
_ROUTED = re.compile(r"Info: +(\d+) \| +\d+ +\d+ \| +\d+ +\d+ \| +(\d+)\|")
_ARCS = 20_000
"""Arcs that the router works on between two words of progress."""
_SCRIPT = f"""read_rtlil design.il
chformal -remove
setparam -set COLLISION_X_MASK 1'1 -set TRANSPARENCY_MASK 1'0 t:$memrd_v2 r:CLK_ENABLE=1 %i
synth_ecp5 -top {_TOP} -json netlist.json
"""


def place_and_route(
    config: Config,
    device: str = "85k",
    seeds: int | Iterable[int] = 5,
    target: float = 80.0,
    jobs: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> PnrReport:
    """Frequencies of the accelerator of `config` on an ECP5 of speed grade 6, for several seeds of the placer.

    `seeds`: how many, from 1 on, or which. `target`: MHz to aim for. `jobs`: seeds at a time. `tell`: hears of every
    step. Finished seeds are kept and not run again. Errors: ToolError, SynthError.
    """
    return route_text(rtlil(Shell(Accelerator(config)), _TOP), device, seeds, target, jobs, tell)


def route_text(
    text: str,
    device: str = "85k",
    seeds: int | Iterable[int] = 5,
    target: float = 80.0,
    jobs: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> PnrReport:
    """The same of a design in RTLIL, framed and called `shell`."""
    if device not in DEVICES:
        raise SynthError(f"no device {device!r}; there are {', '.join(DEVICES)}")
    start = time.monotonic()
    wanted = list(range(1, seeds + 1)) if isinstance(seeds, int) else list(seeds)
    if not wanted:
        raise SynthError("place and route needs at least one seed")
    versions = {"yosys": tools.yosys().version, "nextpnr": tools.nextpnr_ecp5().version}
    key = hashlib.sha256(json.dumps([text, _SCRIPT, versions, device, target, _arguments(device, target)]).encode())
    folder = cache_folder() / "pnr" / key.hexdigest()
    reports = {seed: found for seed in wanted if (found := recall(folder / f"{seed}.json")) is not None}
    if missing := [seed for seed in wanted if seed not in reports]:
        tell("synthesis")
        mapped = _synthesise(text, folder)
        for seed, report in _run(mapped, _arguments(device, target), missing, jobs, tell):
            remember(folder / f"{seed}.json", report)
            reports[seed] = report
            tell(f"seed {seed}: {min(clock['achieved'] for clock in report['fmax'].values()):.1f} MHz")
    netlist = Netlist(text)
    outcomes = tuple(read_outcome(reports[seed], seed, netlist) for seed in wanted)
    return PnrReport(device, target, versions, time.monotonic() - start, outcomes)


def _arguments(device: str, target: float) -> list[str]:
    return [
        *(f"--{device}", "--package", _PACKAGE, "--speed", _SPEED, "--freq", str(target)),
        *("--json", "netlist.json", "--report", "report.json", *_ALGORITHMS),
        *("--lpf-allow-unconstrained", "--timing-allow-fail"),
    ]


def _synthesise(text: str, folder: Path) -> str:
    path = folder / "netlist.json"
    if path.exists():
        return path.read_text()
    script = {"design.il": text, "script.ys": _SCRIPT}
    mapped = tools.yosys().run(["-Q", "-T", "-q", "script.ys"], script, ["netlist.json"])["netlist.json"]
    remember(path, mapped)
    return mapped


def _run(
    mapped: str, arguments: list[str], seeds: list[int], jobs: int, tell: Callable[[str], None]
) -> Iterable[tuple[int, dict[str, Any]]]:
    stopped = threading.Event()
    with ThreadPoolExecutor(min(jobs, len(seeds))) as pool:
        running = {
            pool.submit(_seed, mapped, arguments, seed, Progress(f"seed {seed}", tell, stopped)): seed for seed in seeds
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


@dataclass
class Progress:
    """Makes a few words of what nextpnr prints. `stopped`: nobody waits for the result any more."""

    name: str
    tell: Callable[[str], None]
    stopped: threading.Event
    placed: bool = False

    def __call__(self, line: str) -> None:
        """A line. Errors: InterruptedError once `stopped`."""
        if self.stopped.is_set():
            raise InterruptedError(self.name)
        if not self.placed and (found := _ESTIMATE.match(line)):
            self.placed = True
            self.tell(f"{self.name}: placed, {float(found[1]):.1f} MHz expected")
        elif (found := _ROUTED.match(line)) and not int(found[1]) % _ARCS:
            self.tell(f"{self.name}: {int(found[2]):,} arcs to route")


def _seed(mapped: str, arguments: list[str], seed: int, hear: Progress) -> dict[str, Any]:
    script = {"netlist.json": mapped}
    files = tools.nextpnr_ecp5().run([*arguments, "--seed", str(seed)], script, ["report.json"], hear=hear)
    report = json.loads(files["report.json"])
    report.pop("detailed_net_timings", None)
    if not report["fmax"]:
        raise SynthError(f"seed {seed} was placed and routed, but no clock was timed")
    return report
