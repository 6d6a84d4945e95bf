"""ARRAY: square, and rectangular both ways, with memories whose sizes are no powers of two."""

import pytest

from celosia.hw.array.unit import Array
from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.presets import PRESETS
from celosia.sim.bench.array_system import ArraySystem
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "tiny": PRESETS["tiny"],
    "wide": Config(
        array=ArrayConfig(rows=4, columns=16, stages=2),
        scratchpad=ScratchpadConfig(kib=9, banks=2),
        accumulator=AccumulatorConfig(kib=9, banks=2, stat_rows=64),
        post=PostConfig(lanes=4),
    ),
    "tall": Config(
        array=ArrayConfig(rows=16, columns=4),
        scratchpad=ScratchpadConfig(kib=20, banks=4),
        accumulator=AccumulatorConfig(kib=5, banks=4, stat_rows=128),
        post=PostConfig(lanes=2),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_array(name: str) -> None:
    run_bench(Array(CONFIGS[name]), "celosia.sim.bench.array", name=name, parameters={"config": CONFIGS[name]})


@pytest.mark.parametrize("name", CONFIGS)
def test_array_system(name: str) -> None:
    run_bench(
        ArraySystem(CONFIGS[name]),
        "celosia.sim.bench.array_system",
        name=f"{name}-system",
        parameters={"config": CONFIGS[name]},
    )
