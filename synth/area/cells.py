"""The `cells` target: generic gates or those of a Liberty file, and memory macros."""

import re

from celosia.synth.area.targets import MACRO, MACRO_BITS, MACRO_WORDS

LIBERTY_FILE = "cells.lib"


def script(liberty: bool) -> str:
    """Mapping, with {top} for the top module; `liberty`: to the cells of LIBERTY_FILE.

    Registers lose their initial values (an ASIC has none) and become plain flip-flops: enables and resets are gates,
    as in most libraries. Memories with clocked reads are renamed to macros, whose shape their type tells.
    """
    gates = (
        f"dfflibmap -liberty {LIBERTY_FILE}\nabc -liberty {LIBERTY_FILE}\nclean"
        if liberty
        else "abc -g cmos\nopt_clean"
    )
    return f"""setattr -unset init w:*
setparam -set COLLISION_X_MASK 1'1 -set TRANSPARENCY_MASK 1'0 t:$memrd_v2 r:CLK_ENABLE=1 %i
synth -top {{top}} -run coarse:fine
{{macros}}
opt -fast -full
memory_map
opt -undriven -fine
techmap
opt -fast
dfflegalize -cell $_DFF_P_ x
opt_clean
{gates}
"""


def macro_name(depth: int, width: int, reads: int, writes: int) -> str:
    """Type of the cell that stands for a memory macro."""
    return f"{MACRO}_{depth}x{width}_{reads}r{writes}w"


def macro_shape(kind: str) -> tuple[int, int, int, int] | None:
    """Depth, width, read and write ports of a macro's cell type; None for other types."""
    match = re.fullmatch(rf"{MACRO}_(\d+)x(\d+)_(\d+)r(\d+)w", kind)
    return (int(match[1]), int(match[2]), int(match[3]), int(match[4])) if match else None


def is_macro(depth: int, width: int) -> bool:
    """Whether a memory of this size is a macro rather than flip-flops."""
    return depth >= MACRO_WORDS and depth * width >= MACRO_BITS
