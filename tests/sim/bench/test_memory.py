"""Scratchpad and accumulator: the smallest, and rectangular ones whose sizes are no powers of two."""

import pytest

from celosia.hw.array.pe import sum_bits
from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.memory.accumulator import Accumulator
from celosia.hw.memory.scratchpad import Scratchpad
from celosia.hw.presets import PRESETS
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "tiny": PRESETS["tiny"],
    "odd": Config(
        array=ArrayConfig(rows=16, columns=8),
        scratchpad=ScratchpadConfig(kib=9, banks=8),
        accumulator=AccumulatorConfig(kib=7, banks=4, stat_rows=32),
        post=PostConfig(lanes=2),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_scratchpad(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Scratchpad(config), "celosia.sim.bench.scratchpad", name=name, parameters={"config": config})


@pytest.mark.parametrize("name", CONFIGS)
def test_accumulator(name: str) -> None:
    config, width = CONFIGS[name], sum_bits(CONFIGS[name].array.rows)
    parameters = {"config": config, "width": width}
    run_bench(Accumulator(config, width), "celosia.sim.bench.accumulator", name=name, parameters=parameters)
