"""Tile sizes for one encoder on one configuration."""

from dataclasses import dataclass, replace

from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.tensors import round_up

_LARGEST_PRODUCT = 255 * 128
"""Of a u8 or int8 activation and an int8 weight."""


@dataclass(frozen=True)
class Tiling:
    """How an encoder of `tokens` rows is cut.

    `step`: channels and weight-operand rows are padded to multiples of it (the larger side of the array). `rows`: rows
    of a block of queries or tokens. `key_rows`: rows of a tile of K and V. `channels`: of an activation's tile, which
    is also the reduction of one weight chunk. `chunk_outputs`: outputs of one weight chunk. `head`, `hidden`, `width`,
    `ffn`: padded channels of a head, of the residual stream, of all heads, of the FFN.
    """

    step: int
    tokens: int
    rows: int
    key_rows: int
    channels: int
    chunk_outputs: int
    head: int
    heads: int
    hidden: int
    ffn: int

    @property
    def width(self) -> int:
        """Padded channels of all heads."""
        return self.head * self.heads

    @property
    def keys(self) -> int:
        """Padded columns of the score matrix."""
        return round_up(self.tokens, self.step)

    @property
    def head_channels(self) -> int:
        """Channels of a tile of Q, K, V or context: whole heads.

        Few when there are several blocks of rows, since then the tiles are loaded again head by head.
        """
        most = self.channels if self.tokens <= self.rows else self.channels // 2
        return self.head * max(1, most // self.head)

    def outputs(self, tile_channels: int) -> int:
        """Outputs of a weight chunk whose results go to tiles of `tile_channels`: a divisor of it."""
        most = min(self.chunk_outputs, tile_channels)
        return next(n for n in range(most - most % self.step, 0, -self.step) if tile_channels % n == 0)


def choose(config: Config, tokens: int, hidden: int, heads: int, ffn: int) -> Tiling:
    """Tile sizes that keep array and bus busy and leave room for double buffering.

    Errors: CompileError when one row does not fit.
    """
    if tokens < 1:
        raise CompileError(f"a sequence must have at least 1 token, not {tokens}")
    step = max(config.array.rows, config.array.columns)
    head = round_up(hidden // heads, step)
    stream, keys = round_up(hidden, step), round_up(tokens, step)
    widest = max(stream, keys)
    if widest > config.post.max_channels:
        raise CompileError(
            f"a row of {widest} elements exceeds post.max_channels = {config.post.max_channels}: "
            f"sequence and hidden size may be at most that"
        )
    longest = max(stream, keys, head * heads, round_up(ffn, step))
    if longest * _LARGEST_PRODUCT >> ACC_BITS - 1:
        raise CompileError(f"a sum of {longest} products does not fit an int{ACC_BITS} accumulator")
    chunk = max(step * step, config.scratchpad_words * config.word_bytes // 16)
    channels = step
    while channels * 2 * step <= chunk and channels * channels < 2 * chunk and channels < 4 * step:
        channels *= 2
    outputs = max(step, chunk // channels // step * step)
    fitting = [rows for rows in _candidates(step, tokens) if _fits(config, rows, stream, keys, channels)]
    if not fitting:
        most = config.acc_rows * config.array.columns // 2
        raise CompileError(
            f"a row of {widest} elements does not fit twice into the accumulator ({config.accumulator.kib} KiB holds "
            f"two rows of {most}), or its tiles do not fit into the scratchpad ({config.scratchpad.kib} KiB)"
        )
    # Each weight is loaded once a block: with this many rows loading weights takes half of the bus. More would cost
    # room that lets units run ahead of one another.
    enough = 2 * config.array.rows * config.array.columns // config.bus.bytes
    rows = max([rows for rows in fitting if rows <= enough] or fitting[:1])
    key_rows = max(rows, step)
    return _balanced(
        config, Tiling(step, tokens, rows, key_rows, channels, outputs, head, heads, stream, round_up(ffn, step))
    )


def _balanced(config: Config, tiling: Tiling) -> Tiling:
    """Blocks of the same height where the last one would be short: few rows take the array as long as `columns` rows.

    Tiles of K and V hold whole blocks and start at multiples of `step`: here one holds all rows, where it is small.
    """
    blocks = -(-tiling.tokens // tiling.rows)
    even = replace(tiling, rows=-(-tiling.tokens // blocks), key_rows=tiling.keys)
    small = even.keys * even.head_channels * 4 <= config.scratchpad_words * config.word_bytes
    return even if even.rows < tiling.rows and small else tiling


def _candidates(step: int, tokens: int) -> list[int]:
    below = [1 << i for i in range(step.bit_length()) if 1 << i < step]
    return below + list(range(step, round_up(tokens, step) + 1, step))


def _fits(config: Config, rows: int, stream: int, keys: int, channels: int) -> bool:
    acc = config.acc_rows * config.array.columns
    on_chip = config.scratchpad_words * config.word_bytes
    return (
        rows * max(stream, keys) * 8 <= acc * 3  # one block in use, one to come, a quarter for the rest
        and rows * stream * 8 <= on_chip * 3
        and rows * keys * 4 <= on_chip  # softmax weights of two blocks in half of the scratchpad
        and rows * channels * 16 <= on_chip * 3
        and rows * 2 <= config.accumulator.stat_rows
    )
