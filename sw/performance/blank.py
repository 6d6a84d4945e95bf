"""Quantised parts of zeros: cycles and traffic depend on shapes alone, no weights are needed to predict them."""

import numpy as np

from celosia.hw.config import Config
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer, QuantisedLinear, QuantisedNorm


def blank_linear(inputs: int, outputs: int) -> QuantisedLinear:
    """A linear part of zeros, `outputs` x `inputs`."""
    return QuantisedLinear(
        weight=np.zeros((outputs, inputs), np.int8),
        bias=np.zeros(outputs, np.int32),
        mult=np.zeros(outputs, np.uint16),
        shift=np.zeros(outputs, np.uint8),
        scale_out=1.0,
    )


def blank_norm(channels: int) -> QuantisedNorm:
    """A LayerNorm of `channels` channels whose outputs are zero; its constants are legal ones."""
    narrow, wide = np.zeros(channels, np.int16), np.zeros(channels, np.int32)
    return QuantisedNorm(
        n=channels, inv=0, inv_shift=0, nmant=0, nshift=0, eps=1, gamma8=narrow, beta8=wide, shift8=0, gamma16=narrow,
        beta16=wide, shift16=0, scale_in=1.0, scale8=1.0, scale16=1.0,
    )  # fmt: skip


def blank_layer(config: Config, hidden: int, ffn: int) -> QuantisedLayer:
    """An encoder layer of zeros for the kernels of `config`."""
    square = blank_linear(hidden, hidden)
    return QuantisedLayer(
        query=square,
        key=square,
        value=square,
        score=(0, 0),
        context=(0, 0),
        context_scale=1.0,
        attention_output=square,
        attention_norm=blank_norm(hidden),
        ffn1=blank_linear(hidden, ffn),
        gelu_table=np.zeros(1 << config.post.table_bits, np.int8),
        gelu_constants={},
        gelu_scale=1.0,
        gelu_zero=0,
        ffn2=blank_linear(ffn, hidden),
        output_norm=blank_norm(hidden),
    )


def blank_encoder(config: Config, layers: int, hidden: int, heads: int, ffn: int) -> QuantisedEncoder:
    """An encoder of zeros for the kernels of `config`."""
    return QuantisedEncoder(
        name="blank",
        hidden=hidden,
        heads=heads,
        ffn=ffn,
        table_bits=config.post.table_bits,
        softmax=config.post.softmax,
        gelu=config.post.gelu,
        embedding_norm=blank_norm(hidden),
        layers=(blank_layer(config, hidden, ffn),) * layers,
    )
