"""What travels inside the sparsity engine.

A *beat* is a row of scores of one query; where keys stream, the scores of a key or two (`KeyBeat`). A *group* is the
blocks of a block height of beats, or of as many keys as an array has columns. A *lane* is the place of the narrowest
block in a group; a wider one is in the first of its lanes, and the others are as if they had no block. Thetas that may
be negative are in excess of the least number of their width, so that all of them are unsigned: order, and differences
to a mean, stay the same. A block that does not exist has 0.
"""

from amaranth.hdl import Cat, Mux, Shape, Value, signed, unsigned
from amaranth.lib import data
from amaranth.utils import ceil_log2

from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.widths import HEAD_BITS, RHO_BITS, Importance, Range

RULES: dict[Importance, dict[str, int]] = {
    Importance.ABS_SUM: {"absolute": 1, "peak_columns": 0, "peak_rows": 0},
    Importance.SUM: {"absolute": 0, "peak_columns": 0, "peak_rows": 0},
    Importance.MAX: {"absolute": 0, "peak_columns": 1, "peak_rows": 1},
    Importance.MEAN_MAX: {"absolute": 0, "peak_columns": 1, "peak_rows": 0},
}
"""Importances as fields of `Setting`."""


def shape_of(values: Range) -> Shape:
    """The narrowest that holds them."""
    return signed(values.bits) if values.signed else unsigned(values.bits)


def spread_over(config: EngineConfig, wide, blocks) -> Value:
    """A wide block's bit in all of its lanes; `wide` as in `Setting`."""
    spread = [Cat(blocks[k >> step << step] for k in range(config.lanes)) for step in range(config.steps)]
    result = spread[0]
    for step in range(1, config.steps):
        result = Mux(wide == step, spread[step], result)
    return result


class Setting(data.StructLayout):
    """What a program chooses. `absolute`, `peak_columns`, `peak_rows`: of magnitudes; the largest and not the sum of
    a row, of a column (`RULES`). `wide`: log2 of the block width over the narrowest. `rho` in 256ths. `limit` of a
    head's importance. `fill`, where it is built: rows of blocks fill their last tile."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "absolute": 1,
                "peak_columns": 1,
                "peak_rows": 1,
                "wide": ceil_log2(config.steps),
                "rho": signed(RHO_BITS),
                "limit": signed(HEAD_BITS),
                **({"fill": 1} if config.fill else {}),
            }
        )


class Beat(data.StructLayout):
    """Scores of one query. `valid`: a bit a score. `last`: of the block height; with it `end_row`: the row of blocks
    ends here, and with that `end_head`: so does the head."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "last": 1,
                "end_row": 1,
                "end_head": 1,
                "valid": config.columns,
                "scores": data.ArrayLayout(shape_of(config.score), config.columns),
            }
        )


class KeyBeat(data.StructLayout):
    """Scores of a key, or with `pair` of two, of all queries of a row of blocks. `valid`: a bit a score, 0 of a key
    that there is not. `end_row`, `end_head`: as in a `Beat`, with its last key."""

    def __init__(self, config: EngineConfig) -> None:
        queries = data.ArrayLayout(shape_of(config.score), config.height)
        super().__init__(
            {
                **({"pair": 1} if config.stream > 1 else {}),
                "end_row": 1,
                "end_head": 1,
                "valid": data.ArrayLayout(config.height, config.stream),
                "scores": data.ArrayLayout(queries, config.stream),
            }
        )


def beat_layout(config: EngineConfig) -> data.StructLayout:
    """A beat of queries, or of keys."""
    return KeyBeat(config) if config.stream else Beat(config)


class Terms(data.StructLayout):
    """A beat's share in the theta of every lane; `exists`: it has a valid score. `keys`, with fill: that have one."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "last": 1,
                "end_row": 1,
                "end_head": 1,
                "exists": config.lanes,
                "terms": data.ArrayLayout(shape_of(config.term), config.lanes),
                **({"keys": config.columns} if config.fill else {}),
            }
        )


class Group(data.StructLayout):
    """Blocks: `theta`, in excess, of those that exist. `keys`, with fill: of all queries, those with a valid score."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "end_row": 1,
                "end_head": 1,
                "exists": config.lanes,
                "theta": data.ArrayLayout(unsigned(config.theta.bits), config.lanes),
                **({"keys": config.columns} if config.fill else {}),
            }
        )


class Row(data.StructLayout):
    """A row of blocks: the greatest theta (the least where rho is negative) and the sum, in excess, and the count."""

    def __init__(self, config: EngineConfig) -> None:
        bits = config.theta.bits
        super().__init__(
            {
                "extreme": bits,
                "total": (config.count * ((1 << bits) - 1)).bit_length(),
                "count": config.count.bit_length(),
            }
        )


class Head(data.StructLayout):
    """A head's importance, and whether it is kept."""

    def __init__(self) -> None:
        super().__init__({"importance": signed(HEAD_BITS), "keep": 1})


class Masks(data.StructLayout):
    """Decisions of a group, in key order: a bit for every narrowest block; a wider block has several.

    `kept`: blocks of the row of blocks that were kept so far, these included: with `end_row` all of them.
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            {
                "end_row": 1,
                "end_head": 1,
                "keep": config.lanes,
                "exists": config.lanes,
                "kept": config.count.bit_length(),
            }
        )
