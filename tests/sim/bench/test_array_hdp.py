"""ARRAY with hybrid dynamic pruning: square, and rectangular both ways; with fill and without; at every nibble rate."""

import pytest

from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, HdpConfig, PostConfig, ScratchpadConfig, override
from celosia.hw.presets import PRESETS
from celosia.sim.bench.array_hdp import HdpSystem
from celosia.sim.bench.harness import run_bench

WIDE = Config(
    array=ArrayConfig(rows=4, columns=8, stages=2),
    scratchpad=ScratchpadConfig(kib=9, banks=2),
    accumulator=AccumulatorConfig(kib=9, banks=2, stat_rows=64),
    post=PostConfig(lanes=4),
    hdp=HdpConfig(lists=8, keys=64, widest=4, head_width=12),
)
TALL = Config(
    array=ArrayConfig(rows=8, columns=4),
    scratchpad=ScratchpadConfig(kib=10, banks=4),
    accumulator=AccumulatorConfig(kib=5, banks=4, stat_rows=64),
    post=PostConfig(lanes=2),
    hdp=HdpConfig(lists=4, keys=32, widest=1, head_width=16),
)
CONFIGS = {
    "tiny": override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16"]),
    "plain": override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16", "hdp.fill=false"]),
    "wide": WIDE,
    "tall": TALL,
}
# Heads of one pass and of more, with slots that stay empty; keys that share a word, and that do not.
RATES = {
    "tiny-2": override(CONFIGS["tiny"], ["hdp.rate=2"]),
    "tiny-4": override(CONFIGS["tiny"], ["hdp.rate=4", "hdp.head_width=24"]),
    "plain-4": override(CONFIGS["plain"], ["hdp.rate=4"]),
    "wide-4": override(WIDE, ["hdp.rate=4"]),
    "tall-2": override(TALL, ["hdp.rate=2", "hdp.head_width=24"]),
    "tall-4": override(TALL, ["hdp.rate=4", "hdp.head_width=40"]),
}


BENCH = "celosia.sim.bench.array_hdp"


@pytest.mark.parametrize("name", CONFIGS)
def test_array_hdp(name: str) -> None:
    config = CONFIGS[name]
    run_bench(HdpSystem(config), BENCH, f"{BENCH}_timing", name=name, parameters={"config": config})


@pytest.mark.parametrize("name", RATES)
def test_array_hdp_at_nibble_rates(name: str) -> None:
    config = RATES[name]
    # What DECIDE takes is in `array_hdp_keys` here.
    only = r"array_hdp(_keys)?\.|array_hdp_timing\.gather"
    modules = [BENCH, f"{BENCH}_keys", f"{BENCH}_timing"]
    run_bench(HdpSystem(config), *modules, name=name, parameters={"config": config}, test_filter=only)
