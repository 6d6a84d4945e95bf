"""Small configurations that have, between them, every relation of sizes that the hardware must cope with."""

from dataclasses import replace

from celosia.hw.config import (
    AccumulatorConfig,
    ArrayConfig,
    BusConfig,
    Config,
    ControlConfig,
    HdpConfig,
    PostConfig,
    ScratchpadConfig,
)
from celosia.hw.presets import PRESETS

CONFIGS: dict[str, Config] = {
    # Everything as wide as everything else, but for the bus.
    "tiny": PRESETS["tiny"],
    # The same with hybrid dynamic pruning: fewer lists than are in use, short ones.
    "pruned": replace(PRESETS["tiny"], hdp=HdpConfig(lists=8, keys=64, head_width=16)),
    # Two products of nibbles a PE, as fast a key as there are channels in two tiles; little room for keys.
    "pruned2": replace(PRESETS["tiny"], hdp=HdpConfig(lists=8, keys=32, head_width=24, rate=2)),
    # Four: two keys at a time of short heads, several passes of long ones; and neither rows nor columns alike.
    "pruned4": replace(PRESETS["tiny"], hdp=HdpConfig(lists=8, keys=64, head_width=32, rate=4)),
    "pruned4tall": Config(
        array=ArrayConfig(rows=8, columns=4),
        scratchpad=ScratchpadConfig(kib=16),
        accumulator=AccumulatorConfig(kib=8, banks=2, stat_rows=64),
        bus=BusConfig(bytes=8, burst=8, outstanding=4),
        post=PostConfig(lanes=4, max_channels=1024),
        hdp=HdpConfig(lists=8, keys=32, head_width=40, rate=4),
    ),
    "pruned4wide": Config(
        array=ArrayConfig(rows=4, columns=8, stages=2),
        scratchpad=ScratchpadConfig(kib=16),
        accumulator=AccumulatorConfig(kib=8, banks=2, stat_rows=64),
        bus=BusConfig(bytes=8, burst=8, outstanding=4),
        post=PostConfig(lanes=4, max_channels=1024),
        hdp=HdpConfig(lists=8, keys=64, head_width=24, widest=4, rate=4),
    ),
    # More rows than columns: a scratchpad word serves several tiles; two beats a word, short bursts; I-BERT's kernels.
    "tall": Config(
        array=ArrayConfig(rows=8, columns=4),
        scratchpad=ScratchpadConfig(kib=16),
        accumulator=AccumulatorConfig(kib=8, banks=2, stat_rows=64),
        bus=BusConfig(bytes=4, burst=8, outstanding=4),
        post=PostConfig(lanes=4, max_channels=1024, table_bits=9, softmax="ibert", gelu="ibert"),
    ),
    # More columns than rows and lanes, a beat of eight words.
    "wide": Config(
        array=ArrayConfig(rows=4, columns=16, stages=2),
        scratchpad=ScratchpadConfig(kib=16),
        accumulator=AccumulatorConfig(kib=8, banks=2, stat_rows=64),
        bus=BusConfig(bytes=32, burst=16, outstanding=2),
        post=PostConfig(lanes=4, max_channels=1024),
    ),
    # One lane, a large table, short rows, two banks.
    "lane": Config(
        array=ArrayConfig(rows=8, columns=16),
        scratchpad=ScratchpadConfig(kib=18, banks=2),
        accumulator=AccumulatorConfig(kib=8, banks=2, stat_rows=64),
        bus=BusConfig(bytes=8, burst=16, outstanding=4),
        post=PostConfig(lanes=1, table_bits=10, max_channels=64),
    ),
    # Like `transformer`, with little memory, few statistics rows and short queues.
    "square": Config(
        scratchpad=ScratchpadConfig(kib=16),
        accumulator=AccumulatorConfig(kib=16, stat_rows=16),
        bus=BusConfig(bytes=16, burst=256, outstanding=8),
        control=ControlConfig(queue=2),
    ),
}
