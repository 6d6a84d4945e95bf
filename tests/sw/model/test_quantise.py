"""Quantised models: formats, scales, and the equations between them."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celosia.sw.golden import gelu
from celosia.sw.model import ModelError, QuantiseOptions, calibrate, calibration_ids, quantise, random_bert
from celosia.sw.model.bert import Linear
from celosia.sw.model.quantise import affine_parameters, linear
from celosia.sw.model.quantised import QuantisedLinear
from celosia.sw.model.sentences import SENTENCES

MODEL = random_bert(layers=2, hidden=32, heads=4, ffn=48, seed=5, vocab=64)
RANGES = calibrate(MODEL)
QUANTISED = quantise(MODEL, RANGES)


def matrices(layer: object) -> dict[str, QuantisedLinear]:
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}  # type: ignore[arg-type]
    return {name: value for name, value in fields.items() if isinstance(value, QuantisedLinear)}


def test_calibration_is_the_extreme_of_what_was_seen() -> None:
    ids = calibration_ids(MODEL)
    one = calibrate(MODEL, ids[:1])
    for name, seen in RANGES.items():
        assert np.all(seen.low <= one[name].low + 1e-6)
        assert np.all(seen.high >= one[name].high - 1e-6)
        assert seen.max_abs == max(seen.max, -seen.min)
    with pytest.raises(ModelError, match="at least one sentence"):
        calibrate(MODEL, [])
    with pytest.raises(ModelError, match="no tokenizer"):
        calibration_ids(MODEL, ["text"])


def test_built_in_sentences() -> None:
    assert len(SENTENCES) >= 128
    assert len(set(SENTENCES)) == len(SENTENCES)


def test_formats() -> None:
    for layer in QUANTISED.layers:
        parts = matrices(layer)
        assert set(parts) == {"query", "key", "value", "attention_output", "ffn1", "ffn2"}
        for part in parts.values():
            assert part.weight.dtype == np.int8
            assert part.weight.min() >= -127
            assert part.bias.dtype == np.int32
            assert part.mult.dtype == np.uint16
            assert part.mult.min() >= 1 << 15
            assert part.shift.max() <= 63
        assert layer.gelu_table.dtype == np.int8
        assert layer.gelu_table.shape == (256,)
        for norm in (layer.attention_norm, layer.output_norm, QUANTISED.embedding_norm):
            assert norm.gamma8.dtype == norm.gamma16.dtype == np.int16
            assert norm.beta8.dtype == norm.beta16.dtype == np.int32
            assert norm.n == 32


def test_scales_of_the_residual_stream_meet_and_have_headroom() -> None:
    norms = [QUANTISED.embedding_norm]
    names = ["embedding.norm"]
    for i, layer in enumerate(QUANTISED.layers):
        norms += [layer.attention_norm, layer.output_norm]
        names += [f"{i}.attention.norm", f"{i}.output.norm"]
        assert layer.attention_output.scale_out == layer.attention_norm.scale_in
        assert layer.ffn2.scale_out == layer.output_norm.scale_in
    for before, after in itertools.pairwise(norms):
        assert before.scale16 == after.scale_in
    sums = ["0.attention.sum", "0.output.sum", "1.attention.sum", "1.output.sum"]
    for norm, name, total in zip(norms, names, [*sums, names[-1]], strict=True):
        largest = max(RANGES[name].max_abs, RANGES[total].max_abs)
        assert norm.scale16 * 32767 == pytest.approx(2 * largest)


def test_exponent_and_context_factors() -> None:
    layer = QUANTISED.layers[0]
    mult, shift = layer.score
    real = layer.query.scale_out * layer.key.scale_out / math.sqrt(8) * math.log2(math.e) * 256
    assert mult * 2.0**-shift == pytest.approx(real, rel=2**-15)
    mult, shift = layer.context
    assert mult * 2.0**-shift == pytest.approx(layer.value.scale_out / layer.context_scale, rel=2**-15)


def test_smoothing_leaves_the_product_unchanged() -> None:
    rough = quantise(MODEL, RANGES, QuantiseOptions(smoothing=None))
    norm, plain = QUANTISED.embedding_norm, rough.embedding_norm
    smooth = (plain.gamma8 * 2.0**-plain.shift8 * plain.scale8) / (norm.gamma8 * 2.0**-norm.shift8 * norm.scale8)
    for name in ("query", "key", "value"):
        part, other = matrices(QUANTISED.layers[0])[name], matrices(rough.layers[0])[name]
        step = part.mult * 2.0 ** -part.shift.astype(float) * part.scale_out / norm.scale8
        exact = getattr(MODEL.weights.layers[0], name).weight
        assert np.abs(part.weight * step[:, None] / smooth - exact).max() < 0.01 * np.abs(exact).max() + step.max()
        assert not np.array_equal(part.weight, other.weight)
    assert np.array_equal(norm.gamma16, plain.gamma16), "the residual is not smoothed"


@pytest.mark.parametrize("options", [QuantiseOptions(), QuantiseOptions(table_bits=10, gelu_floor=None)])
def test_gelu_table_inverts_its_zero_points(options: QuantiseOptions) -> None:
    encoder = quantise(MODEL, RANGES, options)
    for index, layer in enumerate(encoder.layers):
        half = 1 << (options.table_bits - 1)
        q = np.arange(-half, half)
        real = (q - layer.ffn1.zero_out) * layer.ffn1.scale_out
        assert real.max() >= RANGES[f"{index}.gelu.in"].max * 0.99
        out = (layer.gelu_table[q & (2 * half - 1)].astype(int) - layer.gelu_zero) * layer.gelu_scale
        exact = np.array([gelu(x) for x in real])
        inside = real <= RANGES[f"{index}.gelu.in"].max
        assert np.abs(out - exact)[inside].max() <= 0.51 * layer.gelu_scale + 1e-9


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(-128, 127), st.integers(-300, 300))
def test_linear_is_the_float_product_within_its_steps(seed: int, zero_in: int, zero_out: int) -> None:
    rng = np.random.default_rng(seed)
    part = Linear(weight=rng.normal(0, 0.05, (6, 20)), bias=rng.normal(0, 0.3, 6))
    s_in, s_out = 0.02, 0.01
    q = linear(part, s_in, s_out, zero_in=zero_in, zero_out=zero_out)
    x = rng.integers(-128, 128, (5, 20))
    acc = x @ q.weight.T.astype(np.int64) + q.bias
    found = acc * q.mult.astype(float) * 2.0 ** -q.shift.astype(float)
    exact = ((x - zero_in) * s_in @ part.weight.T + part.bias) / s_out + zero_out
    step = np.abs(part.weight).max(axis=1) / 127
    slack = np.abs(x - zero_in).sum(axis=1)[:, None] * s_in * step / 2 / s_out + 2**-15 * np.abs(exact) + step
    assert np.all(np.abs(found - exact) <= slack)


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    part = Linear(weight=np.zeros((3, 4)), bias=np.array([0.0, 1.0, -1e-3]))
    q = linear(part, 0.02, 1e-3)
    found = q.bias * q.mult.astype(float) * 2.0 ** -q.shift.astype(float) * 1e-3
    assert found == pytest.approx(part.bias, abs=1e-6)


def test_affine_parameters_use_the_largest_shift_that_fits() -> None:
    gamma, beta = np.array([120.0, -7.0]), np.array([3.0, -90.0])
    g, b, shift = affine_parameters(gamma, beta)
    assert np.abs(g).max() > 1 << 14
    assert g * 2.0**-shift * 1024 == pytest.approx(gamma, rel=0.01)
    assert b * 2.0**-shift == pytest.approx(beta, rel=1e-3)
    _, b, shift = affine_parameters(np.array([1e-6]), np.array([1000.0]))
    assert abs(int(b[0])) < 1 << 31
    with pytest.raises(ModelError, match="does not fit 16 bits"):
        affine_parameters(np.array([1e9]), np.array([0.0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table_bits": 7}, "table_bits must be from 8 to 12, not 7"),
        ({"gelu_floor": 1.0}, "gelu_floor must be negative"),
        ({"smoothing": 2.0}, "smoothing must be from 0 to 1"),
        ({"headroom": 0.5}, "headroom must be at least 1"),
    ],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        QuantiseOptions(**options)  # type: ignore[arg-type]
