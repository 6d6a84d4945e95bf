"""The evaluators of `objectives.KINDS`: a configuration goes in, figures come out. Flows are imported when called."""

import functools
import importlib
import inspect
from pathlib import Path
from typing import Any

from celosia.hw.config import Config
from celosia.synth.sweep.errors import SweepError, listed
from celosia.synth.sweep.objectives import Figures, Measured


def area(config: Config, *, target: str, liberty: str | None = None, technology: str | None = None) -> Measured:
    """Totals and modules of the area report, and the logic of POST and of each nonlinear function."""
    from celosia.synth.area.flow import measure
    from celosia.synth.area.functions import POST
    from celosia.synth.area.targets import TARGETS

    report = measure(config, target, _path(liberty), _path(technology))
    logic = TARGETS[target].logic
    parts = {"post": report.at(POST).total} | report.functions
    return Measured(report.totals | {f"{name}_{logic}": part[logic] for name, part in parts.items()}, report.modules)


def cycles(config: Config, *, workload: str, device: str, **memory: Any) -> Measured:
    """Cycles from start to interrupt; `ideal`: MACs over PEs; `error`: relative, bound of the performance model's.
    `memory`: latency, bandwidth and outstanding."""
    measure = _modelled_cycles if device == "model" else _rtl_cycles
    return Measured(measure(config, workload, memory))


def _modelled_cycles(config: Config, name: str, memory: dict[str, Any]) -> Figures:
    from celosia.sw.performance import Memory, workload

    found = workload(config, name, Memory(**memory))
    return {
        "cycles": found.cycles,
        "ideal": found.program.ideal_cycles,
        "utilisation": found.utilisation,
        "bytes_read": found.bytes_read,
        "bytes_written": found.bytes_written,
        "error": found.error,
    }


def _rtl_cycles(config: Config, name: str, memory: dict[str, Any]) -> Figures:
    from celosia.sim.rtl.device import RtlDevice
    from celosia.sw.cli.network import prepare
    from celosia.sw.compiler.compile import compile_encoder
    from celosia.sw.runtime.driver import Driver
    from celosia.sw.workloads import WORKLOADS

    model = WORKLOADS[name].model()
    ids = WORKLOADS[name].ids(model)
    network = prepare(config, model)
    # Not network.program: where a sequence does not fit, that looks for the longest that does.
    program = compile_encoder(config, network.encoder, len(ids))
    driver = Driver(RtlDevice(config, **memory), program)
    driver.run(x=network.input(ids))
    counters = driver.counters()
    return {
        "cycles": counters.cycles,
        "ideal": program.ideal_cycles,
        "utilisation": program.ideal_cycles / counters.cycles,
        "bytes_read": counters["BYTES_READ"],
        "bytes_written": counters["BYTES_WRITTEN"],
        "error": 0.0,
    }


def energy(config: Config, *, workload: str, technology: str | None = None, **memory: Any) -> Measured:
    """Energy of the same, and its product with cycles, by the performance model; and of each kind of action."""
    from celosia.sw.performance import Memory
    from celosia.sw.performance import energy as spend
    from celosia.sw.performance import workload as predict
    from celosia.sw.technology import load as read

    found = spend(predict(config, workload, Memory(**memory)), read(_path(technology)))
    return Measured(dict(found.to_dict()))


def fmax(config: Config, *, device: str, seeds: int, target: float) -> Measured:
    """Clock in MHz after place and route."""
    from celosia.synth.pnr.run import place_and_route

    report = place_and_route(config, device, seeds, target)
    all_seeds = [outcome.fmax for outcome in report.outcomes]
    return Measured({"fmax": report.fmax_median, "fmax_min": min(all_seeds), "fmax_max": max(all_seeds)})


def python(config: Config, *, function: str, **options: Any) -> Measured:
    """What a function of the user's finds."""
    found = load(function)(config, **options)
    if isinstance(found, Measured):
        return found
    if not isinstance(found, dict):
        raise SweepError(f"{function} must give a dict of figures, not {type(found).__name__}")
    return Measured(found)


def _path(name: str | None) -> Path | None:
    return Path(name) if name is not None else None


def load(function: str) -> Any:
    """The function that `module:name` names. Errors: SweepError."""
    module, _, name = function.partition(":")
    try:
        found = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except ModuleNotFoundError as error:
        raise SweepError(
            f"function {function!r}: there is no module {error.name!r} beside the file or installed"
        ) from None
    except (AttributeError, ValueError):
        there = [n for n, f in inspect.getmembers(importlib.import_module(module), callable) if not n.startswith("_")]
        raise SweepError(f"function {function!r}: {module} has no {name!r}; there are {listed(there)}") from None
    if not callable(found):
        raise SweepError(f"function {function!r} is no function")
    return found
