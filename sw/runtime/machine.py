"""The accelerator's state, and the effect of every instruction on it, in golden functions."""

import numpy as np

from celosia.hw.config import Config
from celosia.hw.hdp.config import FRACTION
from celosia.hw.isa import Activation, Opcode, Trap
from celosia.hw.numerics import ACC_BITS
from celosia.sw.compiler.codec import Instruction, unpack_constants
from celosia.sw.compiler.constants import NORM_RECORD, REQUANT_RECORD
from celosia.sw.compiler.regions import passes
from celosia.sw.golden.factor import row_factor
from celosia.sw.golden.hdp import split
from celosia.sw.golden.kernels import WEIGHTS, activate
from celosia.sw.golden.layernorm import affine, normalise, residual_add, row_stats, row_sums
from celosia.sw.golden.matmul import matmul
from celosia.sw.golden.requant import relu, requant
from celosia.sw.golden.rounding import IntArray, integers, sat
from celosia.sw.golden.softmax import row_max, softmax_weights, valid_columns
from celosia.sw.runtime.checks import TrapError, check, check_fields
from celosia.sw.runtime.pruning import Pruning, gathers, resolved
from celosia.sw.runtime.transfers import Transfers

LOWEST = -(1 << ACC_BITS - 1)


class Machine(Transfers):
    """On-chip state of one accelerator.

    `late`: KEYS copies as late as hardware may, not as early: a program for which that matters is wrong.
    """

    def __init__(self, config: Config, late: bool = False) -> None:
        super().__init__(config.word_bytes)
        self.config, self.late = config, late
        self.copying: Instruction | None = None  # a KEYS that may not have copied yet
        self.scratchpad = np.zeros((config.scratchpad_words, config.word_bytes), np.uint8)
        self.acc = np.zeros((config.acc_rows, config.array.columns), np.int64)
        rows = config.accumulator.stat_rows
        self.maxima = np.full(rows, LOWEST, np.int64)
        self.sums = np.zeros((2, rows), np.int64)
        self.mean, self.factor, self.shift = (np.zeros(rows, np.int64) for _ in range(3))
        self.weight_of = WEIGHTS[config.post.softmax]
        self.table = np.zeros(1 << config.post.table_bits, np.int8)
        self.pruning = Pruning(config)
        self._operations = {
            Opcode.LOAD: self._load,
            Opcode.STORE: self._store,
            Opcode.MATMUL: self._matmul,
            Opcode.DECIDE: self._decide,
            Opcode.KEYS: self._keys,
            Opcode.REQUANT: self._requant,
            Opcode.EXP: self._exp,
            Opcode.RESIDUAL: self._residual,
            Opcode.NORM: self._norm,
            Opcode.TABLE: self._load_table,
        }

    def execute(self, one: Instruction) -> IntArray | None:
        """The effect of an instruction. Returns the keys that a gather instruction worked on; None for any other.

        Errors: TrapError; ValueError and OverflowError for what no program may do and no trap tells.
        """
        check_fields(one, self.config)
        if one.opcode is Opcode.DECIDE and self.config.rate > 1 and self.pruning.stored(one) is None:
            raise TrapError(Trap.ILLEGAL_INSTRUCTION)
        if not gathers(one, self.config):
            check(one, self.config, self.windows)
            self._operations[one.opcode](one)
            return None
        keys = self.pruning.keys(one)
        one = resolved(one, len(keys), self.config)
        check(one, self.config, self.windows, keys)
        if one.opcode is Opcode.EXP:
            self._exp(one)
        elif len(keys):
            self._matmul(one, keys)
        return keys

    # Addresses: `check` has found them to be legal

    @staticmethod
    def _words(first: np.ndarray | int, count: int = 1) -> np.ndarray:
        """Scratchpad addresses `first + 0 ... count - 1`."""
        return np.asarray(first)[..., None] + np.arange(count)

    @staticmethod
    def _acc_rows(first: int, stride: int, tiles: int, m: int) -> np.ndarray:
        """Accumulator addresses [tiles, m]."""
        return first + np.arange(tiles)[:, None] * stride + np.arange(m)

    @staticmethod
    def _stat_rows(one: Instruction) -> slice:
        return slice(one.stat_row, one.stat_row + one.m)

    def _load(self, one: Instruction) -> None:
        self.load_into(one, self.scratchpad)

    def _store(self, one: Instruction) -> None:
        self.store_from(one, self.scratchpad)

    # ARRAY

    def _matmul(self, one: Instruction, keys: IntArray | None = None) -> None:
        """`keys`: of a gather."""
        a = self._left(one, unsigned=bool(one.unsigned_a))
        n = one.n_tiles * self.config.array.columns
        b = self._transposed(one, keys) if one.transposed else self._straight(one, keys)
        where = self._acc_rows(one.acc_address, one.acc_stride, one.n_tiles, one.m)
        result = matmul(a, b).reshape(one.m, one.n_tiles, -1).swapaxes(0, 1)  # [n, m, column]
        if one.accumulate:
            result = result + self.acc[where]
        if result.size and (result.max() >= -LOWEST or result.min() < LOWEST):
            raise OverflowError("an accumulator left int32: the compiler's bound is wrong")
        self.acc[where] = result
        if one.maxima:
            stat = self._stat_rows(one)
            mask = valid_columns(one.m, n, one.length, one.diagonal if one.causal else None)
            new = row_max(result.swapaxes(0, 1).reshape(one.m, n), mask)
            self.maxima[stat] = new if one.maxima_init else np.maximum(self.maxima[stat], new)

    def _left(self, one: Instruction, unsigned: bool = False) -> np.ndarray:
        """Left operand [m, k * row]."""
        words = self._words(one.a_address + np.arange(one.k_tiles) * one.a_stride, one.m)  # [k, m]
        a = self.scratchpad[words]
        return (a if unsigned else a.view(np.int8)).swapaxes(0, 1).reshape(one.m, -1)

    def _transposed(self, one: Instruction, keys: IntArray | None = None) -> np.ndarray:
        """Right operand [k * row, n] that is stored N x K; of `keys` alone, and zero behind them."""
        n = one.n_tiles * self.config.array.columns
        chosen = np.arange(n) if keys is None else keys[:n]
        words = one.b_address + np.arange(one.k_tiles)[:, None] * one.b_stride + chosen
        b = self.scratchpad[words].view(np.int8).swapaxes(1, 2).reshape(-1, len(chosen))  # [k, n, row] -> [k * row, n]
        return np.pad(b, [(0, 0), (0, n - len(chosen))])

    def _straight(self, one: Instruction, keys: IntArray | None = None) -> np.ndarray:
        """Right operand [k * row, n] that is stored K x N; of `keys` alone, and zero behind them."""
        rows, n = self.config.array.rows, one.n_tiles * self.config.array.columns
        k = one.k_tiles * rows
        chosen = np.arange(k) if keys is None else keys[:k]
        words = one.b_address + np.arange(-(-n // rows))[:, None] * one.b_stride + chosen
        b = self.scratchpad[words].view(np.int8).swapaxes(0, 1).reshape(len(chosen), -1)[:, :n]
        return np.pad(b, [(0, k - len(chosen)), (0, 0)])

    def _decide(self, one: Instruction) -> None:
        query, columns = integers(self._left(one)), self.config.array.columns
        if self.copying is not None and self.copying.half == one.half:
            self._copy()
        if self.config.rate == 1:
            scores = self.pruning.decide(one, query, split(self._transposed(one).T, FRACTION)[0])
            # The tiles go through the same rows; those of the last one stay.
            self.acc[one.acc_address : one.acc_address + one.m] = scores[:, -columns:]
            return
        keys = self.pruning.stored(one)
        assert keys is not None, "checked before"
        scores = self.pruning.decide(one, query, keys)
        if passes(one, self.config) > 1:
            sums = np.pad(scores.T, [(0, 0), (0, columns - one.m)])
            self.acc[one.acc_address : one.acc_address + one.length] = sums

    def _keys(self, one: Instruction) -> None:
        self._copy()
        self.copying = one
        self._copy()
        self.copying = one if self.late else None

    def _copy(self) -> None:
        """Copy the keys of the last KEYS, if that may not have been done."""
        one, self.copying = self.copying, None
        if one is None:
            return
        words = self._words(one.b_address + np.arange(one.k_tiles) * one.b_stride, one.length)  # [k, key]
        codes = self.scratchpad[words].view(np.int8).swapaxes(0, 1).reshape(one.length, -1)
        self.pruning.fill(one, integers(codes))

    # POST

    def _post_rows(self, one: Instruction) -> tuple[np.ndarray, np.ndarray]:
        """Accumulator rows [tiles, m] that the groups touch, and the channels [groups * lanes]."""
        channels = one.groups * self.config.post.lanes
        tiles = -(-channels // self.config.array.columns)
        return self._acc_rows(one.acc_address, one.acc_stride, tiles, one.m), np.arange(channels)

    def _read_acc(self, one: Instruction) -> np.ndarray:
        """[m, channels]."""
        where, channels = self._post_rows(one)
        return self.acc[where].swapaxes(0, 1).reshape(one.m, -1)[:, : len(channels)]

    def _write_acc(self, one: Instruction, values: np.ndarray) -> None:
        where, channels = self._post_rows(one)
        tile, column = np.divmod(channels, self.config.array.columns)
        self.acc[where[tile], column[:, None]] = values.T

    def _records(self, one: Instruction, sets: int, dtype: np.dtype) -> list[np.ndarray]:
        """Record arrays [channels], `sets` of them."""
        c = self.config
        words = self._words(one.parameters, one.groups * sets * c.record_words)
        raw = self.scratchpad[words].reshape(one.groups, sets, -1)[..., : c.post.lanes * dtype.itemsize]
        return [np.ascontiguousarray(raw[:, index]).view(dtype).reshape(-1) for index in range(sets)]

    def _tensor_bytes(
        self, address: int, stride: int, m: int, channels: int, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scratchpad word and byte, each [m, channels * size], of a blocked tensor of `size`-byte elements."""
        word = self.config.word_bytes
        block, within = np.divmod(np.arange(channels * size), word * size)
        words = address + block * stride + np.arange(m)[:, None] * size + within // word
        return self._words(words)[..., 0], np.broadcast_to(within % word, words.shape)

    def _put(self, one: Instruction, values: np.ndarray, address: int, stride: int, dtype: str) -> None:
        raw = np.ascontiguousarray(values.astype(dtype)).view(np.uint8)
        size = np.dtype(dtype).itemsize
        self.scratchpad[self._tensor_bytes(address, stride, one.m, values.shape[1], size)] = raw

    def _requant(self, one: Instruction) -> None:
        acc = self._read_acc(one)
        if one.row_factor:
            stat = self._stat_rows(one)
            value = requant(acc, 0, self.factor[stat, None], self.shift[stat, None])
        else:
            (records,) = self._records(one, 1, REQUANT_RECORD)
            value = requant(acc, *(records[name].astype(np.int64) for name in ("bias", "mult", "shift")))
        if one.activation == Activation.TABLE.value:
            post = self.config.post
            constants = unpack_constants(one.constants)
            value = activate(post.gelu, value, post.table_bits, self.table, constants)
        else:
            value = sat(value, 8)
            value = relu(value) if one.activation == Activation.RELU.value else value
        self._put(one, value, one.out_address, one.out_stride, "i1")

    def _exp(self, one: Instruction) -> None:
        stat, sums = self._stat_rows(one), np.zeros(one.m, np.int64)
        if one.groups:
            scores = self._read_acc(one)
            mask = valid_columns(one.m, scores.shape[1], one.length, one.diagonal if one.causal else None)
            weights, sums = softmax_weights(scores, self.maxima[stat], mask, one.mult, one.shift, self.weight_of)
            self._put(one, weights, one.out_address, one.out_stride, "u1")
        self.sums[0, stat] = sums if one.first else self.sums[0, stat] + sums
        if one.last:
            self.factor[stat], self.shift[stat] = row_factor(one.mant, one.mant_shift, self.sums[0, stat])

    def _residual(self, one: Instruction) -> None:
        stat = self._stat_rows(one)
        _, channels = self._post_rows(one)
        where = self._tensor_bytes(one.residual_address, one.residual_stride, one.m, len(channels), 2)
        residual = self.scratchpad[where].view("<i2").astype(np.int64)
        if one.no_acc:
            x = residual
        else:
            (records,) = self._records(one, 1, REQUANT_RECORD)
            bias, mult, shift = (records[name].astype(np.int64) for name in ("bias", "mult", "shift"))
            x = residual_add(self._read_acc(one), bias, mult, shift, residual)
        self._write_acc(one, x)
        sums = np.stack(row_sums(x))
        self.sums[:, stat] = sums if one.first else self.sums[:, stat] + sums
        if one.last:
            s1, s2 = self.sums[:, stat]
            stats = row_stats(s1, s2, one.channels, one.inverse, one.inverse_shift, one.eps)
            self.mean[stat], self.factor[stat], self.shift[stat] = stats

    def _norm(self, one: Instruction) -> None:
        stat = self._stat_rows(one)
        # The accumulator holds int16 here; hardware looks at the low half.
        x = integers(self._read_acc(one).astype(np.int16))
        norm = normalise(x, self.mean[stat], self.factor[stat], self.shift[stat])
        narrow, wide = self._records(one, 2, NORM_RECORD)
        if one.out8:
            value = affine(norm, narrow["gamma"].astype(np.int64), narrow["beta"].astype(np.int64), one.shift8, 8)
            self._put(one, value, one.out8_address, one.out8_stride, "i1")
        if one.out16:
            value = affine(norm, wide["gamma"].astype(np.int64), wide["beta"].astype(np.int64), one.shift16, 16)
            self._put(one, value, one.out16_address, one.out16_stride, "i2")

    def _load_table(self, one: Instruction) -> None:
        words = -(-len(self.table) // self.config.word_bytes)
        self.table = (
            self.scratchpad[self._words(one.parameters, words)].reshape(-1)[: len(self.table)].view(np.int8).copy()
        )
