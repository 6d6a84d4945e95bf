"""What logic is mapped to: scripts and cells of each target.

All scripts start from a design whose units carry `keep_hierarchy` and end with every unit mapped. Cells that a target
does not know are an error, so that nothing is left out of a sum.
"""

import re
from dataclasses import dataclass

from celosia.sw.technology import CELLS
from celosia.synth.errors import SynthError


class AreaError(SynthError):
    """An area that cannot be given; the message is one line."""


MACRO = "SRAM"
"""Prefix of the cells that stand for memory macros: SRAM_<depth>x<width>_<read ports>r<write ports>w."""
MACRO_WORDS, MACRO_BITS = 64, 2048
"""On `cells`, memories with clocked reads from this size on are macros; smaller ones are flip-flops."""

# A read while the same address is written gives an undefined word (hw.common.sram): no logic is wanted for it.
_NO_COLLISIONS = "setparam -set COLLISION_X_MASK 1'1 -set TRANSPARENCY_MASK 1'0 t:$memrd_v2 r:CLK_ENABLE=1 %i"


@dataclass(frozen=True)
class Target:
    """A target.

    `script`: mapping, with {top} for the name of the top module. `weights`: figure -> pattern of cell types -> how much
    a cell adds to it. `ignored`: pattern of cells that cost nothing (constants, multiplexers that are part of a logic
    block). `macros`: memories are macros. `batch`: units that Yosys maps in one run: few where its start is quick.
    """

    name: str
    text: str
    script: str
    weights: dict[str, dict[str, float]]
    ignored: str = r"\$scopeinfo"
    macros: bool = False
    batch: int = 1000

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of what is counted."""
        return tuple(self.weights)

    @property
    def logic(self) -> str:
        """The figure that tells how much logic there is; on `cells` it comes from the technology table."""
        return "ge" if self.macros else "lut"

    def count(self, cells: dict[str, int]) -> dict[str, float]:
        """Figures of cells by type. Errors: AreaError on a type that the target does not know."""
        totals = dict.fromkeys(self.weights, 0.0)
        for kind, number in cells.items():
            known = bool(re.fullmatch(self.ignored, kind))
            for figure, patterns in self.weights.items():
                weight = next((w for pattern, w in patterns.items() if re.fullmatch(pattern, kind)), None)
                if weight is not None:
                    totals[figure] += number * weight
                    known = True
            if not known:
                raise AreaError(f"the {self.name} target does not know the cell {kind}: its area would be lost")
        return totals


def _fpga(name: str, text: str, command: str, weights: dict[str, dict[str, float]], ignored: str) -> Target:
    return Target(name, text, f"{_NO_COLLISIONS}\n{command}\n", weights, rf"\$scopeinfo|{ignored}")


# ECP5 is mapped by ABC with costs that count the multiplexers of wide functions, not by ABC9 as the flow for place and
# route does: that one costs a second a module, several minutes for a design of many modules.
_ECP5 = """synth_ecp5 -noflatten -top {top} -run begin:map_luts
abc -lut 4:7
clean
synth_ecp5 -noflatten -top {top} -run map_cells:check"""

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _fpga(
            "ecp5",
            "Lattice ECP5: LUT4 (carry cells are two, distributed memories four), MULT18X18D, DP16KD",
            _ECP5,
            {
                "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
                "ff": {"TRELLIS_FF": 1},
                "dsp": {"MULT18X18D": 1},
                "bram": {"DP16KD|PDPW16KD": 1},
            },
            "PFUMX|L6MUX21",
        ),
        _fpga(
            "ice40",
            "Lattice iCE40 UltraPlus: LUT4 (its carry is part of the same cell), SB_MAC16, SB_RAM40_4K",
            "synth_ice40 -noflatten -dsp -device u -top {top}",
            {
                "lut": {"SB_LUT4": 1},
                "ff": {"SB_DFF.*": 1},
                "dsp": {"SB_MAC16": 1},
                "bram": {"SB_RAM40_4K.*": 1},
            },
            "SB_CARRY",
        ),
        _fpga(
            "xc7",
            "AMD 7 series: LUT6 (distributed memories by the LUTs that they take), DSP48E1, RAMB36E1 (RAMB18E1 half)",
            "synth_xilinx -family xc7 -noiopad -noclkbuf -top {top}",
            {
                "lut": {
                    "LUT[1-6]|INV|SRL16E|SRLC32E": 1,
                    "RAM(32|64)X1D": 2,
                    "RAM128X1D|RAM(32|64)M": 4,
                    "RAM256X1S": 4,
                    "RAM128X1S": 2,
                    "RAM(32|64)X1S": 1,
                },
                "ff": {"FD[RSCP]E(_1)?": 1},
                "dsp": {"DSP48E1": 1},
                "bram": {"RAMB36E1": 1, "RAMB18E1": 0.5},
                "carry": {"CARRY4": 1},
            },
            "MUXF[78]|GND|VCC",
        ),
        _fpga(
            "gowin",
            "Gowin GW2A: LUT4 (an ALU is one, distributed memories four), MULT18X18 equivalents, 18 Kibit block RAM",
            "synth_gowin -noflatten -noiopads -family gw2a -top {top}",
            {
                "lut": {"LUT[1-4]|ALU": 1, "RAM16S(DP)?4": 4, "RAM16S(DP)?2": 2, "RAM16S(DP)?1": 1},
                "ff": {"DFF[A-Z]*": 1},
                "dsp": {"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4},
                "bram": {"(SDPB|SDPX9B|SPX?9?B?|DPX?9?B?|pROM|pROMX9)": 1},
            },
            "MUX2_LUT[5-8]|GND|VCC|INV",
        ),
        Target(
            "cells",
            "No technology: gates, gate equivalents and area by the technology table, memories as macros",
            "",
            {
                "gates": {rf"\$_({'|'.join(kind.upper() for kind in CELLS if kind != 'dff')})_": 1},
                "ff": {r"\$_DFF_P_": 1},
            },
            macros=True,
            batch=12,
        ),
    )
}
