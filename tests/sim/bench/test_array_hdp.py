"""ARRAY with hybrid dynamic pruning: square, with fill and without, and rectangular both ways."""

import pytest

from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, HdpConfig, PostConfig, ScratchpadConfig, override
from celosia.hw.presets import PRESETS
from celosia.sim.bench.array_hdp import HdpSystem
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "tiny": override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16"]),
    "plain": override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16", "hdp.fill=false"]),
    "wide": Config(
        array=ArrayConfig(rows=4, columns=8, stages=2),
        scratchpad=ScratchpadConfig(kib=9, banks=2),
        accumulator=AccumulatorConfig(kib=9, banks=2, stat_rows=64),
        post=PostConfig(lanes=4),
        hdp=HdpConfig(lists=8, keys=64, widest=4, head_width=12),
    ),
    "tall": Config(
        array=ArrayConfig(rows=8, columns=4),
        scratchpad=ScratchpadConfig(kib=10, banks=4),
        accumulator=AccumulatorConfig(kib=5, banks=4, stat_rows=64),
        post=PostConfig(lanes=2),
        hdp=HdpConfig(lists=4, keys=32, widest=1, head_width=16),
    ),
}


@pytest.mark.parametrize("module", ["array_hdp", "array_hdp_timing"])
@pytest.mark.parametrize("name", CONFIGS)
def test_array_hdp(name: str, module: str) -> None:
    config = CONFIGS[name]
    run_bench(HdpSystem(config), f"celosia.sim.bench.{module}", name=f"{module}-{name}", parameters={"config": config})
