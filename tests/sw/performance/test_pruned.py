"""What the performance model makes of pruned attention, against sums over the keys that a functional run gathers."""

from functools import cache

import numpy as np
import pytest

from celosia.hw.config import Config, override
from celosia.hw.isa import Opcode, Unit
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.heads import compile_heads
from celosia.sw.compiler.program import Program
from celosia.sw.compiler.pruning import prunings
from celosia.sw.golden.hdp import kept_keys
from celosia.sw.performance import operands, predict
from celosia.sw.performance import timings as t
from celosia.sw.performance.actions import count_actions, energy
from celosia.sw.performance.streaming import KeyStoreModel, MasksModel
from celosia.sw.performance.works import Fill
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice

CONFIG = override(
    PRESETS["tiny"],
    ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16", "scratchpad.kib=32", "array.rows=8"],
)
WORKLOAD = AttentionWorkload(21, 16, 60, heads=2)


@cache
def program(config: Config = CONFIG) -> tuple[Program, dict[int, np.ndarray]]:
    """Two heads, and what they gather."""
    (pruning,) = prunings(config, WORKLOAD.policy(config), 1, 21)
    found = compile_heads(config, WORKLOAD.layer(config), 21, 2, 16, pruning)
    device = FunctionalDevice(config)
    Driver(device, found).run(**WORKLOAD.inputs())
    return found, device.gathered


def tiles() -> dict[str, int]:
    """Tiles and rows by instruction: 8 x 4 PEs, two k tiles and four n tiles a head; rows of blocks of 8, 8 and 5."""
    compiled, gathered = program()
    found = {"decisions": 0, "scores": 0, "context": 0, "words": 0, "launched": 0, "weights": 0}
    for place, one in enumerate(compiled.instructions):
        if one.opcode is Opcode.DECIDE:
            found["decisions"] += 6 * 2 * max(one.m, 4)
            found["launched"] += 6 * 2 * one.m
            found["weights"] += 6 * 2 * 4
        elif one.opcode is Opcode.MATMUL:
            keys = len(gathered[place])
            of_keys, others, size = (-(-keys // 4), 2, 4) if one.transposed else (-(-keys // 8), 4, 8)
            found["scores" if one.transposed else "context"] += of_keys * others * max(one.m, size)
            found["launched"] += of_keys * others * one.m
            found["weights"] += others * keys
    return found


def test_phases() -> None:
    compiled, gathered = program()
    expected, found = tiles(), predict(compiled, gathered=gathered)
    for phase in ("decisions", "scores", "context"):
        assert expected[phase] <= found.phases[phase] <= 1.5 * expected[phase], "banks cost some cycles"
    assert found.phases["dense"] == 0
    assert found.units[Unit.ARRAY]["BUSY"] == expected["launched"]
    assert predict(compiled).phases["scores"] > found.phases["scores"], "all keys, if nobody says which"


def test_actions() -> None:
    compiled, gathered = program()
    expected, found = tiles(), count_actions(compiled, predict(compiled, gathered=gathered)).counts
    assert found["mac"] == expected["launched"] * 32
    exps = [(one, len(gathered[n])) for n, one in enumerate(compiled.instructions) if one.opcode is Opcode.EXP]
    assert found["exp"] == sum(-(-keys // 8) * 8 * one.m for one, keys in exps)
    stored = sum(one.words * one.segments for one in compiled.instructions if one.opcode is Opcode.STORE)
    assert found["scratchpad_read"] == expected["launched"] + expected["weights"] + stored


RATES = {2: (2, 21), 4: (1, 11)}
"""16 channels on 4 rows: passes, and words of a pass; at rate 4 on 8 rows, two keys share a word."""


@pytest.mark.parametrize("rate", RATES)
def test_nibble_rates(rate: int) -> None:
    """Heads of 21 tokens, rows of blocks of 4 queries."""
    rows = 4 if rate == 2 else 8
    config = override(CONFIG, [f"hdp.rate={rate}", f"array.rows={rows}"])
    compiled, gathered = program(config)
    passes, words = RATES[rate]
    found = predict(compiled, gathered=gathered)
    matmuls, weights = 0, 0
    for place, one in enumerate(compiled.instructions):
        if one.opcode is Opcode.MATMUL:
            keys = len(gathered[place])
            of_keys, others = (-(-keys // 4), 16 // rows) if one.transposed else (-(-keys // rows), 4)
            matmuls += of_keys * others * one.m
            weights += others * keys * (max(1, 4 // rows) if not one.transposed else 1)
    decides = [one for one in compiled.instructions if one.opcode is Opcode.DECIDE]
    assert len(decides) == 2 * 6
    streamed = len(decides) * passes * words
    assert found.units[Unit.ARRAY]["BUSY"] == matmuls + streamed
    # Queries load as long as they stream, or longer.
    assert found.phases["decisions"] == len(decides) * passes * max(words, 4 * 16 // rows // passes)
    counted = count_actions(compiled, found).counts
    k_tiles = 16 // rows
    assert counted["store_read"] == streamed
    assert counted["store_write"] == 2 * 21 * k_tiles
    assert counted["mac"] == matmuls * rows * 4 + len(decides) * 21 * k_tiles * rows * 4
    stored = sum(one.words * one.segments for one in compiled.instructions if one.opcode is Opcode.STORE)
    queries = 2 * 21 * k_tiles
    assert counted["scratchpad_read"] == matmuls + weights + queries + 2 * 21 * k_tiles + stored
    assert energy(found).by_action["store_read"] > 0


def test_masks_wait_for_the_walker() -> None:
    """Room for 10 groups. Rows of 4 groups, all of whose 8 keys are kept: two cycles a group."""
    masks = MasksModel(10)
    assert [masks.room(4, 0.0), masks.walk(4, 8, 100.0)] == [0.0, 108.0]
    assert [masks.room(4, 5.0), masks.walk(4, 8, 100.0)] == [5.0, 116.0]
    # Two of the first row's four must be walked.
    assert masks.room(4, 10.0) == 104.0
    assert masks.walk(4, 0, 200.0) == 204.0
    assert masks.room(4, 150.0) == 150.0
    assert masks.room(10, 150.0) == 204.0


def test_the_key_store_fills_while_the_array_leaves_cycles() -> None:
    store = KeyStoreModel()
    begun = store.fill(Fill(40, 0b01), 10.0)
    assert begun == 10.0
    begin = begun + t.FILL_START
    store.passes(begin, begin + 100, 20)  # one in five
    store.passes(begin + 100, begin + 116, 0)
    store.passes(begin + 116, begin + 216, 100)
    assert store.ready(0b01) == begin + 116 + 20 + t.FILL_WRITE
    assert store.ready(0b10) == 0
    # The other half is free, but one KEYS follows another; the same half waits for its readers.
    store.release(0b01, 400.0)
    assert store.fill(Fill(10, 0b10), 50.0) == begin + 136 + t.FILL_WRITE
    # What the array has told before counts for a KEYS that begins in the middle of it.
    assert store.ready(0b10) == begin + 136 + t.FILL_WRITE + t.FILL_START + 10 + t.FILL_WRITE
    assert store.fill(Fill(10, 0b11), 50.0) == 400.0
    assert store.ready(0b11) == 400.0 + t.FILL_START + 10 + t.FILL_WRITE


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 8), (16, 16)])
def test_keys_in_order_are_a_matmul(rows: int, columns: int) -> None:
    """Keys that follow one another meet rows in banks as whole tiles do."""
    pattern = operands.Pattern(4, rows, columns, 3, 2, 1, 3, 2, columns % 4, 1)
    pairs = [(i, j) for i in range(3) for j in range(2)]
    left = [[(1 + 3 * j + row) % 4 for row in range(rows)] for _, j in pairs]
    right = [[(2 + i * columns + j + word) % 4 for word in range(columns)] for i, j in pairs]
    assert _lost(left, right) == operands.lost(pattern)


def _lost(rows: list[list[int]], words: list[list[int]]) -> float:
    """Cycles that each tile of a matmul by itself loses, but the first."""
    ((first, others),) = operands.lost_by_gather([operands.Gathered(rows, words)])
    assert first == 0
    return others


def test_keys_of_one_bank_are_slow() -> None:
    rows = [[0, 1, 2, 3] * 4] * 8
    assert _lost(rows, [[0] * 16] * 8) > 2
    assert _lost([row[:1] for row in rows], [[0]] * 8) >= 0


def test_the_first_tile_meets_the_rows_before() -> None:
    """Of two matmuls with a tile each, words of one bank: the second one's lose to the rows of the first, a cycle for
    each row in that bank; nobody is before the first."""
    one = operands.Gathered([[0, 1, 2, 3] * 4], [[0] * 16])
    (first, others), (second, none) = operands.lost_by_gather([one, one])
    assert (first, others, none) == (0, 0, 0)
    assert 3 <= second <= 5


def test_zeros_come_from_no_bank_but_take_their_time() -> None:
    """A tile takes 16 cycles however many of its words are zeros. Words that follow the rows meet them once a tile at
    most, as zeros let them fall behind; words of one bank lose about as many cycles as rows are in it, and zeros behind
    them do not make up for it."""
    rows = [[0, 1, 2, 3] * 4] * 8
    follow = [[(1 + word) % 4 if word < 9 else operands.NO_BANK for word in range(16)]] * 8
    assert _lost(rows, [[operands.NO_BANK] * 16] * 8) == 0
    assert _lost(rows, follow) <= 1
    clash = [[0 if word < 12 else operands.NO_BANK for word in range(16)]] * 8
    assert 2 < _lost(rows, clash) <= 4


@pytest.mark.parametrize("seed", range(4))
def test_keys_that_take_turns_do_not_meet_rows(seed: int) -> None:
    """Half of 256 keys, as many even as odd ones: in turns they meet once, and follow; in order they meet all along."""
    rng, banks, count = np.random.default_rng(seed), 4, 64
    kinds = [rng.choice(np.arange(parity, 256, 2), count, replace=False) for parity in (0, 1)]
    kept = np.isin(np.arange(256), np.concatenate(kinds))
    rows = [[row % banks for row in range(16)]] * (2 * count // 16)
    lost = [_lost(rows, (keys % banks).reshape(-1, 16).tolist()) for keys in (kept_keys(kept), np.flatnonzero(kept))]
    assert lost[0] < 0.5
    assert lost[1] > 1
