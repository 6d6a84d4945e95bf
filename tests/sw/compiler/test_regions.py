"""What instructions touch: compared with what they do to a machine whose other words hold something else."""

import copy

import numpy as np
import pytest

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sim.fuzz.builder import cells
from celosia.sim.fuzz.configs import CONFIGS
from celosia.sim.fuzz.runner import draft
from celosia.sw.compiler.codec import decode, encode
from celosia.sw.compiler.program import CONSTANTS, INPUTS, SCRATCH
from celosia.sw.compiler.regions import regions
from celosia.sw.compiler.sync import Region, Space
from celosia.sw.runtime.machine import Machine

ARRAYS = {
    Space.SCRATCHPAD: ("scratchpad",),
    Space.ACCUMULATOR: ("acc",),
    Space.STATISTICS: ("maxima", "sums", "mean", "factor", "shift"),
    Space.TABLE: ("table",),
}


def rows_of(machine: Machine, space: Space) -> list[np.ndarray]:
    """Views of the state of a space, a row a word."""
    arrays = [getattr(machine, name) for name in ARRAYS[space]]
    return [
        a[None] if space is Space.TABLE else a.T if a.ndim == 2 and space is Space.STATISTICS else a for a in arrays
    ]


def start(config: Config, program) -> Machine:
    machine = Machine(config)
    ends = np.cumsum([0, *program.sizes])
    machine.memory = np.zeros(int(ends[-1]), np.uint8)
    machine.memory[ends[CONSTANTS] : ends[INPUTS]] = program.constants
    machine.windows = [(int(base), size) for base, size in zip(ends, program.sizes, strict=False)]
    return machine


def elsewhere(found: list[Region], space: Space, size: int) -> np.ndarray:
    free = np.ones(size, bool)
    free[cells(found, space)] = False
    return free


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_else_is_read_or_written(name: str) -> None:
    config = CONFIGS[name]
    tested = draft(config, 11, 60)
    machine, rng = start(config, tested.program()), np.random.default_rng(1)
    for op in (*tested.prologue, *tested.body):
        one = decode(encode(op.opcode, **op.fields))
        reads, writes = regions(one, config)
        other = copy.deepcopy(machine)
        for space in ARRAYS:
            for array in rows_of(other, space):
                free = elsewhere(reads + writes, space, len(array))
                array[free] = rng.integers(0, 100, array[free].shape)
        scrambled = copy.deepcopy(other)
        machine.execute(one)
        other.execute(one)
        for space in ARRAYS:
            for after, same, before in zip(*(rows_of(m, space) for m in (machine, other, scrambled)), strict=True):
                free = elsewhere(writes, space, len(after))
                np.testing.assert_array_equal(same[free], before[free], err_msg=f"{one} writes elsewhere")
                np.testing.assert_array_equal(after[~free], same[~free], err_msg=f"{one} reads elsewhere")


def test_memory_counts_in_the_scratch_window_alone() -> None:
    config = CONFIGS["wide"]
    fields = {"offset": 64, "stride": 96, "words": 16, "segments": 3, "address": 5, "sp_stride": 20}
    memory, place = Region(Space.MEMORY, 2, 2, 3, 3), Region(Space.SCRATCHPAD, 5, 16, 20, 3)
    assert regions(decode(encode(Opcode.LOAD, window=SCRATCH, **fields)), config) == ([memory], [place])
    assert regions(decode(encode(Opcode.STORE, window=SCRATCH, **fields)), config) == ([place], [memory])
    assert regions(decode(encode(Opcode.LOAD, window=CONSTANTS, **fields)), config) == ([], [place])
