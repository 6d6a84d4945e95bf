"""From a quantised encoder to steps: the operations of each layer on tiles, in an order that keeps the array busy.

Work on one block of rows never waits for POST where it can be helped: attention runs some units ahead of its softmax,
the two halves of the FFN take turns column by column, and the LayerNorm of one block stands between the matmuls of the
next. Which blocks, and what is fused, is the `Mapping`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from celosia.hw.isa import Activation
from celosia.sw.compiler.attention import AttentionLowering
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.codec import pack_constants
from celosia.sw.compiler.linear import Block, Linear, LinearLowering, Target, load_table, padded_linear
from celosia.sw.compiler.mapping import Blocking, Mapping
from celosia.sw.compiler.norm import NormLowering, SumLowering
from celosia.sw.compiler.pruned import PrunedLowering
from celosia.sw.compiler.pruning import LayerPruning
from celosia.sw.compiler.tensors import Tensor, spans
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer, QuantisedLinear, QuantisedNorm


@dataclass(frozen=True)
class Stream:
    """The two outputs of a LayerNorm: int8 for the next matmul, int16 for the next residual add."""

    narrow: Tensor
    wide: Tensor


class Heads(NamedTuple):
    """Operands and result of attention."""

    query: Tensor
    key: Tensor
    value: Tensor
    context: Tensor


@dataclass(frozen=True)
class Sums:
    """A linear part whose results are added to `residual`, and the LayerNorm behind it."""

    name: str
    norm: QuantisedNorm
    linear: Linear
    residual: Tensor
    out: Stream


@dataclass(frozen=True)
class EncoderLowering:
    """Steps of an encoder for `builder.tiling.tokens` rows, of which the first `length` are attended to.

    `pruning`: of each layer's attention; none: it is dense.
    """

    builder: Builder
    encoder: QuantisedEncoder
    mapping: Mapping
    length: int
    causal: bool
    pruning: Sequence[LayerPruning] = ()

    def build(self) -> tuple[Tensor, Tensor]:
        """All steps; the input tensor (int16 embedding sums) and the output tensor (int16)."""
        source = self.builder.residual_tensor("input")
        stream = self._stream("embedding.x")
        self._norm("embedding", self.encoder.embedding_norm, None, source, stream).alone(self.mapping.norm)
        for index, layer in enumerate(self.encoder.layers):
            stream = self._layer(index, layer, stream)
        self.builder.flush()
        return source, stream.wide

    def _layer(self, index: int, layer: QuantisedLayer, stream: Stream) -> Stream:
        b, name = self.builder, f"layer{index}"
        context = b.heads_tensor(f"{name}.context", operand=False)
        query, key, value = self._projections(name, layer, stream.narrow)
        pruning = self.pruning[index] if self.pruning else None
        self._attention(name, layer, Heads(query, key, value, context), pruning).build()
        linear = self._linear(f"{name}.attention_output", layer.attention_output, heads_in=True)
        middle = self._stream(f"{name}.mid")
        sums = Sums(f"{name}.attention_norm", layer.attention_norm, linear, stream.wide, middle)
        self._to_norm(context, sums, self.mapping.attention_output)
        return self._feed_forward(name, layer, middle)

    def _attention(
        self, name: str, layer: QuantisedLayer, heads: Heads, pruning: LayerPruning | None = None
    ) -> AttentionLowering:
        parts = (self.builder, name, layer, self.length, self.causal, *heads, self.mapping.attention)
        return AttentionLowering(*parts) if pruning is None else PrunedLowering(*parts, pruning=pruning)

    def _stream(self, name: str) -> Stream:
        b = self.builder
        return Stream(b.int8_tensor(f"{name}8", b.tiling.hidden), b.residual_tensor(f"{name}16"))

    def _linear(self, key: str, part: QuantisedLinear, **heads: bool) -> Linear:
        return padded_linear(self.builder.tiling, key, part, **heads)

    def _norm(
        self, name: str, norm: QuantisedNorm, linear: Linear | None, residual: Tensor, out: Stream
    ) -> NormLowering:
        return NormLowering(self.builder, name, norm, linear, residual, out.narrow, out.wide)

    def _projections(self, name: str, layer: QuantisedLayer, x: Tensor) -> list[Tensor]:
        """Q, K and V."""
        b, blocking = self.builder, self.mapping.projection
        parts = [("query", layer.query, False), ("key", layer.key, True), ("value", layer.value, True)]
        tensors = [b.heads_tensor(f"{name}.{part}", operand) for part, _, operand in parts]
        linears = [self._linear(f"{name}.{part}", data, heads_out=True) for part, data, _ in parts]
        lowerings = [LinearLowering(b, linear, x, blocking.resident) for linear in linears]
        for rows in b.tiling.blocks(blocking.rows):
            for lowering, tensor in zip(lowerings, tensors, strict=True):
                for first, outputs in spans(tensor.channels, blocking.outputs):
                    lowering.requantise(rows, first, outputs, Target(tensor))
        return tensors

    def _to_norm(self, x: Tensor, sums: Sums, blocking: Blocking) -> None:
        """A linear part on `x`, residual add and LayerNorm, fused or one after the other."""
        b, t = self.builder, self.builder.tiling
        lowering = LinearLowering(b, sums.linear, x, blocking.resident, records=False)
        if blocking.outputs >= t.hidden:
            norm = self._norm(sums.name, sums.norm, sums.linear, sums.residual, sums.out)
            for rows in t.blocks(blocking.rows):
                lowering.block(rows, 0, t.hidden, t.channels, norm.complete)
                norm.normalise()
            return
        between = b.residual_tensor(f"{sums.name}.sum")
        add = SumLowering(b, f"{sums.name}.sum", sums.linear, sums.residual, between)
        for rows in t.blocks(blocking.rows):
            for first, outputs in spans(t.hidden, blocking.outputs):
                lowering.block(rows, first, outputs, t.channels, add.complete)
        self._norm(sums.name, sums.norm, None, between, sums.out).alone(self.mapping.norm)

    def _feed_forward(self, name: str, layer: QuantisedLayer, stream: Stream) -> Stream:
        b, out = self.builder, self._stream(f"{name}.out")
        first, second = self._linear(f"{name}.ffn1", layer.ffn1), self._linear(f"{name}.ffn2", layer.ffn2)
        inner = b.int8_tensor(f"{name}.inner", b.tiling.ffn)
        target = Target(inner, Activation.TABLE, pack_constants(layer.gelu_constants))
        sums = Sums(f"{name}.output_norm", layer.output_norm, second, stream.wide, out)
        if self.encoder.gelu == "table":
            load_table(b, f"{name}.table", layer.gelu_table)
        blocking = self.mapping.ffn1
        if blocking is None:
            self._interleaved(LinearLowering(b, first, stream.narrow), target, sums)
            return out
        lowering = LinearLowering(b, first, stream.narrow, blocking.resident)
        for rows in b.tiling.blocks(blocking.rows):
            for n0, outputs in spans(inner.channels, blocking.outputs):
                lowering.requantise(rows, n0, outputs, target)
        self._to_norm(inner, sums, self.mapping.ffn2)
        return out

    def _interleaved(self, first: LinearLowering, target: Target, sums: Sums) -> None:
        """Both halves of the FFN, fused with LayerNorm: the second follows the first by one tile column."""
        b, inner = self.builder, target.out
        second = LinearLowering(b, sums.linear, inner, records=False)
        norm = self._norm(sums.name, sums.norm, sums.linear, sums.residual, sums.out)
        for rows in b.tiling.blocks(self.mapping.ffn2.rows):
            block = Block(second, rows, 0, b.tiling.hidden, b.tiling.channels, norm.complete)
            for column in range(inner.columns + 1):
                if column < inner.columns:
                    first.requantise(rows, column * inner.tile_channels, inner.width(column), target)
                if column:
                    block.add(column - 1)
            norm.normalise()
