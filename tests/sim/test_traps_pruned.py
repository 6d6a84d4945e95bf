"""Traps of decisions and of gathers: the RTL stops as the functional device does, and then works again."""

import pytest

from celosia.hw.config import Config
from celosia.hw.isa import Opcode, Trap
from celosia.sim.fuzz.configs import CONFIGS
from celosia.sim.fuzz.runner import compare, draft
from celosia.sim.rtl.device import RtlDevice
from celosia.sw.compiler.codec import encode
from celosia.sw.compiler.program import Program, assemble
from celosia.sw.runtime.driver import Driver, TrapReportError
from celosia.sw.runtime.functional import FunctionalDevice

CONFIG = CONFIGS["pruned"]
WORDS, ROWS, STATS = CONFIG.scratchpad_words, CONFIG.acc_rows, CONFIG.accumulator.stat_rows
ILLEGAL, SCRATCHPAD, ACCUMULATOR = Trap.ILLEGAL_INSTRUCTION, Trap.SCRATCHPAD_RANGE, Trap.ACCUMULATOR_RANGE

DECIDE = {"m": 3, "n_tiles": 2, "k_tiles": 2, "length": 7, "a_stride": 3, "b_stride": 8, "list": 1}
"""All codes are alike where nothing was loaded: every key is kept."""
DECISIONS = {
    "no rows": (ILLEGAL, {"m": 0}),
    "many rows": (ILLEGAL, {"m": 5}),
    "no n": (ILLEGAL, {"n_tiles": 0}),
    "more n than keys": (ILLEGAL, {"n_tiles": 3}),
    "fewer n than keys": (ILLEGAL, {"length": 9}),
    "no keys": (ILLEGAL, {"length": 0, "n_tiles": 0}),
    "many keys": (ILLEGAL, {"length": 65, "n_tiles": 17}),
    "no k": (ILLEGAL, {"k_tiles": 0}),
    "many channels": (ILLEGAL, {"k_tiles": 5}),
    "wide blocks": (ILLEGAL, {"wide": 2}),
    "no such list": (ILLEGAL, {"list": 8}),
    "a": (SCRATCHPAD, {"a_address": WORDS - 2}),
    "a's second block": (SCRATCHPAD, {"a_address": WORDS - 5}),
    "b": (SCRATCHPAD, {"b_address": WORDS - 7}),
    "b's second block": (SCRATCHPAD, {"b_address": WORDS - 15}),
    "accumulator": (ACCUMULATOR, {"acc_address": ROWS - 2}),
}
KEPT = {"gather": 1, "list": 1}
MATMUL = KEPT | {"m": 3, "n_tiles": 2, "k_tiles": 2, "a_stride": 3, "b_stride": 8, "acc_stride": 3}
EXP = KEPT | {"m": 2, "groups": 2, "acc_stride": 2, "first": 1, "last": 1}
GATHERS = {
    "no such list": (ILLEGAL, Opcode.MATMUL, {"list": 8}),
    "causal": (ILLEGAL, Opcode.MATMUL, {"causal": 1}),
    "no k": (ILLEGAL, Opcode.MATMUL, {"k_tiles": 0}),
    "a": (SCRATCHPAD, Opcode.MATMUL, {"a_address": WORDS - 2}),
    "accumulator": (ACCUMULATOR, Opcode.MATMUL, {"acc_address": ROWS - 5}),
    "statistics": (ACCUMULATOR, Opcode.MATMUL, {"maxima": 1, "stat_row": STATS - 2}),
    "a key of scores": (SCRATCHPAD, Opcode.MATMUL, {"transposed": 1, "b_address": WORDS - 6, "b_stride": 0}),
    "a key's second block": (SCRATCHPAD, Opcode.MATMUL, {"transposed": 1, "b_address": WORDS - 14}),
    "a key of the context": (SCRATCHPAD, Opcode.MATMUL, {"b_address": WORDS - 6, "n_tiles": 1}),
    "no such list of exp": (ILLEGAL, Opcode.EXP, {"list": 8}),
    "causal exp": (ILLEGAL, Opcode.EXP, {"causal": 1}),
    "exp's output": (SCRATCHPAD, Opcode.EXP, {"out_address": WORDS - 1}),
    "exp's statistics": (ACCUMULATOR, Opcode.EXP, {"stat_row": STATS - 1}),
    "exp's statistics without keys": (ACCUMULATOR, Opcode.EXP, {"stat_row": STATS - 1, "headed": 1, "slot": 2}),
}
FINE = {
    "keys that end with the scratchpad": (Opcode.MATMUL, {"b_address": WORDS - 7, "n_tiles": 1}),
    "a pruned head's operands": (Opcode.MATMUL, {"headed": 1, "slot": 2, "a_address": WORDS, "acc_address": ROWS}),
    "a pruned head's weights": (Opcode.EXP, {"headed": 1, "slot": 2, "out_address": WORDS, "acc_address": ROWS}),
}


STREAMED = CONFIGS["pruned4"]
KEYS = {"length": 7, "k_tiles": 2, "b_stride": 8, "half": 1}
STREAM = {name: value for name, value in DECIDE.items() if name != "b_stride"} | {"half": 1}
STREAMS = {
    "keys": (ILLEGAL, Opcode.KEYS, {"length": 0}),
    "more keys than a half": (ILLEGAL, Opcode.KEYS, {"length": 33, "k_tiles": 5}),
    "more keys than the store": (ILLEGAL, Opcode.KEYS, {"length": 65, "half": 0}),
    "no k of keys": (ILLEGAL, Opcode.KEYS, {"k_tiles": 0}),
    "many channels of keys": (ILLEGAL, Opcode.KEYS, {"k_tiles": 9}),
    "keys beyond": (SCRATCHPAD, Opcode.KEYS, {"b_address": WORDS - 6}),
    "keys' second block": (SCRATCHPAD, Opcode.KEYS, {"b_address": WORDS - 14}),
    "many rows": (ILLEGAL, Opcode.DECIDE, {"m": 5}),
    "another half": (ILLEGAL, Opcode.DECIDE, {"half": 0}),
    "other keys": (ILLEGAL, Opcode.DECIDE, {"length": 6}),
    "other channels": (ILLEGAL, Opcode.DECIDE, {"k_tiles": 1}),
    "queries": (SCRATCHPAD, Opcode.DECIDE, {"a_address": WORDS - 2}),
    "queries' second block": (SCRATCHPAD, Opcode.DECIDE, {"a_address": WORDS - 5}),
    "nothing": (Trap.NONE, Opcode.DECIDE, {"b_address": WORDS, "acc_address": ROWS}),
}


def outcome(device, program: Program) -> tuple[Trap, int, int]:
    try:
        Driver(device, program).run(max_cycles=100_000)
    except TrapReportError as trap:
        return trap.code, trap.address, trap.pc
    return Trap.NONE, 0, 0


def check(code: Trap, *instructions: bytes, seed: int, config: Config = CONFIG) -> None:
    """Both devices end alike, with `code`, and the RTL recovers."""
    assembled = assemble(config, [*instructions, encode(Opcode.END)])
    program = Program(config, assembled, draft(config, 0, 1).constants[:64], (len(assembled), 64, 64, 64))
    rtl = RtlDevice(config, latency=seed % 7 * 5, stalls=seed % 3 * 0.3, seed=seed)
    expected = outcome(FunctionalDevice(config), program)
    assert expected[0] is code
    found = outcome(rtl, program)
    # On which of several bad addresses of an instruction it stops is the functional device's business too.
    assert found == expected
    Driver(rtl, program).soft_reset()
    assert compare(draft(config, seed, 5), rtl, seed) is None


CLEAR = [
    # A head that is pruned, by its limit, in slot 2; and a list of all seven keys in list 1.
    encode(Opcode.DECIDE, **DECIDE | {"list": 2, "slot": 2, "end_head": 1, "limit": (1 << 31) - 1}),
    encode(Opcode.DECIDE, **DECIDE | {"rho": -256, "end_head": 1, "slot": 3}, signal=1 << 2),
]


@pytest.mark.parametrize("kind", DECISIONS)
def test_decisions(kind: str) -> None:
    code, wrong = DECISIONS[kind]
    check(code, encode(Opcode.DECIDE, **DECIDE), encode(Opcode.DECIDE, **DECIDE | wrong), seed=len(kind))


@pytest.mark.parametrize("kind", STREAMS)
def test_keys_that_stream(kind: str) -> None:
    """A reset forgets what the key store holds, too: the last program of `check` fills it anew."""
    code, opcode, wrong = STREAMS[kind]
    good = KEYS if opcode is Opcode.KEYS else STREAM
    before = [encode(Opcode.KEYS, **KEYS), encode(Opcode.DECIDE, **STREAM)]
    check(code, *before, encode(opcode, **good | wrong), seed=len(kind), config=STREAMED)


def test_a_reset_forgets_the_key_store() -> None:
    rtl, programs = RtlDevice(STREAMED), []
    for one in (encode(Opcode.KEYS, **KEYS), encode(Opcode.DECIDE, **STREAM)):
        code = assemble(STREAMED, [one, encode(Opcode.END)])
        programs.append(Program(STREAMED, code, draft(STREAMED, 0, 1).constants[:64], (len(code), 64, 64, 64)))
    assert [outcome(rtl, one)[0] for one in programs] == [Trap.NONE, Trap.NONE]
    Driver(rtl, programs[0]).soft_reset()
    assert outcome(rtl, programs[1])[0] is ILLEGAL


@pytest.mark.parametrize("kind", GATHERS)
def test_gathers(kind: str) -> None:
    code, opcode, wrong = GATHERS[kind]
    good, wait = (MATMUL, 0) if opcode is Opcode.MATMUL else (EXP, 1 << 1)
    check(code, *CLEAR, encode(opcode, wait, **good | wrong), seed=len(kind))


@pytest.mark.parametrize("kind", FINE)
def test_what_is_not_fetched_need_not_exist(kind: str) -> None:
    opcode, fields = FINE[kind]
    good, wait = (MATMUL, 0) if opcode is Opcode.MATMUL else (EXP, 1 << 1)
    check(Trap.NONE, *CLEAR, encode(opcode, wait, **good | fields), seed=len(kind))
