"""Traps: the RTL stops with the code, address and instruction of the functional device, and then works again."""

from dataclasses import replace

import numpy as np
import pytest

from celosia.hw.config import Config
from celosia.hw.isa import Opcode, Trap
from celosia.hw.registers import BY_NAME
from celosia.sim.fuzz.configs import CONFIGS
from celosia.sim.fuzz.runner import compare, draft
from celosia.sim.rtl.device import Response, RtlDevice
from celosia.sw.compiler.codec import encode
from celosia.sw.compiler.program import SCRATCH, Program, assemble
from celosia.sw.runtime.device import Device, DeviceError
from celosia.sw.runtime.driver import Driver, TrapReportError
from celosia.sw.runtime.functional import FunctionalDevice

WINDOW = 8192
"""Bytes of the windows of data."""
Outcome = tuple[Trap, int, int]


def program_of(config: Config, *instructions: bytes, end: bool = True) -> Program:
    code = assemble(config, [*instructions, *([encode(Opcode.END)] if end else [])])
    return Program(config, code, np.zeros(WINDOW, np.uint8), (len(code), WINDOW, WINDOW, WINDOW))


def outcome(device: Device, program: Program, base: int = 0, **registers: int) -> Outcome:
    """How a program ends. `base`: of window 0, wherever the program lies. `registers` are written before the start."""
    driver = Driver(device, program)
    driver.bases[0] = base
    for name, value in registers.items():
        device.write_register(BY_NAME[name].offset, value)
    try:
        driver.run(max_cycles=100_000)
    except TrapReportError as trap:
        return trap.code, trap.address, trap.pc
    return Trap.NONE, 0, 0


def check_recovers(rtl: RtlDevice, program: Program, seed: int) -> None:
    """After a soft reset a random program runs bit for bit."""
    Driver(rtl, program).soft_reset()
    assert rtl.read_register(BY_NAME["TRAP_CODE"].offset) == 0
    assert compare(draft(rtl.config, seed, 5), rtl, seed) is None


def check(config: Config, program: Program, code: Trap, seed: int = 0, **options: int) -> Outcome:
    """Both devices end alike, with `code`, and the RTL recovers. Returns how they ended."""
    rtl = RtlDevice(config, latency=seed % 7 * 5, stalls=seed % 3 * 0.3, seed=seed)
    expected = outcome(FunctionalDevice(config), program, **options)
    assert expected[0] is code
    assert outcome(rtl, program, **options) == expected
    check_recovers(rtl, program, seed)
    return expected


def transfers(c: Config) -> dict[str, tuple[Trap, dict[str, int]]]:
    """Bad fields of LOAD and STORE."""
    unit, granule, top = c.beat_bytes // c.word_bytes, c.beat_bytes, c.scratchpad_words
    return {
        "no words": (Trap.ILLEGAL_INSTRUCTION, {"words": 0}),
        "no segments": (Trap.ILLEGAL_INSTRUCTION, {"segments": 0}),
        "offset": (Trap.MISALIGNED, {"offset": granule // 2}),
        "stride": (Trap.MISALIGNED, {"stride": granule // 4}),
        "window number": (Trap.MEMORY_WINDOW, {"window": 4, "offset": granule}),
        "last window number": (Trap.MEMORY_WINDOW, {"window": 255}),
        "window end": (Trap.MEMORY_WINDOW, {"offset": WINDOW}),
        "window straddled": (Trap.MEMORY_WINDOW, {"offset": WINDOW - granule, "words": 2 * unit}),
        "third segment": (
            Trap.MEMORY_WINDOW,
            {"offset": WINDOW - 4 * granule, "stride": 2 * granule, "segments": 3, "sp_stride": 5},
        ),
        "far offset": (Trap.MEMORY_WINDOW, {"offset": (1 << 32) - granule}),
        "merged window": (
            Trap.MEMORY_WINDOW,
            {"offset": WINDOW - granule, "stride": granule, "sp_stride": unit, "segments": 2},
        ),
        "scratchpad end": (Trap.SCRATCHPAD_RANGE, {"address": top}),
        "scratchpad straddled": (Trap.SCRATCHPAD_RANGE, {"address": top - unit, "words": 2 * unit}),
        "scratchpad second": (Trap.SCRATCHPAD_RANGE, {"address": top - unit, "sp_stride": 1, "segments": 2}),
        "far address": (Trap.SCRATCHPAD_RANGE, {"address": (1 << 24) - 1}),
        "merged scratchpad": (
            Trap.SCRATCHPAD_RANGE,
            {"address": top - unit, "stride": granule, "sp_stride": unit, "segments": 2},
        ),
    }


def matmuls(c: Config) -> dict[str, tuple[Trap, dict[str, int]]]:
    """Bad fields of MATMUL."""
    words, rows, stats = c.scratchpad_words, c.acc_rows, c.accumulator.stat_rows
    columns, k_rows = c.array.columns, c.array.rows
    scratchpad, accumulator = Trap.SCRATCHPAD_RANGE, Trap.ACCUMULATOR_RANGE
    maxima = {"maxima": 1, "m": 4}
    many = max(1, k_rows // columns) + 1
    return {
        "no rows": (Trap.ILLEGAL_INSTRUCTION, {"m": 0}),
        "no n": (Trap.ILLEGAL_INSTRUCTION, {"n_tiles": 0}),
        "no k": (Trap.ILLEGAL_INSTRUCTION, {"k_tiles": 0}),
        "a": (scratchpad, {"a_address": words - 1}),
        "far a": (scratchpad, {"a_address": (1 << 24) - 1}),
        "a's second block": (scratchpad, {"a_address": words - 10, "a_stride": 9}),
        "a's far block": (scratchpad, {"a_address": words - 10, "a_stride": 65535}),
        "b by n": (scratchpad, {"b_address": words - columns, "transposed": 1}),
        "b by k": (scratchpad, {"b_address": words - 2 * columns, "b_stride": columns + 3, "transposed": 1}),
        "b by rows": (scratchpad, {"b_address": words - k_rows, "n_tiles": 1}),
        "b by blocks": (scratchpad, {"b_address": words - 3 * k_rows, "b_stride": 2 * k_rows, "n_tiles": many}),
        "accumulator": (accumulator, {"acc_address": rows - 1}),
        "accumulator by n": (accumulator, {"acc_address": rows - 5, "acc_stride": 4}),
        "far accumulator": (accumulator, {"acc_address": rows - 5, "acc_stride": 65535}),
        "statistics": (accumulator, maxima | {"stat_row": stats - 3}),
        "far statistics": (accumulator, maxima | {"stat_row": 4095}),
    }


def posts(c: Config) -> dict[str, tuple[Trap, Opcode, dict[str, int]]]:
    """Bad fields of POST's instructions; `groups` of them are two blocks."""
    words, rows, stats = c.scratchpad_words, c.acc_rows, c.accumulator.stat_rows
    blocks = {"groups": 2 * c.word_bytes // c.post.lanes}
    tiles = {"groups": 2 * c.array.columns // c.post.lanes}
    table_words = -(-(1 << c.post.table_bits) // c.word_bytes)
    illegal, scratchpad, accumulator = Trap.ILLEGAL_INSTRUCTION, Trap.SCRATCHPAD_RANGE, Trap.ACCUMULATOR_RANGE
    requant, exp, residual, norm = Opcode.REQUANT, Opcode.EXP, Opcode.RESIDUAL, Opcode.NORM
    long = {"groups": c.post.max_channels // c.post.lanes + 1}
    both = {"out8": 1, "out16": 1, **blocks}
    return {
        "no rows": (illegal, requant, {"m": 0}),
        "no groups": (illegal, exp, {"groups": 0}),
        "no rows of norm": (illegal, norm, {"m": 0, "out8": 1}),
        "a long softmax": (illegal, exp, long),
        "a long LayerNorm": (illegal, residual, long),
        "no output": (illegal, norm, {}),
        "unknown activation": (illegal, requant, {"activation": 3}),
        "parameters": (scratchpad, requant, {"parameters": words - c.record_words, "groups": 2}),
        "far parameters": (scratchpad, norm, {"parameters": (1 << 24) - 1, "out8": 1}),
        "requant's output": (scratchpad, requant, {"out_address": words - 1}),
        "requant's second block": (scratchpad, requant, blocks | {"out_address": words - 10, "out_stride": 9}),
        "requant's far block": (scratchpad, requant, blocks | {"out_address": words - 10, "out_stride": 65535}),
        "exp's output": (scratchpad, exp, {"out_address": words - 2, "m": 3}),
        "residual": (scratchpad, residual, blocks | {"residual_address": words - 4, "residual_stride": 1}),
        "norm's int8": (scratchpad, norm, both | {"out8_address": words - 3, "out8_stride": 2, "out16_stride": 4}),
        "norm's int16": (scratchpad, norm, both | {"out16_address": words - 6, "out16_stride": 5}),
        "accumulator": (accumulator, requant, {"acc_address": rows - 1}),
        "second tile": (accumulator, residual, tiles | {"acc_address": rows - 6, "acc_stride": 5, "no_acc": 1}),
        "far tile": (accumulator, norm, tiles | {"acc_address": rows - 6, "acc_stride": 65535, "out8": 1}),
        "exp's statistics": (accumulator, exp, {"stat_row": stats - 1}),
        "factors": (accumulator, requant, {"stat_row": stats - 1, "row_factor": 1}),
        "far statistics": (accumulator, norm, {"stat_row": 4095, "out8": 1}),
        "table": (scratchpad, Opcode.TABLE, {"parameters": words - table_words + 1}),
    }


def good_load(c: Config) -> bytes:
    return encode(Opcode.LOAD, window=SCRATCH, words=c.beat_bytes // c.word_bytes, segments=1)


SOME = [CONFIGS["tiny"], CONFIGS["wide"]]
NAMES = ["tiny", "wide"]


@pytest.mark.parametrize("config", SOME, ids=NAMES)
@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE])
@pytest.mark.parametrize("kind", transfers(SOME[0]))
def test_transfers(config: Config, opcode: Opcode, kind: str) -> None:
    code, wrong = transfers(config)[kind]
    good = {"window": SCRATCH, "words": config.beat_bytes // config.word_bytes, "segments": 1}
    bad = encode(opcode, **good | wrong)
    program = program_of(config, good_load(config), encode(Opcode.STORE, **good), good_load(config), bad)
    check(config, program, code, seed=len(kind))


@pytest.mark.parametrize("config", SOME, ids=NAMES)
@pytest.mark.parametrize("kind", matmuls(SOME[0]))
def test_matmul(config: Config, kind: str) -> None:
    code, wrong = matmuls(config)[kind]
    good = {"m": 3, "n_tiles": 2, "k_tiles": 2, "a_stride": 3, "b_stride": 2 * config.array.columns, "acc_stride": 3}
    bad = encode(Opcode.MATMUL, **good | wrong)
    program = program_of(config, good_load(config), encode(Opcode.MATMUL, **good), good_load(config), bad)
    check(config, program, code, seed=len(kind))


@pytest.mark.parametrize("config", SOME, ids=NAMES)
@pytest.mark.parametrize("kind", posts(SOME[0]))
def test_post(config: Config, kind: str) -> None:
    code, opcode, wrong = posts(config)[kind]
    good = {} if opcode is Opcode.TABLE else {"m": 2, "groups": 1, "acc_stride": 2}
    bad = encode(opcode, **good | wrong)
    fine = encode(Opcode.REQUANT, m=2, groups=1, row_factor=1)
    program = program_of(config, good_load(config), fine, good_load(config), bad)
    check(config, program, code, seed=len(kind))


@pytest.mark.parametrize("opcode", [0x00, 0x02, 0x11, 0x21, 0x22, 0x35, 0x41, 0x50, 0xFF])
def test_illegal_opcodes(opcode: int) -> None:
    config = CONFIGS["tiny"]
    program = program_of(config, *[good_load(config)] * 3, bytes([opcode]) + bytes(31))
    assert check(config, program, Trap.ILLEGAL_INSTRUCTION, seed=opcode)[1:] == (0, 3)


@pytest.mark.parametrize("length", [0, 1, 9])
def test_a_program_without_end(length: int) -> None:
    config = CONFIGS["tiny"]
    program = program_of(config, *[good_load(config)] * length, end=False)
    # END stands behind the last instruction that the header counts.
    program = replace(program, code=program.code + encode(Opcode.END), sizes=(4096, *program.sizes[1:]))
    assert check(config, program, Trap.ILLEGAL_INSTRUCTION, seed=length)[2] == length


@pytest.mark.parametrize("byte", [0, 3, 4, 5, 8, 11])
def test_headers(byte: int) -> None:
    """Magic, version and configuration hash."""
    config = CONFIGS["tiny"]
    program = program_of(config, good_load(config))
    wrong = bytearray(program.code)
    wrong[byte] ^= 0x40
    assert check(config, replace(program, code=bytes(wrong)), Trap.BAD_HEADER, seed=byte) == (Trap.BAD_HEADER, 0, 0)


@pytest.mark.parametrize("config", SOME, ids=NAMES)
@pytest.mark.parametrize("size", [0, 31, 32, 64, 255, 256, 700, 4064])
def test_programs_beyond_their_window(config: Config, size: int) -> None:
    """No request leaves the window; the trap names the burst that would have."""
    program = program_of(config, *[good_load(config)] * 200)
    program = replace(program, sizes=(size, *program.sizes[1:]))
    # The code lies where the other windows would; nothing of it is read beyond the window.
    driver = Driver(FunctionalDevice(config), program)
    assert len(program.code) > driver.bases[1]
    check(config, program, Trap.MEMORY_WINDOW, seed=size)


@pytest.mark.parametrize("base", [4, 16, 31])
def test_misaligned_programs(base: int) -> None:
    config = CONFIGS["tiny"]
    check(config, program_of(config), Trap.MISALIGNED, base=base)


@pytest.mark.parametrize("latency", [0, 100])
def test_deadlock(latency: int) -> None:
    """The watchdog ends it, and tells who waits for whom."""
    config = CONFIGS["tiny"]
    program = program_of(
        config,
        encode(Opcode.MATMUL, wait=0b1100, m=1, n_tiles=1, k_tiles=1),
        encode(Opcode.STORE, wait=0b1000, window=SCRATCH, words=2, segments=1),
        good_load(config),
    )
    _, address, pc = check(config, program, Trap.WATCHDOG, seed=latency, WATCHDOG=2000)
    assert (address, pc) == (0x7060, 4)


@pytest.mark.parametrize(("giver", "taker"), [(0, 3), (2, 2), (3, 1)])
def test_semaphore_overflow(giver: int, taker: int) -> None:
    config = CONFIGS["tiny"]
    move = {"window": SCRATCH, "words": 2, "segments": 1}
    give = {
        0: encode(Opcode.LOAD, signal=1 << taker, **move),
        2: encode(Opcode.REQUANT, signal=1 << taker, m=1, groups=1, row_factor=1),
        3: encode(Opcode.STORE, signal=1 << taker, **move),
    }[giver]
    assert outcome(RtlDevice(config), program_of(config, *[give] * 255)) == (Trap.NONE, 0, 0)
    found = check(config, program_of(config, *[give] * 256), Trap.SEMAPHORE_OVERFLOW)
    assert found == (Trap.SEMAPHORE_OVERFLOW, giver * 4 + taker, 255)


def bursts(config: Config, address: int, size: int) -> list[int]:
    """First addresses of the bursts of a transfer: as long as the bus and pages of 4 KiB allow."""
    found, end = [], address + size
    while address < end:
        found.append(address)
        address = min(address + config.bus.burst * config.bus.bytes, (address // 4096 + 1) * 4096, end)
    return found


@pytest.mark.parametrize("config", SOME, ids=NAMES)
@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE])
@pytest.mark.parametrize(("offset", "where"), [(0, 0), (3968, 0), (3968, 200), (3840, 900)])
def test_bus_errors(config: Config, opcode: Opcode, offset: int, where: int) -> None:
    """The address is that of the burst which met the error."""
    words = 1024 // config.word_bytes
    bad = encode(opcode, window=SCRATCH, offset=offset, words=words, segments=1)
    program = program_of(config, good_load(config), bad)
    rtl = RtlDevice(config, latency=where % 9, stalls=0.3, seed=offset)
    base = Driver(rtl, program).bases[SCRATCH] + offset
    response = Response.DECERR if offset else Response.SLVERR
    # The other direction does not meet it.
    rtl.inject_error(
        base + where, base + where + 1, response, reads=opcode is Opcode.LOAD, writes=opcode is Opcode.STORE
    )
    first = max(address for address in bursts(config, base, words * config.word_bytes) if address <= base + where)
    assert outcome(rtl, program) == (Trap.BUS_ERROR, first, 1)
    rtl.clear_errors()
    check_recovers(rtl, program, where)


@pytest.mark.parametrize("config", SOME, ids=NAMES)
@pytest.mark.parametrize("record", [0, 1, 2, 17])
def test_bus_errors_of_fetch(config: Config, record: int) -> None:
    """The address is that of the beat, the instruction the first one in it."""
    program = program_of(config, *[good_load(config)] * 20)
    rtl = RtlDevice(config, latency=record)
    rtl.inject_error(32 * record + 13, 32 * record + 14, Response.DECERR, writes=False)
    address = (32 * record + 13) // config.bus.bytes * config.bus.bytes
    assert outcome(rtl, program) == (Trap.BUS_ERROR, address, max(record - 1, 0))
    rtl.clear_errors()
    check_recovers(rtl, program, record)


@pytest.mark.parametrize("config", SOME, ids=NAMES)
def test_soft_reset_at_any_moment(config: Config) -> None:
    """In the middle of a run, whatever the bus does; the same program then runs bit for bit."""
    tested = draft(config, 5, 30)
    program = tested.program()
    for moment in range(20):
        rtl = RtlDevice(config, latency=moment % 5 * 12, stalls=moment % 4 * 0.2, seed=moment)
        driver = Driver(rtl, program)
        cycles = int(np.random.default_rng(moment).integers(1, 8000))
        with pytest.raises(DeviceError, match="no interrupt"):
            driver.run(max_cycles=cycles)
        driver.soft_reset()
        assert compare(tested, rtl, moment) is None, f"after a reset in cycle {cycles}"
