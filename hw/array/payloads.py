"""What travels between the matmul sequencer and the systolic array."""

from amaranth.lib import data
from amaranth.utils import ceil_log2

from celosia.hw.array.pe import sum_bits
from celosia.hw.config import Config
from celosia.hw.hdp.store import HALVES, PAIRED_RATE, StoreShape, nibble_bits
from celosia.hw.interfaces import PartialRow
from celosia.hw.memory.accumulator import ROW_DISTANCE


def partial_bits(config: Config, rows: int | None = None) -> int:
    """Width of what comes out below so many rows: a sum of bytes, or of nibbles; at rate 4 two of those side by side,
    the upper one from bit `nibble_bits(array.rows)` on."""
    rows = config.array.rows if rows is None else rows
    if config.rate < PAIRED_RATE:
        return sum_bits(rows)
    upper = nibble_bits(rows) if rows else 0
    return max(sum_bits(rows), nibble_bits(config.array.rows) + upper)


def partial_row(config: Config) -> PartialRow:
    """A row of results of this array."""
    return PartialRow(config, partial_bits(config))


def groups_of(config: Config) -> int:
    """Scratchpad words that one row of a tile's weights takes when B is stored K x N: at least 1."""
    return max(1, config.array.columns // config.array.rows)


def parts_of(config: Config) -> int:
    """Tiles that one scratchpad word of weights serves when B is stored K x N: at least 1."""
    return max(1, config.array.rows // config.array.columns)


class RowTag(data.StructLayout):
    """Where a row's result goes: a `PartialRow` without its sums."""

    def __init__(self, config: Config) -> None:
        super().__init__({name: field.shape for name, field in partial_row(config) if name != "sums"})


class RowOrder(data.StructLayout):
    """How a row of activations is to be launched: `tag`; `unsigned_a`: u8; `last`: the last row of its tile.

    `needs[d]`: it needs what the row d + 1 before it leaves in the accumulator, or of a maximum. `split`, with HDP:
    integer parts of the codes. At nibble rates above 1 instead `stored`: word `key` of the key store; `halves` of it
    that its instruction uses.
    """

    def __init__(self, config: Config) -> None:
        hdp = {"split": 1} if config.rate == 1 else {}
        if config.rate > 1:
            hdp = {"stored": 1, "key": ceil_log2(StoreShape(config).depth), "halves": HALVES}
        super().__init__({"tag": RowTag(config), "unsigned_a": 1, "last": 1, "needs": ROW_DISTANCE - 1, **hdp})


class Row(data.StructLayout):
    """A row of activations on its way into the array. `first`: of its tile, the weights change before it.

    `nibbles`, at nibble rates above 1: `word` is one of the key store, and of bytes otherwise, from the bottom.
    """

    def __init__(self, config: Config) -> None:
        fields = {"tag": RowTag(config), "unsigned_a": 1, "first": 1, "word": 8 * config.word_bytes}
        if config.rate > 1:
            fields |= {"nibbles": 1, "word": StoreShape(config).width}
        super().__init__(fields)


class WeightOrder(data.StructLayout):
    """How a word of weights is to be loaded.

    `transposed`: into column `index`; else into row `index`, columns of group `group` (of `columns` / `rows`), from
    part `part` (of `rows` / `columns`) of the word. `last`: the last word of its tile. With HDP, `split`: integer parts
    of the codes; `zero`: zeros, and no word. At nibble rates above 1, `slots` that it goes to, all but with `split`.
    """

    def __init__(self, config: Config) -> None:
        hdp = {"split": 1, "zero": 1} if config.hdp is not None else {}
        hdp |= {"slots": config.rate} if config.rate > 1 else {}
        super().__init__(
            {
                "transposed": 1,
                "index": ceil_log2(max(config.array.rows, config.array.columns)),
                # At least one bit: constant, and removed by synthesis, where there is only one.
                "group": max(1, ceil_log2(groups_of(config))),
                "part": max(1, ceil_log2(parts_of(config))),
                "last": 1,
                **hdp,
            }
        )


class Weights(data.StructLayout):
    """A word of weights on its way into the array."""

    def __init__(self, config: Config) -> None:
        super().__init__({"order": WeightOrder(config), "word": 8 * config.word_bytes})
