"""Whole encoders on the RTL: outputs are those of the integer encoder, and every byte of memory and every counter of
traffic is the functional device's, whatever the memory does."""

from functools import cache

import numpy as np
import pytest

from celosia.hw.config import Config, PostConfig
from celosia.hw.hdp.widths import Importance
from celosia.hw.isa import Unit
from celosia.hw.presets import PRESETS
from celosia.hw.registers import Activity
from celosia.sim.fuzz.configs import CONFIGS
from celosia.sim.rtl.device import RtlDevice
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.program import Program
from celosia.sw.golden.hdp import BlockShape
from celosia.sw.model.bert import random_bert
from celosia.sw.model.calibrate import calibrate
from celosia.sw.model.encoder import quantise_embedding, run_golden
from celosia.sw.model.hdp import HdpPolicy, HdpRun
from celosia.sw.model.quantise import QuantiseOptions, quantise
from celosia.sw.model.reference import embedding_sum
from celosia.sw.runtime.driver import Counters, Driver
from celosia.sw.runtime.functional import FunctionalDevice

SHAPES = {"small": (1, 32, 2, 64), "deep": (2, 24, 3, 40), "edge": (1, 64, 4, 128)}
"""Layers, hidden, heads, feed-forward width."""


@cache
def network(shape: str, tokens: int, post: PostConfig):
    """A quantised random encoder and an input."""
    model = random_bert(*SHAPES[shape], seed=tokens)
    rng = np.random.default_rng(tokens)
    ids = [rng.integers(0, 1000, tokens).tolist() for _ in range(2)]
    encoder = quantise(
        model, calibrate(model, ids), QuantiseOptions(table_bits=post.table_bits, softmax=post.softmax, gelu=post.gelu)
    )
    return encoder, quantise_embedding(encoder, embedding_sum(model, ids[:1]))[0]


def check_counters(program: Program, counters: Counters, functional: Counters) -> None:
    array = program.config.array
    assert counters.activity(Unit.ARRAY)["BUSY"] * array.rows * array.columns >= program.macs
    for unit in Unit:
        assert all(cycles >= 0 for cycles in counters.activity(unit).values()), unit
        assert counters.activity(unit)[Activity.BUSY.name] > 0, unit
    for name in ("INSTRUCTIONS", "BYTES_READ", "BYTES_WRITTEN"):
        assert counters[name] == functional[name], name


def check(config: Config, shape: str, tokens: int, length: int | None, causal: bool, rtl: RtlDevice) -> Driver:
    """Run on both devices and compare; twice, as nothing that matters may stay from one run to the next."""
    encoder, x = network(shape, tokens, config.post)
    program = compile_encoder(config, encoder, tokens, length, causal)
    functional, driver = Driver(FunctionalDevice(config), program), Driver(rtl, program)
    golden = run_golden(encoder, x, length, causal)[: length or tokens]
    for _ in range(2):
        expected = functional.run(x=x)["y"]
        np.testing.assert_array_equal(expected[: len(golden)], golden)
        np.testing.assert_array_equal(driver.run(max_cycles=5_000_000, x=x)["y"], expected)
        # Padding of spilled tiles holds what lay in the scratchpad, from the run before as well.
        np.testing.assert_array_equal(driver.memory(), functional.memory())
        check_counters(program, driver.counters(), functional.counters())
    return driver


@pytest.mark.parametrize("stalls", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("latency", [0, 20, 200])
@pytest.mark.parametrize("name", ["tiny", "wide"])
def test_any_memory(name: str, latency: int, stalls: float) -> None:
    config = CONFIGS[name]
    check(config, "deep", 9, 7, False, RtlDevice(config, latency=latency, stalls=stalls, seed=latency))


@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 8, 17, 31, 40])
@pytest.mark.parametrize("name", ["tiny", "tall", "wide", "lane"])
def test_any_length(name: str, tokens: int) -> None:
    config = CONFIGS[name]
    rtl = RtlDevice(config, latency=tokens, stalls=tokens % 3 * 0.2, bandwidth=1 / (1 + tokens % 2), seed=tokens)
    # Padding, a causal mask, both and neither.
    check(
        config,
        "deep" if tokens % 2 else "small",
        tokens,
        (tokens + 1) // 2 if tokens % 4 < 2 else None,
        tokens % 3 == 0,
        rtl,
    )


@pytest.mark.parametrize("tokens", [12, 33])
def test_edge(tokens: int) -> None:
    config = PRESETS["edge"]
    check(config, "edge", tokens, None, False, RtlDevice(config, latency=20))


POLICIES = {
    "blocks": HdpPolicy(rho=(40, 90), block=BlockShape(4, 2), importance=Importance.MEAN_MAX, approximate=False),
    "columns": HdpPolicy(rho=(-30, 200), block=BlockShape(4, 1), importance=Importance.ABS_SUM, approximate=False),
    "heads": HdpPolicy(rho=(0, 0), tau=(0, 40), block=BlockShape(4, 2), importance=Importance.MAX, approximate=False),
    "no head": HdpPolicy(rho=(0, 0), tau=(1 << 20,) * 2, block=BlockShape(4, 2), approximate=False),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("tokens", "length"), [(1, None), (9, 6), (23, None)])
def test_pruned(policy: str, tokens: int, length: int | None) -> None:
    """Attention under a policy: the RTL, the functional device and the golden model agree, and so do their bytes."""
    config, tested = CONFIGS["pruned"], POLICIES[policy]
    encoder, x = network("deep", tokens, config.post)
    program = compile_encoder(config, encoder, tokens, length, policy=tested)
    golden = run_golden(encoder, x, length, hdp=HdpRun(tested, encoder))
    functional = Driver(FunctionalDevice(config, tokens), program)
    driver = Driver(RtlDevice(config, latency=3 * tokens, stalls=tokens % 2 * 0.3, seed=tokens), program)
    for _ in range(2):
        np.testing.assert_array_equal(functional.run(x=x)["y"], golden)
        np.testing.assert_array_equal(driver.run(max_cycles=5_000_000, x=x)["y"], golden)
        np.testing.assert_array_equal(driver.memory(), functional.memory())


def test_a_slower_memory_takes_longer() -> None:
    """Cycles follow the memory; the work is the same."""
    config = CONFIGS["tiny"]
    buses = [{"latency": 0}, {"latency": 200}, {"latency": 200, "bandwidth": 0.25}]
    runs = [check(config, "small", 8, None, False, RtlDevice(config, **bus)).counters() for bus in buses]
    cycles = [counters.cycles for counters in runs]
    assert cycles == sorted(cycles)
    assert cycles[2] > 2 * cycles[0]
    assert len({counters.activity(Unit.ARRAY)["BUSY"] for counters in runs}) == 1


def test_a_wrong_byte_is_noticed() -> None:
    """Another weight, another memory: the comparison does not compare a thing with itself."""
    config = CONFIGS["tiny"]
    encoder, x = network("small", 4, config.post)
    program = compile_encoder(config, encoder, 4)
    functional, driver = Driver(FunctionalDevice(config), program), Driver(RtlDevice(config), program)
    expected = functional.run(x=x)["y"]
    driver.device.write_memory(driver.bases[1], driver.device.read_memory(driver.bases[1], 64) ^ 0x40)
    assert not np.array_equal(driver.run(x=x)["y"], expected)
