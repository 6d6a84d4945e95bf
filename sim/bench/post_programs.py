"""Random programs for POST: what they read is prepared in the reference model's memories as they are made."""

import random
from typing import Any

import numpy as np

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.post.kernels.ibert import GeluConstants, gelu_constants
from celosia.sim.bench.post_model import PostModel, Step
from celosia.sw import golden


class Programs:
    """Makes steps that are legal for the model's state, and runs each on the model as it is made.

    Parameters go to one half of the scratchpad, results to the other. `begin` forgets what was prepared, for the next
    program. `place`: fields that the next steps are given. `gelu`: constants of I-BERT's GELU to choose from. `gather`:
    fields by which every EXP gathers, none if it is empty.
    """

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.rng = random.Random(seed)
        self.np = np.random.default_rng(seed)
        self.place: dict[str, int] = {}
        self.gather: dict[str, int] | None = {} if config.hdp is None else None
        self.gelu = []
        for s_in in (0.002, 0.05):
            s_out, zero = self.rng.uniform(0.5, 2) * s_in, self.rng.randint(-128, 127)
            fields = gelu_constants(s_in, s_out, zero, config.post.table_bits)
            self.gelu.append(GeluConstants.const(fields).as_value().value)
        words = config.scratchpad_words
        shape = (config.acc_rows, config.array.columns)
        self.model = PostModel(
            config,
            self.np.integers(0, 256, (words, config.word_bytes), dtype=np.uint8),
            self.np.integers(-(1 << 31), 1 << 31, shape).astype(np.int32),
            np.zeros(config.accumulator.stat_rows, np.int32),
        )
        if config.hdp is not None:
            # Lists of no keys, of one, of some and of all; and heads of either kind.
            sizes = [0, 1, config.hdp.keys, *(self.rng.randint(1, 48) for _ in range(config.hdp.lists))]
            self.model.kept |= dict(enumerate(sizes[: config.hdp.lists]))
            self.model.pruned |= set(range(0, isa.HEAD_SLOTS, 3))
        # Scores and products are seldom near the limits: half of the rows are small.
        small = self.np.random(config.acc_rows) < 0.5
        self.model.acc[small] >>= 16
        self.begin()

    def begin(self) -> None:
        """Forget what was prepared."""
        self.next_word = 0
        self.used_stats: set[int] = set()

    def _prepare(self, words: int) -> int | None:
        """Room for parameters, or None."""
        if self.next_word + words > self.config.scratchpad_words // 2:
            return None
        self.next_word += words
        return self.next_word - words

    def size(self, m: int | None = None, groups: int | None = None, most: int = 10) -> dict[str, Any]:
        """Fields that all streaming instructions share."""
        rng, config = self.rng, self.config
        ratio = max(1, config.array.columns // config.post.lanes)
        groups = groups or rng.randint(1, max(most, ratio + 2))
        m = m or rng.choice([1, 1, 2, 2, 3, 3, 4, 5, rng.randint(6, 12)])
        stride = m + rng.randint(0, 3)
        tiles = -(-groups // ratio)
        address = rng.randint(0, config.acc_rows - tiles * stride)
        stat_row = rng.randint(0, config.accumulator.stat_rows - m)
        fields = {"acc_address": address, "acc_stride": stride, "m": m, "groups": groups, "stat_row": stat_row}
        return fields | self.place

    def output(self, f: dict[str, Any], words: int = 1) -> tuple[int, int]:
        """Address and stride of a result of `words` words a row and block."""
        blocks = -(-self.model.channels(f["groups"]) // self.config.word_bytes)
        stride = words * f["m"] + self.rng.randint(0, 3)
        half = self.config.scratchpad_words // 2
        return self.rng.randint(half, self.config.scratchpad_words - blocks * stride), stride

    def records(self, groups: int, sets: int) -> int | None:
        """Random records: of requantisation for one set, of LayerNorm for two."""
        words = self.config.record_words
        address = self._prepare(groups * sets * words)
        if address is None:
            return None
        lanes = self.config.post.lanes
        block = self.model.scratchpad[address : address + groups * sets * words].reshape(groups, sets, -1)
        for c in range(groups * lanes):
            for s in range(sets):
                bias = self.rng.getrandbits(32) >> self.rng.choice([0, 8, 16])
                mult = self.rng.randint(1 << 15, (1 << 16) - 1)
                shift = self.rng.choice([*range(0, 64, 7), *range(18, 42)])
                word = bias | mult << 32 | (shift << 48 if sets == 1 else 0)
                block[c // lanes, s, 8 * (c % lanes) :][:8] = list(word.to_bytes(8, "little"))
        return address

    def requant(self, *, row_factor: bool = False, row: int | None = None, **size: Any) -> Step | None:
        """REQUANT by records, or by the row factors of rows that have them (from `row` on)."""
        f = self.size(**size)
        activations = [isa.Activation.NONE, isa.Activation.RELU]
        by_polynomial = self.config.post.gelu == "ibert"
        activations += [isa.Activation.TABLE] * 2 if self.model.table is not None or by_polynomial else []
        f["activation"] = self.rng.choice(activations)
        if by_polynomial:
            f["constants"] = self.rng.choice(self.gelu)
        if row_factor:
            rows = self._rows(self.model.factors, f["m"]) if row is None else row
            if rows is None:
                return None
            f |= {"row_factor": 1, "stat_row": rows}
        else:
            f["parameters"] = self.records(f["groups"], 1)
            if f["parameters"] is None:
                return None
        f["out_address"], f["out_stride"] = self.output(f)
        return self._step(isa.Opcode.REQUANT, f)

    def exp(self, *, parts: int = 1, **size: Any) -> list[Step]:
        """EXP on rows of their own; in several parts, each over other channels of the same rows."""
        first = self.size(**size)
        rows = range(first["stat_row"], first["stat_row"] + first["m"])
        if self.used_stats & set(rows):
            return []
        self.used_stats |= set(rows)
        mult, shift = self.rng.randint(1 << 15, (1 << 16) - 1), self.rng.choice([8, 20, 24, 28, 34])
        mant, mant_shift = self.rng.randint(1 << 15, (1 << 16) - 1), self.rng.choice([0, 10, 20, 30, 50, 60])
        fields = []
        for part in range(parts):
            f = self.size(m=first["m"]) | {"stat_row": first["stat_row"]} if part else dict(first)
            channels = self.model.channels(f["groups"])
            f["causal"] = self.rng.randint(0, 1)
            f["length"] = self.rng.choice([channels, self.rng.randint(0, channels), 65535])
            f |= self._gather()
            f |= {"diagonal": self.rng.randint(-f["m"], channels), "mult": mult, "shift": shift}
            f |= {"mant": mant, "mant_shift": mant_shift, "first": int(part == 0), "last": int(part == parts - 1)}
            f["out_address"], f["out_stride"] = self.output(f)
            fields.append(f)
        self.model.maxima[rows] = np.max([self._maxima(f) for f in fields], axis=0)
        return [self._step(isa.Opcode.EXP, f) for f in fields]

    def _gather(self) -> dict[str, Any]:
        """Fields of an EXP that gathers."""
        if self.gather is not None:
            return self.gather
        assert self.config.hdp is not None
        if self.rng.random() < 0.3:
            return {}
        number, slot = self.rng.randrange(self.config.hdp.lists), self.rng.randrange(isa.HEAD_SLOTS)
        return {"gather": 1, "list": number, "slot": slot, "headed": self.rng.getrandbits(1), "causal": 0}

    def _maxima(self, f: dict[str, Any]) -> np.ndarray:
        length = self.model.count(f) if f.get("gather") else f["length"]
        acc = self.model.acc[self.model.acc_index(f)]
        mask = golden.valid_columns(*acc.shape, length, f["diagonal"] if f["causal"] else None)
        return golden.row_max(acc, mask)

    def residual(self, *, parts: int = 1, **size: Any) -> list[Step]:
        """RESIDUAL, in one or several parts; the last channels of each part may be padding."""
        first = self.size(**size)
        sizes = [first] + [self.size(m=first["m"]) | {"stat_row": first["stat_row"]} for _ in range(parts - 1)]
        for f in sizes:
            f["no_acc"] = int(self.rng.random() < 0.3)
        # Padding has to be zero: it is where the residual is all there is.
        padding = [f["no_acc"] * self.rng.randint(0, self.config.post.lanes - 1) for f in sizes]
        live = [self.model.channels(f["groups"]) - n for f, n in zip(sizes, padding, strict=True)]
        inverse, inverse_shift = golden.mean_constants(sum(live))
        constants = {"channels": sum(live), "inverse": inverse, "inverse_shift": inverse_shift}
        constants["eps"] = self.rng.choice([0, 1, self.rng.getrandbits(30), (1 << 48) - 1])
        steps = []
        for part, (f, n) in enumerate(zip(sizes, live, strict=True)):
            f |= constants | {"first": int(part == 0), "last": int(part == parts - 1)}
            m, channels = f["m"], self.model.channels(f["groups"])
            blocks = -(-channels // self.config.word_bytes)
            f["residual_stride"] = 2 * m + self.rng.randint(0, 2)
            f["residual_address"] = self._prepare(blocks * f["residual_stride"])
            f["parameters"] = 0 if f["no_acc"] else self.records(f["groups"], 1)
            if f["residual_address"] is None or f["parameters"] is None:
                # Nothing was run: a part that has begun is completed only by a later first part, which starts afresh.
                return steps
            values = self.np.integers(-(1 << 15), 1 << 15, (m, channels)) >> self.rng.choice([0, 4, 12, 16])
            values[:, n:] = 0
            self.model.write_half(f["residual_address"], f["residual_stride"], values)
            steps.append(self._step(isa.Opcode.RESIDUAL, f))
        return steps

    def norm(self, row: int | None = None, **size: Any) -> Step | None:
        """NORM of anything, with the statistics of rows that have them (from `row` on)."""
        f = self.size(**size)
        rows = self._rows(self.model.means, f["m"]) if row is None else row
        parameters = self.records(f["groups"], 2)
        if rows is None or parameters is None:
            return None
        f |= {"stat_row": rows, "parameters": parameters}
        f["out8"], f["out16"] = self.rng.choice([(1, 0), (0, 1), (1, 1)])
        f["shift8"], f["shift16"] = self.rng.choice([0, 12, 20, 24]), self.rng.choice([0, 8, 16, 20, 63])
        # The order in which an instruction writes its two results is its own affair: they are apart.
        apart = False
        while not apart:
            f["out8_address"], f["out8_stride"] = self.output(f)
            f["out16_address"], f["out16_stride"] = self.output(f, 2)
            shape = f["m"], self.model.channels(f["groups"])
            narrow = self.model.byte_index(f["out8_address"], f["out8_stride"], *shape)[0]
            wide = self.model.half_index(f["out16_address"], f["out16_stride"], *shape)[0]
            apart = narrow.max() < wide.min() or wide.max() < narrow.min()
        return self._step(isa.Opcode.NORM, f)

    def table(self) -> Step | None:
        """TABLE, of random bytes."""
        words = (1 << self.config.post.table_bits) // self.config.word_bytes
        address = self._prepare(words)
        return None if address is None else self._step(isa.Opcode.TABLE, {"parameters": address})

    def _rows(self, known: dict[int, Any], m: int) -> int | None:
        starts = [row for row in known if all(row + i in known and row + i in self.model.factors for i in range(m))]
        return self.rng.choice(starts) if starts else None

    def _step(self, opcode: isa.Opcode, fields: dict[str, Any]) -> Step:
        step = Step(opcode, fields, self.rng.getrandbits(4))
        self.model.run(step)
        return step
