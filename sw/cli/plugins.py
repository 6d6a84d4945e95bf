"""Parts of the command line that live in layers above this one, found by name when a verb asks for them.

`celosia.sw` may not import `celosia.sim`: the compiler and the functional device must work where no simulator is
installed, and layers import only downwards. The command line needs both, so it knows the upper layer by name only.
"""

import importlib
from typing import Any

from celosia.sw.cli.errors import CliError

TARGETS: dict[str, str] = {
    "rtl": "celosia.sim.rtl.device:RtlDevice",
    "trace": "celosia.sim.trace:chrome_trace",
    "tool error": "celosia.sim.toolchain:ToolError",
}
"""module:attribute of each part."""


def load(name: str) -> Any:
    """A part by name. Errors: CliError when its layer is not installed."""
    module, _, attribute = TARGETS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise CliError(f"this needs {module}, which is not installed ({error.name} is missing)") from None
