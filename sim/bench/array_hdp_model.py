"""What DECIDE, and matmuls of kept keys, do: by the golden model of HDP; and random ones."""

import random
from typing import Any

import numpy as np

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.sim.bench.array_model import AccumulatorModel, ResultRow, random_matmul, result_rows
from celosia.sw.golden.hdp import (
    BlockShape,
    block_exists,
    block_keys,
    fill_blocks,
    head_importance,
    importance,
    integer_scores,
    keep_blocks,
    keep_heads,
    kept_keys,
    split,
    spread,
)
from celosia.sw.golden.matmul import matmul

Fields = dict[str, Any]
Step = tuple[isa.Opcode, Fields]
Held = tuple[int, int]
"""Keys and k tiles in a half of the key store."""


def half_keys(config: Config, k_tiles: int) -> int:
    """Keys that half of the key store holds: words of `rate` k tiles each, as many as half of the widest keys need; at
    rate 4 two keys of one or two k tiles share a word."""
    assert config.hdp is not None
    rate, widest = config.hdp.rate, config.hdp.head_width // config.array.rows
    words = config.hdp.keys // 2 * -(-widest // rate)
    shared = 2 if rate == 4 and k_tiles <= 2 else 1
    return min(config.hdp.keys, shared * (words // -(-k_tiles // rate)))


def hold(held: list[Held | None], config: Config, f: Fields) -> None:
    """What the halves of the key store hold after a KEYS."""
    longer = [one is not None and one[0] > half_keys(config, one[1]) for one in (*held, (f["length"], f["k_tiles"]))]
    if any(longer):
        held[:] = [None, None]
    held[f["half"]] = (f["length"], f["k_tiles"])


class HdpModel:
    """Accumulator, row maxima, lists of kept keys and slots of heads, behind a scratchpad `memory`."""

    def __init__(self, config: Config, memory: np.ndarray) -> None:
        assert config.hdp is not None
        self.config, self.memory, self.hdp = config, memory, config.hdp
        self.acc = AccumulatorModel(config)
        self.written: set[int] = set()
        self.lists: dict[int, np.ndarray] = {}
        self.slots: dict[int, bool] = {}
        self.importance = 0
        # Integer parts of the keys in the halves of the key store, and how many: at nibble rates above 1.
        self.store: dict[int, np.ndarray] = {}
        self.held: list[Held | None] = [None, None]

    def prepared(self, *steps: Step) -> list[Step]:
        """The instructions, with a KEYS before each DECIDE whose keys the store does not hold."""
        held, made = list(self.held), []
        for opcode, f in steps:
            if opcode is isa.Opcode.DECIDE and self.hdp.rate > 1 and held[f["half"]] != (f["length"], f["k_tiles"]):
                keys = {name: f[name] for name in ("b_address", "b_stride", "length", "k_tiles", "half")}
                made.append((isa.Opcode.KEYS, keys))
                hold(held, self.config, keys)
            if opcode is isa.Opcode.KEYS:
                hold(held, self.config, f)
            made.append((opcode, f))
        return made

    def count(self, f: Fields) -> int:
        """Keys that a gather works on."""
        return 0 if f["headed"] and not self.slots[f["slot"]] else len(self.lists[f["list"]])

    def run(self, opcode: isa.Opcode, f: Fields) -> int:
        """Execute an instruction; the rows that it launches."""
        if opcode is isa.Opcode.KEYS:
            codes = self._codes(f["b_address"], f["b_stride"], f["length"], f["k_tiles"])
            self.store[f["half"]] = split(codes)[0]
            hold(self.held, self.config, f)
            return 0
        if opcode is isa.Opcode.DECIDE:
            return self._decide(f)
        rows = self._gather(f) if f.get("gather") else result_rows(self.config, self.memory, f, 0)
        for row in rows:
            self.acc.write(row)
            self.written.add(row.address)
        return len(rows)

    def _codes(self, address: int, stride: int, count: int, k_tiles: int) -> np.ndarray:
        """A blocked tensor [count, channels] of int8."""
        blocks = [self.memory[address + k * stride :][:count] for k in range(k_tiles)]
        return np.concatenate(blocks, axis=1).view(np.int8).astype(np.int64)

    def _decide(self, f: Fields) -> int:
        columns = self.config.array.columns
        query = self._codes(f["a_address"], f["a_stride"], f["m"], f["k_tiles"])
        if self.hdp.rate > 1:
            keys = np.zeros((f["n_tiles"] * columns, query.shape[1]), np.int64)
            keys[: f["length"]] = self.store[f["half"]]
        else:
            keys = split(self._codes(f["b_address"], f["b_stride"], f["n_tiles"] * columns, f["k_tiles"]))[0]
        scores = integer_scores(split(query)[0], keys)
        valid = np.broadcast_to(np.arange(scores.shape[1]) < f["length"], scores.shape)
        shape = BlockShape(f["m"], 1 << f["wide"])
        (rule,) = (rule for rule, flags in RULES.items() if all(f[name] == flag for name, flag in flags.items()))
        theta, exists = importance(scores, valid, shape, rule), block_exists(valid, shape)
        blocks = keep_blocks(theta, exists, f["rho"])
        blocks = fill_blocks(blocks, theta, exists, block_keys(valid, shape), columns if f["fill"] else 0)
        kept = spread(blocks, shape, *scores.shape)[0]
        self.lists[f["list"]] = kept_keys(kept[: f["length"]])
        self.importance += int(head_importance(theta, exists))
        if f["end_head"]:
            self.slots[f["slot"]] = bool(keep_heads(self.importance, f["limit"]))
            self.importance = 0
        if self.hdp.rate > 1:
            return self._streamed(f, scores)
        rows = range(f["acc_address"], f["acc_address"] + f["m"])
        self.acc.rows[rows] = scores[:, -columns:]
        self.written.update(rows)
        return f["m"] * f["n_tiles"] * f["k_tiles"]

    def _streamed(self, f: Fields, scores: np.ndarray) -> int:
        """Where keys stream: several passes leave a key's scores in a row each, one leaves nothing."""
        passes = -(-f["k_tiles"] // self.hdp.rate)
        if passes > 1:
            rows = range(f["acc_address"], f["acc_address"] + f["length"])
            self.acc.rows[rows] = 0
            self.acc.rows[rows, : f["m"]] = scores[:, : f["length"]].T
            self.written.update(rows)
        paired = self.hdp.rate == 4 and f["k_tiles"] <= 2
        return passes * (-(-f["length"] // 2) if paired else f["length"])

    def _gather(self, f: Fields) -> list[ResultRow]:
        """The matmul of the kept keys alone: in a scratchpad where they are all that there is."""
        rows, columns = self.config.array.rows, self.config.array.columns
        count = self.count(f)
        if not count:
            return []
        keys = self.lists[f["list"]]
        name, step = ("n_tiles", columns) if f["transposed"] else ("k_tiles", rows)
        f = f | {name: min(f[name], -(-count // step)), "length": count, "causal": 0}
        out = []
        for n in range(f["n_tiles"]):
            total = np.zeros((f["m"], columns), np.int64)
            for k in range(f["k_tiles"]):
                start = f["a_address"] + k * f["a_stride"]
                a = self.memory[start : start + f["m"]].view(np.uint8 if f["unsigned_a"] else np.int8)
                total = matmul(a.astype(np.int64), self._kept_tile(f, keys, k, n))
                out += [self._row(f, n, k, i, total[i]) for i in range(f["m"])]
        return out

    def _kept_tile(self, f: Fields, keys: np.ndarray, k: int, n: int) -> np.ndarray:
        """Tile (k, n) of B, zero where there is no key."""
        rows, columns = self.config.array.rows, self.config.array.columns
        tile = np.zeros((rows, columns), np.int64)
        words = self.memory.view(np.int8)
        for column in range(columns):
            channel = n * columns + column
            if f["transposed"]:
                if channel < len(keys):
                    tile[:, column] = words[f["b_address"] + k * f["b_stride"] + keys[channel]]
                continue
            block = f["b_address"] + channel // rows * f["b_stride"]
            for row, key in enumerate(keys[k * rows : (k + 1) * rows]):
                tile[row, column] = words[block + key, channel % rows]
        return tile

    def _row(self, f: Fields, n: int, k: int, row: int, sums: np.ndarray) -> ResultRow:
        columns, stat = self.config.array.columns, None
        if f["maxima"] and k == f["k_tiles"] - 1:
            valid = min(max(f["length"] - n * columns, 0), columns)
            stat = (f["stat_row"] + row, bool(f["maxima_init"] and n == 0), valid)
        return ResultRow(
            address=f["acc_address"] + n * f["acc_stride"] + row,
            accumulate=bool(f["accumulate"] or k > 0),
            stat=stat,
            done=None,
            sums=tuple(int(x) for x in sums),
        )


def random_rule(rng: random.Random, config: Config) -> Fields:
    """What is the same for a head: importance, block width, rho, fill."""
    assert config.hdp is not None
    rho = rng.choice([-RHO_ONE, RHO_ONE, 0, rng.randint(-RHO_ONE, RHO_ONE), rng.randint(0, RHO_ONE)])
    wide = rng.randrange(config.hdp.widest.bit_length())
    fill = int(config.hdp.fill and rng.random() < 0.6)
    return RULES[rng.choice(list(Importance))] | {"wide": wide, "rho": rho, "fill": fill}


def random_decide(rng: random.Random, config: Config, **fixed: Any) -> Fields:
    """Fields of a legal DECIDE. `fixed` fields are kept."""
    hdp, rows, columns = config.hdp, config.array.rows, config.array.columns
    assert hdp is not None
    most = min(rows, columns) if hdp.rate > 1 else rows
    f = random_rule(rng, config) | {
        "m": rng.choice([1, most, rng.randint(1, most)]),
        "k_tiles": rng.randint(1, hdp.head_width // rows),
        "length": rng.choice([1, hdp.keys, rng.randint(1, hdp.keys), rng.randint(1, 3 * columns)]),
        "limit": rng.choice([-(1 << 31), (1 << 31) - 1, 0, rng.randint(-999, 9999)]),
        "list": rng.randrange(hdp.lists),
        "slot": rng.randrange(isa.HEAD_SLOTS),
        "end_head": rng.getrandbits(1),
    }
    f |= fixed
    if hdp.rate > 1:
        f.setdefault("half", rng.getrandbits(1) if f["length"] <= half_keys(config, f["k_tiles"]) else 0)
    f["n_tiles"] = -(-f["length"] // columns)
    a_stride, b_stride = f["m"] + rng.randint(0, 3), f["n_tiles"] * columns + rng.randint(0, 3)
    words = config.scratchpad_words
    return {
        "a_stride": a_stride,
        "b_stride": b_stride,
        "a_address": rng.randint(0, words - f["k_tiles"] * a_stride),
        "b_address": rng.randint(0, words - f["k_tiles"] * b_stride),
        "acc_address": rng.randint(0, 8),
    } | f


def random_keys(rng: random.Random, config: Config, **fixed: Any) -> Fields:
    """Fields of a legal KEYS."""
    decide = random_decide(rng, config, **fixed)
    return {name: decide[name] for name in ("b_address", "b_stride", "length", "k_tiles", "half")}


def random_gather(rng: random.Random, model: HdpModel, **fixed: Any) -> Fields:
    """Fields of a matmul of a list that is there, usually with as many tiles as the keys need at most."""
    config, hdp = model.config, model.hdp
    rows, columns = config.array.rows, config.array.columns
    gather = {"gather": 1, "list": rng.choice(list(model.lists)), "causal": 0, "headed": 0}
    gather["slot"] = rng.choice(list(model.slots or [0]))
    if model.slots:
        gather["headed"] = rng.getrandbits(1)
    gather |= fixed
    count = len(model.lists[gather["list"]])
    transposed = gather.setdefault("transposed", rng.getrandbits(1))
    most = -(-hdp.keys // (columns if transposed else rows))
    needed = max(1, -(-count // (columns if transposed else rows)))
    tiles = rng.choice([needed, needed, min(most, needed + 3), rng.randint(1, needed)])
    size = {"n_tiles": tiles, "k_tiles": rng.randint(1, 3)} if transposed else {"k_tiles": tiles}
    if not transposed:
        size["n_tiles"] = rng.choice([1, 2, 3])
    f = random_matmul(rng, config, **({"m": rng.choice([1, rows, rng.randint(1, 2 * rows)])} | size | gather))
    # Keys are anywhere up to the longest list.
    blocks = f["k_tiles"] if transposed else -(-f["n_tiles"] * columns // rows)
    stride = hdp.keys + rng.randint(0, 3)
    f["b_stride"] = min(stride, (config.scratchpad_words - hdp.keys) // max(blocks - 1, 1))
    f["b_address"] = rng.randint(0, config.scratchpad_words - (blocks - 1) * f["b_stride"] - hdp.keys)
    return f | fixed
