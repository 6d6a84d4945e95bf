"""Attention of the quantised model under a policy, in integers, and what it did not have to do."""

from dataclasses import dataclass, field

import numpy as np

from celosia.sw.golden.hdp import (
    Pruned,
    block_importance,
    block_keys,
    fill_blocks,
    head_importance,
    head_magnitude,
    keep_blocks,
    keep_heads,
    keep_top_blocks,
    keep_top_heads,
    kept_scores,
    pruned_context,
    spread,
    tau_limit,
)
from celosia.sw.golden.kernels import WEIGHTS
from celosia.sw.golden.rounding import IntArray, integers
from celosia.sw.golden.softmax import BoolArray
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp.policy import HdpPolicy, Selection, Softmax
from celosia.sw.model.hdp.sparsity import Sparsity
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer


@dataclass(frozen=True)
class Decision:
    """Of a layer: `blocks` [..., heads, block rows, block columns] kept by their rule, `heads` [..., heads] kept.

    `exists` [block rows, block columns]: blocks that hold a valid score. `importance`: theta of heads [..., heads].
    """

    blocks: BoolArray
    heads: BoolArray
    exists: BoolArray
    importance: IntArray


@dataclass
class HdpRun:
    """Runs under one policy: counts what was pruned, and remembers what SpAtten accumulates over the layers.

    One run serves many batches, one after the other. Errors: ModelError when the policy does not fit the encoder.
    """

    policy: HdpPolicy
    encoder: QuantisedEncoder
    sparsity: Sparsity = field(init=False)
    _accumulated: IntArray | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        layers, heads = len(self.encoder.layers), self.encoder.heads
        if len(self.policy.rho) != layers:
            raise ModelError(
                f"the policy has rho for {len(self.policy.rho)} layers, but {self.encoder.name} has {layers}"
            )
        if any(pruned >= heads for pruned in self.policy.cascade):
            raise ModelError(f"cascade must leave at least one of {heads} heads in every layer")
        self.sparsity = Sparsity(layers)

    def decide(self, index: int, query: IntArray, key: IntArray, mask: BoolArray) -> Decision:
        """Blocks and heads of layer `index` that are kept; Q and K int8 [..., heads, l, dh], `mask` [l, l]."""
        policy = self.policy
        theta, exists = block_importance(query, key, mask, policy.block, policy.importance, policy.fraction)
        select = keep_top_blocks if policy.selection is Selection.TOP_K else keep_blocks
        blocks = select(theta, exists, policy.rho[index])
        blocks = fill_blocks(blocks, theta, exists, block_keys(mask, policy.block), policy.fill)
        try:
            total = head_importance(theta, exists)
        except OverflowError as error:
            raise ModelError(f"{error}: the heads are too large, or the sequence is too long") from None
        return Decision(blocks, self._heads(index, total, mask), exists, total)

    def _heads(self, index: int, total: IntArray, mask: BoolArray) -> BoolArray:
        if self.policy.cascade:
            before = np.zeros_like(total) if index == 0 or self._accumulated is None else self._accumulated
            self._accumulated = before
            return keep_top_heads(before, self.policy.cascade[index])
        tau = self.policy.tau[index] if self.policy.tau else None
        if tau is None:
            return np.ones(total.shape, dtype=bool)
        try:
            # Padding is no part of the length: only rows with a valid column count.
            return keep_heads(total, tau_limit(tau, int(mask.any(axis=-1).sum())))
        except ValueError as error:
            raise ModelError(str(error)) from None

    def attend(
        self, index: int, layer: QuantisedLayer, query: IntArray, key: IntArray, value: IntArray, mask: BoolArray
    ) -> IntArray:
        """int8 context [..., heads, l, dh] of int8 Q, K and V of that shape; `mask` [l, l]: false for padding.

        The context of a pruned head, and of a row that keeps no score, is 0.
        """
        policy, (rows, columns) = self.policy, mask.shape
        decision = self.decide(index, query, key, mask)
        kept = spread(decision.blocks & decision.heads[..., None, None], policy.block, rows, columns)
        scores = kept_scores(query, key, policy.fraction, policy.approximate)
        published, weight_of = policy.softmax is Softmax.PUBLISHED, WEIGHTS[self.encoder.softmax]
        context = pruned_context(
            scores,
            kept,
            mask,
            layer.score,
            layer.context,
            value,
            policy.pruned,
            published=published,
            weight_of=weight_of,
        )
        if policy.pruned is Pruned.ZERO:
            context = np.where(decision.heads[..., None, None], context, 0)
        if self._accumulated is not None:
            self._accumulated = self._accumulated + head_magnitude(context, mask)
        self.sparsity.count(index, decision.blocks, decision.heads, decision.exists, policy.block, mask, key.shape[-1])
        return integers(context)
