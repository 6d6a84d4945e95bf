"""Named configurations."""

from celosia.hw.config import AccumulatorConfig, ArrayConfig, BusConfig, Config, HdpConfig, PostConfig, ScratchpadConfig

PRESETS: dict[str, Config] = {
    # For tests: everything small, and no two sizes alike by accident.
    "tiny": Config(
        array=ArrayConfig(rows=4, columns=4),
        scratchpad=ScratchpadConfig(kib=8, banks=4),
        accumulator=AccumulatorConfig(kib=8, banks=2, stat_rows=64),
        bus=BusConfig(bytes=8, burst=16, outstanding=4),
        post=PostConfig(lanes=4, max_channels=1024),
    ),
    # Fits an ECP5-85 board.
    "edge": Config(
        array=ArrayConfig(rows=8, columns=8, stages=2),
        scratchpad=ScratchpadConfig(kib=64, banks=4),
        accumulator=AccumulatorConfig(kib=128, banks=4, stat_rows=128),
        bus=BusConfig(bytes=8, burst=64, outstanding=8),
        post=PostConfig(lanes=8, max_channels=1024),
    ),
    # The survey's baseline: a large scratchpad and a small accumulator.
    "gemmini": Config(
        scratchpad=ScratchpadConfig(kib=256, banks=4),
        accumulator=AccumulatorConfig(kib=64, banks=4),
    ),
    # The survey's rebalanced memories.
    "transformer": Config(
        scratchpad=ScratchpadConfig(kib=64, banks=4),
        accumulator=AccumulatorConfig(kib=256, banks=4),
    ),
    # The same with hybrid dynamic pruning, four products of nibbles a PE.
    "transformer-hdp": Config(
        scratchpad=ScratchpadConfig(kib=64, banks=4),
        accumulator=AccumulatorConfig(kib=256, banks=4),
        hdp=HdpConfig(rate=4),
    ),
    "server": Config(
        array=ArrayConfig(rows=32, columns=32),
        scratchpad=ScratchpadConfig(kib=256, banks=4),
        accumulator=AccumulatorConfig(kib=1024, banks=4),
        bus=BusConfig(bytes=32, burst=64, outstanding=8),
        post=PostConfig(lanes=32),
    ),
}
