"""The performance model of co-processors against the RTL: random heads on the small configurations that other tests
simulate, heads of the named workloads, several memories."""

import random
from dataclasses import replace
from functools import cache
from statistics import mean
from typing import Any, NamedTuple, cast

import pytest

from celosia.hw.config import Config
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.isa import INSTRUCTION_BYTES, Unit
from celosia.sim.fuzz.cores import CONFIGS, compiled, heads_of
from celosia.sim.rtl.device import RtlDevice
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.corejobs import core_job
from celosia.sw.compiler.cores import compile_cores
from celosia.sw.compiler.program import Program, assemble
from celosia.sw.model.hdp.policy import Softmax
from celosia.sw.performance import OPERATION_ERROR, WORKLOAD_ERROR, Memory, predict
from celosia.sw.performance.prediction import Prediction
from celosia.sw.runtime.driver import Counters, Driver
from celosia.sw.runtime.functional import FunctionalDevice

MEMORIES = (Memory(latency=0), Memory(latency=20), Memory(latency=200), Memory(latency=20, bandwidth=0.5))
MEAN_ERROR = 0.005
"""Of all points of a configuration: a latency that is wrong by a few cycles shows here."""


class Point(NamedTuple):
    """A program and its inputs, and what a functional run keeps of its heads."""

    program: Program
    inputs: dict[str, Any]
    kept: dict[int, Any]


@cache
def rtl(name: str) -> RtlDevice:
    return RtlDevice(cast(Config, CONFIGS[name]))


def point(program: Program, inputs: dict[str, Any]) -> Point:
    device = FunctionalDevice(program.config)
    Driver(device, program).run(**inputs)
    return Point(program, inputs, device.gathered)


def random_point(name: str, seed: int) -> Point:
    """Few or many heads, of very few tokens or of odd, even and the greatest lengths."""
    config, rng = CONFIGS[name], random.Random(seed)
    top = config.core.length
    tokens = rng.choice([1, 2, 3, top - 1, top, rng.randint(1, top)])
    head = rng.choice(range(config.word_bytes, config.core.width + 1, config.word_bytes))
    program, inputs, _ = compiled(config, heads_of(config, rng, rng.choice([1, 2, 4, 7]), tokens, head), tokens, head)
    return point(program, inputs)


def workload_point(config: CoprocessorConfig, pruned: int, approximate: bool) -> Point:
    """A workload of `celosia bench`, as long and wide as a core takes it."""
    plain = cast(Config, config)
    work = AttentionWorkload(config.core.length, config.core.width, pruned)
    softmax = Softmax.PUBLISHED if config.core.softmax == "published" else Softmax.MODEL
    policy = replace(work.policy(plain), approximate=approximate, softmax=softmax)
    job = core_job(config.core, policy, work.encoder(Config()), 0, work.tokens)
    return point(compile_cores(config, [job] * work.heads, work.tokens, work.head), work.inputs())


def measured(name: str, one: Point, memory: Memory, seed: int = 0) -> tuple[Prediction, Counters]:
    """A prediction, and the counters of the RTL."""
    device = rtl(name)
    device.set_bus(latency=memory.latency, bandwidth=memory.bandwidth or 1.0, stalls=memory.stalls, seed=seed)
    driver = Driver(device, one.program)
    driver.run(max_cycles=1_000_000, **one.inputs)
    return predict(one.program, memory, one.kept), driver.counters()


def error(found: Prediction, counters: Counters) -> float:
    return found.cycles / counters.cycles - 1


@pytest.mark.parametrize("name", CONFIGS)
def test_random_heads(name: str) -> None:
    errors = {}
    for seed in range(12):
        one = random_point(name, seed)
        for memory in MEMORIES:
            found, counters = measured(name, one, memory)
            errors[seed, memory] = error(found, counters)
            assert found.bytes_read == counters["BYTES_READ"]
            assert found.bytes_written == counters["BYTES_WRITTEN"]
    assert {point: one for point, one in errors.items() if abs(one) > OPERATION_ERROR} == {}
    assert mean(map(abs, errors.values())) < MEAN_ERROR


@pytest.mark.parametrize("name", CONFIGS)
def test_a_core_to_the_cycle(name: str) -> None:
    """Heads one behind the other on one core: what the model does not know of the bus is a few cycles in all; the PEs
    work in as many cycles as it says."""
    config = CONFIGS[name]
    alone = replace(config, cores=1)
    for seed in range(16):
        rng = random.Random(seed)
        tokens = rng.choice([config.core.length - 1, config.core.length])
        heads = heads_of(alone, rng, 7, tokens, config.core.width)
        program, inputs, _ = compiled(alone, heads, tokens, config.core.width)
        # The same program for the co-processor that is simulated: it uses one of its cores.
        plain = cast(Config, config)
        code = assemble(plain, [program.code[INSTRUCTION_BYTES:]])
        moved = Program(plain, code, program.constants, program.sizes, program.inputs, program.outputs)
        found, counters = measured(name, point(moved, inputs), MEMORIES[0])
        assert abs(found.cycles - counters.cycles) <= 3, seed
        assert found.units[Unit.ARRAY]["BUSY"] == counters.activity(Unit.ARRAY)["BUSY"], seed


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("pruned", [0, 50, 80])
@pytest.mark.parametrize("name", CONFIGS)
def test_workloads(name: str, pruned: int, approximate: bool) -> None:
    """And where the cycles went, by the counters. (Those of LOAD count a beat and its word apart where beats pause.)"""
    one = workload_point(CONFIGS[name], pruned, approximate)
    for memory in MEMORIES:
        found, counters = measured(name, one, memory)
        assert abs(error(found, counters)) < WORKLOAD_ERROR, memory
        for unit in (Unit.ARRAY,) if memory.bandwidth else (Unit.ARRAY, Unit.LOAD):
            for activity, cycles in counters.activity(unit).items():
                wanted = pytest.approx(cycles, abs=0.05 * counters.cycles)
                assert found.units[unit][activity] == wanted, (unit, activity, memory)


@pytest.mark.parametrize("memory", [Memory(latency=20, stalls=0.3), Memory(latency=0, bandwidth=0.5, stalls=0.5)])
@pytest.mark.parametrize("name", CONFIGS)
def test_memories_that_stall_at_random(name: str, memory: Memory) -> None:
    """The model says what it takes on average."""
    for seed in range(3):
        one = random_point(name, seed)
        runs = [measured(name, one, memory, draw) for draw in range(8)]
        assert runs[0][0].cycles == pytest.approx(mean(counters.cycles for _, counters in runs), rel=0.03), seed


def test_memory_matters_as_in_the_rtl() -> None:
    """The model follows the memory, not only the program."""
    one = workload_point(CONFIGS["two"], 80, False)
    near, _, far, narrow = (measured("two", one, memory) for memory in MEMORIES)
    for slow in (far, narrow):
        assert slow[0].cycles / near[0].cycles == pytest.approx(slow[1].cycles / near[1].cycles, rel=0.02)
    assert narrow[1].cycles > 1.2 * near[1].cycles
