"""Workloads of attention alone: heads with random codes of low rank, of which a share of blocks is pruned, by name; and
heads of a layer of a network."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from celosia.hw.config import Config
from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.sw.golden.hdp import (
    BlockShape,
    block_importance,
    block_keys,
    fill_blocks,
    head_importance,
    keep_blocks,
    spread,
    tau_limit,
)
from celosia.sw.golden.rounding import IntArray, scale
from celosia.sw.golden.softmax import BoolArray
from celosia.sw.model.encoder import heads_of, run_golden
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp import HdpPolicy, HdpRun
from celosia.sw.model.quantised import Int16, QuantisedEncoder, QuantisedLayer
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


Codes = tuple[IntArray, IntArray, IntArray]
"""Q, K and V, int8 codes [heads, tokens, head]."""


class HeadsWorkload(ABC):
    """Heads of attention: their codes, and what of them is pruned.

    `tokens`, `head`, `heads`: tokens, channels of a head, heads.
    """

    tokens: int
    head: int
    heads: int

    @property
    @abstractmethod
    def name(self) -> str:
        """For people."""

    @property
    @abstractmethod
    def codes(self) -> Codes:
        """Of the heads."""

    @abstractmethod
    def encoder(self, config: Config) -> QuantisedEncoder:
        """An encoder of one layer, of which attention alone counts."""

    @abstractmethod
    def policy(self, config: Config, fill: bool | None = None) -> HdpPolicy:
        """What is pruned. Errors: ModelError when there is no such policy.

        `fill`: rows of blocks fill their last tile. None: they do if the accelerator can, and what is asked for is
        reached so.
        """

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

    def macs(self, kept: int, rate: int = 1) -> int:
        """Multiplications of Q K^T and P V over `kept` scores, and of the integer pass over everything, of which a PE
        does `rate` in the time of one."""
        return (-(-self.heads * self.tokens**2 // rate) + 2 * kept) * self.head

    def inputs(self) -> dict[str, IntArray]:
        """Tensors of a program of `celosia.sw.compiler.heads`."""
        return {
            name: _joined(codes).astype(np.int8)
            for name, codes in zip(("query", "key", "value"), self.codes, strict=True)
        }

    def layer(self, config: Config) -> QuantisedLayer:
        """Its layer."""
        return self.encoder(config).layers[0]


@dataclass(frozen=True)
class AttentionWorkload(HeadsWorkload):
    """`heads` heads of `tokens` tokens and `head` channels, `pruned` percent of whose blocks are pruned.

    Blocks are as tall as the array and two keys wide (one, if no wider is built), by `mean-max`. Without hdp in the
    configuration they are those that it would have. `pruned_heads`: percent of the heads that are pruned as well, by
    tau, rounded to whole heads.
    """

    tokens: int
    head: int
    pruned: int
    heads: int = HEADS
    pruned_heads: int = 0

    @property
    def name(self) -> str:
        """As it is asked for."""
        name = f"attention-{self.tokens}-{self.head}-{self.pruned}"
        return f"{name}-{self.pruned_heads}" if self.pruned_heads else name

    @cached_property
    def codes(self) -> Codes:
        """Q, K and V."""
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
        if fill is None:
            able = config.hdp is not None and config.hdp.fill
            try:
                return self.policy(config, able)
            except ModelError:
                if not able:
                    raise
                return self.policy(config, False)
        wide = 2 if config.hdp is None or config.hdp.widest > 1 else 1
        size = config.array.columns if fill else 0
        settings: dict[str, Any] = {"importance": Importance.MEAN_MAX, "approximate": False, "fill": size}
        dense = HdpPolicy.dense(1, block=BlockShape(config.block_height, wide), **settings)
        if not self.pruned and not self.pruned_heads:
            return dense
        query, key, _ = self.codes
        mask = np.ones((self.tokens, self.tokens), bool)
        theta, exists = block_importance(query, key, mask, dense.block, dense.importance)
        keys = block_keys(mask, dense.block)
        found = dense.with_rho((self._rho(theta, exists, keys, size),)) if self.pruned else dense
        return replace(found, tau=(self._tau(head_importance(theta, exists)),)) if self.pruned_heads else found

    def _rho(self, theta: IntArray, exists: BoolArray, keys: IntArray, fill: int) -> int:
        def share(rho: int) -> float:
            kept = keep_blocks(theta, exists, rho)
            return float(1 - fill_blocks(kept, theta, exists, keys, fill).mean())

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
        return rho

    def _tau(self, importances: IntArray) -> int:
        """The largest that keeps the heads that are to be kept."""
        ranked, count = sorted(importances.tolist()), (self.pruned_heads * self.heads + 50) // 100
        tau = (ranked[count] * RHO_ONE + RHO_ONE // 2 - 1) // self.tokens**2 + 1
        while tau_limit(tau, self.tokens) > ranked[count]:
            tau -= 1
        pruned = sum(one < tau_limit(tau, self.tokens) for one in ranked)
        if pruned != count:
            raise ModelError(f"no tau prunes {count} of {self.heads} heads of {self.name}: the nearest, {pruned}")
        return tau


def attention_workload(name: str) -> AttentionWorkload | None:
    """The workload `attention-TOKENS-HEAD-PERCENT`, or `-PERCENT-HEADS` with heads pruned too; None for any other name.

    Errors: ModelError when there is none with such numbers.
    """
    found = re.fullmatch(r"attention-(\d+)-(\d+)-(\d+)(?:-(\d+))?", name)
    if found is None:
        return None
    tokens, head, pruned, heads = (int(number or 0) for number in found.groups())
    if not tokens or not head or max(pruned, heads) > 99:
        raise ModelError(f"{name}: tokens and channels must be at least 1, and percentages at most 99")
    if heads > (most := (100 * HEADS - 51) // HEADS):
        raise ModelError(f"{name}: of {HEADS} heads one must be left: at most {most} % can be pruned, not {heads}")
    return AttentionWorkload(tokens, head, pruned, pruned_heads=heads)


@dataclass(frozen=True, kw_only=True)
class LayerWorkload(HeadsWorkload):
    """The heads of layer `index` of a network, as they are when `run` has pruned the layers before it.

    `seen`: the codes. `whole`, `every`: the encoder and its policy, of all layers.
    """

    index: int
    tokens: int
    head: int
    heads: int
    seen: Codes
    whole: QuantisedEncoder
    every: HdpPolicy

    @property
    def name(self) -> str:
        """Shape, network and layer."""
        return f"attention-{self.tokens}-{self.head}-{self.whole.name}-layer-{self.index}"

    @property
    def codes(self) -> Codes:
        """Q, K and V."""
        return self.seen

    def encoder(self, config: Config) -> QuantisedEncoder:
        """The layer alone."""
        return replace(self.whole, layers=self.whole.layers[self.index : self.index + 1])

    def policy(self, config: Config, fill: bool | None = None) -> HdpPolicy:
        """Of the layer alone, with its own `fill` where that is None. Errors: ModelError when heads are pruned by what
        earlier layers did."""
        if self.every.cascade:
            raise ModelError("a layer by itself cannot be pruned by cascade: it depends on those before it")
        index, size = slice(self.index, self.index + 1), self.every.fill
        if fill is not None:
            size = config.array.columns if fill else 0
        return replace(self.every, rho=self.every.rho[index], tau=self.every.tau[index], fill=size)


def layer_workloads(encoder: QuantisedEncoder, x: Int16, policy: HdpPolicy) -> list[LayerWorkload]:
    """The heads of all layers of `encoder` under `policy`, for int16 embedding sums `x` [tokens, hidden].

    Errors: ModelError when the policy does not fit the encoder.
    """
    seen: dict[str, IntArray] = {}
    run_golden(encoder, x, hdp=HdpRun(policy, encoder), observer=seen.__setitem__)
    found = []
    for index in range(len(encoder.layers)):
        query, key, value = (heads_of(seen[f"{index}.{name}"], encoder.heads) for name in ("query", "key", "value"))
        heads, tokens, head = query.shape
        shape = {"tokens": tokens, "head": head, "heads": heads}
        found.append(LayerWorkload(index=index, **shape, seen=(query, key, value), whole=encoder, every=policy))
    return found


def _joined(heads: IntArray) -> IntArray:
    """[heads, tokens, head] as [tokens, heads * head]."""
    return np.ascontiguousarray(heads.swapaxes(0, 1)).reshape(heads.shape[1], -1)
