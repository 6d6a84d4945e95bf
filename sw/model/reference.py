"""The encoder in floating point: what the quantised one is measured against, and the source of its calibration."""

import functools
import math
from collections.abc import Callable

import numpy as np

from celosia.sw.golden.softmax import BoolArray, valid_columns
from celosia.sw.model.bert import BertConfig, BertModel, FloatArray, LayerWeights, Linear, Norm
from celosia.sw.model.errors import ModelError

Observer = Callable[[str, FloatArray], None]
"""Called with the name and value of every tensor that has a format of its own (see `encode`)."""

_STEP = 1 / 512
_LIMIT = 6.0


@functools.cache
def _erf_table() -> tuple[FloatArray, FloatArray]:
    """erf and its slope times the step, at multiples of the step from -6 to 6."""
    x = np.arange(-_LIMIT, _LIMIT + 2 * _STEP, _STEP)
    return np.array([math.erf(v) for v in x]), 2 / math.sqrt(math.pi) * np.exp(-x * x) * _STEP


def erf(x: FloatArray) -> FloatArray:
    """erf by cubic interpolation, to 1e-12 in double precision; numpy has none."""
    values, slopes = _erf_table()
    position = (np.clip(x, -_LIMIT, _LIMIT) + _LIMIT) / _STEP
    i = position.astype(np.int32)
    t = position - i
    y0, y1, m0, m1 = values[i], values[i + 1], slopes[i], slopes[i + 1]
    cubic = y0 + t * (m0 + t * (3 * (y1 - y0) - 2 * m0 - m1 + t * (2 * (y0 - y1) + m0 + m1)))
    return cubic.astype(x.dtype)


def gelu(x: FloatArray) -> FloatArray:
    """The exact GELU."""
    result: FloatArray = 0.5 * x * (1 + erf(x * (1 / math.sqrt(2))))
    return result


def layer_norm(x: FloatArray, norm: Norm, eps: float) -> FloatArray:
    """LayerNorm over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    result: FloatArray = centred / deviation * norm.gamma + norm.beta
    return result


def embedding_sum(model: BertModel, ids: list[list[int]]) -> FloatArray:
    """Word, position and type 0 embeddings added, float32 [len(ids), l, d], for sequences of one length l.

    Errors: ModelError for no tokens, more tokens than positions, and a token outside the vocabulary.
    """
    config, weights = model.config, model.weights
    tokens = np.asarray(ids, dtype=np.int64)
    if tokens.ndim != 2 or not tokens.size:
        raise ModelError("sequences must hold at least one token each and be equally long")
    if tokens.shape[1] > config.positions:
        raise ModelError(f"a sequence must have at most {config.positions} tokens, not {tokens.shape[1]}")
    if tokens.min() < 0 or tokens.max() >= config.vocab:
        raise ModelError(f"a token id must be from 0 to {config.vocab - 1}, not {tokens.min()} or {tokens.max()}")
    result: FloatArray = weights.word[tokens] + weights.position[: tokens.shape[1]] + weights.token_type[0]
    return result


def encode(
    model: BertModel,
    x: FloatArray,
    length: int | None = None,
    causal: bool = False,
    observer: Observer | None = None,
) -> FloatArray:
    """Output of the last layer [..., l, d] for embedding sums `x` of that shape, in x's precision.

    Tokens from `length` on are padding: no token attends to them. `observer` sees `embedding.sum`, `embedding.norm`,
    and for each layer i `i.query`, `i.key`, `i.value`, `i.context`, `i.attention.sum`, `i.attention.norm`,
    `i.gelu.in`, `i.gelu.out`, `i.output.sum`, `i.output.norm`.
    """
    see = observer or (lambda name, tensor: None)
    config, weights = model.config, model.weights
    see("embedding.sum", x)
    x = layer_norm(x, weights.embedding_norm, config.eps)
    see("embedding.norm", x)
    tokens = x.shape[-2]
    allowed = valid_columns(tokens, tokens, tokens if length is None else length, 0 if causal else None)
    for index, layer in enumerate(weights.layers):
        x = _layer(config, layer, x, allowed, lambda name, tensor, i=index: see(f"{i}.{name}", tensor))  # type: ignore[misc]
    return x


def _layer(config: BertConfig, layer: LayerWeights, x: FloatArray, allowed: BoolArray, see: Observer) -> FloatArray:
    query, key, value = (_linear(x, part) for part in (layer.query, layer.key, layer.value))
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        see(name, tensor)
    query, key, value = (split_heads(part, config.heads) for part in (query, key, value))
    scores = query @ key.swapaxes(-1, -2) * (1 / math.sqrt(config.head_width))
    scores = np.where(allowed, scores, np.float32(-1e9))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    context = merge_heads(weights @ value / weights.sum(axis=-1, keepdims=True))
    see("context", context)
    total = _linear(context, layer.attention_output) + x
    see("attention.sum", total)
    x = layer_norm(total, layer.attention_norm, config.eps)
    see("attention.norm", x)
    inner = _linear(x, layer.ffn1)
    see("gelu.in", inner)
    inner = gelu(inner)
    see("gelu.out", inner)
    total = _linear(inner, layer.ffn2) + x
    see("output.sum", total)
    x = layer_norm(total, layer.output_norm, config.eps)
    see("output.norm", x)
    return x


def _linear(x: FloatArray, part: Linear) -> FloatArray:
    result: FloatArray = x @ part.weight.T + part.bias
    return result


def split_heads(x: FloatArray, heads: int) -> FloatArray:
    """[..., l, d] to [..., heads, l, d / heads]."""
    return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)


def merge_heads(x: FloatArray) -> FloatArray:
    """[..., heads, l, dh] to [..., l, heads * dh]."""
    moved = x.swapaxes(-2, -3)
    return moved.reshape(*moved.shape[:-2], -1)


def pool(x: FloatArray) -> FloatArray:
    """Sentence embedding [..., d] of unpadded token outputs [..., l, d]: their mean, scaled to unit length."""
    mean: FloatArray = x.mean(axis=-2)
    unit: FloatArray = mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-12)
    return unit


def by_length(ids: list[list[int]], tokens: int = 4096) -> list[list[int]]:
    """Indices of sequences in groups of equal length and at most `tokens` tokens: batches that need no padding."""
    groups: dict[int, list[int]] = {}
    for index, sequence in enumerate(ids):
        groups.setdefault(len(sequence), []).append(index)
    batches = []
    for length, members in sorted(groups.items()):
        size = max(1, tokens // max(1, length))
        batches += [members[i : i + size] for i in range(0, len(members), size)]
    return batches


def embed(model: BertModel, ids: list[list[int]]) -> FloatArray:
    """Unit-length sentence embeddings [len(ids), d] of token sequences, by the float model."""
    result = np.zeros((len(ids), model.config.hidden), dtype=np.float32)
    for batch in by_length(ids):
        result[batch] = pool(encode(model, embedding_sum(model, [ids[i] for i in batch])))
    return result
