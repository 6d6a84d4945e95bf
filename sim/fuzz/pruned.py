"""Random instructions of hybrid dynamic pruning: decisions, and what gathers the keys that they keep."""

from typing import TYPE_CHECKING

from celosia.hw.config import HdpConfig
from celosia.hw.hdp.layouts import RULES
from celosia.hw.isa import HEAD_SLOTS, Opcode
from celosia.sw.compiler.regions import store_keys
from celosia.sw.compiler.sync import Space

if TYPE_CHECKING:
    from celosia.sim.fuzz.body import Body


class PrunedBody:
    """Adds to `body`. The rows of blocks of a head have one setting; other instructions may stand between them."""

    def __init__(self, body: "Body", hdp: HdpConfig) -> None:
        self.body, self.hdp, self.rng, self.config = body, hdp, body.rng, body.config
        self.setting: dict[str, int] = {}
        self.recent = 0  # the list that was written last
        self.fresh: set[int] = set()  # halves of the key store that no DECIDE has used

    def close(self) -> None:
        """Use what the key store holds, and end the head that has begun: the next program on the same device begins
        with a new one."""
        while self.fresh or self.setting:
            self.decide(end_head=1, **({"half": min(self.fresh)} if self.fresh else {}))

    def keys(self) -> bool:
        """A KEYS."""
        rng, hdp = self.rng, self.hdp
        half, k_tiles = rng.randint(0, 1), rng.randint(1, hdp.head_width // self.config.array.rows)
        most = store_keys(self.config, k_tiles)
        lengths = [1, most, *(rng.randint(1, most) for _ in range(5))]
        length = rng.choice(lengths if half else [*lengths, hdp.keys, *(rng.randint(1, hdp.keys) for _ in range(3))])
        b_address, b_stride = self.body.tensor(k_tiles, length, written=False)
        added = self.body.builder.add(
            Opcode.KEYS, b_address=b_address, b_stride=b_stride, k_tiles=k_tiles, length=length, half=half
        )
        if added:
            self.fresh = {one for one in self.fresh if one in self.body.builder.machine.pruning.store} | {half}
        return added

    def decide(self, **fixed: int) -> bool:
        """A DECIDE."""
        rng, config, body = self.rng, self.config, self.body
        high, columns = config.block_height, config.array.columns
        m = rng.choice([1, high, high, rng.randint(1, high)])
        chosen = self._keys(fixed.get("half"))
        if chosen is None:
            return False
        length, k_tiles = chosen["length"], chosen["k_tiles"]
        n_tiles = -(-length // columns)
        a_address, a_stride = body.tensor(k_tiles, m, written=False)
        b_address, b_stride = body.tensor(k_tiles, n_tiles * columns, written=False)
        setting = self.setting or self._new_setting()
        sums = m if config.rate == 1 else length if k_tiles > config.rate else 1
        fields = setting | chosen | {
            "a_address": a_address, "a_stride": a_stride, "b_address": b_address, "b_stride": b_stride,
            "acc_address": body.place(Space.ACCUMULATOR, sums), "m": m, "n_tiles": n_tiles, "limit": self._limit(),
            "list": rng.randrange(self.hdp.lists),
            "slot": rng.randrange(HEAD_SLOTS), "end_head": int(rng.random() < 0.4), **fixed,
        }  # fmt: skip
        added = body.builder.add(Opcode.DECIDE, **fields)
        if added:
            self.fresh.discard(fields.get("half", 0))
            self.recent = fields["list"]
            self.setting = {} if fields["end_head"] else setting
        return added

    def _keys(self, half: int | None) -> dict[str, int] | None:
        """Size of a DECIDE's keys: any, or that of what the key store holds in `half`, or in one of them."""
        rng, hdp, columns = self.rng, self.hdp, self.config.array.columns
        if hdp.rate == 1:
            length = rng.choice([1, columns, hdp.keys, *(rng.randint(1, hdp.keys) for _ in range(5))])
            return {"length": length, "k_tiles": rng.randint(1, hdp.head_width // self.config.array.rows)}
        pruning = self.body.builder.machine.pruning
        if not pruning.store and not self.keys():
            return None
        store = self.body.builder.machine.pruning.store
        half = rng.choice(sorted(store)) if half is None else half
        return {"half": half, "length": len(store[half].keys), "k_tiles": store[half].k_tiles}

    def _new_setting(self) -> dict[str, int]:
        rule = self.rng.choice(list(RULES))
        wide = self.rng.randint(0, self.hdp.widest.bit_length() - 1)
        rho = self.rng.choice([0, 256, -256, self.rng.randint(-256, 256)])
        fill = int(self.hdp.fill and self.rng.random() < 0.6)
        return RULES[rule] | {"wide": wide, "rho": rho, "fill": fill}

    def _limit(self) -> int:
        """Often near the importance so far."""
        near = self.body.builder.machine.pruning.importance + self.rng.randint(-500, 500)
        return self.rng.choice([near, near, 0, (1 << 31) - 1, -(1 << 31)])

    def _kept(self) -> dict[str, int] | None:
        """A list that is written, and perhaps a slot that is."""
        pruning = self.body.builder.machine.pruning
        if not pruning.lists:
            return None
        which = self.recent if self.rng.random() < 0.6 else self.rng.choice(sorted(pruning.lists))
        kept = {"gather": 1, "list": which}
        if pruning.heads and self.rng.random() < 0.4:
            kept |= {"headed": 1, "slot": self.rng.choice(sorted(pruning.heads))}
        return kept

    def matmul(self, **fixed: int) -> dict[str, int] | None:
        """A MATMUL that gathers; its fields if it was added."""
        rng, body, keys = self.rng, self.body, self.hdp.keys
        kept = self._kept()
        if kept is None:
            return None
        transposed = fixed.get("transposed", rng.randint(0, 1))
        most = keys // (self.config.array.columns if transposed else self.config.array.rows)
        some, many = rng.choice([1, 1, 2, 3]), rng.choice([most, most, rng.randint(1, most)])
        n_tiles, k_tiles = (many, some) if transposed else (some, many)
        blocks = k_tiles if transposed else -(-n_tiles * self.config.array.columns // self.config.word_bytes)
        # The words of all keys exist, whichever they are.
        b_stride = keys + rng.choice([0, 0, 1, 3]) if rng.random() < 0.7 else rng.randint(0, keys)
        m = fixed.get("m", body.rows(min(24, body.stat_rows)))
        a_address, a_stride = body.tensor(k_tiles, m, written=False)
        fields = {
            "unsigned_a": rng.randint(0, 1), "transposed": transposed, "accumulate": rng.randint(0, 1),
            "maxima": rng.randint(0, 1), "maxima_init": rng.randint(0, 1), "a_address": a_address,
            "a_stride": a_stride, "b_stride": b_stride,
            "b_address": body.place(Space.SCRATCHPAD, (blocks - 1) * b_stride + keys),
            **body.acc(m, n_tiles, written=True), "m": m, "n_tiles": n_tiles, "k_tiles": k_tiles,
            "length": rng.choice([0, 65535, rng.randint(0, keys)]), "diagonal": rng.randint(-5, 5),
            "stat_row": body.stat(m), **kept, **fixed,
        }  # fmt: skip
        return fields if body.builder.add(Opcode.MATMUL, **fields) else None

    def attention(self) -> None:
        """Decision, scores, softmax and context of a row of blocks."""
        rng, body, config = self.rng, self.body, self.config
        if rng.random() < 0.7 and not self.decide():
            return
        scores = self.matmul(transposed=1, maxima=1, maxima_init=1)
        if scores is None:
            return
        m, kept = scores["m"], {name: scores.get(name, 0) for name in ("gather", "list", "headed", "slot")}
        groups = min(scores["n_tiles"] * body.tile_groups, body.most_groups)
        groups = rng.choice([groups, groups, rng.randint(1, groups)])
        out_address, out_stride = body.tensor(body.blocks(groups), m, written=True)
        mult, shift = body.sharpness(scores)
        if not body.builder.add(
            Opcode.EXP, acc_address=scores["acc_address"], acc_stride=scores["acc_stride"], m=m, groups=groups,
            stat_row=scores["stat_row"], first=int(rng.random() < 0.9), last=int(rng.random() < 0.9), mult=mult,
            shift=shift, length=rng.randint(0, 20), out_address=out_address, out_stride=out_stride,
            mant=rng.randint(1 << 15, (1 << 16) - 1), mant_shift=rng.choice([8, 12, 16, 20, 40]), **kept,
        ):  # fmt: skip
            return
        k_tiles = -(-groups * config.post.lanes // config.array.rows)
        self.matmul(
            transposed=0, m=m, k_tiles=k_tiles, unsigned_a=1, accumulate=0, a_address=out_address, a_stride=out_stride,
            **kept,
        )  # fmt: skip
        if rng.random() < 0.7:
            body.by_row(stat_row=scores["stat_row"], m=m)
