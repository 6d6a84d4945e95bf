"""Steps of single operations: matmul, attention, LayerNorm."""

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.sw.compiler import sizes
from celosia.sw.compiler.buffers import Buffer, CompileError, Ref, Step
from celosia.sw.compiler.program import CONSTANTS, INPUTS
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import round_up, spans

Fields = dict[str, int | Ref]


class Draft:
    """Collects the `steps` of operations on `config`; `sizes`: bytes of the windows of constants and of tensors."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.side = sizes.side(config)
        self.steps: list[Step] = []
        self.sizes = {CONSTANTS: 0, INPUTS: 0}

    def matmul(self, rows: int, inputs: int, outputs: int) -> None:
        """Blocks of rows, chunks of outputs, and tiles of inputs whose sums stay in the accumulator."""
        inputs, outputs = round_up(inputs, self.side), round_up(outputs, self.side)
        wide = min(outputs, 4 * self.side)
        tile = next(w for w in (4 * self.side, 2 * self.side, self.side) if self._light(w, wide))
        height = self._height(rows, tile + wide, wide)
        for _, m in spans(rows, height):
            xs = [(self._input(m, k), k) for _, k in spans(inputs, tile)]
            for n0, n in spans(outputs, wide):
                acc = self._acc(m, n)
                for index, (x, k) in enumerate(xs):
                    last = index == len(xs) - 1
                    weights = sizes.tile_words(self.config, n, k)
                    chunk = self._constant(weights + (self._records(n) if last else 0))
                    fields = self._product(x, self._padded(m), chunk, n, acc, m, n, k)
                    fields |= {"transposed": 1, "accumulate": int(index > 0)}
                    self._add(Opcode.MATMUL, fields, [x, chunk, *([acc] if index else [])], [acc], f"n{n0}")
                y = self._output(m, n)
                fields = self._post(acc, m, n) | {"parameters": chunk.at(weights)} | self._to("out", y, m)
                self._add(Opcode.REQUANT, fields, [acc, chunk], [y], f"n{n0}")

    def attention(self, rows: int, heads: int, head: int) -> None:
        """Head by head, block by block; the scores of a block come before the context of the one before."""
        head, keys = round_up(head, self.side), round_up(rows, self.side)
        height = self._height(rows, 3 * keys + 2 * head, 2 * (keys + head), rows_held=2)
        pending: list[tuple[int, Buffer, Buffer, Buffer]] = []
        for _ in range(heads):
            key, value = self._input(keys, head), self._input(keys, head)
            for _, m in spans(rows, height):
                pending.append((m, value, *self._scores(rows, m, keys, head, key)))
                if len(pending) > 1:
                    self._context(keys, head, *pending.pop(0))
        self._context(keys, head, *pending.pop())

    def _scores(self, rows: int, m: int, keys: int, head: int, key: Buffer) -> tuple[Buffer, Buffer]:
        """Scores and softmax; the weights, and the rows' statistics."""
        query, acc, stats = self._input(m, head), self._acc(m, keys), Buffer(Space.STATISTICS, m, "rows")
        weights = Buffer(Space.SCRATCHPAD, keys // self.config.word_bytes * m, "weights")
        fields = self._product(query, self._padded(m), key, self._padded(keys), acc, m, keys, head)
        fields |= {"transposed": 1, "maxima": 1, "maxima_init": 1, "length": rows, "stat_row": stats.at()}
        self._add(Opcode.MATMUL, fields, [query, key], [acc, stats], "scores")
        fields = self._post(acc, m, keys, stats) | {"first": 1, "last": 1, "length": rows}
        fields |= {"out_address": weights.at(), "out_stride": m}
        self._add(Opcode.EXP, fields, [acc, stats], [weights, stats], "softmax")
        return weights, stats

    def _context(self, keys: int, head: int, m: int, value: Buffer, weights: Buffer, stats: Buffer) -> None:
        acc, out = self._acc(m, head), self._output(m, head)
        fields = self._product(weights, m, value, self._padded(keys), acc, m, head, keys) | {"unsigned_a": 1}
        self._add(Opcode.MATMUL, fields, [weights, value], [acc], "context")
        fields = self._post(acc, m, head, stats) | {"row_factor": 1} | self._to("out", out, m)
        self._add(Opcode.REQUANT, fields, [acc, stats], [out], "context")

    def layernorm(self, rows: int, channels: int) -> None:
        """Blocks of rows, a few tiles of channels in each: all of them into the accumulator, then all of them out."""
        width = round_up(channels, self.side)
        if width > self.config.post.max_channels:
            raise CompileError(f"a row of {width} elements exceeds post.max_channels = {self.config.post.max_channels}")
        height = self._height(rows, 5 * min(width, 8 * self.side), width, rows_held=1)
        for _, m in spans(rows, height):
            stats = Buffer(Space.STATISTICS, m, "rows")
            tiles = [(w, self._acc(m, w)) for _, w in spans(width, 8 * self.side)]
            for index, (w, acc) in enumerate(tiles):
                x = self._input(m, w, 2)
                fields = self._post(acc, m, w, stats) | self._to("residual", x, m, 2)
                fields |= {"no_acc": 1, "first": int(index == 0), "last": int(index == len(tiles) - 1)}
                fields |= {"channels": channels, "eps": 1}
                self._add(Opcode.RESIDUAL, fields, [x, stats], [acc, stats], "residual")
            for w, acc in tiles:
                records = self._constant(2 * self._records(w))
                narrow, wide = self._output(m, w), self._output(m, w, 2)
                fields = self._post(acc, m, w, stats) | {"out8": 1, "out16": 1, "parameters": records.at()}
                fields |= self._to("out8", narrow, m) | self._to("out16", wide, m, 2)
                self._add(Opcode.NORM, fields, [acc, stats, records], [narrow, wide], "norm")

    def _light(self, tile: int, wide: int) -> bool:
        """A chunk of weights takes an eighth of the scratchpad at most; or it is the smallest."""
        return tile == self.side or 8 * (tile * wide // self.config.word_bytes) <= self.config.scratchpad_words

    def _height(self, rows: int, held: int, summed: int, rows_held: int = 0) -> int:
        """Rows of a block, of which `held` bytes a row lie in a quarter of the scratchpad and `summed` sums a row in
        half of the accumulator. Errors: CompileError when not a single one fits."""
        config = self.config
        most = min(
            rows,
            config.scratchpad_words // 4 // max(1, -(-held // config.word_bytes)),
            config.acc_rows // 2 // max(1, -(-summed // config.array.columns)),
            config.accumulator.stat_rows // (rows_held + 1) if rows_held else rows,
        )
        step = sizes.row_step(config)
        if most < min(step, rows):
            raise CompileError(f"rows of {summed} sums and {held} bytes do not fit into this configuration's memories")
        return most if most == rows else most // step * step

    def _padded(self, rows: int) -> int:
        """Rows of a tile in memory: whole transfers."""
        return round_up(rows, sizes.row_step(self.config))

    def _records(self, channels: int) -> int:
        return sizes.parameter_words(self.config, channels)

    def _acc(self, rows: int, channels: int) -> Buffer:
        return Buffer(Space.ACCUMULATOR, sizes.acc_rows(self.config, rows, channels), "acc")

    def _memory(self, window: int, words: int) -> tuple[int, int]:
        """A home for so many words."""
        offset = self.sizes[window]
        self.sizes[window] += words * self.config.word_bytes
        return window, offset

    def _tile(self, rows: int, channels: int, words: int) -> tuple[int, tuple[int, int]]:
        size = channels // self.config.word_bytes * words * self._padded(rows)
        return size, self._memory(INPUTS, size)

    def _input(self, rows: int, channels: int, words: int = 1) -> Buffer:
        """A tile that memory has; `words` a row and block."""
        size, home = self._tile(rows, channels, words)
        return Buffer(Space.SCRATCHPAD, size, "input", home=home, loaded=True)

    def _output(self, rows: int, channels: int, words: int = 1) -> Buffer:
        """A tile that memory is to have."""
        size, home = self._tile(rows, channels, words)
        return Buffer(Space.SCRATCHPAD, size, "output", home=home, output=True)

    def _constant(self, words: int) -> Buffer:
        size = self._padded(words)
        return Buffer(Space.SCRATCHPAD, size, "constant", home=self._memory(CONSTANTS, size), loaded=True, stream=True)

    def _product(
        self, a: Buffer, a_stride: int, b: Buffer, b_stride: int, acc: Buffer, m: int, n: int, k: int
    ) -> Fields:
        """Fields of acc = a . b."""
        return {
            "a_address": a.at(),
            "a_stride": a_stride,
            "b_address": b.at(),
            "b_stride": b_stride,
            "acc_address": acc.at(),
            "acc_stride": m,
            "m": m,
            "n_tiles": n // self.config.array.columns,
            "k_tiles": k // self.config.array.rows,
        }

    def _post(self, acc: Buffer, m: int, channels: int, stats: Buffer | None = None) -> Fields:
        """Fields that the operations of POST share."""
        return {
            "acc_address": acc.at(),
            "acc_stride": m,
            "m": m,
            "groups": channels // self.config.post.lanes,
            "stat_row": stats.at() if stats else 0,
        }

    def _to(self, name: str, tile: Buffer, rows: int, words: int = 1) -> Fields:
        return {f"{name}_address": tile.at(), f"{name}_stride": words * self._padded(rows)}

    def _add(self, opcode: Opcode, fields: Fields, reads: list[Buffer], writes: list[Buffer], label: str) -> None:
        self.steps.append(Step(opcode, fields, [one.whole() for one in reads], [one.whole() for one in writes], label))
