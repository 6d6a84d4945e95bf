"""The whole accelerator between AXI models."""

import pytest

from celosia.hw.top import Accelerator
from celosia.sim.bench.harness import run_bench
from celosia.sim.fuzz.configs import CONFIGS


@pytest.mark.parametrize("name", ["tiny", "wide"])
def test_top(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Accelerator(config), "celosia.sim.bench.top", name=f"top-{name}", parameters={"config": config})
