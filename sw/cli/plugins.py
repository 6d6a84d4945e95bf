"""Parts of the command line that live in layers above this one, found by name when a verb asks for them.

`celosia.sw` may not import `celosia.sim`: the compiler and the functional device must work where no simulator is
installed, and layers import only downwards. The command line needs both, so it knows the upper layer by name only.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celosia.sw.cli.errors import CliError

TARGETS: dict[str, str] = {
    "rtl": "celosia.sim.rtl.device:RtlDevice",
    "trace": "celosia.sim.trace:chrome_trace",
    "tool error": "celosia.sim.toolchain:ToolError",
    "area": "celosia.synth.area.flow:measure",
    "element": "celosia.synth.area.element:element_cells",
    "element of gemmini": "celosia.synth.area.element:GEMMINI_CELLS",
    "place and route": "celosia.synth.pnr.run:place_and_route",
    "synth error": "celosia.synth.errors:SynthError",
    "read sweep": "celosia.synth.sweep.reading:read",
    "sweep": "celosia.synth.sweep.run:Sweep",
    "sweep format": "celosia.synth.sweep:__doc__",
    "sweep points": "celosia.synth.sweep.search:count",
    "sweep here": "celosia.synth.sweep.executors.local:LocalExecutor",
    "sweep on dask": "celosia.synth.sweep.executors.dask:DaskExecutor",
    "sweep on slurm": "celosia.synth.sweep.executors.slurm:SlurmExecutor",
    "read report": "celosia.synth.report.reading:read",
    "report page": "celosia.synth.report.page:page",
    "report figures": "celosia.synth.report.paper:figures",
    "mapspace figures": "celosia.synth.report.mapspace:figures",
}
"""module:attribute of each part."""


def load(name: str) -> Any:
    """A part by name. Errors: CliError when its layer is not installed."""
    module, _, attribute = TARGETS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise CliError(f"this needs {module}, which is not installed ({error.name} is missing)") from None


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Errors of a part, known by the name of its class here, become what the user is told."""
    error_class = load(name)
    try:
        yield
    except error_class as error:
        raise CliError(" ".join(str(error).split())) from None
