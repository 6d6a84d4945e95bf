"""The float encoder against a straightforward one, token by token."""

import math

import numpy as np
import pytest

from celosia.sw.model import ModelError, embed, embedding_sum, encode, pool, random_bert
from celosia.sw.model.bert import BertModel, LayerWeights, Linear, Norm
from celosia.sw.model.reference import by_length, erf

MODEL = random_bert(layers=2, hidden=24, heads=3, ffn=40, seed=1, vocab=50)
IDS = [3, 14, 15, 9, 26, 5]


def plain_norm(row: list[float], norm: Norm, eps: float) -> list[float]:
    mean = sum(row) / len(row)
    variance = sum((v - mean) ** 2 for v in row) / len(row)
    return [
        (v - mean) / math.sqrt(variance + eps) * float(g) + float(b)
        for v, g, b in zip(row, norm.gamma, norm.beta, strict=True)
    ]


def plain_linear(row: list[float], part: Linear) -> list[float]:
    return [
        sum(float(w) * v for w, v in zip(weights, row, strict=True)) + float(bias)
        for weights, bias in zip(part.weight, part.bias, strict=True)
    ]


def plain_attention(rows: list[list[float]], layer: LayerWeights, heads: int, visible: list[list[int]]) -> np.ndarray:
    q, k, v = ([plain_linear(row, part) for row in rows] for part in (layer.query, layer.key, layer.value))
    width = len(rows[0]) // heads
    context = np.zeros((len(rows), len(rows[0])))
    for head in range(heads):
        channels = range(head * width, (head + 1) * width)
        for i in range(len(rows)):
            score = {j: sum(q[i][c] * k[j][c] for c in channels) / math.sqrt(width) for j in visible[i]}
            total = sum(math.exp(s) for s in score.values())
            for c in channels:
                context[i, c] = sum(math.exp(s) / total * v[j][c] for j, s in score.items())
    return context


def plain_encoder(model: BertModel, ids: list[int], visible: list[list[int]]) -> np.ndarray:
    weights, eps = model.weights, model.config.eps
    rows = []
    for position, token in enumerate(ids):
        parts = (weights.word[token], weights.position[position], weights.token_type[0])
        rows.append(
            plain_norm(
                [float(a) + float(b) + float(c) for a, b, c in zip(*parts, strict=True)], weights.embedding_norm, eps
            )
        )
    for layer in weights.layers:
        context = plain_attention(rows, layer, model.config.heads, visible)
        for i, row in enumerate(rows):
            total = np.add(plain_linear(context[i].tolist(), layer.attention_output), row)
            middle = plain_norm(total.tolist(), layer.attention_norm, eps)
            inner = [x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in plain_linear(middle, layer.ffn1)]
            total = np.add(plain_linear(inner, layer.ffn2), middle)
            rows[i] = plain_norm(total.tolist(), layer.output_norm, eps)
    return np.array(rows)


def run(ids: list[int], **options: object) -> np.ndarray:
    x = embedding_sum(MODEL, [ids]).astype(np.float64)
    return encode(MODEL, x, **options)[0]  # type: ignore[arg-type]


def test_erf_to_the_last_digits() -> None:
    x = np.linspace(-8, 8, 20011)
    assert np.abs(erf(x) - [math.erf(v) for v in x]).max() < 1e-11


def test_every_token_sees_every_token() -> None:
    everyone = [list(range(6))] * 6
    assert np.allclose(run(IDS), plain_encoder(MODEL, IDS, everyone), atol=1e-5)


def test_causal_and_padded() -> None:
    earlier = [list(range(i + 1)) for i in range(6)]
    assert np.allclose(run(IDS, causal=True), plain_encoder(MODEL, IDS, earlier), atol=1e-5)
    first = [[0, 1, 2, 3]] * 6
    assert np.allclose(run(IDS, length=4), plain_encoder(MODEL, IDS, first), atol=1e-5)
    assert np.allclose(run(IDS, length=4)[:4], run(IDS[:4]), atol=1e-9), "padding changes nothing before it"


def test_observer_sees_consistent_tensors() -> None:
    seen: dict[str, np.ndarray] = {}
    out = encode(MODEL, embedding_sum(MODEL, [IDS]), observer=lambda name, tensor: seen.update({name: tensor}))
    names = ["query", "key", "value", "context", "attention.sum", "attention.norm"]
    names += ["gelu.in", "gelu.out", "output.sum", "output.norm"]
    assert set(seen) == {"embedding.sum", "embedding.norm"} | {f"{i}.{name}" for i in range(2) for name in names}
    assert np.array_equal(seen["1.output.norm"], out)
    assert seen["1.gelu.in"].shape == (1, 6, 40)
    layer = MODEL.weights.layers[1]
    assert np.allclose(seen["0.output.norm"] @ layer.query.weight.T + layer.query.bias, seen["1.query"], atol=1e-5)


def test_embeddings_do_not_depend_on_batching() -> None:
    sequences = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
    together = embed(MODEL, sequences)
    for row, ids in zip(together, sequences, strict=True):
        assert np.allclose(row, pool(run(ids)), atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert sorted(i for batch in by_length(sequences, 3) for i in batch) == [0, 1, 2, 3]
    assert max(len(batch) for batch in by_length(sequences, 3)) == 1


@pytest.mark.parametrize(
    ("ids", "message"),
    [([[]], "at least one token"), ([[50]], "from 0 to 49"), ([[-1]], "from 0"), ([[1] * 513], "at most 512 tokens")],
)
def test_bad_tokens(ids: list[list[int]], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        embedding_sum(MODEL, ids)
