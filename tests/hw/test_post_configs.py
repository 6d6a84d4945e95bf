"""POST elaborates for the corners of the configuration space."""

import pytest

from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, PostConfig, ScratchpadConfig
from celosia.hw.emit.rtlil import rtlil
from celosia.hw.post.layouts import Geometry
from celosia.hw.post.unit import Post

CORNERS = {
    "one lane": Config(
        array=ArrayConfig(rows=4, columns=4),
        scratchpad=ScratchpadConfig(kib=1, banks=2),
        accumulator=AccumulatorConfig(kib=1, banks=2, stat_rows=16),
        post=PostConfig(lanes=1, max_channels=64),
    ),
    "tall": Config(
        array=ArrayConfig(rows=128, columns=4),
        accumulator=AccumulatorConfig(kib=1, stat_rows=4096),
        post=PostConfig(lanes=2, max_channels=16384, table_bits=12),
    ),
    "wide": Config(
        array=ArrayConfig(rows=4, columns=128), scratchpad=ScratchpadConfig(kib=3, banks=4), post=PostConfig(lanes=4)
    ),
    "large": Config(
        array=ArrayConfig(rows=32, columns=64),
        scratchpad=ScratchpadConfig(kib=16384),
        accumulator=AccumulatorConfig(kib=16384),
        post=PostConfig(lanes=32),
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_elaborates(name: str) -> None:
    assert "wire width 256" in rtlil(Post(CORNERS[name]), "post")


def test_geometry() -> None:
    """By hand: 2 lanes on 8 rows and 16 columns."""
    config = Config(array=ArrayConfig(rows=8, columns=16), post=PostConfig(lanes=2, max_channels=64))
    g = Geometry(config)
    assert (g.column_groups, g.word_groups, g.half_groups, g.halves, g.record_words) == (8, 4, 2, 1, 2)
    square = Geometry(Config(array=ArrayConfig(rows=8, columns=8), post=PostConfig(lanes=8)))
    assert (square.column_groups, square.word_groups, square.halves, square.record_words) == (1, 1, 2, 8)
    # 64 channels of -2^15 and of their squares.
    assert -(1 << (g.sum_bits - 1)) <= -64 << 15
    assert 1 << g.square_bits > 64 << 30
