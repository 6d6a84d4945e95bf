"""Control with abstract units, a host on AXI4-Lite and program memory, all stalling at random."""

import pytest

from celosia.hw.config import BusConfig, Config, ControlConfig
from celosia.hw.control.fetch import Fetch
from celosia.hw.presets import PRESETS
from celosia.sim.bench.control_dut import ControlDut
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    # An instruction is four beats.
    "tiny": PRESETS["tiny"],
    # A beat is four instructions, an address has more than 32 bits.
    "wide": Config(bus=BusConfig(bytes=128, burst=4, address_bits=40), control=ControlConfig(queue=4, counter_bits=64)),
}


MODULES = [f"celosia.sim.bench.control_{module}" for module in ("programs", "traps", "registers")]


@pytest.mark.parametrize("name", CONFIGS)
def test_control(name):
    config = CONFIGS[name]
    run_bench(ControlDut(config), *MODULES, name=f"control-{name}", parameters={"config": config})


# Narrowest bus with the shortest bursts, an instruction a beat, two instructions a beat.
BUSES = {
    "4": BusConfig(bytes=4, burst=2, address_bits=20),
    "32": BusConfig(bytes=32, burst=64, address_bits=32),
    "64": BusConfig(bytes=64, burst=16, address_bits=64),
}


@pytest.mark.parametrize("name", BUSES)
def test_fetch(name):
    config = Config(bus=BUSES[name])
    run_bench(Fetch(config), "celosia.sim.bench.control_fetch", name=f"fetch-{name}", parameters={"config": config})
