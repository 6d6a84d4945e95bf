"""The sparsity engine: run-time widths, one width, one lane, and the size of the 16 x 16 array."""

from dataclasses import asdict, replace

import pytest

from celosia.hw.config import ConfigError
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.engine import SparsityEngine
from celosia.hw.hdp.widths import Importance
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "tiny": EngineConfig(columns=4, height=3, head_width=8, length=22),
    "lane": EngineConfig(
        columns=4, narrowest=4, widest=4, height=2, rules=(Importance.ABS_SUM,), head_width=3, length=9, slack=0
    ),
    "pairs": EngineConfig(
        columns=8,
        narrowest=2,
        height=2,
        rules=(Importance.ABS_SUM, Importance.MAX),
        head_width=32,
        length=60,
    ),
    "maxima": EngineConfig(columns=8, widest=4, height=4, rules=(Importance.MAX,), head_width=32, length=64),
    "array": EngineConfig(columns=16, length=128),
    "keys": EngineConfig(columns=4, height=3, head_width=8, length=22, stream=1),
    "pairs-of-keys": EngineConfig(columns=8, widest=4, height=4, head_width=32, length=61, stream=2),
    "narrow-keys": EngineConfig(columns=4, widest=1, height=2, head_width=16, length=32, stream=2, slack=0),
    "array-of-keys": EngineConfig(columns=16, length=40, stream=2),
}
FILLED = {
    "tiny": replace(CONFIGS["tiny"], fill=4),
    # Tiles that are not the groups.
    "lane": replace(CONFIGS["lane"], fill=8),
    "pairs": replace(CONFIGS["pairs"], fill=4),
    "maxima": replace(CONFIGS["maxima"], fill=8),
    "array": replace(CONFIGS["array"], fill=16),
}
FILLED_STREAMS = {
    "keys": replace(CONFIGS["keys"], fill=4),
    "pairs-of-keys": replace(CONFIGS["pairs-of-keys"], fill=8),
    "array-of-keys": replace(CONFIGS["array-of-keys"], fill=16),
}
BUT_CYCLES = "^(?!.*(full_rate|waiting_masks))"


@pytest.mark.parametrize("name", CONFIGS)
def test_sparsity_engine(name: str) -> None:
    config = CONFIGS[name]
    run_bench(SparsityEngine(config), "celosia.sim.bench.hdp", name=name, parameters=asdict(config))


@pytest.mark.parametrize("module", ["hdp", "hdp_fill"])
@pytest.mark.parametrize("name", FILLED)
def test_fill(name: str, module: str) -> None:
    """The same decisions with fill; what it changes in cycles has its own tests."""
    config = FILLED[name]
    run_bench(
        SparsityEngine(config),
        f"celosia.sim.bench.{module}",
        name=f"{module}-{name}-fill",
        parameters=asdict(config),
        test_filter=BUT_CYCLES,
    )


@pytest.mark.parametrize("name", FILLED_STREAMS)
def test_fill_of_keys_that_stream(name: str) -> None:
    config = FILLED_STREAMS[name]
    parameters = asdict(config)
    engine, module = SparsityEngine(config), "celosia.sim.bench.hdp"
    run_bench(engine, module, name=f"{name}-fill", parameters=parameters, test_filter=BUT_CYCLES)


def test_bad_sizes() -> None:
    with pytest.raises(ConfigError, match="columns must be a power of two, not 12"):
        EngineConfig(columns=12)
    with pytest.raises(ConfigError, match="narrowest <= widest <= columns must hold, not 4, 2, 16"):
        EngineConfig(narrowest=4, widest=2)
    with pytest.raises(ConfigError, match="height must be an integer of at least 1, not 0"):
        EngineConfig(height=0)
    for bad in (1, 3, 32, -4, True):
        with pytest.raises(ConfigError, match=f"fill must be 0 or a power of two from 2 to length, not {bad!r}"):
            EngineConfig(length=31, fill=bad)
    with pytest.raises(ConfigError, match="stream must be 0, 1 or 2 keys a beat, not 3"):
        EngineConfig(stream=3)
    with pytest.raises(ConfigError, match="keys that stream need narrowest = 1, and at least 2 columns"):
        EngineConfig(narrowest=2, stream=1)
    with pytest.raises(ConfigError, match="would have 33 bits, and may have 32"):
        EngineConfig(length=1024, rules=(Importance.SUM,), head_width=32, widest=1, height=1)
