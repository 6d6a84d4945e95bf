"""What POST does to its memories, by the golden models: the reference of its benches."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.sw import golden
from celosia.sw.compiler.codec import unpack_constants
from celosia.sw.golden.kernels import WEIGHTS, activate


@dataclass
class Step:
    """An instruction: its opcode, its fields, and the units that it signals."""

    opcode: isa.Opcode
    fields: dict[str, Any]
    signal: int = 0


@dataclass
class PostModel:
    """Memories and statistics of POST. `scratchpad`: uint8 [words, rows]; `acc`: int32 [rows, columns]; `maxima`:
    int32.

    `factors`, `means`: of the rows computed so far, None for the others. `kept`: keys of each list; `pruned`: slots of
    heads that are.
    """

    config: Config
    scratchpad: np.ndarray
    acc: np.ndarray
    maxima: np.ndarray
    factors: dict[int, tuple[int, int]] = field(default_factory=dict)
    means: dict[int, int] = field(default_factory=dict)
    sums: dict[int, tuple[int, int]] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    table: np.ndarray | None = None

    def run(self, step: Step) -> None:
        """Execute one instruction."""
        getattr(self, f"_{step.opcode.name.lower()}")(**step.fields)

    def channels(self, groups: int) -> int:
        """Channels of so many groups."""
        return groups * self.config.post.lanes

    def acc_index(self, fields: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns [m, channels] of an instruction's elements in the accumulator."""
        c = np.arange(self.channels(fields["groups"]))[None, :]
        i = np.arange(fields["m"])[:, None]
        columns = self.config.array.columns
        row = fields["acc_address"] + (c // columns) * fields["acc_stride"] + i
        return row, np.broadcast_to(c % columns, row.shape)

    def byte_index(self, address: int, stride: int, m: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Words and bytes [m, channels] of a blocked int8 tensor."""
        c, i = np.arange(channels)[None, :], np.arange(m)[:, None]
        word = address + (c // self.config.word_bytes) * stride + i
        return word, np.broadcast_to(c % self.config.word_bytes, word.shape)

    def half_index(self, address: int, stride: int, m: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Words and first bytes [m, channels] of a blocked int16 tensor."""
        size = self.config.word_bytes
        c, i = np.arange(channels)[None, :], np.arange(m)[:, None]
        position = 2 * (c % size)
        word = address + (c // size) * stride + 2 * i + position // size
        return word, np.broadcast_to(position % size, word.shape)

    def read_half(self, address: int, stride: int, m: int, channels: int) -> np.ndarray:
        """A blocked int16 tensor [m, channels]."""
        word, byte = self.half_index(address, stride, m, channels)
        raw = self.scratchpad[word, byte].astype(np.int64) + (self.scratchpad[word, byte + 1].astype(np.int64) << 8)
        return np.where(raw < 1 << 15, raw, raw - (1 << 16))

    def write_half(self, address: int, stride: int, values: np.ndarray) -> None:
        """Write a blocked int16 tensor [m, channels]."""
        word, byte = self.half_index(address, stride, *values.shape)
        self.scratchpad[word, byte] = values & 255
        self.scratchpad[word, byte + 1] = values >> 8 & 255

    def records(self, address: int, groups: int, sets: int) -> np.ndarray:
        """Bytes of parameter records [set, channel, 8]."""
        words = self.config.record_words
        block = self.scratchpad[address : address + groups * sets * words].reshape(groups, sets, -1)
        lanes = self.config.post.lanes
        return block[:, :, : 8 * lanes].reshape(groups, sets, lanes, 8).swapaxes(0, 1).reshape(sets, groups * lanes, 8)

    def _scaling(self, address: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        record = np.ascontiguousarray(self.records(address, groups, 1)[0])
        bias = record[:, :4].copy().view("<i4")[:, 0].astype(np.int64)
        mult = record[:, 4:6].copy().view("<u2")[:, 0].astype(np.int64)
        return bias, mult, record[:, 6].astype(np.int64) & 63

    def _requant(self, **f: Any) -> None:
        acc = self.acc[self.acc_index(f)].astype(np.int64)
        if f.get("row_factor"):
            q, s = np.array([self.factors[f["stat_row"] + i] for i in range(f["m"])]).T[..., None]
            raw = golden.requant(acc, 0, q, s)
        else:
            raw = golden.requant(acc, *self._scaling(f["parameters"], f["groups"]))
        activation = f.get("activation", isa.Activation.NONE)
        if activation == isa.Activation.TABLE:
            post, constants = self.config.post, unpack_constants(f.get("constants", 0))
            out = activate(post.gelu, raw, post.table_bits, self.table, constants)
        else:
            out = golden.sat(raw, 8)
            out = golden.relu(out) if activation == isa.Activation.RELU else out
        self.scratchpad[self.byte_index(f["out_address"], f["out_stride"], *out.shape)] = out & 255

    def count(self, f: dict[str, Any]) -> int:
        """Keys that an EXP gathers."""
        return 0 if f["headed"] and f["slot"] in self.pruned else self.kept[f["list"]]

    def _exp(self, **f: Any) -> None:
        if f.get("gather"):
            rows, count = self.config.array.rows, self.count(f)
            f |= {"groups": min(f["groups"], -(-count // rows) * rows // self.config.post.lanes), "length": count}
        acc = self.acc[self.acc_index(f)].astype(np.int64)
        rows = f["stat_row"] + np.arange(f["m"])
        mask = golden.valid_columns(*acc.shape, f["length"], f["diagonal"] if f.get("causal") else None)
        maxima, weight_of = self.maxima[rows].astype(np.int64), WEIGHTS[self.config.post.softmax]
        weights, total = golden.softmax_weights(acc, maxima, mask, f["mult"], f["shift"], weight_of)
        self.scratchpad[self.byte_index(f["out_address"], f["out_stride"], *weights.shape)] = weights
        self._gather(rows, f, total, np.zeros_like(total))
        if f["last"]:
            q, s = golden.row_factor(f["mant"], f["mant_shift"], [self.sums[row][0] for row in rows])
            self.factors |= {int(row): (int(a), int(b)) for row, a, b in zip(rows, q, s, strict=True)}

    def _residual(self, **f: Any) -> None:
        index = self.acc_index(f)
        acc = self.acc[index].astype(np.int64)
        residual = self.read_half(f["residual_address"], f["residual_stride"], *acc.shape)
        if f.get("no_acc"):
            x = residual
        else:
            x = golden.residual_add(acc, *self._scaling(f["parameters"], f["groups"]), residual)
        self.acc[index] = x
        rows = f["stat_row"] + np.arange(f["m"])
        self._gather(rows, f, *golden.row_sums(x))
        if f["last"]:
            s1, s2 = np.array([self.sums[row] for row in rows]).T
            mean, q, s = golden.row_stats(s1, s2, f["channels"], f["inverse"], f["inverse_shift"], f["eps"])
            self.factors |= {int(row): (int(a), int(b)) for row, a, b in zip(rows, q, s, strict=True)}
            self.means |= {int(row): int(x) for row, x in zip(rows, mean, strict=True)}

    def _gather(self, rows: np.ndarray, f: dict[str, Any], s1: np.ndarray, s2: np.ndarray) -> None:
        for row, a, b in zip(rows, s1, s2, strict=True):
            old = (0, 0) if f["first"] else self.sums[int(row)]
            self.sums[int(row)] = (old[0] + int(a), old[1] + int(b))

    def _norm(self, **f: Any) -> None:
        x = self.acc[self.acc_index(f)].astype(np.int16).astype(np.int64)
        rows = range(f["stat_row"], f["stat_row"] + f["m"])
        q, s = np.array([self.factors[row] for row in rows]).T
        norm = golden.normalise(x, np.array([self.means[row] for row in rows]), q, s)
        records = self.records(f["parameters"], f["groups"], 2)
        beta = records[:, :, :4].copy().view("<i4")[..., 0].astype(np.int64)
        gamma = records[:, :, 4:6].copy().view("<i2")[..., 0].astype(np.int64)
        if f.get("out8"):
            y = golden.affine(norm, gamma[0], beta[0], f["shift8"], 8)
            self.scratchpad[self.byte_index(f["out8_address"], f["out8_stride"], *y.shape)] = y & 255
        if f.get("out16"):
            y = golden.affine(norm, gamma[1], beta[1], f["shift16"], 16)
            self.write_half(f["out16_address"], f["out16_stride"], y)

    def _table(self, parameters: int) -> None:
        words = (1 << self.config.post.table_bits) // self.config.word_bytes
        self.table = self.scratchpad[parameters : parameters + words].reshape(-1).view(np.int8).astype(np.int64)
