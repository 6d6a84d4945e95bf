"""Quantisation of a BERT encoder to the formats of docs/numerics.md."""

import math
from dataclasses import dataclass

import numpy as np

from celosia.hw.config import GELU_KERNELS, SOFTMAX_KERNELS
from celosia.hw.numerics import ACC_BITS, EXP_FRACTION, NORM_FRACTION
from celosia.hw.post.kernels.ibert import gelu_constants
from celosia.sw.golden.gelu import build_table, gelu
from celosia.sw.golden.layernorm import eps_constant, mean_constants
from celosia.sw.golden.rounding import MAX_SHIFT, nscale, scale
from celosia.sw.model.bert import BertModel, FloatArray, LayerWeights, Linear, Norm
from celosia.sw.model.calibrate import Calibration, calibrate
from celosia.sw.model.errors import ModelError
from celosia.sw.model.quantised import (
    Int8,
    Int16,
    Int32,
    QuantisedEncoder,
    QuantisedLayer,
    QuantisedLinear,
    QuantisedNorm,
)

_INT8, _INT16 = 127, 32767


@dataclass(frozen=True, kw_only=True)
class QuantiseOptions:
    """How to quantise.

    `table_bits`, `softmax`, `gelu`: the accelerator's `post.table_bits`, `post.softmax`, `post.gelu`.
    `gelu_floor`: inputs of GELU below it are clipped (its value there is 0 to within 0.004), so that the table covers
    [gelu_floor, max] and no more; None covers [-max, max]. `smoothing`: SmoothQuant's alpha; None smooths nothing.
    `headroom`: of the residual stream over calibration.
    """

    table_bits: int = 8
    softmax: str = "base2"
    gelu: str = "table"
    gelu_floor: float | None = -3.0
    smoothing: float | None = 0.5
    headroom: float = 2.0

    def __post_init__(self) -> None:
        if not 8 <= self.table_bits <= 12:
            raise ModelError(f"table_bits must be from 8 to 12, not {self.table_bits!r}")
        if self.softmax not in SOFTMAX_KERNELS or self.gelu not in GELU_KERNELS:
            raise ModelError(f"there are no kernels {self.softmax!r} for softmax and {self.gelu!r} for GELU")
        if self.gelu_floor is not None and not self.gelu_floor < 0:
            raise ModelError(f"gelu_floor must be negative, not {self.gelu_floor!r}")
        if self.smoothing is not None and not 0 <= self.smoothing <= 1:
            raise ModelError(f"smoothing must be from 0 to 1, not {self.smoothing!r}")
        if not self.headroom >= 1:
            raise ModelError(f"headroom must be at least 1, not {self.headroom!r}")


def quantise(
    model: BertModel, calibration: Calibration | None = None, options: QuantiseOptions | None = None
) -> QuantisedEncoder:
    """The quantised encoder of `model`. `calibration`: ranges of its tensors; by default over the built-in sentences.

    Errors: ModelError when a tensor cannot be represented.
    """
    try:
        return _Quantiser(model, calibration or calibrate(model), options or QuantiseOptions()).encoder()
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, ModelError) else ModelError(f"model {model.name}: {error}") from None


class _Quantiser:
    """The steps of one quantisation, and the ranges and options that they share."""

    def __init__(self, model: BertModel, ranges: Calibration, options: QuantiseOptions) -> None:
        self.model, self.ranges, self.options = model, ranges, options

    def symmetric(self, name: str) -> float:
        """int8 scale of a tensor: the largest magnitude seen is 127."""
        return max(self.ranges[name].max_abs, 1e-6) / _INT8

    def residual_scale(self, *names: str) -> float:
        """int16 scale that tensors share, with headroom over what was seen."""
        return max(1e-6, *(self.ranges[name].max_abs for name in names)) * self.options.headroom / _INT16

    def encoder(self) -> QuantisedEncoder:
        weights, config, options = self.model.weights, self.model.config, self.options
        norm = self.norm(
            weights.embedding_norm,
            "embedding.norm",
            self.residual_scale("embedding.sum"),
            self.residual_scale("embedding.norm", *(["0.attention.sum"] if weights.layers else [])),
            self.attention_smoothing("embedding.norm", 0),
        )
        layers: list[QuantisedLayer] = []
        for index in range(config.layers):
            source = layers[-1].output_norm if layers else norm
            before = f"{index - 1}.output.norm" if index else "embedding.norm"
            layers.append(self.layer(index, source, self.attention_smoothing(before, index)))
        return QuantisedEncoder(
            name=self.model.name,
            hidden=config.hidden,
            heads=config.heads,
            ffn=config.ffn,
            table_bits=options.table_bits,
            softmax=options.softmax,
            gelu=options.gelu,
            embedding_norm=norm,
            layers=tuple(layers),
        )

    def layer(self, index: int, source: QuantisedNorm, smooth: FloatArray) -> QuantisedLayer:
        """Layer `index`, fed by the LayerNorm `source`, whose int8 output was divided by `smooth`."""
        weights = self.model.weights.layers[index]
        q, k, v, c = (self.symmetric(f"{index}.{name}") for name in ("query", "key", "value", "context"))
        inner_smooth = self.smoothing(f"{index}.attention.norm", [weights.ffn1])
        after_attention = self.residual_scale(f"{index}.attention.norm", f"{index}.output.sum")
        ffn1, gelu_in, gelu_zero_in = self.ffn1(index, weights, inner_smooth)
        gelu_out, gelu_zero = self.gelu_output(f"{index}.gelu.out")
        table, constants = self.gelu(gelu_in, gelu_zero_in, gelu_out, gelu_zero)
        attention_norm = self.norm(
            weights.attention_norm, f"{index}.attention.norm", source.scale16, after_attention, inner_smooth
        )
        return QuantisedLayer(
            query=linear(weights.query, source.scale8, q, smooth=smooth),
            key=linear(weights.key, source.scale8, k, smooth=smooth),
            value=linear(weights.value, source.scale8, v, smooth=smooth),
            score=scale(q * k * math.log2(math.e) / math.sqrt(self.model.config.head_width) * (1 << EXP_FRACTION)),
            context=scale(v / c),
            context_scale=c,
            attention_output=linear(weights.attention_output, c, source.scale16),
            attention_norm=attention_norm,
            ffn1=ffn1,
            gelu_table=table,
            gelu_constants=constants,
            gelu_scale=gelu_out,
            gelu_zero=gelu_zero,
            ffn2=linear(weights.ffn2, gelu_out, after_attention, zero_in=gelu_zero),
            output_norm=self.output_norm(index, weights, after_attention),
        )

    def output_norm(self, index: int, weights: LayerWeights, scale_in: float) -> QuantisedNorm:
        """The LayerNorm that ends layer `index`; what follows it decides its smoothing and its int16 scale."""
        name, last = f"{index}.output.norm", index + 1 == self.model.config.layers
        following = [] if last else [f"{index + 1}.attention.sum"]
        smooth = self.attention_smoothing(name, index + 1)
        return self.norm(weights.output_norm, name, scale_in, self.residual_scale(name, *following), smooth)

    def ffn1(self, index: int, weights: LayerWeights, smooth: FloatArray) -> tuple[QuantisedLinear, float, int]:
        """FFN1 requantised to the index of the GELU table, with the index's scale and zero point."""
        seen, steps = self.ranges[f"{index}.gelu.in"], 1 << self.options.table_bits
        high = max(seen.max, 1e-3)
        if self.options.gelu == "ibert":  # a polynomial of the magnitude: no zero point; its tail below -max is 0
            step, zero = high / (steps // 2 - 1), 0
        elif self.options.gelu_floor is None:
            step, zero = max(high, -seen.min) / (steps // 2 - 1), 0
        else:
            low = min(max(seen.min, self.options.gelu_floor), 0.0)
            step = (high - low) / (steps - 1)
            zero = -(steps // 2) - math.floor(low / step + 0.5)
        scale8 = self.smoothed_scale(f"{index}.attention.norm", smooth)
        return linear(weights.ffn1, scale8, step, smooth=smooth, zero_out=zero), step, zero

    def gelu(self, s_in: float, zero_in: int, s_out: float, zero: int) -> tuple[Int8, dict[str, int]]:
        """Table or constants of GELU, as the kernel wants."""
        bits = self.options.table_bits
        if self.options.gelu == "table":
            return build_table(gelu, s_in, s_out, zero, bits, zero_in).astype(np.int8), {}
        return np.zeros(0, np.int8), gelu_constants(s_in, s_out, zero, bits)

    def gelu_output(self, name: str) -> tuple[float, int]:
        """Scale and zero point that spread the range of GELU's output over int8."""
        seen = self.ranges[name]
        low, high = min(seen.min, 0.0), max(seen.max, 1e-3)
        step = (high - low) / 255
        return step, -128 - math.floor(low / step + 0.5)

    def norm(self, norm: Norm, name: str, scale_in: float, scale16: float, smooth: FloatArray) -> QuantisedNorm:
        """LayerNorm `name` at the given int16 scales; its int8 output is divided by `smooth` per channel."""
        n = self.model.config.hidden
        scale8 = self.smoothed_scale(name, smooth)
        gamma8, beta8, shift8 = affine_parameters(norm.gamma / smooth / scale8, norm.beta / smooth / scale8)
        gamma16, beta16, shift16 = affine_parameters(norm.gamma / scale16, norm.beta / scale16)
        (inv, inv_shift), (nmant, nshift) = mean_constants(n), nscale(n)
        return QuantisedNorm(
            n=n,
            inv=inv,
            inv_shift=inv_shift,
            nmant=nmant,
            nshift=nshift,
            eps=eps_constant(self.model.config.eps, n, scale_in),
            gamma8=gamma8,
            beta8=beta8,
            shift8=shift8,
            gamma16=gamma16,
            beta16=beta16,
            shift16=shift16,
            scale_in=scale_in,
            scale8=scale8,
            scale16=scale16,
        )

    def smoothed_scale(self, name: str, smooth: FloatArray) -> float:
        """int8 scale of a LayerNorm's output once its channels are divided by `smooth`."""
        return max(float((self.ranges[name].channel_max / smooth).max()), 1e-6) / _INT8

    def attention_smoothing(self, name: str, index: int) -> FloatArray:
        """Smoothing of the input of layer `index`: one for Q, K and V; none after the last layer."""
        if index == self.model.config.layers:
            return np.ones(self.model.config.hidden)
        layer = self.model.weights.layers[index]
        return self.smoothing(name, [layer.query, layer.key, layer.value])

    def smoothing(self, name: str, users: list[Linear]) -> FloatArray:
        """SmoothQuant: `max|X_j|^alpha / max|W_j|^(1 - alpha)` for each channel j of tensor `name` and its users."""
        alpha = self.options.smoothing
        if alpha is None:
            return np.ones(self.model.config.hidden)
        activation = np.maximum(self.ranges[name].channel_max.astype(np.float64), 1e-5)
        weight = np.maximum(np.max([np.abs(part.weight).max(axis=0) for part in users], axis=0), 1e-5)
        return np.maximum(activation**alpha / weight.astype(np.float64) ** (1 - alpha), 1e-5)  # type: ignore[no-any-return]


def linear(
    part: Linear,
    scale_in: float,
    scale_out: float,
    smooth: FloatArray | None = None,
    zero_in: int = 0,
    zero_out: int = 0,
) -> QuantisedLinear:
    """`part` with int8 weights, one scale per output channel.

    `scale_in`, `zero_in`: of the input (`smooth`: its channels were divided by it); `scale_out`, `zero_out`: of the
    result. Errors: ModelError when a bias does not fit int32.
    """
    weight = part.weight.astype(np.float64) * (1.0 if smooth is None else smooth)
    bias = part.bias.astype(np.float64)
    # The second term widens the scale of a channel so small that its bias would not fit in 2^30 steps.
    steps = np.maximum(np.abs(weight).max(axis=1) / _INT8, (np.abs(bias) + scale_out) / scale_in / (1 << 30))
    integers = np.clip(np.floor(weight / steps[:, None] + 0.5), -_INT8, _INT8).astype(np.int8)
    product = scale_in * steps
    total = np.floor((bias + zero_out * scale_out) / product + 0.5) - zero_in * integers.sum(axis=1, dtype=np.int64)
    if np.abs(total).max() >= 1 << (ACC_BITS - 1):
        raise ModelError(f"a bias of {np.abs(total).max():.0f} steps does not fit int{ACC_BITS}")
    pairs = [scale(float(ratio)) for ratio in product / scale_out]
    return QuantisedLinear(
        weight=integers,
        bias=total.astype(np.int32),
        mult=np.array([mult for mult, _ in pairs], dtype=np.uint16),
        shift=np.array([shift for _, shift in pairs], dtype=np.uint8),
        scale_out=scale_out,
        zero_out=zero_out,
    )


def affine_parameters(gamma: FloatArray, beta: FloatArray) -> tuple[Int16, Int32, int]:
    """`(gamma, beta, shift)` in integers, for gains and offsets in output steps; the shift is the largest that fits.

    Errors: ModelError when no shift fits.
    """
    gain, offset = gamma.astype(np.float64) / (1 << NORM_FRACTION), beta.astype(np.float64)
    for shift in range(MAX_SHIFT, -1, -1):
        g, b = np.floor(gain * 2.0**shift + 0.5), np.floor(offset * 2.0**shift + 0.5)
        if np.abs(g).max() <= _INT16 and np.abs(b).max() < 1 << (ACC_BITS - 1):
            return g.astype(np.int16), b.astype(np.int32), shift
    raise ModelError(f"a LayerNorm gain of {np.abs(gain).max():.3g} steps does not fit 16 bits")
