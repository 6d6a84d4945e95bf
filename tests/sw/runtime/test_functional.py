"""The functional device: registers, traps, deadlocks; and the effect of single instructions against plain numpy."""

import numpy as np
import pytest

from celosia.hw.config import override
from celosia.hw.isa import Opcode, Trap
from celosia.hw.presets import PRESETS
from celosia.hw.registers import BY_NAME
from celosia.sw.compiler.codec import decode, encode
from celosia.sw.compiler.program import Program, assemble
from celosia.sw.runtime.checks import TrapError
from celosia.sw.runtime.device import DeviceError
from celosia.sw.runtime.driver import Driver, TrapReportError
from celosia.sw.runtime.functional import FunctionalDevice
from celosia.sw.runtime.machine import Machine

TINY = PRESETS["tiny"]


def run(*instructions: bytes, config=TINY) -> Driver:
    """Run a program that has a scratch window of 256 bytes."""
    code = assemble(config, [*instructions, encode(Opcode.END)])
    program = Program(config, code, np.zeros(64, np.uint8), (len(code), 64, 64, 256))
    driver = Driver(FunctionalDevice(config), program)
    driver.run()
    return driver


@pytest.mark.parametrize(
    ("instruction", "code", "address"),
    [
        (encode(Opcode.LOAD, window=3, offset=248, words=4, segments=1), Trap.MEMORY_WINDOW, 3 * 4096 + 248),
        (encode(Opcode.LOAD, window=9, words=4, segments=1), Trap.MEMORY_WINDOW, 0),
        (encode(Opcode.STORE, window=3, offset=4, words=2, segments=1), Trap.MISALIGNED, 3 * 4096 + 4),
        (encode(Opcode.LOAD, window=3, words=3, segments=1), Trap.MISALIGNED, 3 * 4096),
        (encode(Opcode.LOAD, window=3, words=0, segments=1), Trap.ILLEGAL_INSTRUCTION, 3 * 4096),
        (encode(Opcode.LOAD, window=3, words=2, segments=1, address=2047), Trap.SCRATCHPAD_RANGE, 2047),
        (encode(Opcode.MATMUL, m=1, n_tiles=1, k_tiles=1, acc_address=512), Trap.ACCUMULATOR_RANGE, 512),
        (encode(Opcode.MATMUL, m=1, n_tiles=1, k_tiles=2, a_address=2047, a_stride=1), Trap.SCRATCHPAD_RANGE, 2048),
        (encode(Opcode.MATMUL, m=0, n_tiles=1, k_tiles=1), Trap.ILLEGAL_INSTRUCTION, 0),
        (encode(Opcode.EXP, m=1, groups=1, stat_row=64), Trap.ACCUMULATOR_RANGE, 64),
        (encode(Opcode.REQUANT, m=1, groups=1, parameters=2046), Trap.SCRATCHPAD_RANGE, 2048),
    ],
)
def test_traps(instruction, code, address):
    with pytest.raises(TrapReportError) as trap:
        run(instruction)
    assert (trap.value.code, trap.value.address, trap.value.pc) == (code, address, 0)


def test_a_program_for_another_configuration_traps():
    other = override(TINY, ["control.queue=4"])
    code = assemble(other, [encode(Opcode.END)])
    with pytest.raises(TrapReportError, match="BAD_HEADER"):
        Driver(FunctionalDevice(TINY), Program(TINY, code, np.zeros(0, np.uint8), (len(code), 0, 0, 0))).run()


def test_an_illegal_opcode_traps():
    with pytest.raises(TrapReportError, match="ILLEGAL_INSTRUCTION"):
        run(bytes(32))


def test_a_token_that_never_comes_is_a_deadlock():
    with pytest.raises(DeviceError, match="deadlocked after 0 instructions: LOAD waits 0x2"):
        run(encode(Opcode.LOAD, wait=2, window=3, words=2, segments=1))


def test_usable_again_after_a_trap_and_a_soft_reset():
    good = encode(Opcode.LOAD, window=3, words=2, segments=1)
    driver = run(good)
    bad = assemble(TINY, [encode(Opcode.LOAD, window=3, words=0), encode(Opcode.END)])
    driver.device.write_memory(driver.bases[0], np.frombuffer(bad, np.uint8))
    with pytest.raises(TrapReportError):
        driver.run()
    driver.soft_reset()
    assert driver.device.read_register(BY_NAME["TRAP_CODE"].offset) == 0
    driver.device.write_memory(driver.bases[0], np.frombuffer(driver.program.code, np.uint8))
    assert driver.run() == {}
    assert driver.counters()["BYTES_READ"] == 8


def test_strided_transfers():
    machine = Machine(TINY)
    machine.memory = np.arange(256, dtype=np.uint8)
    machine.windows = [(0, 256)] * 4
    machine.execute(decode(encode(Opcode.LOAD, offset=8, stride=32, words=2, segments=3, address=5, sp_stride=10)))
    for segment in range(3):
        expected = 8 + 32 * segment + np.arange(8)
        np.testing.assert_array_equal(machine.scratchpad[5 + 10 * segment : 7 + 10 * segment].reshape(-1), expected)


@pytest.mark.parametrize("settings", [[], ["array.rows=8"], ["array.columns=16"]])
@pytest.mark.parametrize("transposed", [0, 1])
def test_matmul_is_the_product_of_the_blocked_matrices(settings, transposed):
    config = override(TINY, settings)
    rows, columns = config.array.rows, config.array.columns
    rng = np.random.default_rng(rows * columns + transposed)
    m, k_tiles, n_tiles = 5, 3, 2 * max(1, rows // columns)
    k, n = k_tiles * rows, n_tiles * columns
    a, b = rng.integers(0, 256, (m, k)), rng.integers(-128, 128, (k, n))
    machine = Machine(config)

    def put(address: int, matrix: np.ndarray, stride: int) -> None:
        for block in range(matrix.shape[1] // rows):
            part = matrix[:, block * rows : (block + 1) * rows].astype(np.uint8)
            machine.scratchpad[address + block * stride : address + block * stride + len(matrix)] = part

    put(0, a, 7)
    put(100, b.T if transposed else b, 80)
    fields = {"unsigned_a": 1, "transposed": transposed, "a_stride": 7, "b_address": 100, "b_stride": 80,
              "m": m, "n_tiles": n_tiles, "k_tiles": k_tiles, "acc_address": 3, "acc_stride": 6,
              "maxima": 1, "maxima_init": 1, "length": n - 1, "causal": 1, "diagonal": 1, "stat_row": 4}  # fmt: skip
    machine.execute(decode(encode(Opcode.MATMUL, **fields)))
    exact = a @ b
    for tile in range(n_tiles):
        found = machine.acc[3 + 6 * tile : 3 + 6 * tile + m]
        np.testing.assert_array_equal(found, exact[:, tile * columns : (tile + 1) * columns])
    for row in range(m):
        assert machine.maxima[4 + row] == max(exact[row, c] for c in range(n - 1) if c <= row + 1)


def test_an_accumulator_that_would_wrap_is_an_error_not_a_wrap():
    machine = Machine(TINY)
    machine.acc[0] = (1 << 31) - 1
    machine.scratchpad[:] = 1
    with pytest.raises(OverflowError):
        machine.execute(decode(encode(Opcode.MATMUL, m=1, n_tiles=1, k_tiles=1, accumulate=1, b_address=9)))


def test_machine_reports_the_first_bad_address():
    with pytest.raises(TrapError) as trap:
        Machine(TINY).execute(decode(encode(Opcode.TABLE, parameters=2047)))
    assert (trap.value.code, trap.value.address) == (Trap.SCRATCHPAD_RANGE, 2048)
