"""What a core is built for. Imports no hardware."""

from dataclasses import dataclass

from celosia.hw.config import ConfigError
from celosia.hw.hdp.config import FRACTION, EngineConfig
from celosia.hw.hdp.widths import CODE_BITS, Importance, Range

BLOCK = 2
"""Queries and keys of a block: a core works on as many queries at once."""
RATES = (1, 2, 4)
SOFTMAX = ("base2", "published")
WEIGHT_MAX = (1 << CODE_BITS) - 1
"""Largest softmax weight."""
HEADS = 2
"""Heads that may be under way: the integer pass of one beside the context of the one before."""
ROWS_IN_FLIGHT = 4
"""Pairs of queries between the first exponential and the last context code."""
RING = 64
"""Groups from which on the engine's ring, twice as long, is a memory."""
ROWS_AHEAD = 4
"""Pairs of queries whose integer scores are kept."""


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """A core.

    `width`: channels at once, and of a head at most; a head of fewer has zeros. `rate`: nibble products of a multiplier
    in a cycle of the integer pass. `length`: tokens of a head at most. `rows`: rows of codes that each of the memories
    of Q, K and V holds: two heads, where the next one is to be loaded beside the one at work. `bus`: bytes of a word
    that is written. `lanes`: context codes a cycle. `tau`: heads can be pruned; the masks of a whole head are kept.
    `reuse`: integer scores are kept, so that approximate scores cost half a cycle a key and not one.
    `softmax`: "base2", the default model's, or "published". `rules`: importances to choose from. Errors: ConfigError.
    """

    width: int = 64
    rate: int = 4
    length: int = 128
    rows: int = 256
    bus: int = 16
    lanes: int = 8
    tau: bool = True
    reuse: bool = True
    softmax: str = "base2"
    rules: tuple[Importance, ...] = tuple(Importance)

    def __post_init__(self) -> None:
        for name in ("width", "bus", "lanes"):
            value = getattr(self, name)
            if type(value) is not int or value < 1 or value & (value - 1):
                raise ConfigError(f"{name} must be a power of two, not {value!r}")
        if self.rate not in RATES:
            raise ConfigError(f"rate must be 1, 2 or 4 nibble products a cycle, not {self.rate!r}")
        if self.width < 4:
            raise ConfigError(f"width must be at least 4 channels, not {self.width}")
        for name in ("bus", "lanes"):
            if getattr(self, name) > self.width:
                raise ConfigError(f"{name} must be at most the width of {self.width}, not {getattr(self, name)}")
        if type(self.length) is not int or self.length < 2 * BLOCK or self.length % BLOCK:
            raise ConfigError(f"length must be a multiple of {BLOCK}, at least {2 * BLOCK}, not {self.length!r}")
        if type(self.rows) is not int or self.rows < self.length or self.rows % self.group:
            nearest = -(-self.length // self.group) * self.group
            raise ConfigError(
                f"rows must be a multiple of {self.group} and hold the longest head, at least {nearest}, "
                f"not {self.rows!r}"
            )
        if self.softmax not in SOFTMAX:
            raise ConfigError(f"softmax must be one of {', '.join(SOFTMAX)}, not {self.softmax!r}")
        if self.reuse and self.rate == 1:
            raise ConfigError("reuse must be false at rate 1: one key a cycle is read, so that it would gain nothing")
        _ = self.engine

    @property
    def group(self) -> int:
        """Keys that the sparsity engine takes at once: those of two cycles of the integer pass."""
        return BLOCK * self.rate

    @property
    def groups(self) -> int:
        """Groups of keys in the longest row."""
        return -(-self.length // self.group)

    @property
    def pairs(self) -> int:
        """Pairs of queries in the longest head."""
        return self.length // BLOCK

    @property
    def engine(self) -> EngineConfig:
        """The sparsity engine. Its masks are always taken, so that it needs no slack; but below 128 groups its ring
        would be of flip-flops, and larger than a memory."""
        return EngineConfig(
            columns=self.group,
            narrowest=BLOCK,
            widest=BLOCK,
            height=BLOCK,
            rules=self.rules,
            head_width=self.width,
            length=self.length,
            fraction=FRACTION,
            slack=max(0, RING - self.groups),
        )

    @property
    def fraction_banks(self) -> int:
        """Keys whose fractions are read at once."""
        return BLOCK if self.reuse else 1

    @property
    def mask_words(self) -> int:
        """Groups of masks that are kept: of all rows of a head, or of a few."""
        rows = self.pairs if self.tau else ROWS_AHEAD
        return 1 << max(2, (rows * self.groups - 1).bit_length())

    @property
    def list_words(self) -> int:
        """Kept blocks that are listed: two full rows."""
        return 1 << max(2, (2 * self.pairs - 1).bit_length())

    @property
    def parts(self) -> int:
        """Words of the bus in a row of codes."""
        return self.width // self.bus

    @property
    def context_words(self) -> int:
        """Words of codes in a row of context."""
        return self.width // self.lanes

    @property
    def score(self) -> Range:
        """Of kept blocks: of exact ones; approximate ones stay within."""
        half = 1 << (CODE_BITS - 1)
        return Range(-half * (half - 1), half * half).times(self.width)

    @property
    def context(self) -> Range:
        """P V of a row."""
        half = 1 << (CODE_BITS - 1)
        return Range(-half, half - 1).times(WEIGHT_MAX * self.length)

    @property
    def total(self) -> Range:
        """Sum of the weights of a row."""
        return Range(0, WEIGHT_MAX * self.length)
