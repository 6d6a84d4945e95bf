"""Hybrid dynamic pruning on the dense array: which policies can run, what a layer needs to know of one, and the room
that its attention takes (docs/hdp.md)."""

from dataclasses import dataclass

from celosia.hw.config import Config, HdpConfig
from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.widths import Importance
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.mapping import Tiling
from celosia.sw.golden.hdp import Pruned, tau_limit
from celosia.sw.model.hdp.policy import HdpPolicy, Selection, Softmax

AHEAD = 2
"""Rows of blocks whose keys are decided on before the scores of the first of them: the array never waits for a list."""
BEHIND = 1
"""Rows of blocks whose scores are computed before the context of the first of them: the array never waits for EXP."""
LEAD = 2
"""The same where all decisions of a head follow one another: some are left for between these scores, since their lists,
a cycle a key, may take longer than they do."""


@dataclass(frozen=True)
class LayerPruning:
    """What a layer prunes.

    `rho` in 256ths; `limit` of a head's importance, None: no head is pruned; `wide`: log2 of the block width; `rule`:
    importance; `fill`: rows of blocks keep what their last tile has room for.
    """

    rho: int
    limit: int | None
    wide: int
    rule: Importance
    fill: bool = False


def prunings(config: Config, policy: HdpPolicy, layers: int, length: int, causal: bool = False) -> list[LayerPruning]:
    """What each of `layers` layers prunes of a sequence of `length` tokens.

    Errors: CompileError that says what would work, when the dense array cannot do what the policy asks for.
    """
    hdp = config.hdp
    if hdp is None:
        raise CompileError("this configuration cannot prune; one with hdp.keys can, such as preset transformer-hdp")
    _check_policy(config, hdp, policy)
    if causal:
        raise CompileError("attention with a causal mask cannot be pruned; without the mask it can")
    if len(policy.rho) != layers:
        raise CompileError(f"the policy has rho for {len(policy.rho)} layers; this encoder has {layers}")
    if length > hdp.keys:
        raise CompileError(f"{length} keys exceed hdp.keys = {hdp.keys}: it must be at least {length}")
    wide = policy.block.width.bit_length() - 1
    taus = policy.tau or (None,) * layers
    try:
        limits = [None if tau is None else tau_limit(tau, length) for tau in taus]
    except ValueError as error:
        raise CompileError(str(error)) from None
    shared = (wide, policy.importance, bool(policy.fill))
    return [LayerPruning(rho, limit, *shared) for rho, limit in zip(policy.rho, limits, strict=True)]


def _check_policy(config: Config, hdp: HdpConfig, policy: HdpPolicy) -> None:
    wanted = {
        "approximate": (policy.approximate, False),
        "pruned": (policy.pruned, Pruned.EXCLUDED),
        "fraction": (policy.fraction, FRACTION),
        "softmax": (policy.softmax, Softmax.MODEL),
        "selection": (policy.selection, Selection.THRESHOLD),
        "cascade": (policy.cascade, ()),
    }
    for name, (given, possible) in wanted.items():
        if given != possible:
            text = str(list(given)) if isinstance(given, tuple) else str(given).lower()
            can = "[]" if possible == () else str(possible).lower()
            raise CompileError(f"the dense array cannot run a policy with {name} = {text}; {name} = {can} would do")
    fills = [config.array.columns, 0] if hdp.fill else [0]
    if policy.fill not in fills:
        would = " or ".join(f"fill = {fill}" for fill in fills)
        raise CompileError(f"this array cannot run a policy with fill = {policy.fill}; {would} would do")
    rows, widths = config.block_height, [1 << bit for bit in range(hdp.widest.bit_length())]
    if policy.block.height != rows or policy.block.width not in widths:
        would = " or ".join(f"{rows}x{width}" for width in widths)
        raise CompileError(f"blocks of {policy.block} cannot be pruned on this array; {would} would do")


@dataclass(frozen=True)
class Room:
    """Scratchpad words that attention takes at once, if it is pruned: K and V of a head are whole.

    A head's tiles are those of all heads that share them. `behind`: as `BEHIND`.
    """

    config: Config
    tiling: Tiling
    behind: int = BEHIND

    @property
    def head(self) -> int:
        """For a head by itself: K and V, and what streams by."""
        return 2 * self.operand + 2 * self._tile + (self.behind + 1) * self._weights

    @property
    def two_heads(self) -> int:
        """While the next head's decisions are made: K of that one, and tiles of both."""
        return self.head + self.operand + 2 * self._tile + self._weights

    @property
    def whole_heads(self) -> int:
        """While all decisions of the next head are made: K of that one and of the one behind it, which is copied, all
        of its Q, and `behind` rows of blocks of weights."""
        return self.head + 2 * self.operand

    @property
    def decisions(self) -> int:
        """While all decisions of a head are made, before its scores: K and V of it, K of the next one, which is copied,
        tiles of Q for decisions and for scores, and the first weights."""
        return 3 * self.operand + 4 * self._tile + self._weights

    @property
    def operand(self) -> int:
        """K, or V."""
        t = self.tiling
        return t.keys * min(t.head_channels, t.width) // self.config.word_bytes

    @property
    def _tile(self) -> int:
        """A tile of Q, or of context."""
        t = self.tiling
        return t.rows * min(t.head_channels, t.width) // self.config.word_bytes

    @property
    def _weights(self) -> int:
        """Of a row of blocks."""
        t, rows = self.tiling, self.config.block_height
        return min(rows, t.tokens) * t.keys // self.config.word_bytes
