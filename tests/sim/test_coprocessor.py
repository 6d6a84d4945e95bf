"""Co-processors on the RTL: the context is that of the golden model, and every byte of memory is the functional
device's, whatever the memory does; traps; resets in the middle of heads."""

import random
from typing import cast

import numpy as np
import pytest

from celosia.hw.config import Config
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.isa import Opcode, Trap, Unit
from celosia.hw.registers import BY_NAME
from celosia.sim.fuzz.cores import CONFIGS, WINDOW, anywhere, compiled, heads_of
from celosia.sim.rtl.device import RtlDevice
from celosia.sw.compiler.codec import encode
from celosia.sw.compiler.program import Program, assemble
from celosia.sw.runtime.device import Device
from celosia.sw.runtime.driver import Driver, TrapReportError
from celosia.sw.runtime.functional import FunctionalDevice


def rtl_of(config: CoprocessorConfig, **options) -> RtlDevice:
    return RtlDevice(cast(Config, config), **options)


def functional_of(config: CoprocessorConfig, seed: int | None = None) -> FunctionalDevice:
    return FunctionalDevice(cast(Config, config), seed)


def check_heads(config: CoprocessorConfig, rtl: RtlDevice, seed: int, count: int = 6) -> Driver:
    """Heads through both devices, twice, against the model of one head."""
    rng = random.Random(seed)
    tokens = rng.choice([config.core.length, rng.randint(1, config.core.length)])
    head = rng.choice(range(config.word_bytes, config.core.width + 1, config.word_bytes))
    program, inputs, want = compiled(config, heads_of(config, rng, count, tokens, head), tokens, head)
    functional, driver = Driver(functional_of(config, seed), program), Driver(rtl, program)
    rtl.write_memory(0, functional.memory())
    for _ in range(2):
        np.testing.assert_array_equal(functional.run(**inputs)["context"], want)
        np.testing.assert_array_equal(driver.run(max_cycles=500_000, **inputs)["context"], want)
        np.testing.assert_array_equal(driver.memory(), functional.memory())
        for name in ("INSTRUCTIONS", "BYTES_READ", "BYTES_WRITTEN"):
            assert driver.counters()[name] == functional.counters()[name], name
    return driver


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", CONFIGS)
def test_heads(name: str, seed: int) -> None:
    bus = {"latency": seed * seed * 4, "stalls": seed % 3 * 0.3, "bandwidth": 1 / (1 + seed % 2), "seed": seed}
    driver = check_heads(CONFIGS[name], rtl_of(CONFIGS[name], **bus), seed)
    assert driver.counters().activity(Unit.ARRAY)["BUSY"] > 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", CONFIGS)
def test_any_program(name: str, seed: int) -> None:
    """Instructions in any order, on memories that hold anything: both devices leave the same memory."""
    config, rng = CONFIGS[name], random.Random(seed)
    rtl = rtl_of(config, latency=seed * 7, stalls=seed % 3 * 0.3, seed=seed)
    program = anywhere(config, rng, 25)
    memories = []
    for device in (functional_of(config), functional_of(config, seed), rtl):
        # Contexts are stored that no head has written: begin with those of one.
        driver = Driver(device, program)
        driver.run(max_cycles=500_000)
        driver.run(max_cycles=500_000)
        memories.append(driver.memory())
    np.testing.assert_array_equal(memories[1], memories[0])
    np.testing.assert_array_equal(memories[2], memories[0])


def attends(c: CoprocessorConfig) -> dict[str, tuple[Trap, int, dict[str, int]]]:
    """Bad fields of ATTEND: the trap, and its address."""
    illegal, core = Trap.ILLEGAL_INSTRUCTION, c.core
    last, memory = c.cores - 1, core.rows * core.parts
    return {
        "no tokens": (illegal, 0, {"length": 0}),
        "long": (illegal, 0, {"length": core.length + 1}),
        "core": (illegal, 0, {"core": c.cores}),
        "rho": (illegal, 0, {"rho": 257}),
        "rule": (illegal, 0, {"peak_rows": 1, "peak_columns": 0}),
        "odd": (illegal, 0, {"key": 2}),
        "query": (Trap.SCRATCHPAD_RANGE, 3 * last * memory + core.rows, {"core": last, "query": core.rows}),
        "key": (Trap.SCRATCHPAD_RANGE, memory + core.rows - 4, {"key": core.rows - 4, "length": 5}),
        "value": (Trap.SCRATCHPAD_RANGE, 2 * memory + 65532, {"value": 65532}),
        "context": (Trap.ACCUMULATOR_RANGE, last * memory + 65535, {"core": last, "context": 65535}),
    }


LEGAL = {"length": 4, "absolute": 1, "score_mult": 1, "mant": 1}
NAMES = list(attends(CONFIGS["two"]))


def program_of(config: CoprocessorConfig, *instructions: bytes) -> Program:
    plain = cast(Config, config)
    code = assemble(plain, [*instructions, encode(Opcode.END)])
    return Program(plain, code, np.zeros(WINDOW, np.uint8), (len(code), WINDOW, WINDOW, WINDOW))


def outcome(device: Device, program: Program) -> tuple[Trap, int, int]:
    """How a program ends."""
    try:
        Driver(device, program).run(max_cycles=100_000)
    except TrapReportError as trap:
        return trap.code, trap.address, trap.pc
    return Trap.NONE, 0, 0


def check_trap(config: CoprocessorConfig, program: Program, want: tuple[Trap, int, int], seed: int) -> None:
    """Both devices end so, and the RTL works after a soft reset."""
    rtl = rtl_of(config, latency=seed % 7 * 5, stalls=seed % 3 * 0.3, seed=seed)
    assert outcome(functional_of(config), program) == want
    assert outcome(rtl, program) == want
    Driver(rtl, program).soft_reset()
    assert rtl.read_register(BY_NAME["TRAP_CODE"].offset) == 0
    check_heads(config, rtl, seed, 2)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", CONFIGS)
def test_attend_traps(name: str, kind: str) -> None:
    """In front of, and behind, instructions that do nothing wrong."""
    config = CONFIGS[name]
    code, address, fields = attends(config)[kind]
    good = encode(Opcode.ATTEND, **LEGAL)
    program = program_of(config, good, encode(Opcode.ATTEND, **{**LEGAL, **fields}), good)
    check_trap(config, program, (code, address, 1), NAMES.index(kind))


@pytest.mark.parametrize("name", CONFIGS)
def test_heads_are_pruned_only_by_cores_that_can(name: str) -> None:
    config = CONFIGS[name]
    program = program_of(config, encode(Opcode.ATTEND, **LEGAL, headed=1))
    want = (Trap.NONE, 0, 0) if config.core.tau else (Trap.ILLEGAL_INSTRUCTION, 0, 0)
    assert outcome(functional_of(config), program) == outcome(rtl_of(config), program) == want


@pytest.mark.parametrize("opcode", [one for one in Opcode if one.value >> 4 in (2, 3) and one is not Opcode.ATTEND])
def test_other_instructions_are_illegal(opcode: Opcode) -> None:
    check_trap(CONFIGS["two"], program_of(CONFIGS["two"], encode(opcode)), (Trap.ILLEGAL_INSTRUCTION, 0, 0), 1)


@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE])
def test_transfers_beyond_the_memories(opcode: Opcode) -> None:
    """LOAD has the operands, STORE the contexts: a third as many."""
    config = CONFIGS["two"]
    local = config.operands if opcode is Opcode.LOAD else config.contexts
    fields = {"window": 3, "words": 2, "segments": 1, "address": local.scratchpad_words - 1}
    program = program_of(config, encode(opcode, **fields))
    check_trap(config, program, (Trap.SCRATCHPAD_RANGE, local.scratchpad_words - 1, 0), 2)


@pytest.mark.parametrize("seed", range(6))
def test_reset_in_the_middle(seed: int) -> None:
    """A hard or a soft reset at any moment: the next program runs as if there had been none before."""
    config, rng = CONFIGS["two"], random.Random(seed)
    rtl = rtl_of(config, latency=rng.randint(0, 40), stalls=rng.choice([0, 0.3]), seed=seed)
    for _ in range(4):
        tokens = config.core.length
        program, inputs, _ = compiled(config, heads_of(config, rng, 6, tokens, 8), tokens, 8)
        driver = Driver(rtl, program)
        with pytest.raises(Exception, match="no interrupt"):
            driver.run(max_cycles=rng.randint(1, 600), **inputs)
        if rng.random() < 0.5:
            rtl.reset()
        else:
            driver.soft_reset()
        check_heads(config, rtl, rng.getrandbits(16), 3)


def test_a_word_a_cycle() -> None:
    """LOAD fills the operands, and STORE empties the contexts beside it, at the rate of the bus."""
    config = CONFIGS["two"]
    words, stored = config.operands.scratchpad_words, config.contexts.scratchpad_words
    load = encode(Opcode.LOAD, window=3, words=words, segments=1)
    store = encode(Opcode.STORE, window=2, words=stored, segments=1)
    driver = Driver(rtl_of(config, latency=0), program_of(config, load, store, load, store, load, store, store))
    driver.run(max_cycles=100_000)
    assert driver.counters()["BYTES_READ"] == 3 * words * config.word_bytes
    assert driver.counters().cycles <= 3 * words + 100


def test_more_cores_share_the_heads() -> None:
    """Two cores take less than three quarters of the cycles of one, though one bus loads both."""
    config, rng = CONFIGS["two"], random.Random(1)
    heads = heads_of(config, rng, 8, 16, 8)
    program, inputs, want = compiled(config, heads, 16, 8)
    both = Driver(rtl_of(config, latency=0), program)
    np.testing.assert_array_equal(both.run(max_cycles=500_000, **inputs)["context"], want)
    lone = CoprocessorConfig(cores=1, core=config.core, bus=config.bus)
    alone = compiled(lone, heads, 16, 8)[0]
    # The same co-processor with a program that uses one of its cores.
    code = assemble(cast(Config, config), [alone.code[32:]])
    sizes = (len(code), *alone.sizes[1:])
    moved = Program(program.config, code, alone.constants, sizes, alone.inputs, alone.outputs)
    one = Driver(rtl_of(config, latency=0), moved)
    np.testing.assert_array_equal(one.run(max_cycles=500_000, **inputs)["context"], want)
    assert both.counters().cycles < one.counters().cycles * 3 / 4
