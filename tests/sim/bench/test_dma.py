"""LOAD, STORE and the read arbiter against memories and scratchpads that stall at random."""

import pytest

from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.dma.load import Load
from celosia.hw.dma.readarbiter import ReadArbiter
from celosia.hw.dma.store import Store
from celosia.hw.presets import PRESETS
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    # A beat is two words.
    "tiny": PRESETS["tiny"],
    # A beat is one word.
    "equal": Config(scratchpad=ScratchpadConfig(kib=16), accumulator=AccumulatorConfig(kib=16)),
    # A word is four beats, longer than a burst; addresses beyond 32 bits.
    "narrow": Config(
        array=ArrayConfig(rows=16, columns=4),
        scratchpad=ScratchpadConfig(kib=16),
        accumulator=AccumulatorConfig(kib=16),
        bus=BusConfig(bytes=4, burst=2, outstanding=16, address_bits=40),
        post=PostConfig(lanes=2),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_load(name):
    run_bench(Load(CONFIGS[name]), "celosia.sim.bench.load", name=f"load-{name}", parameters={"config": CONFIGS[name]})


@pytest.mark.parametrize("name", CONFIGS)
def test_store(name):
    run_bench(
        Store(CONFIGS[name]), "celosia.sim.bench.store", name=f"store-{name}", parameters={"config": CONFIGS[name]}
    )


def test_read_arbiter():
    config = CONFIGS["tiny"]
    run_bench(ReadArbiter(config), "celosia.sim.bench.load_arbiter", name="arbiter", parameters={"config": config})
