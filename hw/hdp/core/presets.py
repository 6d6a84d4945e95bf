"""Named co-processors: how many cores share the heads, and what each is built for (docs/coprocessor.md says why)."""

from dataclasses import dataclass

from celosia.hw.config import ConfigError
from celosia.hw.hdp.core.config import CoreConfig


@dataclass(frozen=True, kw_only=True)
class CoprocessorConfig:
    """`cores` cores, all alike. Errors: ConfigError."""

    cores: int
    core: CoreConfig

    def __post_init__(self) -> None:
        if type(self.cores) is not int or self.cores < 1:
            raise ConfigError(f"cores must be an integer of at least 1, not {self.cores!r}")


COPROCESSORS: dict[str, CoprocessorConfig] = {
    "hdp-edge": CoprocessorConfig(cores=1, core=CoreConfig(width=64, rate=4, length=128, rows=256, bus=8)),
    "hdp-server": CoprocessorConfig(cores=4, core=CoreConfig(width=64, rate=4, length=512, rows=1024, bus=32)),
}
