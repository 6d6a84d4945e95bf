"""A BERT encoder as float32 arrays: configuration, weights, and seeded random models for benchmarks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from celosia.sw.model.errors import ModelError
from celosia.sw.model.tokens import Tokenizer

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Geometry. `hidden`, `ffn`: channels; `vocab`, `positions`, `types`: embedding rows; `eps`: of LayerNorm."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocab: int
    positions: int = 512
    types: int = 2
    eps: float = 1e-12

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "ffn", "vocab", "positions", "types"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ModelError(f"{name} must be a positive integer, not {value!r}")
        if self.hidden % self.heads:
            raise ModelError(f"hidden must be a multiple of heads ({self.heads}), not {self.hidden!r}")

    @property
    def head_width(self) -> int:
        """Channels of one head."""
        return self.hidden // self.heads


@dataclass(frozen=True, kw_only=True)
class Linear:
    """`y = x W^T + b`: `weight` [out, in], `bias` [out]."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True, kw_only=True)
class Norm:
    """LayerNorm: `gamma`, `beta` [n]."""

    gamma: FloatArray
    beta: FloatArray


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """One encoder layer, in the order of its data flow."""

    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: Norm
    ffn1: Linear
    ffn2: Linear
    output_norm: Norm


@dataclass(frozen=True, kw_only=True)
class BertWeights:
    """All weights: `word` [vocab, hidden], `position` [positions, hidden], `token_type` [types, hidden], the layers."""

    word: FloatArray
    position: FloatArray
    token_type: FloatArray
    embedding_norm: Norm
    layers: tuple[LayerWeights, ...]


@dataclass(frozen=True, kw_only=True)
class BertModel:
    """A model ready to run. `tokenizer` is None for a random one; `name` is for messages and reports."""

    name: str
    config: BertConfig
    weights: BertWeights
    tokenizer: Tokenizer | None = None

    def tokenize(self, sentences: list[str]) -> list[list[int]]:
        """Token ids of each sentence. Errors: ModelError when the model has no tokenizer."""
        if self.tokenizer is None:
            raise ModelError(f"model {self.name} has no tokenizer: give it token ids")
        return self.tokenizer.encode(sentences)


def random_bert(layers: int, hidden: int, heads: int, ffn: int, seed: int, vocab: int = 1024) -> BertModel:
    """A model of the given geometry with seeded random weights on the scales of trained ones.

    Weights have a standard deviation of 0.04 and gains lie around 0.9; a few LayerNorm channels are ten times the
    others, as in trained models, where they are what makes quantisation hard.
    """
    config = BertConfig(layers=layers, hidden=hidden, heads=heads, ffn=ffn, vocab=vocab)
    rng = np.random.default_rng(seed)

    def normal(deviation: float, *shape: int) -> FloatArray:
        return (deviation * rng.standard_normal(shape)).astype(np.float32)

    def linear(out: int, inputs: int) -> Linear:
        # 0.04 at 384 inputs, and the same output at every width.
        return Linear(weight=normal(0.04 * (384 / inputs) ** 0.5, out, inputs), bias=normal(0.05, out))

    def norm() -> Norm:
        gamma, beta = 0.9 + normal(0.1, hidden), normal(0.1, hidden)
        outliers = rng.choice(hidden, max(1, hidden // 256), replace=False)
        beta[outliers] *= 10
        return Norm(gamma=gamma.astype(np.float32), beta=beta)

    def layer() -> LayerWeights:
        return LayerWeights(
            query=linear(hidden, hidden),
            key=linear(hidden, hidden),
            value=linear(hidden, hidden),
            attention_output=linear(hidden, hidden),
            attention_norm=norm(),
            ffn1=linear(ffn, hidden),
            ffn2=linear(hidden, ffn),
            output_norm=norm(),
        )

    weights = BertWeights(
        word=normal(0.05, vocab, hidden),
        position=normal(0.02, config.positions, hidden),
        token_type=normal(0.01, config.types, hidden),
        embedding_norm=norm(),
        layers=tuple(layer() for _ in range(layers)),
    )
    return BertModel(name=f"random-{layers}x{hidden}", config=config, weights=weights)
