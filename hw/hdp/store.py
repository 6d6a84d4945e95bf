"""What the key store holds, and where. Imports no hardware."""

from celosia.hw.config import Config
from celosia.hw.hdp.widths import parts

NIBBLE = 4
"""Bits of an integer part."""
PAIRED_RATE = 4
"""The nibble rate at which a PE has two sums: of half of its slots each."""
HALVES = 2
"""Parts of the key store that are filled one by one."""


def nibble_bits(rows: int) -> int:
    """Width of a signed sum of the two products that each of `rows` PEs adds to a sum of nibbles."""
    whole, _ = parts(NIBBLE)
    return whole.times(whole.low, whole.high).times(2 * rows).bits


class StoreShape:
    """The key store of an accelerator with a nibble rate above 1: integer parts of keys, as they stream.

    A word has `rate` *slots* of `rows` channels, a k tile each. A key's k tiles are in consecutive slots of a word, and
    what does not fit in further *passes*: word n of pass p is that many words behind word n of the first. At rate 4
    keys of at most two k tiles share a word, an even key and the next one. Slots that are left over are zero.
    """

    def __init__(self, config: Config) -> None:
        assert config.hdp is not None
        self.rate, self.rows = config.hdp.rate, config.array.rows
        self.keys, self.tiles = config.hdp.keys, config.hdp.head_width // config.array.rows
        self.half = self.keys // HALVES * self.passes(self.tiles)

    @property
    def slot_bits(self) -> int:
        """Bits of a slot."""
        return NIBBLE * self.rows

    @property
    def width(self) -> int:
        """Bits of a word."""
        return self.rate * self.slot_bits

    @property
    def depth(self) -> int:
        """Words of both halves."""
        return HALVES * self.half

    @property
    def paired_tiles(self) -> int:
        """K tiles of keys that share words, at most; 0 if none do."""
        return PAIRED_RATE // 2 if self.rate == PAIRED_RATE else 0

    def most(self, tiles: int) -> int:
        """Keys of so many k tiles that a half holds."""
        return min(self.keys, self.half // self.passes(tiles) * (2 if self.paired(tiles) else 1))

    def passes(self, tiles: int) -> int:
        """Passes that keys of so many k tiles take."""
        return -(-tiles // self.rate)

    def paired(self, tiles: int) -> bool:
        """Whether keys of so many k tiles share words."""
        return tiles <= self.paired_tiles

    def words(self, tiles: int, length: int) -> int:
        """Words of a pass over `length` keys: rows that stream."""
        return -(-length // 2) if self.paired(tiles) else length
