"""What travels inside LOAD and STORE: a decoded transfer, its segments, their bursts."""

from amaranth.lib import data
from amaranth.utils import ceil_log2, exact_log2

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.dma.axi import LENGTH_BITS

OFFSET_BITS = 33
"""Offset of a segment in its window: one bit more than a window's size, so that a step over the end is seen."""
PLACE_BITS = isa.SCRATCHPAD_ADDRESS_BITS + 1
"""Scratchpad address of a segment, likewise."""


def count_bits(config: Config) -> int:
    """Width of a count of scratchpad words, all of them included."""
    return ceil_log2(config.scratchpad_words + 1)


def beat_address_bits(config: Config) -> int:
    """Width of a bus address in beats."""
    return config.bus.address_bits - exact_log2(config.bus.bytes)


class Plan(data.StructLayout):
    """A decoded transfer: `segments` segments of `words` words.

    `code`: the fault found so far. `mask`: the units to signal.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "code": isa.Trap,
                "base": config.bus.address_bits,
                "size": 32,
                "offset": OFFSET_BITS,
                "stride": 32,
                "words": count_bits(config),
                "segments": 16,
                "place": PLACE_BITS,
                "sp_stride": 16,
                "mask": isa.UNITS,
            }
        )


class Segment(data.StructLayout):
    """A checked segment: `words` words from scratchpad address `place` and from bus address `address` (in beats) on.

    `last`: of its instruction, which signals `mask`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "address": beat_address_bits(config),
                "words": count_bits(config),
                "place": ceil_log2(config.scratchpad_words),
                "last": 1,
                "mask": isa.UNITS,
            }
        )


class Burst(data.StructLayout):
    """An AXI burst: bus address in beats, beats less one. `last`: of its instruction, which signals `mask`."""

    def __init__(self, config: Config) -> None:
        super().__init__({"address": beat_address_bits(config), "length": LENGTH_BITS, "last": 1, "mask": isa.UNITS})
