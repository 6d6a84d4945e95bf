"""Maps a design unit by unit, each distinct one once and never again, and adds up."""

import hashlib
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from celosia.hw.config import Config
from celosia.hw.emit.rtlil import rtlil
from celosia.hw.top import Accelerator
from celosia.sw.cache import cache_folder, recall
from celosia.sw.technology import Technology
from celosia.sw.technology import load as load_technology
from celosia.synth import tools
from celosia.synth.area import cells as generic
from celosia.synth.area.functions import FUNCTIONS
from celosia.synth.area.report import Figures, Report, Row
from celosia.synth.area.targets import TARGETS, AreaError, Target
from celosia.synth.files import remember
from celosia.synth.liberty import Liberty
from celosia.synth.netlist import Netlist

_TOP = "units"
_MEMORY = re.compile(r"^  memory (?:width (\d+) )?(?:size (\d+) )?\\(\S+)$", re.MULTILINE)
_WANTED = tuple(pattern for patterns in FUNCTIONS.values() for pattern in patterns)


@dataclass(frozen=True)
class _Goal:
    """What to map to. `library`: cells instead of gates. `process`: areas of gates and memories."""

    target: Target
    library: Liberty | None
    process: Technology

    @classmethod
    def of(cls, target: str, liberty: Path | None, technology: Path | None) -> "_Goal":
        if liberty is not None and not TARGETS[target].macros:
            raise AreaError(f"a Liberty file is for the cells target, not for {target}")
        library = Liberty.read(liberty) if liberty is not None else None
        return cls(TARGETS[target], library, load_technology(technology))

    @property
    def script(self) -> str:
        return generic.script(self.library is not None) if self.target.macros else self.target.script


def measure(
    config: Config, target: str, liberty: Path | None = None, technology: Path | None = None, cache: bool = True
) -> Report:
    """Area of the accelerator, or the co-processor, of `config` on a target of TARGETS.

    `liberty`: cells to map to instead of gates (target `cells`). `technology`: table for areas of gates and memories.
    `cache`: keep and use what was mapped before. Errors: AreaError, ToolError, TechnologyError, LibertyError.
    """
    start = time.monotonic()
    # Before the long work: files that cannot be used.
    goal = _Goal.of(target, liberty, technology)
    return _measure(rtlil(Accelerator(config), "celosia"), goal, cache, start)


def measure_text(
    text: str, target: str, liberty: Path | None = None, technology: Path | None = None, cache: bool = True
) -> Report:
    """The same of a design in cleaned RTLIL, top module first."""
    return _measure(text, _Goal.of(target, liberty, technology), cache, time.monotonic())


def _measure(text: str, goal: _Goal, cache: bool, start: float) -> Report:
    netlist = Netlist(text, _WANTED)
    mapped, reused = _map(netlist, goal, cache)
    _check_conserved(netlist, goal.target, mapped)
    return Report(
        target=goal.target.name,
        tools={"yosys": tools.yosys().version},
        technology=goal.process.name if goal.target.macros else None,
        seconds=time.monotonic() - start,
        reused=reused,
        root=_tree(netlist, {unit: _figures(goal, mapped[unit]) for unit in netlist.units}),
    )


def _map(netlist: Netlist, goal: _Goal, cache: bool) -> tuple[dict[str, Counter[str]], int]:
    """Cells by type of every unit, black boxes included, and how many units were known."""
    library = goal.library.text if goal.library else None
    setting = json.dumps([goal.script, tools.yosys().version, library])
    keys = {unit: hashlib.sha256(f"{setting}{netlist.digest(unit)}".encode()).hexdigest() for unit in netlist.units}
    folder = cache_folder() / "area"
    known = {unit: recall(folder / f"{key}.json") for unit, key in keys.items()} if cache else {}
    mapped = {unit: Counter(found) for unit, found in known.items() if found is not None}
    reused = len(mapped)
    missing = sorted(set(netlist.units) - set(mapped))
    # In an order of its own: processes that map designs with much in common then share the work.
    random.shuffle(missing)
    while missing:
        batch, missing = missing[: goal.target.batch], missing[goal.target.batch :]
        for unit, cells in _synthesise(netlist, goal, batch).items():
            mapped[unit] = cells
            if cache:
                remember(folder / f"{keys[unit]}.json", dict(sorted(cells.items())))
        if cache:
            others = {unit: recall(folder / f"{keys[unit]}.json") for unit in missing}
            mapped |= {unit: Counter(found) for unit, found in others.items() if found is not None}
            missing = [unit for unit in missing if unit not in mapped]
    return mapped, reused


def _synthesise(netlist: Netlist, goal: _Goal, units: list[str]) -> dict[str, Counter[str]]:
    shapes = sorted({shape for unit in units for shape in _macros(netlist, unit)}) if goal.target.macros else []
    macros = "\n".join(
        f"chtype -set {generic.macro_name(*shape)} t:$mem_v2 r:SIZE={shape[0]} %i r:WIDTH={shape[1]} %i"
        for shape in shapes
    )
    lines = [
        "read_rtlil design.il",
        "chformal -remove",
        f"hierarchy -top {_TOP}",
        f"setattr -mod -set keep_hierarchy 1 {' '.join(units)}",
        "proc",
        "flatten",
        "opt_clean",
        goal.script.format(top=_TOP, macros=macros),
        "tee -q -o cells.json stat -json",
    ]
    files = {"design.il": netlist.extract(units, _TOP), "script.ys": "\n".join(lines)}
    if goal.library:
        files[generic.LIBERTY_FILE] = goal.library.text
    result = tools.yosys().run(["-Q", "-T", "-q", "script.ys"], files, ["cells.json"])
    modules = json.loads(result["cells.json"])["modules"]
    return {unit: Counter(modules[f"\\{unit}"]["num_cells_by_type"]) for unit in units}


def _macros(netlist: Netlist, unit: str) -> Counter[tuple[int, int, int, int]]:
    """Shapes of the memories of a unit that are macros, from its text."""
    shapes: Counter[tuple[int, int, int, int]] = Counter()

    def visit(name: str) -> None:
        body = netlist.modules[name].body
        for width, depth, memory in _MEMORY.findall(body):
            if generic.is_macro(int(depth or 1), int(width or 1)):
                named = rf'(?:    .*\n)*?    parameter \\MEMID "\\\\{re.escape(memory)}"'
                reads, writes = (
                    len(re.findall(rf"^  cell \${kind} .*\n{named}", body, re.MULTILINE))
                    for kind in ("memrd_v2", "memwr_v2")
                )
                shapes[int(depth), int(width), reads, writes] += 1
        for _, child in netlist.modules[name].children:
            if child not in netlist.units:
                visit(child)

    visit(unit)
    return shapes


def _figures(goal: _Goal, mapped: Counter[str]) -> Figures:
    """What a unit's own cells add up to, in the figures of the target."""
    own = {kind: number for kind, number in mapped.items() if not _is_unit(kind)}
    if not goal.target.macros:
        return goal.target.count(own)
    macros = {kind: shape for kind in own if (shape := generic.macro_shape(kind))}
    logic = {kind: number for kind, number in own.items() if kind not in macros}
    totals = _logic(goal, logic)
    totals["memory_bits"] = sum(own[kind] * depth * width for kind, (depth, width, _, _) in macros.items())
    totals["memory_um2"] = sum(own[kind] * goal.process.sram(*shape).area_um2 for kind, shape in macros.items())
    totals["area_um2"] = totals["logic_um2"] + totals["memory_um2"]
    return totals


def _logic(goal: _Goal, cells: dict[str, int]) -> Figures:
    """Gates, flip-flops, gate equivalents and area of logic cells."""
    if goal.library:
        totals = goal.library.count(cells)
        totals["ge"] = totals["logic_um2"] / (goal.library.gate_um2 or goal.process.gate_um2)
        return totals
    totals = goal.target.count(cells)
    kinds = {kind: kind.strip("$_").removesuffix("_P").lower() for kind in cells}
    totals["ge"] = sum(number * goal.process.cells.get(kinds[kind], 0.0) for kind, number in cells.items())
    totals["logic_um2"] = totals["ge"] * goal.process.gate_um2
    return totals


def _is_unit(kind: str) -> bool:
    return kind.startswith("celosia") or kind == _TOP


def _check_conserved(netlist: Netlist, goal: Target, mapped: dict[str, Counter[str]]) -> None:
    """Errors: AreaError when an instance or a bit of memory got lost on the way."""
    for unit in sorted(netlist.units):
        wanted = Counter(below for _, below in netlist.instances(unit))
        found = Counter({kind: number for kind, number in mapped[unit].items() if kind in netlist.modules})
        if wanted != found:
            lost = wanted - found or found - wanted
            raise AreaError(f"{unit} lost or gained instances in synthesis: {dict(lost)}")
        if goal.macros:
            shapes = Counter({generic.macro_name(*shape): n for shape, n in _macros(netlist, unit).items()})
            kept = Counter({kind: n for kind, n in mapped[unit].items() if generic.macro_shape(kind)})
            if shapes != kept:
                raise AreaError(f"{unit} has the memories {dict(shapes)}, but synthesis left {dict(kept)}")


def _tree(netlist: Netlist, figures: dict[str, Figures]) -> Row:
    def row(unit: str, path: str, name: str) -> Row:
        # Instances of one module below one parent are one row: the array has 256 PEs.
        below: dict[str, list[str]] = {}
        for instance, child in netlist.instances(unit):
            below.setdefault(child, []).append(instance)
        rows = [row(c, f"{path}/{names[0]}".lstrip("/"), _name(names)) for c, names in below.items()]
        counts = [len(names) for names in below.values()]
        return Row.of(name, unit, path, figures[unit], list(zip(counts, rows, strict=True)))

    return row(netlist.top, "", netlist.top)


def _name(instances: list[str]) -> str:
    return instances[0] if len(instances) == 1 else f"{instances[0]}.."
