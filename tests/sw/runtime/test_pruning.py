"""Pruned attention by single instructions on the functional device: against the golden model of HDP."""

import contextlib
from dataclasses import dataclass

import numpy as np
import pytest

from celosia.hw.config import Config, override
from celosia.hw.hdp.layouts import RULES
from celosia.hw.isa import Opcode, Trap
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.codec import decode, encode
from celosia.sw.golden.factor import row_factor
from celosia.sw.golden.hdp import (
    BlockShape,
    Importance,
    block_exists,
    block_keys,
    fill_blocks,
    head_importance,
    importance,
    integer_scores,
    keep_blocks,
    keep_heads,
    kept_scores,
    pruned_softmax,
    split,
    spread,
)
from celosia.sw.golden.requant import requant
from celosia.sw.golden.rounding import sat
from celosia.sw.runtime.checks import TrapError
from celosia.sw.runtime.machine import Machine

HDP = ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16"]
CONFIGS = {
    "square": override(PRESETS["tiny"], HDP),
    "tall": override(PRESETS["tiny"], [*HDP, "array.rows=8"]),
    "wide": override(PRESETS["tiny"], [*HDP, "array.columns=16"]),
    "square 2": override(PRESETS["tiny"], [*HDP, "hdp.rate=2"]),
    "square 4": override(PRESETS["tiny"], [*HDP, "hdp.rate=4"]),
    "tall 4": override(PRESETS["tiny"], [*HDP, "array.rows=8", "hdp.rate=4"]),
    "wide 2": override(PRESETS["tiny"], [*HDP, "array.columns=16", "hdp.rate=2", "accumulator.kib=32"]),
}
SCORE, CONTEXT = (40000, 18), (45000, 20)


@dataclass
class Head:
    """A head of `length` tokens with its codes in a machine's scratchpad."""

    config: Config
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    rule: Importance
    wide: int
    rho: int
    limit: int
    fill: int = 0

    def __post_init__(self) -> None:
        self.machine = Machine(self.config)
        self.length, self.channels = self.query.shape
        self.rows, self.columns = self.config.array.rows, self.config.array.columns
        self.high = self.config.block_height
        self.sums = 200 if self.config.acc_rows > 256 else 110
        self.stride = -(-self.length // self.columns) * self.columns + 3
        for index, codes in enumerate((self.query, self.key, self.value)):
            for block in range(self.channels // self.rows):
                part = codes[:, block * self.rows : (block + 1) * self.rows].astype(np.int8).view(np.uint8)
                at = self.place(index) + block * self.stride
                self.machine.scratchpad[at : at + self.length] = part

    def place(self, index: int) -> int:
        """Address of queries, keys, values; of weights and of results."""
        return 5 + index * self.stride * (self.channels // self.rows)

    def run(self, opcode: Opcode, **fields: int) -> int | None:
        keys = self.machine.execute(decode(encode(opcode, **fields)))
        return None if keys is None else len(keys)

    def decide(self, first: int, place: int) -> None:
        if self.config.rate > 1 and not first:
            self.run(
                Opcode.KEYS, b_address=self.place(1), b_stride=self.stride, k_tiles=self.channels // self.rows,
                length=self.length,
            )  # fmt: skip
            # From now on the keys are in the key store.
            blocks = self.channels // self.rows * self.stride
            kept = self.machine.scratchpad[self.place(1) : self.place(1) + blocks].copy()
            self.machine.scratchpad[self.place(1) : self.place(1) + blocks] = 99
        m = min(self.high, self.length - first)
        self.run(
            Opcode.DECIDE, a_address=self.place(0) + first, a_stride=self.stride, b_address=self.place(1),
            b_stride=self.stride, acc_address=100, m=m, n_tiles=-(-self.length // self.columns),
            k_tiles=self.channels // self.rows, length=self.length, wide=self.wide, rho=self.rho, limit=self.limit,
            fill=self.fill, list=place, slot=3, end_head=int(first + m == self.length), **RULES[self.rule],
        )  # fmt: skip
        if self.config.rate > 1 and not first:
            self.machine.scratchpad[self.place(1) : self.place(1) + blocks] = kept

    def attend(self, first: int, place: int, headed: int) -> list[int | None]:
        """Scores, weights, context and its codes of a row of blocks; how many keys there were, as each of them says."""
        m, n_tiles = min(self.high, self.length - first), -(-self.length // self.columns)
        k_tiles = -(-self.length // self.rows)
        kept = {"gather": 1, "list": place, "headed": headed, "slot": 3}
        weights, out = self.place(3), self.place(3) + 100
        shape = {"acc_address": 7, "acc_stride": m + 1, "m": m}
        lanes = self.config.post.lanes
        counts = [
            self.run(
                Opcode.MATMUL, **shape, **kept, transposed=1, maxima=1, maxima_init=1, a_address=self.place(0) + first,
                a_stride=self.stride, b_address=self.place(1), b_stride=self.stride, n_tiles=n_tiles,
                k_tiles=self.channels // self.rows, length=0, stat_row=2,
            ),
            self.run(
                Opcode.EXP, **shape, **kept, groups=k_tiles * self.rows // lanes, stat_row=2, first=1, last=1,
                out_address=weights, out_stride=m, mult=SCORE[0], shift=SCORE[1], length=0, mant=CONTEXT[0],
                mant_shift=CONTEXT[1],
            ),
            self.run(
                Opcode.MATMUL, acc_address=self.sums, acc_stride=m, m=m, **kept, unsigned_a=1, a_address=weights,
                a_stride=m, b_address=self.place(2), b_stride=self.stride, n_tiles=self.channels // self.columns,
                k_tiles=k_tiles,
            ),
        ]  # fmt: skip
        self.run(
            Opcode.REQUANT, acc_address=self.sums, acc_stride=m, m=m, groups=self.channels // lanes, stat_row=2,
            row_factor=1, out_address=out + first, out_stride=self.length,
        )  # fmt: skip
        return counts

    def context(self) -> np.ndarray:
        """int8 [length, channels]."""
        first = self.place(3) + 100
        blocks = [
            self.machine.scratchpad[first + block * self.length : first + (block + 1) * self.length].view(np.int8)
            for block in range(self.channels // self.rows)
        ]
        return np.concatenate(blocks, axis=1)

    def golden(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """Context, kept scores [length, length] and whether the head is kept."""
        shape, mask = BlockShape(self.high, 1 << self.wide), np.ones((self.length, self.length), bool)
        whole = integer_scores(split(self.query)[0], split(self.key)[0])
        theta, exists = importance(whole, mask, shape, self.rule), block_exists(mask, shape)
        keep = bool(keep_heads(head_importance(theta, exists), self.limit))
        blocks = keep_blocks(theta, exists, self.rho)
        if self.fill:
            blocks = fill_blocks(blocks, theta, exists, block_keys(mask, shape), self.columns)
        kept = spread(blocks, shape, self.length, self.length)
        scores = kept_scores(self.query, self.key, approximate=False)
        sums, total = pruned_softmax(scores, kept & keep, mask, SCORE, self.value)
        factor, shift = row_factor(*CONTEXT, total)
        return sat(requant(sums, 0, factor[:, None], shift[:, None]), 8), kept, keep


def head(config: Config, length: int, rng: np.random.Generator, **settings) -> Head:
    """A head whose keys differ in importance."""
    common = rng.integers(-40, 41, 16)
    query, key = (
        np.clip(rng.integers(-2, 3, (length, 1)) * common + rng.integers(-60, 61, (length, 16)), -128, 127)
        for _ in range(2)
    )
    chosen = {"rule": Importance.MEAN_MAX, "wide": 1, "rho": 40, "limit": -(1 << 31)} | settings
    return Head(config, query, key, rng.integers(-128, 128, (length, 16)), **chosen)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rule", list(Importance))
@pytest.mark.parametrize(
    ("length", "wide", "rho"), [(16, 0, 0), (21, 1, 100), (35, 1, -60), (5, 0, 256), (64, 1, -256)]
)
def test_a_head_is_that_of_the_golden_model(name: str, rule: Importance, length: int, wide: int, rho: int) -> None:
    config = CONFIGS[name]
    tested = head(config, length, np.random.default_rng(length), rule=rule, wide=wide, rho=rho)
    expected, kept, _ = tested.golden()
    for index, first in enumerate(range(0, length, tested.high)):
        place = index % config.hdp.lists
        tested.decide(first, place)
        np.testing.assert_array_equal(np.sort(tested.machine.pruning.lists[place]), np.flatnonzero(kept[first]))
        count = int(kept[first].sum())
        assert tested.attend(first, place, headed=0) == [count] * 3
    np.testing.assert_array_equal(tested.context(), expected)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("length", "wide", "rho"), [(16, 0, 256), (21, 1, 40), (35, 0, 150), (64, 1, 30), (5, 1, 256)])
def test_fill_keeps_whole_tiles(name: str, length: int, wide: int, rho: int) -> None:
    """As the golden model has it; no fewer keys than without, and no more than the same tiles hold."""
    config, more = CONFIGS[name], 0
    tested, plain = (
        head(config, length, np.random.default_rng(length), wide=wide, rho=rho, fill=fill) for fill in (1, 0)
    )
    expected, kept, _ = tested.golden()
    before = plain.golden()[1]
    for index, first in enumerate(range(0, length, tested.high)):
        place = index % config.hdp.lists
        tested.decide(first, place)
        keys, least = np.flatnonzero(kept[first]), np.flatnonzero(before[first])
        np.testing.assert_array_equal(np.sort(tested.machine.pruning.lists[place]), keys)
        assert set(least) <= set(keys)
        assert -(-len(keys) // tested.columns) == -(-len(least) // tested.columns)
        more += len(keys) - len(least)
        assert tested.attend(first, place, headed=0) == [len(keys)] * 3
    np.testing.assert_array_equal(tested.context(), expected)
    assert more


def test_fill_must_be_built() -> None:
    config = override(CONFIGS["square"], ["hdp.fill=false"])
    Machine(config).execute(decode(encode(Opcode.DECIDE, **LEGAL)))
    with pytest.raises(TrapError) as trap:
        Machine(config).execute(decode(encode(Opcode.DECIDE, **LEGAL, fill=1)))
    assert trap.value.code is Trap.ILLEGAL_INSTRUCTION


def test_the_accumulator_keeps_the_integer_scores_of_the_last_tile() -> None:
    tested = head(CONFIGS["square"], 10, np.random.default_rng(4))
    tested.decide(8, 0)
    whole = split(tested.query)[0][8:] @ split(tested.key)[0].T
    np.testing.assert_array_equal(tested.machine.acc[100:102, :2], whole[:, 8:])


@pytest.mark.parametrize(("rate", "touched"), [(2, True), (4, False)])
def test_the_accumulator_keeps_integer_scores_of_several_passes(rate: int, touched: bool) -> None:
    """Four k tiles: two passes at rate 2, one at rate 4. A row for each key, zeros where there is no query."""
    tested = head(CONFIGS[f"square {rate}"], 10, np.random.default_rng(4))
    tested.machine.acc[:] = 5
    tested.decide(0, 0)
    tested.decide(8, 0)
    whole = split(tested.query)[0][8:] @ split(tested.key)[0].T
    expected = np.full((12, 4), 5)
    if touched:
        expected[:10] = np.pad(whole.T, [(0, 0), (0, 2)])
    np.testing.assert_array_equal(tested.machine.acc[100:112], expected)
    assert (tested.machine.acc[:100] == 5).all()


@pytest.mark.parametrize("above", [0, 1])
def test_a_pruned_head_has_context_zero(above: int) -> None:
    rng = np.random.default_rng(8)
    tested = head(CONFIGS["square"], 14, rng)
    shape, mask = BlockShape(4, 2), np.ones((14, 14), bool)
    theta = importance(split(tested.query)[0] @ split(tested.key)[0].T, mask, shape, tested.rule)
    tested.limit = int(theta.sum()) + above
    expected, kept, keep = tested.golden()
    assert keep == (not above)
    firsts = range(0, 14, 4)
    tested.machine.scratchpad[tested.place(3) + 100 :] = 77
    for index, first in enumerate(firsts):
        tested.decide(first, index)
    for index, first in enumerate(firsts):
        count = int(kept[first].sum()) * keep
        assert tested.attend(first, index, headed=1) == [count] * 3
    np.testing.assert_array_equal(tested.context(), expected)
    assert expected.any() == keep


LEGAL = {"m": 1, "n_tiles": 2, "k_tiles": 1, "length": 7, "wide": 1, "list": 7, "acc_address": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"m": 0}, {"m": 5}, {"n_tiles": 0}, {"n_tiles": 3}, {"length": 9}, {"length": 0}, {"length": 65, "n_tiles": 17},
        {"k_tiles": 0}, {"k_tiles": 5}, {"wide": 2}, {"list": 8},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["square", "square 2"])
def test_illegal_decisions(name: str, changes: dict[str, int]) -> None:
    machine = Machine(CONFIGS[name])
    keys = {field: (LEGAL | changes)[field] for field in ("length", "k_tiles")}
    for fields in (keys, {"length": 7, "k_tiles": 1}):
        if name != "square":
            with contextlib.suppress(TrapError):
                machine.execute(decode(encode(Opcode.KEYS, **fields)))
    machine.execute(decode(encode(Opcode.DECIDE, **LEGAL)))
    with pytest.raises(TrapError) as trap:
        machine.execute(decode(encode(Opcode.DECIDE, **LEGAL | changes)))
    assert trap.value.code is Trap.ILLEGAL_INSTRUCTION


@pytest.mark.parametrize(
    ("changes", "code", "address"),
    [
        ({"a_address": 2048}, Trap.SCRATCHPAD_RANGE, 2048),
        ({"k_tiles": 2, "a_stride": 2048}, Trap.SCRATCHPAD_RANGE, 2048),
        ({"b_address": 2041}, Trap.SCRATCHPAD_RANGE, 2048),
        ({"acc_address": 512}, Trap.ACCUMULATOR_RANGE, 512),
        ({"acc_address": 511, "m": 2}, Trap.ACCUMULATOR_RANGE, 512),
    ],
)
def test_decisions_beyond_the_memories(changes: dict[str, int], code: Trap, address: int) -> None:
    with pytest.raises(TrapError) as trap:
        Machine(CONFIGS["square"]).execute(decode(encode(Opcode.DECIDE, **LEGAL | changes)))
    assert (trap.value.code, trap.value.address) == (code, address)


def outcomes(machine: Machine, *fills: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """After KEYS of (half, length, k tiles), which of these, and of some others, a DECIDE may use."""
    for half, length, k_tiles in fills:
        machine.execute(decode(encode(Opcode.KEYS, half=half, length=length, k_tiles=k_tiles)))
    found = []
    for half, length, k_tiles in sorted({*fills, *((1, length, k) for _, length, k in fills), (0, 7, 1), (1, 7, 1)}):
        fields = LEGAL | {"half": half, "length": length, "k_tiles": k_tiles, "n_tiles": -(-length // 4)}
        with contextlib.suppress(TrapError):
            machine.execute(decode(encode(Opcode.DECIDE, **fields)))
            found.append((half, length, k_tiles))
    return found


@pytest.mark.parametrize(
    ("fills", "left"),
    [
        ([], []),
        ([(0, 7, 1)], [(0, 7, 1)]),
        ([(0, 32, 4), (1, 7, 1)], [(0, 32, 4), (1, 7, 1)]),
        ([(0, 9, 1), (0, 7, 2)], [(0, 7, 2)]),
        # More than 32 keys of more than two k tiles take both halves; shorter ones are two a word.
        ([(0, 7, 1), (1, 7, 1), (0, 33, 3)], [(0, 33, 3)]),
        ([(0, 7, 1), (1, 64, 2)], [(0, 7, 1), (1, 64, 2)]),
        ([(0, 64, 4), (1, 7, 1)], [(1, 7, 1)]),
        ([(0, 64, 4), (0, 7, 1)], [(0, 7, 1)]),
    ],
)
def test_halves_of_the_key_store(fills: list[tuple[int, int, int]], left: list[tuple[int, int, int]]) -> None:
    assert outcomes(Machine(CONFIGS["square 4"]), *fills) == left


@pytest.mark.parametrize(
    ("changes", "code", "address"),
    [
        ({"length": 0}, Trap.ILLEGAL_INSTRUCTION, 0),
        ({"length": 65}, Trap.ILLEGAL_INSTRUCTION, 0),
        ({"k_tiles": 0}, Trap.ILLEGAL_INSTRUCTION, 0),
        ({"k_tiles": 5}, Trap.ILLEGAL_INSTRUCTION, 0),
        ({"half": 1, "length": 33, "k_tiles": 3}, Trap.ILLEGAL_INSTRUCTION, 0),
        ({"b_address": 2042}, Trap.SCRATCHPAD_RANGE, 2048),
        ({"b_address": 2034, "b_stride": 8}, Trap.SCRATCHPAD_RANGE, 2048),
    ],
)
def test_keys_that_there_are_not(changes: dict[str, int], code: Trap, address: int) -> None:
    legal, machine = {"half": 1, "length": 7, "k_tiles": 2}, Machine(CONFIGS["square 2"])
    machine.execute(decode(encode(Opcode.KEYS, **legal)))
    machine.execute(decode(encode(Opcode.KEYS, **legal | {"half": 0, "length": 64})))
    with pytest.raises(TrapError) as trap:
        machine.execute(decode(encode(Opcode.KEYS, **legal | changes)))
    assert (trap.value.code, trap.value.address) == (code, address)


@pytest.mark.parametrize(
    ("changes", "code", "address"),
    [
        ({"b_address": 2048, "b_stride": 2048, "acc_address": 510}, None, 0),
        ({"a_address": 2048}, Trap.SCRATCHPAD_RANGE, 2048),
        ({"k_tiles": 2, "a_stride": 2047, "m": 2}, Trap.SCRATCHPAD_RANGE, 2048),
        ({"k_tiles": 3, "acc_address": 505}, None, 0),
        ({"k_tiles": 3, "acc_address": 506}, Trap.ACCUMULATOR_RANGE, 512),
    ],
)
def test_what_a_decision_needs_beside_the_store(changes: dict[str, int], code: Trap | None, address: int) -> None:
    """The scratchpad's keys are not looked at; the accumulator's rows, where there are several passes."""
    machine = Machine(CONFIGS["square 2"])
    machine.execute(decode(encode(Opcode.KEYS, length=7, k_tiles=changes.get("k_tiles", 1))))
    try:
        machine.execute(decode(encode(Opcode.DECIDE, **LEGAL | changes)))
        found: tuple[Trap | None, int] = (None, 0)
    except TrapError as trap:
        found = (trap.code, trap.address)
    assert found == (code, address)


@pytest.mark.parametrize("name", ["tiny", "square"])
def test_keys_are_illegal_without_a_store(name: str) -> None:
    config = PRESETS["tiny"] if name == "tiny" else CONFIGS[name]
    with pytest.raises(TrapError) as trap:
        Machine(config).execute(decode(encode(Opcode.KEYS, length=7, k_tiles=1)))
    assert trap.value.code is Trap.ILLEGAL_INSTRUCTION


MATMUL = {"m": 1, "n_tiles": 2, "k_tiles": 1, "transposed": 1, "gather": 1, "list": 7}


@pytest.mark.parametrize("opcode", [Opcode.MATMUL, Opcode.EXP])
def test_illegal_gathers(opcode: Opcode) -> None:
    machine = Machine(CONFIGS["square"])
    fields = MATMUL if opcode is Opcode.MATMUL else {"m": 1, "groups": 1, "gather": 1, "list": 7}
    machine.execute(decode(encode(Opcode.DECIDE, **LEGAL)))
    machine.execute(decode(encode(opcode, **fields)))
    for changes in ({"list": 8}, {"causal": 1}):
        with pytest.raises(TrapError) as trap:
            machine.execute(decode(encode(opcode, **fields | changes)))
        assert trap.value.code is Trap.ILLEGAL_INSTRUCTION
    with pytest.raises(ValueError, match="list 3 and slot 0 before they are written"):
        machine.execute(decode(encode(opcode, **fields | {"list": 3})))


def test_only_kept_keys_must_exist() -> None:
    """All codes are alike, so all 7 keys are kept, and the eighth column of the two tiles is nowhere."""
    machine = Machine(CONFIGS["square"])
    machine.execute(decode(encode(Opcode.DECIDE, **LEGAL)))
    assert machine.execute(decode(encode(Opcode.MATMUL, **MATMUL, b_address=2041))) is not None
    with pytest.raises(TrapError) as trap:
        machine.execute(decode(encode(Opcode.MATMUL, **MATMUL, b_address=2042)))
    assert (trap.value.code, trap.value.address) == (Trap.SCRATCHPAD_RANGE, 2048)


def test_without_hdp_the_bits_are_reserved_and_the_opcode_is_illegal() -> None:
    machine = Machine(PRESETS["tiny"])
    assert machine.execute(decode(encode(Opcode.MATMUL, **MATMUL))) is None
    with pytest.raises(TrapError) as trap:
        machine.execute(decode(encode(Opcode.DECIDE, **LEGAL)))
    assert trap.value.code is Trap.ILLEGAL_INSTRUCTION
