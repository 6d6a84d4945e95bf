"""The array's processing element alone, in the measure that other designs' elements are published in."""

import json

from celosia.hw.array.nibbles import NibbleElement
from celosia.hw.array.pe import ProcessingElement
from celosia.hw.config import Config
from celosia.hw.emit.rtlil import rtlil
from celosia.synth import tools

GEMMINI_CELLS = 2098
"""Gemmini's PE, both dataflows, int8 operands and 32-bit sums, by the same command (`synth -flatten`)."""

_SCRIPT = """read_rtlil element.il
chformal -remove
synth -flatten -top element
tee -q -o cells.json stat -json
"""


def element_cells(config: Config) -> dict[str, int]:
    """Yosys's generic cells by type of the PE in the last row, where sums are widest; both weights included.

    Errors: ToolError.
    """
    last = config.array.rows - 1
    element = NibbleElement(config, last) if config.rate > 1 else ProcessingElement(last, config.array.stages)
    files = {"element.il": rtlil(element, "element"), "script.ys": _SCRIPT}
    found = tools.yosys().run(["-Q", "-T", "-q", "script.ys"], files, ["cells.json"])["cells.json"]
    cells: dict[str, int] = json.loads(found)["modules"]["\\element"]["num_cells_by_type"]
    return {kind: number for kind, number in cells.items() if kind != "$scopeinfo"}
