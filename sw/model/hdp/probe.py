"""Measuring a policy on text: what it prunes, and how far the embeddings move from those of the dense integer model."""

from dataclasses import dataclass

import numpy as np

from celosia.sw.model.bert import BertModel, FloatArray
from celosia.sw.model.encoder import embed_golden
from celosia.sw.model.errors import ModelError
from celosia.sw.model.hdp.attention import HdpRun
from celosia.sw.model.hdp.policy import HdpPolicy
from celosia.sw.model.hdp.sparsity import Sparsity
from celosia.sw.model.quantised import QuantisedEncoder


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
        return Measured(found, float((found * self.dense).sum(axis=1).mean()), run.sparsity)


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
