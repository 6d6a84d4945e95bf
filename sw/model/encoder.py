"""The whole encoder in integers: what the accelerator computes, bit for bit."""

from collections.abc import Callable
from functools import partial

import numpy as np

from celosia.sw.golden.factor import row_factor
from celosia.sw.golden.kernels import WEIGHTS, activate
from celosia.sw.golden.layernorm import affine, normalise, residual_add, row_stats, row_sums
from celosia.sw.golden.matmul import matmul
from celosia.sw.golden.requant import requant
from celosia.sw.golden.rounding import IntArray, sat
from celosia.sw.golden.softmax import BoolArray, row_max, softmax_weights, valid_columns
from celosia.sw.model.bert import BertModel, FloatArray
from celosia.sw.model.hdp.attention import HdpRun
from celosia.sw.model.quantised import Int16, QuantisedEncoder, QuantisedLayer, QuantisedLinear, QuantisedNorm
from celosia.sw.model.reference import by_length, embedding_sum, pool

IntObserver = Callable[[str, IntArray], None]
"""Called with the name and value of every tensor; the names are those of `reference.encode`, and more."""

Attend = Callable[[QuantisedLayer, IntArray, IntArray, IntArray, BoolArray], IntArray]
"""int8 context of the heads of a layer, from int8 Q, K and V, all [..., heads, l, dh], and a mask [l, l]."""


def run_golden(
    quantised: QuantisedEncoder,
    x: IntArray | Int16,
    length: int | None = None,
    causal: bool = False,
    observer: IntObserver | None = None,
    hdp: HdpRun | None = None,
) -> Int16:
    """int16 output [..., l, d] at `quantised.scale_out` for int16 embedding sums [..., l, d] at `quantised.scale_in`.

    Rows from `length` on are padding: they are computed, but no row attends to them. `causal`: a row attends to itself
    and to those before it. `hdp`: attention is pruned, and counted there; padding takes no part in its decisions, and
    the context of a row of padding is 0.
    """
    see = observer or (lambda name, tensor: None)
    x8, x16 = layer_norm(x.astype(np.int64), quantised.embedding_norm)
    see("embedding.norm8", x8)
    see("embedding.norm16", x16)
    _, x16 = run_layers(quantised, x8, x16, 0, length, causal, see, hdp)
    return x16.astype(np.int16)


def run_layers(
    quantised: QuantisedEncoder,
    x8: IntArray,
    x16: IntArray,
    first: int = 0,
    length: int | None = None,
    causal: bool = False,
    observer: IntObserver | None = None,
    hdp: HdpRun | None = None,
) -> tuple[IntArray, IntArray]:
    """The layers from `first` on: int8 and int16 LayerNorm outputs in, and the same out; see `run_golden`."""
    see = observer or (lambda name, tensor: None)
    tokens = x8.shape[-2]
    valid = tokens if length is None else length
    mask = valid_columns(tokens, tokens, valid, 0 if causal else None)
    if hdp is not None:
        mask &= np.arange(tokens)[:, None] < valid
    for index, layer in list(enumerate(quantised.layers))[first:]:
        x8, x16 = run_layer(
            layer,
            quantised,
            x8,
            x16,
            mask,
            lambda name, tensor, i=index: see(f"{i}.{name}", tensor),  # type: ignore[misc]
            None if hdp is None else partial(hdp.attend, index),
        )
    return x8, x16


def run_layer(
    layer: QuantisedLayer,
    encoder: QuantisedEncoder,
    x8: IntArray,
    x16: IntArray,
    mask: BoolArray,
    see: IntObserver,
    attend: Attend | None = None,
) -> tuple[IntArray, IntArray]:
    """One layer: int8 and int16 LayerNorm outputs in, and the same out, all [..., l, d]. `attend`: see `attention`."""
    query, key, value = (narrow(x8, part, 8) for part in (layer.query, layer.key, layer.value))
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        see(name, tensor)
    context = attention(layer, encoder, query, key, value, mask, attend)
    see("context", context)
    total = residual(context, layer.attention_output, x16)
    see("attention.sum", total)
    x8, x16 = layer_norm(total, layer.attention_norm)
    see("attention.norm8", x8)
    see("attention.norm16", x16)
    index = narrow(x8, layer.ffn1, encoder.table_bits)
    see("gelu.in", index)
    inner = activate(encoder.gelu, index, encoder.table_bits, layer.gelu_table, layer.gelu_constants)
    see("gelu.out", inner)
    total = residual(inner, layer.ffn2, x16)
    see("output.sum", total)
    x8, x16 = layer_norm(total, layer.output_norm)
    see("output.norm8", x8)
    see("output.norm16", x16)
    return x8, x16


def product(x: IntArray, part: QuantisedLinear) -> IntArray:
    """int32 accumulators `x W^T` [..., out] of int8 `x` [..., in]."""
    return matmul(x, part.weight.T)


def narrow(x: IntArray, part: QuantisedLinear, bits: int) -> IntArray:
    """Result of a linear part, saturated to `bits` bits."""
    return sat(requant(product(x, part), part.bias, part.mult, part.shift), bits)


def residual(x: IntArray, part: QuantisedLinear, addend: IntArray) -> IntArray:
    """int16 sum of a linear part and a residual at the same scale."""
    return residual_add(product(x, part), part.bias, part.mult, part.shift, addend)


def layer_norm(x: IntArray, norm: QuantisedNorm) -> tuple[IntArray, IntArray]:
    """int8 and int16 outputs of a LayerNorm of int16 `x` [..., n]."""
    normal = normalise(x, *row_stats(*row_sums(x), norm.n, norm.inv, norm.inv_shift, norm.eps))
    return (
        affine(normal, norm.gamma8, norm.beta8, norm.shift8, 8),
        affine(normal, norm.gamma16, norm.beta16, norm.shift16, 16),
    )


def attention(
    layer: QuantisedLayer,
    encoder: QuantisedEncoder,
    query: IntArray,
    key: IntArray,
    value: IntArray,
    mask: BoolArray,
    attend: Attend | None = None,
) -> IntArray:
    """int8 context [..., l, d] of int8 Q, K and V [..., l, d]; `mask` [l, l]. `attend`: other than dense attention."""
    q, k, v = (heads_of(part, encoder.heads) for part in (query, key, value))
    context = dense_attention(layer, encoder, q, k, v, mask) if attend is None else attend(layer, q, k, v, mask)
    moved = context.swapaxes(-2, -3)
    return moved.reshape(*moved.shape[:-2], -1)


def heads_of(x: IntArray, heads: int) -> IntArray:
    """[..., l, d] as [..., heads, l, d / heads]."""
    return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)


def dense_attention(
    layer: QuantisedLayer, encoder: QuantisedEncoder, q: IntArray, k: IntArray, v: IntArray, mask: BoolArray
) -> IntArray:
    """int8 context [..., heads, l, dh] of heads."""
    scores = matmul(q, k.swapaxes(-1, -2))
    weights, total = softmax_weights(scores, row_max(scores, mask), mask, *layer.score, WEIGHTS[encoder.softmax])
    factor, shift = row_factor(*layer.context, total)
    return sat(requant(matmul(weights, v), 0, factor[..., None], shift[..., None]), 8)


def quantise_embedding(quantised: QuantisedEncoder, x: FloatArray) -> Int16:
    """int16 embedding sums at `quantised.scale_in`, rounded half up and saturated: the host's part before a run."""
    steps: FloatArray = np.floor(x / quantised.scale_in + 0.5)
    return np.clip(steps, -32768, 32767).astype(np.int16)


def embed_golden(
    model: BertModel, quantised: QuantisedEncoder, ids: list[list[int]], hdp: HdpRun | None = None
) -> FloatArray:
    """Unit-length sentence embeddings [len(ids), d] of token sequences, by the integer encoder, pruned by `hdp`."""
    result = np.zeros((len(ids), quantised.hidden), dtype=np.float32)
    for batch in by_length(ids, 512):
        x = quantise_embedding(quantised, embedding_sum(model, [ids[i] for i in batch]))
        result[batch] = pool(run_golden(quantised, x, hdp=hdp) * np.float32(quantised.scale_out))
    return result
