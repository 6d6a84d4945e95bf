"""What a sparsity engine is built for. Imports no hardware."""

from dataclasses import dataclass, replace

from celosia.hw.config import Config, ConfigError
from celosia.hw.hdp.store import PAIRED_RATE
from celosia.hw.hdp.widths import CODE_BITS, HEAD_BITS, Importance, Range, decision_widths, hull


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """A sparsity engine.

    `columns`: keys a beat. `narrowest`, `widest`: widths of a block, in keys: a program chooses one of the powers of
    two between them. `height`: of a block at most, in queries. `rules`: a program chooses one. `head_width`: channels
    at most. `length`: tokens at most. `fraction`: bits of a code's fraction part. `slack`: groups of masks that may
    wait for their taker at least, beyond what the engine itself needs. `fill`: keys of a tile that a row of blocks may
    fill, a power of two of at most `length`; 0: it cannot. `stream`: 0 where a beat is a query; where keys stream, of
    all `height` queries at once, keys a beat: 1 or 2.
    Errors: ConfigError.
    """

    columns: int = 16
    narrowest: int = 1
    widest: int = 2
    height: int = 16
    rules: tuple[Importance, ...] = tuple(Importance)
    head_width: int = 64
    length: int = 512
    fraction: int = 4
    slack: int = 4
    fill: int = 0
    stream: int = 0

    def __post_init__(self) -> None:
        for name in ("columns", "narrowest", "widest"):
            value = getattr(self, name)
            if type(value) is not int or value < 1 or value & (value - 1):
                raise ConfigError(f"{name} must be a power of two, not {value!r}")
        for name, low in (("height", 1), ("head_width", 1), ("length", 1), ("slack", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise ConfigError(f"{name} must be an integer of at least {low}, not {value!r}")
        if not self.narrowest <= self.widest <= self.columns:
            raise ConfigError(
                f"narrowest <= widest <= columns must hold, not {self.narrowest}, {self.widest}, {self.columns}"
            )
        if self.stream not in (0, 1, 2):
            raise ConfigError(f"stream must be 0, 1 or 2 keys a beat, not {self.stream!r}")
        if self.stream and (self.narrowest != 1 or self.columns < 2):
            raise ConfigError("keys that stream need narrowest = 1, and at least 2 columns")
        if not 1 <= self.fraction <= CODE_BITS - 2:
            raise ConfigError(f"fraction must be from 1 to {CODE_BITS - 2}, not {self.fraction!r}")
        if type(self.fill) is not int or self.fill not in {0, *(1 << k for k in range(1, self.length.bit_length()))}:
            raise ConfigError(f"fill must be 0 or a power of two from 2 to length, not {self.fill!r}")
        if not self.rules:
            raise ConfigError("rules must name at least one importance")
        if (bits := self._range("head").bits) > HEAD_BITS:
            raise ConfigError(
                f"head_width {self.head_width!r} and length {self.length!r} are too large: the importance of a head "
                f"would have {bits} bits, and may have {HEAD_BITS}"
            )

    def _range(self, name: str, heights: tuple[int, ...] = ()) -> Range:
        """Of an intermediate, over everything that a program may choose."""
        found = [
            decision_widths(self.head_width, self.length, height, width, rule, self.fraction)[name]
            for height in heights or (1, self.height)
            for width in (self.narrowest, self.widest)
            for rule in self.rules
        ]
        return hull(end for one in found for end in (one.low, one.high))

    @property
    def lanes(self) -> int:
        """Blocks of the narrowest width in a beat."""
        return self.columns // self.narrowest

    @property
    def steps(self) -> int:
        """Widths to choose from, each twice the one before."""
        return (self.widest // self.narrowest).bit_length()

    @property
    def groups(self) -> int:
        """Beats of keys in the longest row."""
        return -(-self.length // self.columns)

    @property
    def score(self) -> Range:
        """A."""
        return self._range("score_integer")

    @property
    def term(self) -> Range:
        """A row's share in a theta."""
        return self._range("theta", (1,))

    @property
    def theta(self) -> Range:
        """Importance of a block."""
        return self._range("theta")

    @property
    def count(self) -> int:
        """Blocks in a row of blocks at most."""
        return self.groups * self.lanes


FRACTION = 4
"""Fraction bits of codes: two nibbles."""


WAITING_ROWS = 2
"""Where keys stream: rows of blocks of the greatest length whose masks may wait beside those that the engine needs."""


def throttled(config: Config) -> bool:
    """Whether masks may take longer than DECIDEs take to stream: DECIDEs are then held back."""
    assert config.hdp is not None
    return config.hdp.fill or config.rate > 1


def engine_config(config: Config) -> EngineConfig:
    """The sparsity engine of an accelerator with `hdp`: rows of blocks of one group of queries that streams at once, or
    of as many as keys stream past."""
    assert config.hdp is not None
    columns, keys = config.array.columns, config.hdp.keys
    engine = EngineConfig(
        columns=columns,
        narrowest=1,
        widest=config.hdp.widest,
        height=config.array.rows,
        head_width=config.hdp.head_width,
        length=keys,
        fraction=FRACTION,
        fill=config.array.columns if config.hdp.fill else 0,
    )
    if config.rate == 1:
        return engine
    stream = 2 if config.rate == PAIRED_RATE else 1
    return replace(engine, height=min(config.array.rows, columns), stream=stream, slack=WAITING_ROWS * engine.groups)
