"""Named workloads of attention alone: heads with random codes of low rank, of which a share of blocks is pruned."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from celosia.hw.config import Config
from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.sw.golden.hdp import (
    BlockShape,
    block_exists,
    block_keys,
    fill_blocks,
    importance,
    integer_scores,
    keep_blocks,
    split,
    spread,
)
from celosia.sw.golden.rounding import IntArray, scale
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp import HdpPolicy, HdpRun
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer
from celosia.sw.performance.blank import blank_encoder

SEED = 2024
HEADS = 12
_RANK = 8
"""Of Q K^T but for its noise: so heads attend to some tokens more than to others, and blocks differ."""
_DEVIATION, _NOISE = 36.0, 8.0
"""Of codes."""
_SHARPNESS = 3.0
"""Deviation of scores in powers of two of the weights."""
_TOLERANCE = 0.01
"""Of the share of blocks that is pruned: a rho, or fill, that misses it by more does not count as reaching it."""


@dataclass(frozen=True)
class AttentionWorkload:
    """`heads` heads of `tokens` tokens and `head` channels, `pruned` percent of whose blocks are pruned.

    Blocks are as tall as the array and two keys wide (one, if no wider is built), by `mean-max`. Without hdp in the
    configuration they are those that it would have.
    """

    tokens: int
    head: int
    pruned: int
    heads: int = HEADS

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"attention-{self.tokens}-{self.head}-{self.pruned}"

    @cached_property
    def codes(self) -> tuple[IntArray, IntArray, IntArray]:
        """Q, K and V, int8 codes [heads, tokens, head]."""
        rng = np.random.default_rng([SEED, self.tokens, self.head])
        shape = (self.heads, self.tokens)
        common = rng.normal(size=(self.heads, _RANK, self.head))

        def operand() -> IntArray:
            low_rank = rng.normal(size=(*shape, _RANK)) @ common / _RANK**0.5
            noise = rng.normal(scale=_NOISE, size=(*shape, self.head))
            return np.clip(np.rint(_DEVIATION * low_rank + noise), -128, 127).astype(np.int64)

        return (
            operand(),
            operand(),
            np.clip(np.rint(rng.normal(scale=40, size=(*shape, self.head))), -128, 127).astype(np.int64),
        )

    def encoder(self, config: Config) -> QuantisedEncoder:
        """An encoder of one layer, of which attention alone counts."""
        query, key, _ = self.codes
        spread_of = float((query @ key.swapaxes(1, 2)).std())
        blank = blank_encoder(config, 1, self.heads * self.head, self.heads, self.heads * self.head)
        layer = replace(blank.layers[0], score=scale(_SHARPNESS * 256 / spread_of), context=scale(1.0))
        return replace(blank, name=self.name, layers=(layer,))

    def policy(self, config: Config, fill: bool | None = None) -> HdpPolicy:
        """The policy whose rho prunes the share that is asked for, behind fill. Errors: ModelError when there is none.

        `fill`: rows of blocks fill their last tile. None: they do if the accelerator can, and a rho reaches the share.
        """
        if fill is None:
            able = config.hdp is not None and config.hdp.fill
            try:
                return self.policy(config, able)
            except ModelError:
                if not able:
                    raise
                return self.policy(config, False)
        wide = 2 if config.hdp is None or config.hdp.widest > 1 else 1
        rows = config.array.rows
        size = config.array.columns if fill else 0
        settings: dict[str, Any] = {"importance": Importance.MEAN_MAX, "approximate": False, "fill": size}
        dense = HdpPolicy.dense(1, block=BlockShape(rows, wide), **settings)
        if not self.pruned:
            return dense
        query, key, _ = self.codes
        whole = integer_scores(split(query)[0], split(key)[0])
        mask = np.ones((self.tokens, self.tokens), bool)
        theta, exists = importance(whole, mask, dense.block, dense.importance), block_exists(mask, dense.block)

        keys = block_keys(mask, dense.block)

        def share(rho: int) -> float:
            kept = keep_blocks(theta, exists, rho)
            return float(1 - fill_blocks(kept, theta, exists, keys, dense.fill).mean())

        low, high = -RHO_ONE, RHO_ONE
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if share(middle) < self.pruned / 100 else (low, middle)
        rho = min((low, max(low - 1, -RHO_ONE)), key=lambda one: abs(share(one) - self.pruned / 100))
        if abs(share(rho) - self.pruned / 100) > _TOLERANCE:
            raise ModelError(
                f"no rho prunes {self.pruned} % of the blocks of {self.name}{' with fill' * bool(fill)}: the nearest, "
                f"{share(rho):.1%}"
            )
        return dense.with_rho((rho,))

    def golden(self, config: Config, policy: HdpPolicy) -> tuple[IntArray, HdpRun]:
        """The context [tokens, heads * head] by the golden model, and what it says it has pruned."""
        encoder = self.encoder(config)
        run = HdpRun(policy, encoder)
        context = run.attend(0, encoder.layers[0], *self.codes, np.ones((self.tokens, self.tokens), bool))
        return _joined(context), run

    def kept_scores(self, policy: HdpPolicy, run: HdpRun) -> int:
        """Scores of kept blocks, of all heads."""
        query, key, _ = self.codes
        found = run.decide(0, query, key, np.ones((self.tokens, self.tokens), bool))
        return int(spread(found.blocks & found.heads[:, None, None], policy.block, self.tokens, self.tokens).sum())

    def macs(self, kept: int) -> int:
        """Multiplications of the integer pass over everything, and of Q K^T and P V over `kept` scores."""
        return (self.heads * self.tokens**2 + 2 * kept) * self.head

    def inputs(self) -> dict[str, IntArray]:
        """Tensors of a program of `celosia.sw.compiler.heads`."""
        return {
            name: _joined(codes).astype(np.int8)
            for name, codes in zip(("query", "key", "value"), self.codes, strict=True)
        }

    def layer(self, config: Config) -> QuantisedLayer:
        """Its layer."""
        return self.encoder(config).layers[0]


def attention_workload(name: str) -> AttentionWorkload | None:
    """The workload `attention-TOKENS-HEAD-PERCENT`; None for any other name.

    Errors: ModelError when there is none with such numbers.
    """
    found = re.fullmatch(r"attention-(\d+)-(\d+)-(\d+)", name)
    if found is None:
        return None
    tokens, head, pruned = map(int, found.groups())
    if not tokens or not head or pruned > 99:
        raise ModelError(f"{name}: tokens and channels must be at least 1, and the percentage at most 99")
    return AttentionWorkload(tokens, head, pruned)


def _joined(heads: IntArray) -> IntArray:
    """[heads, tokens, head] as [tokens, heads * head]."""
    return np.ascontiguousarray(heads.swapaxes(0, 1)).reshape(heads.shape[1], -1)
