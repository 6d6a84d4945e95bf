"""The performance model against the RTL: small operations and encoders, three memories; `celosia analyze correlate`
does more of the same. The configurations are those that other tests simulate."""

from functools import cache

import numpy as np
import pytest

from celosia.hw.isa import Unit
from celosia.sim.fuzz.configs import CONFIGS
from celosia.sim.rtl.device import RtlDevice
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.heads import compile_heads
from celosia.sw.compiler.pruning import prunings
from celosia.sw.performance import OPERATION_ERROR, WORKLOAD_ERROR, Memory, predict
from celosia.sw.performance.blank import blank_encoder
from celosia.sw.performance.correlate import MEMORIES, Point, Row, Task, compare
from celosia.sw.performance.prediction import Prediction
from celosia.sw.runtime.driver import Counters, Driver
from celosia.sw.runtime.functional import FunctionalDevice

POINTS = 9
MEAN_ERROR = 0.015
"""Of all points of a configuration: a latency that is wrong by a few cycles shows here."""


def device(point: Point) -> RtlDevice:
    memory = point.memory
    return RtlDevice(point.program.config, latency=memory.latency, bandwidth=memory.bandwidth or 1.0)


@cache
def rows(name: str) -> list[Row]:
    return [compare(point, device(point)) for point in Task(CONFIGS[name], POINTS, seed=7).points()]


@pytest.mark.parametrize("name", ["tiny", "wide", "tall"])
def test_operations(name):
    found = rows(name)
    assert len(found) == POINTS * len(MEMORIES)
    assert [(row.operation, row.memory, row.error) for row in found if abs(row.error) > OPERATION_ERROR] == []
    assert sum(abs(row.error) for row in found) / len(found) < MEAN_ERROR


def test_operands_that_meet_in_banks():
    """As many rows as words of weights: how long a word takes decides how often they meet."""
    points = Task(CONFIGS["tall"], POINTS, seed=5).points()
    found = [compare(point, device(point)) for point in points if point.operation == "attention 74x5x24"]
    assert len(found) == len(MEMORIES)
    assert max(abs(row.error) for row in found) < 0.02


@cache
def encoder(name: str, memory: Memory) -> tuple[Prediction, Counters]:
    """A layer's prediction and its counters."""
    config = CONFIGS[name]
    program = compile_encoder(config, blank_encoder(config, 1, 48, 3, 96), 24)
    point = Point("encoder", program, memory)
    driver = Driver(device(point), program)
    driver.run(**{name: np.zeros(image.shape, image.dtype) for name, image in program.inputs.items()})
    return predict(program, memory), driver.counters()


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@pytest.mark.parametrize("name", ["tiny", "wide"])
def test_encoders(name, memory):
    found, counters = encoder(name, memory)
    assert found.cycles == pytest.approx(counters.cycles, rel=WORKLOAD_ERROR)
    assert found.bytes_read == counters["BYTES_READ"]
    assert found.bytes_written == counters["BYTES_WRITTEN"]


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@pytest.mark.parametrize("name", ["tiny", "wide"])
def test_where_the_cycles_go(name, memory):
    """By the counters of every unit: BUSY of ARRAY is exact; the others within a twentieth of all cycles."""
    found, counters = encoder(name, memory)
    assert found.units[Unit.ARRAY]["BUSY"] == counters.activity(Unit.ARRAY)["BUSY"]
    for unit in (Unit.LOAD, Unit.ARRAY):
        for activity, cycles in counters.activity(unit).items():
            assert found.units[unit][activity] == pytest.approx(cycles, abs=0.05 * counters.cycles), (unit, activity)


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@pytest.mark.parametrize(
    ("name", "pruned", "head", "fill"),
    [
        *(("pruned", pruned, *shape) for shape in ((8, False), (16, True)) for pruned in (0, 50, 80)),
        ("pruned2", 50, 16, False),
        ("pruned4", 0, 8, False),
        ("pruned4", 80, 16, False),
    ],
)
def test_pruned_heads(name: str, pruned: int, head: int, fill: bool, memory: Memory) -> None:
    """Attention of which a share is pruned, by the keys that a functional run gathers.

    With fill, decisions that the array does not wait for: how long each search takes the model does not know. So few
    tokens on so few PEs are no workload of `bench`: the bound is that of random operations.
    """
    config, workload = CONFIGS[name], AttentionWorkload(24, head, pruned, heads=4)
    (pruning,) = prunings(config, workload.policy(config, fill), 1, workload.tokens)
    program = compile_heads(config, workload.layer(config), workload.tokens, workload.heads, workload.head, pruning)
    functional, driver = Driver(FunctionalDevice(config), program), Driver(device(Point("", program, memory)), program)
    expected = functional.run(**workload.inputs())["context"]
    np.testing.assert_array_equal(driver.run(**workload.inputs())["context"], expected)
    found, counters = predict(program, memory, functional.device.gathered), driver.counters()
    assert found.cycles == pytest.approx(counters.cycles, rel=OPERATION_ERROR)
    assert found.units[Unit.ARRAY]["BUSY"] == counters.activity(Unit.ARRAY)["BUSY"]


def test_memory_matters_as_in_the_rtl():
    """The model follows the memory, not only the program."""
    near, narrow, far = (encoder("tiny", memory) for memory in MEMORIES)
    for slow in (narrow, far):
        assert slow[0].cycles / near[0].cycles == pytest.approx(slow[1].cycles / near[1].cycles, rel=0.03)
    assert narrow[1].cycles > 1.2 * near[1].cycles
