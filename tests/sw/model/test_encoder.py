"""The integer encoder against the float one, and its invariances."""

import numpy as np
import pytest

from celosia.sw.model import (
    calibrate,
    embed,
    embed_golden,
    embedding_sum,
    encode,
    quantise,
    quantise_embedding,
    random_bert,
    run_golden,
)

MODEL = random_bert(layers=2, hidden=96, heads=4, ffn=192, seed=7, vocab=200)
QUANTISED = quantise(MODEL, calibrate(MODEL))
IDS = np.random.default_rng(9).integers(0, 200, (3, 12)).tolist()


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def inputs(ids: list[list[int]] = IDS) -> np.ndarray:
    return quantise_embedding(QUANTISED, embedding_sum(MODEL, ids))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [None, 7])
def test_integers_follow_the_float_model(causal: bool, length: int | None) -> None:
    exact = encode(MODEL, embedding_sum(MODEL, IDS), length, causal)
    found = run_golden(QUANTISED, inputs(), length, causal)
    assert found.dtype == np.int16
    assert cosine(found * QUANTISED.scale_out, exact).min() > 0.99


def test_every_tensor_follows_its_float_counterpart() -> None:
    exact: dict[str, np.ndarray] = {}
    found: dict[str, np.ndarray] = {}
    encode(MODEL, embedding_sum(MODEL, IDS), observer=lambda name, tensor: exact.update({name: tensor}))
    run_golden(QUANTISED, inputs(), observer=lambda name, tensor: found.update({name: tensor}))
    for i, layer in enumerate(QUANTISED.layers):
        scales = {
            f"{i}.query": layer.query.scale_out,
            f"{i}.key": layer.key.scale_out,
            f"{i}.value": layer.value.scale_out,
            f"{i}.context": layer.context_scale,
            f"{i}.attention.sum": layer.attention_norm.scale_in,
            f"{i}.output.sum": layer.output_norm.scale_in,
        }
        for name, scale in scales.items():
            error = found[name] * scale - exact[name]
            assert np.sqrt(np.mean(error**2)) < 0.06 * np.sqrt(np.mean(exact[name] ** 2)), name
        for name in (f"{i}.attention.norm", f"{i}.output.norm"):
            norm = layer.attention_norm if "attention" in name else layer.output_norm
            assert np.abs(found[name + "16"] * norm.scale16 - exact[name]).max() < 0.25, name
        real = (found[f"{i}.gelu.out"] - layer.gelu_zero) * layer.gelu_scale
        assert np.abs(real - exact[f"{i}.gelu.out"]).mean() < 0.03


def test_padding_changes_nothing_before_it() -> None:
    whole, short = inputs(), inputs([ids[:5] for ids in IDS])
    assert np.array_equal(run_golden(QUANTISED, whole, 5)[:, :5], run_golden(QUANTISED, short))


def test_causal_rows_do_not_see_later_tokens() -> None:
    changed = [[*ids[:8], 0, 0, 0, 0] for ids in IDS]
    first, second = (run_golden(QUANTISED, inputs(ids), causal=True) for ids in (IDS, changed))
    assert np.array_equal(first[:, :8], second[:, :8])
    assert not np.array_equal(first[:, 8:], second[:, 8:])


def test_a_batch_is_its_members() -> None:
    together = run_golden(QUANTISED, inputs())
    for row, x in zip(together, inputs(), strict=True):
        assert np.array_equal(run_golden(QUANTISED, x), row)


def test_embedding_rounds_half_up_and_saturates() -> None:
    s = QUANTISED.scale_in
    assert quantise_embedding(QUANTISED, np.array([0.5 * s, -0.5 * s, 1e9, -1e9])).tolist() == [1, 0, 32767, -32768]


def test_sentence_embeddings() -> None:
    sequences = [*IDS, [1, 2, 3], [4]]
    assert cosine(embed_golden(MODEL, QUANTISED, sequences), embed(MODEL, sequences)).min() > 0.99
