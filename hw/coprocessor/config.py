"""What a co-processor is built for. Imports no hardware."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from celosia.hw.config import COPROCESSOR, BusConfig, ConfigError, ControlConfig, hash_of, known, parse_settings
from celosia.hw.hdp.core.config import BLOCK, HEADS, CoreConfig
from celosia.hw.hdp.widths import Importance

OPERANDS = 3
"""Memories of a core that LOAD writes: Q, K, V, in the order of `Operand`."""
OWN_SECTIONS = ("coprocessor", "core")
"""Tables of a configuration file that no other accelerator has."""
_FLAGS = ("tau", "reuse")


@dataclass(frozen=True)
class Local:
    """An address space of local memories, as LOAD or STORE see it: in the place of their scratchpad.

    It is blocked like a scratchpad's tensors: a region a memory, in it a block of `rows` words a part of a row.
    """

    bus: BusConfig
    regions: int
    parts: int
    rows: int

    @property
    def word_bytes(self) -> int:
        """Bytes of a word: a beat."""
        return self.bus.bytes

    @property
    def beat_bytes(self) -> int:
        """Granule of transfers."""
        return self.bus.bytes

    @property
    def scratchpad_words(self) -> int:
        """Words of all regions."""
        return self.regions * self.parts * self.rows

    def address(self, region: int, row: int = 0, part: int = 0) -> int:
        """Of a word."""
        return (region * self.parts + part) * self.rows + row


@dataclass(frozen=True, kw_only=True)
class CoprocessorConfig:
    """A co-processor: `cores` cores, all alike, that share the heads. Its core takes words as wide as the bus.

    Beside its own it has what the units that it shares with other accelerators ask a configuration for.
    Errors: ConfigError.
    """

    cores: int = 1
    core: CoreConfig = field(default_factory=CoreConfig)
    bus: BusConfig = field(default_factory=BusConfig)
    control: ControlConfig = field(default_factory=ControlConfig)

    def __post_init__(self) -> None:
        if type(self.cores) is not int or not 1 <= self.cores <= 64:
            raise ConfigError(f"cores must be an integer from 1 to 64, not {self.cores!r}")
        if self.core.bus != self.bus.bytes:
            raise ConfigError(f"core.bus must be bus.bytes, {self.bus.bytes}, not {self.core.bus!r}")
        rows = self.core.rows
        if rows & (rows - 1) or rows > 1 << 15:
            near = min(1 << (rows - 1).bit_length(), 1 << 15)
            raise ConfigError(
                f"core.rows must be a power of two up to 32768, not {rows!r}; the nearest legal value is {near}"
            )
        if self.operands.scratchpad_words > 1 << 24:
            raise ConfigError(f"the cores' memories must have at most 2^24 words, not {self.operands.scratchpad_words}")

    @property
    def operands(self) -> Local:
        """Where LOAD writes: Q, K and V of core 0, then those of core 1, and so on."""
        return Local(self.bus, OPERANDS * self.cores, self.core.parts, self.core.rows)

    @property
    def contexts(self) -> Local:
        """Where STORE reads: the context of core 0, then that of core 1, and so on."""
        return Local(self.bus, self.cores, self.core.parts, self.core.rows)

    @property
    def tickets(self) -> int:
        """Heads that were given to cores and are not reported."""
        return max(2, HEADS * self.cores)

    @property
    def rate(self) -> int:
        """What tells it from other accelerators, in the place of a nibble rate."""
        return COPROCESSOR

    @property
    def word_bytes(self) -> int:
        """Bytes of a word of the local memories."""
        return self.bus.bytes

    @property
    def beat_bytes(self) -> int:
        """Granule of transfers."""
        return self.bus.bytes

    @property
    def hdp(self) -> None:
        """It has no array that could prune."""
        return None

    @property
    def block_height(self) -> int:
        """Queries of a row of blocks."""
        return BLOCK

    @property
    def pes(self) -> int:
        """Processing elements of all cores."""
        return self.cores * BLOCK * self.core.width

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested plain values, as in a TOML file. The core's `bus` is that of the accelerator."""
        core = dataclasses.asdict(self.core)
        del core["bus"]
        core |= {name: int(core[name]) for name in _FLAGS} | {"rules": " ".join(core["rules"])}
        return {
            "coprocessor": {"cores": self.cores},
            "core": core,
            "bus": dataclasses.asdict(self.bus),
            "control": dataclasses.asdict(self.control),
        }

    @property
    def hash(self) -> int:
        """32 bits that identify the configuration."""
        return hash_of(self.to_dict())


def from_dict(values: dict[str, Any], base: CoprocessorConfig | None = None) -> CoprocessorConfig:
    """A configuration from nested values, over `base`. Errors: ConfigError on unknown fields and bad values."""
    merged = (base or CoprocessorConfig()).to_dict()
    for section, fields in values.items():
        known("section", section, list(merged))
        if not isinstance(fields, dict):
            raise ConfigError(f"{section} must be a table of fields, not {fields!r}")
        for name, value in fields.items():
            known("field", f"{section}.{name}", [f"{section}.{one}" for one in merged[section]])
            merged[section][name] = value
    core, bus = merged["core"], BusConfig(**merged["bus"])
    for name in _FLAGS:
        if core[name] not in (0, 1):
            raise ConfigError(f"core.{name} must be 0 or 1, not {core[name]!r}")
        core[name] = bool(core[name])
    return CoprocessorConfig(
        cores=merged["coprocessor"]["cores"],
        core=CoreConfig(**{**core, "rules": _rules(core["rules"]), "bus": bus.bytes}),
        bus=bus,
        control=ControlConfig(**merged["control"]),
    )


def _rules(text: Any) -> tuple[Importance, ...]:
    try:
        return tuple(Importance(rule) for rule in text.split())
    except (ValueError, AttributeError):
        raise ConfigError(f"core.rules must be some of {', '.join(Importance)}, by spaces, not {text!r}") from None


def override(config: CoprocessorConfig, settings: list[str]) -> CoprocessorConfig:
    """Apply `section.field=value` settings. Errors: ConfigError that names the setting and what would work."""
    return from_dict(parse_settings(settings), config)
