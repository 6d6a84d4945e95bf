"""How an encoder's tensors are cut into tiles, and in which blocks its parts work through them."""

from dataclasses import dataclass, fields

from celosia.sw.compiler.tensors import Part, parts, round_up, spans


@dataclass(frozen=True)
class Blocking:
    """The block of a linear part's results that is worked on at once: `rows` x `outputs`.

    Blocks follow one another row of blocks by row of blocks. Each weight is loaded once for every row of blocks; each
    activation once for every block of the row, where the scratchpad cannot keep the row's activations.
    `resident`: the block's weights stay in the scratchpad while one tile of rows after the other meets all of them, so
    that the accumulator holds one tile's results. Otherwise each chunk of weights meets all tiles of rows at once, and
    the accumulator holds the whole block.
    """

    rows: int
    outputs: int
    resident: bool = False


@dataclass(frozen=True)
class Queries:
    """The block of attention that is worked on at once: `rows` queries of one head.

    `ahead`: blocks whose scores are computed before the context of the first of them, so that its softmax has time.
    With none, softmax and context take turns, a tile of keys at a time.
    `apart`: scores, softmax and context of a block come one after the other, each when the one before is complete.
    """

    rows: int
    ahead: int = 0
    apart: bool = False


@dataclass(frozen=True)
class Mapping:
    """What `celosia.sw.compiler.tiling` chooses for the parts of a layer.

    `projection`: of query, key and value. `attention_output`, `ffn2`: with all outputs in one block the LayerNorm
    behind it works on the accumulator; else sums go to the scratchpad, and LayerNorm is a pass of its own. `ffn1`:
    None: it takes turns with `ffn2`, whose blocks it shares. `norm`: rows that a pass of LayerNorm works on at once.
    """

    projection: Blocking
    attention: Queries
    attention_output: Blocking
    ffn1: Blocking | None
    ffn2: Blocking
    norm: int


@dataclass(frozen=True)
class Fusion:
    """What a mapping must fuse (True), must not (False), or may where it is cheaper (None).

    `softmax`: with Q x K and P x V. Scores never leave the accumulator, and their maxima are gathered on the way in:
    where it is not fused, the array waits for the softmax of each block (`Queries.apart`). `attention_output`, `ffn2`:
    the linear part with the LayerNorm behind it.
    """

    softmax: bool | None = None
    attention_output: bool | None = None
    ffn2: bool | None = None

    def __str__(self) -> str:
        said = {True: "must be fused", False: "must not be fused"}
        asked = {one.name: getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{name} {said[value]}" for name, value in asked.items() if value is not None)


@dataclass(frozen=True)
class Tiling:
    """How the tensors of an encoder of `tokens` rows are cut.

    `step`: channels and weight-operand rows are padded to multiples of it (the larger side of the array). `rows`: rows
    of a tile. `key_rows`: rows of a tile of K and V. `channels`: of an activation's tile, which is also the reduction
    of one weight chunk. `chunk_outputs`: outputs of one weight chunk. `head`, `hidden`, `ffn`: padded channels of a
    head, of the residual stream, of the FFN.
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

        Few when there are several tiles of rows, since then they are loaded again head by head.
        """
        most = self.channels if self.tokens <= self.rows else self.channels // 2
        return self.head * max(1, most // self.head)

    def outputs(self, tile_channels: int) -> int:
        """Outputs of a weight chunk whose results go to tiles of `tile_channels`: a divisor of it."""
        most = min(self.chunk_outputs, tile_channels)
        return next(n for n in range(most - most % self.step, 0, -self.step) if tile_channels % n == 0)

    def blocks(self, height: int) -> list[list[Part]]:
        """All rows in blocks of `height`: whole tiles that have as many rows together, or parts of one tile."""
        tiles = list(spans(self.tokens, max(height // self.rows, 1) * self.rows))
        if height < self.rows:
            tiles = [(start + row, size) for start, rows in tiles for row, size in spans(rows, height)]
        return [parts(start, rows, self.rows) for start, rows in tiles]
