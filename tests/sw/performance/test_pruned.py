"""What the performance model makes of pruned attention, against sums over the keys that a functional run gathers."""

from functools import cache

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.isa import Opcode, Unit
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.heads import compile_heads
from celosia.sw.compiler.program import Program
from celosia.sw.compiler.pruning import prunings
from celosia.sw.performance import operands, predict
from celosia.sw.performance.actions import count_actions
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

CONFIG = override(
    PRESETS["tiny"],
    ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16", "scratchpad.kib=32", "array.rows=8"],
)
WORKLOAD = AttentionWorkload(21, 16, 60, heads=2)


@cache
def program() -> tuple[Program, dict[int, np.ndarray]]:
    """Two heads, and what they gather."""
    (pruning,) = prunings(CONFIG, WORKLOAD.policy(CONFIG), 1, 21)
    found = compile_heads(CONFIG, WORKLOAD.layer(CONFIG), 21, 2, 16, pruning)
    device = FunctionalDevice(CONFIG)
    Driver(device, found).run(**WORKLOAD.inputs())
    return found, device.gathered


def tiles() -> dict[str, int]:
    """Tiles and rows by instruction: 8 x 4 PEs, two k tiles and four n tiles a head; rows of blocks of 8, 8 and 5."""
    compiled, gathered = program()
    found = {"decisions": 0, "scores": 0, "context": 0, "words": 0, "launched": 0, "weights": 0}
    for place, one in enumerate(compiled.instructions):
        if one.opcode is Opcode.DECIDE:
            found["decisions"] += 6 * 2 * max(one.m, 4)
            found["launched"] += 6 * 2 * one.m
            found["weights"] += 6 * 2 * 4
        elif one.opcode is Opcode.MATMUL:
            keys = len(gathered[place])
            of_keys, others, size = (-(-keys // 4), 2, 4) if one.transposed else (-(-keys // 8), 4, 8)
            found["scores" if one.transposed else "context"] += of_keys * others * max(one.m, size)
            found["launched"] += of_keys * others * one.m
            found["weights"] += others * keys
    return found


def test_phases() -> None:
    compiled, gathered = program()
    expected, found = tiles(), predict(compiled, gathered=gathered)
    for phase in ("decisions", "scores", "context"):
        assert expected[phase] <= found.phases[phase] <= 1.5 * expected[phase], "banks cost some cycles"
    assert found.phases["dense"] == 0
    assert found.units[Unit.ARRAY]["BUSY"] == expected["launched"]
    assert predict(compiled).phases["scores"] > found.phases["scores"], "all keys, if nobody says which"


def test_actions() -> None:
    compiled, gathered = program()
    expected, found = tiles(), count_actions(compiled, predict(compiled, gathered=gathered)).counts
    assert found["mac"] == expected["launched"] * 32
    exps = [(one, len(gathered[n])) for n, one in enumerate(compiled.instructions) if one.opcode is Opcode.EXP]
    assert found["exp"] == sum(-(-keys // 8) * 8 * one.m for one, keys in exps)
    stored = sum(one.words * one.segments for one in compiled.instructions if one.opcode is Opcode.STORE)
    assert found["scratchpad_read"] == expected["launched"] + expected["weights"] + stored


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 8), (16, 16)])
def test_keys_in_order_are_a_matmul(rows: int, columns: int) -> None:
    """Keys that follow one another meet rows in banks as whole tiles do."""
    pattern = operands.Pattern(4, rows, columns, 3, 2, 1, 3, 2, columns % 4, 1)
    pairs = [(i, j) for i in range(3) for j in range(2)]
    left = [[(1 + 3 * j + row) % 4 for row in range(rows)] for _, j in pairs]
    right = [[(2 + i * columns + j + word) % 4 for word in range(columns)] for i, j in pairs]
    assert operands.lost_by_gather(left, right) == operands.lost(pattern)


def test_keys_of_one_bank_are_slow() -> None:
    rows = [[0, 1, 2, 3] * 4] * 8
    assert operands.lost_by_gather(rows, [[0] * 16] * 8) > 2
    assert operands.lost_by_gather([row[:1] for row in rows], [[0]] * 8) >= 0
