"""Measuring a policy on text: what it prunes, and how far the embeddings move from those of the dense integer model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from celosia.sw.golden.rounding import IntArray
from celosia.sw.golden.softmax import valid_columns
from celosia.sw.model.bert import BertModel, FloatArray
from celosia.sw.model.encoder import embed_golden, layer_norm, quantise_embedding, run_layer, run_layers
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp.attention import HdpRun
from celosia.sw.model.hdp.policy import HdpPolicy
from celosia.sw.model.hdp.sparsity import Sparsity
from celosia.sw.model.quantised import QuantisedEncoder
from celosia.sw.model.reference import by_length, embedding_sum, pool

_State = tuple[IntArray, IntArray]
"""int8 and int16 outputs of a LayerNorm [sequences, l, d]."""


@dataclass(frozen=True)
class Measured:
    """A policy on some text: unit embeddings [sequences, d], mean cosine to those of the dense model, and sparsity."""

    embeddings: FloatArray
    cosine: float
    sparsity: Sparsity

    @property
    def loss(self) -> float:
        """1 - cosine: what calibration spends."""
        return 1 - self.cosine


class Probe:
    """Token sequences and their embeddings by the dense integer model, `dense` [sequences, d]."""

    def __init__(self, model: BertModel, encoder: QuantisedEncoder, ids: list[list[int]]) -> None:
        """Errors: ModelError when there are no sequences."""
        if not ids:
            raise ModelError("there is no text to measure with")
        self.model, self.encoder, self.ids = model, encoder, ids
        self.dense = embed_golden(model, encoder, ids)

    def measure(self, policy: HdpPolicy) -> Measured:
        """Run all sequences under `policy`."""
        run = HdpRun(policy, self.encoder)
        found = embed_golden(self.model, self.encoder, self.ids, run)
        return self._measured(found, run)

    def measure_each(self, start: HdpPolicy, policies: Sequence[Sequence[HdpPolicy]]) -> list[list[Measured]]:
        """Measure, for each layer, policies that differ from `start` in this layer alone: what is before it runs once.

        The sparsity of a result is of this layer and those after it. Policies without cascade.
        """
        batches = by_length(self.ids, 512)
        states = [self._embedding(batch) for batch in batches]
        result = []
        for index, alternatives in enumerate(policies):
            result.append([self._measure_from(index, batches, states, policy) for policy in alternatives])
            states = [self._step(index, state, start) for state in states]
        return result

    def _embedding(self, batch: list[int]) -> _State:
        x = quantise_embedding(self.encoder, embedding_sum(self.model, [self.ids[i] for i in batch]))
        return layer_norm(x.astype(np.int64), self.encoder.embedding_norm)

    def _step(self, index: int, state: _State, policy: HdpPolicy) -> _State:
        """Through one layer."""
        encoder = self.encoder
        tokens = state[0].shape[-2]
        mask = valid_columns(tokens, tokens, tokens)
        attend = partial(HdpRun(policy, encoder).attend, index)
        return run_layer(encoder.layers[index], encoder, *state, mask, lambda name, tensor: None, attend)

    def _measure_from(self, first: int, batches: list[list[int]], states: list[_State], policy: HdpPolicy) -> Measured:
        run, found = HdpRun(policy, self.encoder), np.zeros_like(self.dense)
        for batch, state in zip(batches, states, strict=True):
            _, x16 = run_layers(self.encoder, *state, first, hdp=run)
            found[batch] = pool(x16 * np.float32(self.encoder.scale_out))
        return self._measured(found, run)

    def _measured(self, embeddings: FloatArray, run: HdpRun) -> Measured:
        return Measured(embeddings, float((embeddings * self.dense).sum(axis=1).mean()), run.sparsity)


def pack(model: BertModel, texts: list[str], tokens: int, limit: int) -> list[list[int]]:
    """Up to `limit` sequences of exactly `tokens` tokens: the texts one after the other, cut where a sequence is full.

    Each begins and ends with the tokenizer's special tokens, as one text does. Errors: ModelError when the texts do not
    fill a sequence, or `tokens` is not from 3 to the model's positions.
    """
    if not 3 <= tokens <= model.config.positions:
        raise ModelError(f"tokens must be from 3 to {model.config.positions}, not {tokens!r}")
    each = model.tokenize(texts)
    stream = [token for ids in each for token in ids[1:-1]]
    inner = tokens - 2
    count = min(limit, len(stream) // inner)
    if not count:
        raise ModelError(f"the text has {len(stream)} tokens: too few for a sequence of {tokens}")
    first, last = each[0][0], each[0][-1]
    return [[first, *stream[i * inner : (i + 1) * inner], last] for i in range(count)]


def spread_out(ids: list[list[int]], limit: int) -> list[list[int]]:
    """At most `limit` of the sequences, evenly spaced."""
    if len(ids) <= limit:
        return ids
    return [ids[int(i)] for i in np.arange(limit) * len(ids) // limit]
