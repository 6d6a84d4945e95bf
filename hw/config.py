"""Configuration of an accelerator: frozen dataclasses with units and invariants. Imports no hardware."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from celosia.hw.hdp.widths import HEAD_BITS, Importance, decision_widths
from celosia.hw.numerics import RECORD_BYTES

SOFTMAX_KERNELS = ("base2", "ibert")
GELU_KERNELS = ("table", "ibert")
COPROCESSOR = -1
"""In the place of a nibble rate (`Config.rate`): a co-processor."""


class ConfigError(ValueError):
    """A value that breaks a rule; the message names the field, the rule and the nearest legal value, if there is
    one."""


def _power_of_two(name: str, value: Any, low: int, high: int) -> None:
    legal = [1 << i for i in range(64) if low <= 1 << i <= high]
    if not isinstance(value, int) or isinstance(value, bool) or value not in legal:
        raise ConfigError(f"{name} must be a power of two from {low} to {high}, not {value!r}{_nearest(value, legal)}")


def _between(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        near = f"; the nearest legal value is {min(max(value, low), high)}" if isinstance(value, int) else ""
        raise ConfigError(f"{name} must be from {low} to {high}, not {value!r}{near}")


def _multiple(name: str, value: Any, step: int, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low or value % step:
        near = f"; the nearest legal value is {max(low, round(value / step) * step)}" if isinstance(value, int) else ""
        raise ConfigError(f"{name} must be a positive multiple of {step}, at least {low}, not {value!r}{near}")


def _one_of(name: str, value: Any, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ConfigError(f"{name} must be one of {', '.join(legal)}, not {value!r}")


def _nearest(value: Any, legal: list[int]) -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return ""
    return f"; the nearest legal value is {min(legal, key=lambda x: (abs(x - value), x))}"


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """The systolic array. `rows` PEs along the reduction (K), `columns` along the outputs (N); powers of two.

    `stages`: 1, or 2 with a register between multiplier and adder, for multipliers that are slow or far (FPGA blocks).
    """

    rows: int = 16
    columns: int = 16
    stages: int = 1

    def __post_init__(self) -> None:
        _power_of_two("array.rows", self.rows, 4, 128)
        _power_of_two("array.columns", self.columns, 4, 128)
        _between("array.stages", self.stages, 1, 2)


@dataclass(frozen=True, kw_only=True)
class ScratchpadConfig:
    """The scratchpad. `kib`: size in KiB. `banks`: interleaved word by word, one read and one write a cycle each."""

    kib: int = 64
    banks: int = 4

    def __post_init__(self) -> None:
        _between("scratchpad.kib", self.kib, 1, 16384)
        _power_of_two("scratchpad.banks", self.banks, 2, 32)


@dataclass(frozen=True, kw_only=True)
class AccumulatorConfig:
    """The accumulator.

    `kib`: size in KiB. `banks`: interleaved row by row. `stat_rows`: rows whose statistics can be held.
    """

    kib: int = 256
    banks: int = 4
    stat_rows: int = 256

    def __post_init__(self) -> None:
        _between("accumulator.kib", self.kib, 1, 65536)
        _power_of_two("accumulator.banks", self.banks, 2, 32)
        _power_of_two("accumulator.stat_rows", self.stat_rows, 16, 4096)


@dataclass(frozen=True, kw_only=True)
class BusConfig:
    """The AXI4 memory port.

    `bytes` a beat; `address_bits`; `burst`: longest burst in beats; `outstanding`: bursts in flight.
    """

    bytes: int = 16
    address_bits: int = 32
    burst: int = 64
    outstanding: int = 8

    def __post_init__(self) -> None:
        _power_of_two("bus.bytes", self.bytes, 4, 128)
        _between("bus.address_bits", self.address_bits, 20, 64)
        _power_of_two("bus.burst", self.burst, 2, 256)
        _power_of_two("bus.outstanding", self.outstanding, 2, 64)
        if self.burst * self.bytes > 4096:
            raise ConfigError(
                f"bus.burst must be at most 4096 / bus.bytes, not {self.burst!r}: a burst may not cross 4 KiB; "
                f"the nearest legal value is {4096 // self.bytes}"
            )


@dataclass(frozen=True, kw_only=True)
class PostConfig:
    """The POST unit. `lanes`: elements a cycle. `table_bits`: index width of the activation table. `softmax`, `gelu`:
    kernels.

    `max_channels`: longest row that LayerNorm or softmax can hold, in elements; sizes the row sums.
    """

    lanes: int = 16
    table_bits: int = 8
    max_channels: int = 4096
    softmax: str = "base2"
    gelu: str = "table"

    def __post_init__(self) -> None:
        _power_of_two("post.lanes", self.lanes, 1, 128)
        _between("post.table_bits", self.table_bits, 8, 12)
        _power_of_two("post.max_channels", self.max_channels, 64, 16384)
        _one_of("post.softmax", self.softmax, SOFTMAX_KERNELS)
        _one_of("post.gelu", self.gelu, GELU_KERNELS)


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """Control. `queue`: instructions that wait in front of each unit. `counter_bits`: width of performance counters."""

    queue: int = 8
    counter_bits: int = 40

    def __post_init__(self) -> None:
        _power_of_two("control.queue", self.queue, 2, 64)
        _between("control.counter_bits", self.counter_bits, 16, 64)


@dataclass(frozen=True, kw_only=True)
class HdpConfig:
    """Hybrid dynamic pruning on the array.

    `lists`: lists of kept keys that are held at once. `keys`: the longest. `widest`: block width in keys at most; the
    narrowest is 1. `head_width`: channels of a head at most. `fill`: a row of blocks can keep the keys that its last
    tile has room for. `rate`: products of nibbles of a PE in a cycle of DECIDE, 1, 2 or 4; above 1 keys stream out of a
    key store.
    """

    lists: int = 64
    keys: int = 512
    widest: int = 2
    head_width: int = 64
    fill: bool = True
    rate: int = 1

    def __post_init__(self) -> None:
        _power_of_two("hdp.lists", self.lists, 4, 1024)
        _power_of_two("hdp.keys", self.keys, 16, 4096)
        _power_of_two("hdp.widest", self.widest, 1, 8)
        if type(self.fill) is not bool:
            raise ConfigError(f"hdp.fill must be true or false, not {self.fill!r}")
        _power_of_two("hdp.rate", self.rate, 1, 4)

    @property
    def list_bits(self) -> int:
        """Width of a list's number."""
        return self.lists.bit_length() - 1

    @property
    def key_bits(self) -> int:
        """Width of a key's number."""
        return self.keys.bit_length() - 1

    @property
    def count_bits(self) -> int:
        """Width of the number of keys in a list."""
        return self.keys.bit_length()


@dataclass(frozen=True, kw_only=True)
class Config:
    """An accelerator. Sub-configurations by unit; derived quantities are properties. `hdp`: None without."""

    array: ArrayConfig = field(default_factory=ArrayConfig)
    scratchpad: ScratchpadConfig = field(default_factory=ScratchpadConfig)
    accumulator: AccumulatorConfig = field(default_factory=AccumulatorConfig)
    bus: BusConfig = field(default_factory=BusConfig)
    post: PostConfig = field(default_factory=PostConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    hdp: HdpConfig | None = None

    def __post_init__(self) -> None:
        most = min(self.array.rows, self.array.columns)
        if self.post.lanes > most:
            raise ConfigError(
                f"post.lanes must be at most the smaller of array.rows and array.columns, not {self.post.lanes!r}; "
                f"the nearest legal value is {most}"
            )
        _multiple("scratchpad.kib", self.scratchpad.kib * 1024, self.word_bytes * self.scratchpad.banks, 1024)
        _multiple("accumulator.kib", self.accumulator.kib * 1024, self.acc_row_bytes * self.accumulator.banks, 1024)
        if self.scratchpad_words > 1 << 24:
            raise ConfigError(f"scratchpad.kib must give at most 2^24 words, not {self.scratchpad_words}")
        if self.acc_rows > 1 << 16:
            near = (1 << 16) * self.acc_row_bytes // 1024
            raise ConfigError(
                f"accumulator.kib must give at most 65536 rows of {self.acc_row_bytes} bytes, "
                f"not {self.accumulator.kib!r}; the nearest legal value is {near}"
            )
        if self.hdp is not None:
            self._check_hdp(self.hdp)

    def _check_hdp(self, hdp: HdpConfig) -> None:
        rows, columns = self.array.rows, self.array.columns
        _multiple("hdp.head_width", hdp.head_width, rows, rows)
        if hdp.widest > columns:
            raise ConfigError(
                f"hdp.widest must be at most array.columns, not {hdp.widest!r}; the nearest legal value is {columns}"
            )
        if hdp.keys < columns:
            raise ConfigError(
                f"hdp.keys must be at least array.columns, not {hdp.keys!r}; the nearest legal value is {columns}"
            )
        bits = max(
            decision_widths(hdp.head_width, hdp.keys, height, width, rule)["head"].bits
            for height in (1, rows)
            for width in (1, hdp.widest)
            for rule in Importance
        )
        if bits > HEAD_BITS:
            raise ConfigError(
                f"hdp.head_width {hdp.head_width!r} and hdp.keys {hdp.keys!r} are too large: the importance of a head "
                f"would have {bits} bits, and may have {HEAD_BITS}"
            )

    @property
    def rate(self) -> int:
        """Nibble rate of HDP; 0 without it."""
        return self.hdp.rate if self.hdp is not None else 0

    @property
    def block_height(self) -> int:
        """Queries of a row of blocks, with HDP: those that stream together, or those that the columns hold."""
        return min(self.array.rows, self.array.columns) if self.rate > 1 else self.array.rows

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.array.rows * self.array.columns

    @property
    def word_bytes(self) -> int:
        """Bytes of a scratchpad word: one row of activations for the array."""
        return self.array.rows

    @property
    def scratchpad_words(self) -> int:
        """Words of the scratchpad."""
        return self.scratchpad.kib * 1024 // self.word_bytes

    @property
    def acc_row_bytes(self) -> int:
        """Bytes of an accumulator row: one int32 a column."""
        return self.array.columns * 4

    @property
    def acc_rows(self) -> int:
        """Rows of the accumulator."""
        return self.accumulator.kib * 1024 // self.acc_row_bytes

    @property
    def beat_bytes(self) -> int:
        """Granule of transfers between memory and scratchpad: offsets, strides and lengths are multiples of it."""
        return max(self.bus.bytes, self.word_bytes)

    @property
    def record_words(self) -> int:
        """Scratchpad words of one group of `lanes` parameter records."""
        return -(-self.post.lanes * RECORD_BYTES // self.word_bytes)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested plain values, as in a TOML file: a section that is absent is left out."""
        return {name: fields for name, fields in dataclasses.asdict(self).items() if fields is not None}

    @property
    def hash(self) -> int:
        """32 bits that identify the configuration: in a register, in every program's header, and in the manifest."""
        return hash_of(self.to_dict())


def hash_of(values: dict[str, Any]) -> int:
    """32 bits that identify the values of a configuration."""
    text = json.dumps(values, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


_SECTIONS: dict[str, Any] = {
    "array": ArrayConfig,
    "scratchpad": ScratchpadConfig,
    "accumulator": AccumulatorConfig,
    "bus": BusConfig,
    "post": PostConfig,
    "control": ControlConfig,
    "hdp": HdpConfig,
}


def from_dict(values: dict[str, Any], base: Config | None = None) -> Config:
    """A configuration from nested values (a parsed TOML file), over `base`. A section that `base` has not, has its
    defaults as soon as it is named.

    Errors: ConfigError on unknown fields and bad values.
    """
    merged = (base or Config()).to_dict()
    for section, fields in values.items():
        known("section", section, list(_SECTIONS))
        if not isinstance(fields, dict):
            raise ConfigError(f"{section} must be a table of fields, not {fields!r}")
        own = merged.setdefault(section, dataclasses.asdict(_SECTIONS[section]()))
        for name, value in fields.items():
            known("field", f"{section}.{name}", [f"{section}.{f}" for f in own])
            own[name] = value
    return Config(**{name: _SECTIONS[name](**fields) for name, fields in merged.items()})


def override(config: Config, settings: list[str]) -> Config:
    """Apply `section.field=value` settings. Errors: ConfigError that names the setting and what would work."""
    return from_dict(parse_settings(settings), config)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Nested values of `section.field=value` settings. Errors: ConfigError for one that does not read so."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        section, dot, name = key.strip().partition(".")
        if not equals or not dot:
            raise ConfigError(f"a setting must read section.field=value, not {setting!r}")
        text = text.strip()
        value: Any = int(text, 0) if text.lstrip("+-").isdigit() or text.startswith("0x") else text
        value = {"true": True, "false": False}.get(text, value)
        values.setdefault(section, {})[name] = value
    return values


def known(kind: str, name: str, legal: list[str]) -> None:
    """Errors: ConfigError when `name` is none of `legal`, with the one that was meant or all there are."""
    if name in legal:
        return
    import difflib

    near = difflib.get_close_matches(name, legal, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(legal)}"
    raise ConfigError(f"no {kind} {name!r} in a configuration{hint}")
