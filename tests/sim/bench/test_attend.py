"""ATTEND of co-processors of one and of several cores."""

import pytest

from celosia.hw.config import BusConfig
from celosia.hw.coprocessor.attend import Attend
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.widths import Importance
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "one": CoprocessorConfig(
        cores=1, core=CoreConfig(width=8, length=24, rows=64, bus=8, lanes=8, tau=False), bus=BusConfig(bytes=8)
    ),
    "three": CoprocessorConfig(
        cores=3,
        core=CoreConfig(width=16, length=50, rows=64, bus=4, lanes=8, rules=(Importance.MAX, Importance.MEAN_MAX)),
        bus=BusConfig(bytes=4),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_attend(name: str) -> None:
    config = CONFIGS[name]
    run_bench(
        Attend(config), "celosia.sim.bench.attend", name=f"attend-{name}", parameters={"config": config.to_dict()}
    )
