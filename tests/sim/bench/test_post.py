"""POST: a square array, and rectangular ones with fewer lanes than columns and rows."""

import pytest

from celosia.hw.config import AccumulatorConfig, ArrayConfig, Config, PostConfig, ScratchpadConfig, override
from celosia.hw.post.unit import Post
from celosia.hw.presets import PRESETS
from celosia.sim.bench.harness import run_bench

CONFIGS = {
    "tiny": PRESETS["tiny"],
    "tiny-hdp": override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16"]),
    # Several rows of EXP are normalised and divided at once.
    "tiny-rate": override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16", "hdp.rate=2"]),
    # Fewer lanes than rows, fewer lists than are asked for at once.
    "narrow-hdp": override(
        PRESETS["tiny"], ["array.rows=8", "array.columns=4", "post.lanes=2", "hdp.lists=4", "hdp.keys=32"]
    ),
    # Lanes fewer than rows, rows fewer than columns, sizes that are no powers of two, a table wider than a byte.
    "wide": Config(
        array=ArrayConfig(rows=8, columns=16),
        scratchpad=ScratchpadConfig(kib=18, banks=2),
        accumulator=AccumulatorConfig(kib=12, banks=2, stat_rows=32),
        post=PostConfig(lanes=2, table_bits=10, max_channels=64),
    ),
    # One lane: a record is half a word.
    "tall": Config(
        array=ArrayConfig(rows=16, columns=4),
        scratchpad=ScratchpadConfig(kib=20, banks=4),
        accumulator=AccumulatorConfig(kib=5, banks=4, stat_rows=64),
        post=PostConfig(lanes=1, max_channels=128),
    ),
    "ibert": Config(
        array=ArrayConfig(rows=8, columns=4),
        scratchpad=ScratchpadConfig(kib=12, banks=2),
        accumulator=AccumulatorConfig(kib=6, banks=2, stat_rows=32),
        post=PostConfig(lanes=4, table_bits=9, max_channels=128, softmax="ibert", gelu="ibert"),
    ),
}


MODULES = [f"celosia.sim.bench.{module}" for module in ("post", "post_timing", "post_faults")]


@pytest.mark.parametrize("name", CONFIGS)
def test_post(name: str) -> None:
    config = CONFIGS[name]
    run_bench(Post(config), *MODULES, name=f"post-{name}", parameters={"config": config})
