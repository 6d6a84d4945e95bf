"""Named co-processors: how many cores share the heads, and what each is built for (docs/coprocessor.md says why)."""

from celosia.hw.config import BusConfig, ControlConfig
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.hdp.core.config import CoreConfig

COPROCESSORS: dict[str, CoprocessorConfig] = {
    "hdp-edge": CoprocessorConfig(
        cores=1,
        core=CoreConfig(width=64, rate=4, length=128, rows=256, bus=16, lanes=16),
        bus=BusConfig(bytes=16, burst=64, outstanding=8),
        control=ControlConfig(queue=2),
    ),
    "hdp-server": CoprocessorConfig(
        cores=4,
        core=CoreConfig(width=64, rate=4, length=512, rows=1024, bus=64),
        bus=BusConfig(bytes=64, burst=64, outstanding=8),
        control=ControlConfig(queue=4),
    ),
}
