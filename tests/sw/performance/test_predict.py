"""Predictions of compiled programs against what other means know: decoder, functional device, arithmetic."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from celosia.hw.isa import Opcode, Unit
from celosia.hw.presets import PRESETS
from celosia.hw.registers import Activity
from celosia.sw import technology
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.compile import compile_encoder
from celosia.sw.compiler.program import Program
from celosia.sw.model.folder import load_model
from celosia.sw.performance import Memory, energy, predict, workload
from celosia.sw.performance.actions import costs, count_actions
from celosia.sw.performance.blank import blank_encoder
from celosia.sw.performance.operations import Attention, LayerNorm, Matmul, compile_operation, random_operations
from celosia.sw.performance.workloads import PUBLISHED
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice
from celosia.sw.workloads import WORKLOADS, Geometry

TINY = PRESETS["tiny"]
OPERATIONS = (Matmul(9, 21, 30), Attention(7, 3, 5), LayerNorm(9, 37))


@pytest.fixture(scope="module")
def encoder() -> Program:
    return compile_encoder(TINY, blank_encoder(TINY, 2, 24, 3, 40), 9)


def functional(program: Program, seed: int | None) -> Driver:
    """A run on random bytes, small enough to be shifts."""
    driver = Driver(FunctionalDevice(program.config, seed), program)
    rng = np.random.default_rng(1)
    for base, size in list(zip(driver.bases, program.sizes, strict=True))[1:]:
        driver.device.write_memory(base, rng.integers(0, 32, size, np.uint8))
    driver.run()
    return driver


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_operations_are_programs(preset, operation):
    """They do the same in whatever order the units run, and the traffic is what is predicted."""
    program = compile_operation(PRESETS[preset], operation)
    first = functional(program, None)
    for seed in range(3):
        np.testing.assert_array_equal(functional(program, seed).memory(), first.memory())
    found, counters = predict(program), first.counters()
    assert found.bytes_read == counters["BYTES_READ"]
    assert found.bytes_written == counters["BYTES_WRITTEN"]


def test_every_cycle_of_every_unit_has_a_name(encoder):
    found = predict(encoder)
    for unit in Unit:
        assert set(found.units[unit]) == {activity.name for activity in Activity}
        assert sum(found.units[unit].values()) == found.cycles
    assert sum(found.stalls.values()) + encoder.ideal_cycles == found.cycles
    assert found.utilisation == encoder.ideal_cycles / found.cycles


def test_the_array_works_as_long_as_its_instructions_say(encoder):
    rows = sum(one.m * one.n_tiles * one.k_tiles for one in encoder.instructions if one.opcode is Opcode.MATMUL)
    assert predict(encoder).units[Unit.ARRAY]["BUSY"] == rows


def test_fetch_reads_the_program_once(encoder):
    assert predict(encoder).bytes_fetched == -(-len(encoder.code) // 8) * 8


def test_a_slower_memory_takes_longer(encoder):
    memories = [Memory(0), Memory(20), Memory(200), Memory(200, 0.5), Memory(200, 0.1)]
    cycles = [predict(encoder, memory).cycles for memory in memories]
    assert all(before < after for before, after in pairwise(cycles))
    # A tenth of the bus: no less than ten cycles a beat, instructions included.
    narrow = predict(encoder, memories[-1])
    beats = (narrow.bytes_read + narrow.bytes_fetched) / TINY.bus.bytes
    assert beats * 10 < narrow.cycles < beats * 10 * 1.5


def test_an_empty_program():
    """Two round trips to memory, and the end."""
    program = compile_operation(TINY, Matmul(1, 1, 1))
    empty = replace(program, code=program.code[:32] + program.code[-32:])
    assert 2 * 500 < predict(empty, Memory(500)).cycles < 2 * 500 + 40


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latency": -1}, "latency must be at least 0, not -1"),
        ({"bandwidth": 0}, "bandwidth must be above 0 and at most 1 beat a cycle, not 0"),
        ({"bandwidth": 1.5}, "bandwidth must be above 0 and at most 1 beat a cycle, not 1.5"),
        ({"outstanding": 0}, "outstanding must be at least 1, not 0"),
    ],
)
def test_impossible_memories(fields, message):
    with pytest.raises(ValueError, match=message):
        Memory(**fields)


def test_random_operations_take_turns_and_repeat():
    def draw():
        stream = random_operations(TINY, random.Random(5))
        return [next(stream)[0] for _ in range(6)]

    kinds = [type(one) for one in draw()]
    assert kinds == [Matmul, Attention, LayerNorm] * 2
    assert draw() == draw()


def test_an_operation_that_cannot_fit():
    with pytest.raises(CompileError, match=r"a row of 2048 elements exceeds post.max_channels = 1024"):
        compile_operation(TINY, LayerNorm(4, 2048))


def test_published_shapes_are_those_of_the_weights():
    config = load_model("minilm").config
    assert {"minilm": (config.layers, Geometry(hidden=config.hidden, heads=config.heads, ffn=config.ffn))} == PUBLISHED
    assert {one.network for one in WORKLOADS.values() if isinstance(one.network, str)} == set(PUBLISHED)


def test_a_workload_by_name():
    found = workload(PRESETS["transformer"], "minilm-layer-128", Memory(20))
    # 128 tokens: four projections of 384 x 384, two products of attention, 2 x 384 x 1536; on 256 PEs.
    assert found.program.ideal_cycles == 128 * (4 * 384**2 + 2 * 128 * 384 + 2 * 384 * 1536) // 256
    assert found.program.ideal_cycles < found.cycles < 1.1 * found.program.ideal_cycles
    with pytest.raises(KeyError):
        workload(PRESETS["transformer"], "minilm-17")


def test_actions_by_hand():
    """5 x 8 inputs, 12 outputs on 4 x 4 PEs with 4 lanes, words of 4 bytes: 2 x 3 tiles."""
    program = compile_operation(TINY, Matmul(5, 8, 12))
    found = count_actions(program, predict(program)).counts
    launched = 2 * 3 * 5
    assert found["mac"] == launched * 16
    assert found["accumulate"] == launched // 2 * 4  # the second of two k tiles
    assert found["accumulator_write"] == launched
    assert found["accumulator_read"] == launched // 2 + 3 * 5  # added to; read by POST
    assert found["requant"] == 5 * 12
    # Rows and weights of every tile, 8 words of records for each of 3 groups, 3 blocks of 6 rows (5, padded) stored.
    assert found["scratchpad_read"] == launched + 2 * 3 * 4 + 3 * 8 + 3 * 6
    # Two blocks of 6 rows, 2 x 12 words of weights and the records; results.
    assert found["scratchpad_write"] == 2 * 6 + 24 + 24 + 3 * 5
    assert found["dram_write"] == 3 * 6 * 32
    assert "exp" not in found


def test_actions_of_softmax_and_layernorm():
    # 4 tokens, one head of 4 channels: one tile each.
    attention = compile_operation(TINY, Attention(4, 1, 4))
    found = count_actions(attention, predict(attention)).counts
    assert (found["exp"], found["requant"], found["mac"]) == (16, 16, 2 * 4 * 16)
    norm = compile_operation(TINY, LayerNorm(4, 8))
    found = count_actions(norm, predict(norm)).counts
    assert (found["residual"], found["norm"]) == (4 * 8, 2 * 4 * 8)
    assert found["accumulator_write"] == 2 * 2 * 4  # two groups, in two halves
    assert "mac" not in found


def test_energy_adds_up(encoder):
    found = predict(encoder)
    spent = energy(found)
    assert spent.total_pj == pytest.approx(sum(spent.by_action.values()))
    assert spent.edp == pytest.approx(spent.total_pj * found.cycles)
    assert spent.bits["dram"] == 8 * (found.bytes_read + found.bytes_written + found.bytes_fetched)
    dram = spent.by_action["dram_read"] + spent.by_action["dram_write"]
    assert dram == pytest.approx(20.3 * spent.bits["dram"])
    cheaper = energy(found, replace(technology.load(), dram_pj_per_bit=2.03))
    assert spent.total_pj - cheaper.total_pj == pytest.approx(0.9 * dram)
    flat = spent.to_dict()
    assert flat["total_pj"] == spent.total_pj
    assert flat["mac_pj"] == spent.by_action["mac"]
    assert flat["scratchpad_bits"] == spent.bits["scratchpad"]


def test_costs_follow_the_table():
    table = technology.load()
    found = costs(PRESETS["transformer"], table)
    # Four banks of 16 KiB, words of 16 bytes; four of 64 KiB, rows of 64 bytes.
    assert found["scratchpad_read"] == pytest.approx(table.sram(1024, 128).read_pj)
    assert found["accumulator_read"] == pytest.approx(table.sram(1024, 512).read_pj)
    assert 0.2 < found["mac"] < 0.4  # a product of 0.2 pJ, a bit wider, and a sum of less than 0.1
