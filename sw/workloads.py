"""Named workloads: a network and an input of a fixed length, for measurements that can be compared."""

from dataclasses import dataclass

import numpy as np

from celosia.sw.model.bert import BertModel, random_bert
from celosia.sw.model.errors import ModelError
from celosia.sw.model.folder import load_model
from celosia.sw.model.sentences import SENTENCES

SEED = 2024
"""Of random weights and random tokens."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """One encoder layer with seeded random weights. `hidden`, `ffn`: channels."""

    hidden: int
    heads: int
    ffn: int


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`tokens` rows through `network`: a published model by name, or a layer with random weights.

    `text`: what it is, in words.
    """

    name: str
    network: str | Geometry
    tokens: int
    text: str

    def model(self) -> BertModel:
        """Its network. Errors: ModelError when a published model is not installed."""
        if isinstance(self.network, str):
            return load_model(self.network)
        shape = self.network
        return random_bert(layers=1, hidden=shape.hidden, heads=shape.heads, ffn=shape.ffn, seed=SEED)

    def ids(self, model: BertModel) -> list[int]:
        """Its input: `tokens` token ids, the same ones every time; of real text where the model has a tokenizer."""
        if model.tokenizer is not None:
            return text_ids(model, self.tokens)
        return np.random.default_rng(SEED).integers(0, model.config.vocab, self.tokens).tolist()


_MINILM = Geometry(hidden=384, heads=12, ffn=1536)
_BERT_BASE = Geometry(hidden=768, heads=12, ffn=3072)

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(name="minilm-16", network="minilm", tokens=16, text="all-MiniLM-L6-v2, a short sentence"),
        Workload(name="minilm-128", network="minilm", tokens=128, text="all-MiniLM-L6-v2, a paragraph"),
        Workload(name="minilm-layer-128", network=_MINILM, tokens=128, text="one layer of that shape, random weights"),
        Workload(name="bert-base-layer-128", network=_BERT_BASE, tokens=128, text="one BERT-Base layer"),
        Workload(name="bert-base-layer-512", network=_BERT_BASE, tokens=512, text="the same, the longest sequence"),
    )
}


def text_ids(model: BertModel, tokens: int) -> list[int]:
    """Ids of English text of exactly `tokens` tokens, first and last special token included.

    Errors: ModelError for fewer than 3 tokens, and for more than the model's positions or the built-in text have.
    """
    sentences = model.tokenize(list(SENTENCES))
    inner = [token for sentence in sentences for token in sentence[1:-1]]
    most = min(len(inner) + 2, model.config.positions)
    if not 3 <= tokens <= most:
        raise ModelError(f"a text must have from 3 to {most} tokens, not {tokens}")
    return [sentences[0][0], *inner[: tokens - 2], sentences[0][-1]]
