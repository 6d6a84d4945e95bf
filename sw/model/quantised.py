"""A quantised encoder: every integer that the accelerator needs, and the scales that the host needs.

Real value of a tensor q: `q * scale`. Field names follow docs/numerics.md.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
UInt16 = npt.NDArray[np.uint16]
UInt8 = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class QuantisedLinear:
    """`requant(x W^T, bias, mult, shift)`: `weight` int8 [out, in]; `bias` int32, `mult` u16, `shift` u6, each [out].

    `scale_out`: of the result. `zero_out`: the integer that stands for 0 in the result; it is part of `bias`.
    """

    weight: Int8
    bias: Int32
    mult: UInt16
    shift: UInt8
    scale_out: float
    zero_out: int = 0


@dataclass(frozen=True, kw_only=True)
class QuantisedNorm:
    """LayerNorm of rows of `n` channels with its two affine outputs.

    `gamma8`, `gamma16` int16 [n], `beta8`, `beta16` int32 [n], `shift8`, `shift16`: int8 output for the next matmul
    (smoothing included) and int16 output for the residual. `inv`, `inv_shift`: reciprocal of n; `nmant`, `nshift`: n;
    `eps`: in units of n^2 times the variance. `scale_in`: of the int16 input, which is also that of the residual added
    to it; `scale8` (before smoothing is undone), `scale16`: of the outputs.
    """

    n: int
    inv: int
    inv_shift: int
    nmant: int
    nshift: int
    eps: int
    gamma8: Int16
    beta8: Int32
    shift8: int
    gamma16: Int16
    beta16: Int32
    shift16: int
    scale_in: float
    scale8: float
    scale16: float


@dataclass(frozen=True, kw_only=True)
class QuantisedLayer:
    """One encoder layer in the order of its data flow.

    `score`: (mult, shift) from a score difference to an exponent with 8 fraction bits. `context`: (cmult, cshift) of
    the row factor. `gelu_table`: int8 [2^table_bits] by unsigned bit pattern; `gelu_constants`: of the I-BERT kernel;
    the one that the encoder's `gelu` does not need is empty. `attention_output` and `ffn2` requantise
    to the scale of the residual (16 bits), the others to int8 (`ffn1`: to table_bits bits).
    """

    query: QuantisedLinear
    key: QuantisedLinear
    value: QuantisedLinear
    score: tuple[int, int]
    context: tuple[int, int]
    context_scale: float
    attention_output: QuantisedLinear
    attention_norm: QuantisedNorm
    ffn1: QuantisedLinear
    gelu_table: Int8
    gelu_constants: dict[str, int]
    gelu_scale: float
    gelu_zero: int
    ffn2: QuantisedLinear
    output_norm: QuantisedNorm


@dataclass(frozen=True, kw_only=True)
class QuantisedEncoder:
    """The whole encoder, for the kernels `softmax` and `gelu` (`post.softmax` and `post.gelu` of a configuration).

    The host makes the int16 embedding sum at `embedding_norm.scale_in`, and reads `scale_out`.
    """

    name: str
    hidden: int
    heads: int
    ffn: int
    table_bits: int
    softmax: str
    gelu: str
    embedding_norm: QuantisedNorm
    layers: tuple[QuantisedLayer, ...]

    @property
    def scale_in(self) -> float:
        """Scale of the int16 embedding sum."""
        return self.embedding_norm.scale_in

    @property
    def scale_out(self) -> float:
        """Scale of the int16 output of the last layer."""
        return (self.layers[-1].output_norm if self.layers else self.embedding_norm).scale16
