"""The core of the HDP co-processor: every rate, with and without kept integer scores, narrow and wide."""

from dataclasses import asdict

import pytest

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.core import Core
from celosia.hw.hdp.widths import Importance
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "rate4": CoreConfig(width=8, rate=4, length=40, rows=80, bus=4, lanes=4),
    "rate2": CoreConfig(width=16, rate=2, length=24, rows=48, bus=16, lanes=2, rules=(Importance.MAX,)),
    "rate1": CoreConfig(width=4, rate=1, length=18, rows=40, bus=2, lanes=1, reuse=False),
    "plain": CoreConfig(width=8, rate=4, length=30, rows=32, bus=8, lanes=8, reuse=False, tau=False),
    "smallest": CoreConfig(width=4, rate=4, length=4, rows=8, bus=4, lanes=1),
    "published": CoreConfig(width=8, rate=2, length=20, rows=20, bus=4, lanes=8, softmax="published"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_core(name: str) -> None:
    """A core without tau takes a head's limit for nothing, too, and does not wait for a verdict."""
    config = CONFIGS[name]
    modules = ["celosia.sim.bench.hdp_core", *([] if config.tau else ["celosia.sim.bench.hdp_core_plain"])]
    run_bench(Core(config), *modules, name=name, parameters={"config": asdict(config)})


@pytest.mark.parametrize(("rate", "speedup"), [(4, 2.4), (2, 1.8), (1, 1.2)])
def test_speed(rate: int, speedup: float) -> None:
    """Within 1.10 of the ideal cycles, and at three quarters pruned so many times as fast as dense."""
    config = CoreConfig(width=16, rate=rate, length=128, rows=256, bus=16, lanes=8, reuse=rate > 1)
    kinds = [False, True] if rate == 4 else [False]
    wanted = {"heads": 2, "approximate": kinds, "percents": [0, 75, 90], "speedups": {"75": speedup}}
    parameters = {"config": asdict(config), "speed": wanted}
    run_bench(Core(config), "celosia.sim.bench.hdp_core_speed", name=f"speed{rate}", parameters=parameters)
