"""From a quantised encoder to steps: the operations of each layer on tiles, in an order that keeps the array busy.

Work on one block of rows never waits for POST where it can be helped: attention runs some units ahead of its softmax,
the two halves of the FFN are interleaved chunk by chunk, and the LayerNorm of one block stands between the matmuls of
the next.
"""

from dataclasses import dataclass

from celosia.hw.isa import Activation
from celosia.sw.compiler.attention import AttentionLowering
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.codec import pack_constants
from celosia.sw.compiler.linear import Linear, LinearLowering, padded_linear
from celosia.sw.compiler.norm import NormLowering
from celosia.sw.compiler.tensors import Tensor
from celosia.sw.model.quantised import QuantisedEncoder, QuantisedLayer, QuantisedLinear


@dataclass(frozen=True)
class Stream:
    """The two outputs of a LayerNorm: int8 for the next matmul, int16 for the next residual add."""

    narrow: Tensor
    wide: Tensor


@dataclass(frozen=True)
class EncoderLowering:
    """Steps of an encoder for `builder.tiling.tokens` rows, of which the first `length` are attended to."""

    builder: Builder
    encoder: QuantisedEncoder
    length: int
    causal: bool

    def build(self) -> tuple[Tensor, Tensor]:
        """All steps; the input tensor (int16 embedding sums) and the output tensor (int16)."""
        source = self.builder.residual_tensor("input")
        stream = self._embed(source)
        for index, layer in enumerate(self.encoder.layers):
            stream = self._layer(f"layer{index}", layer, stream)
        self.builder.flush()
        return source, stream.wide

    def _stream(self, name: str) -> Stream:
        b = self.builder
        return Stream(b.int8_tensor(f"{name}8", b.tiling.hidden), b.residual_tensor(f"{name}16"))

    def _embed(self, source: Tensor) -> Stream:
        """LayerNorm of the embedding sums."""
        b, out = self.builder, self._stream("embedding.x")
        norm = NormLowering(b, "embedding", self.encoder.embedding_norm, None, source, out.narrow, out.wide)
        for block in range(len(b.blocks)):
            norm.block(block, b.acc(source.height(block), b.tiling.hidden, "embedding"))
        return out

    def _layer(self, name: str, layer: QuantisedLayer, stream: Stream) -> Stream:
        context = self.builder.heads_tensor(f"{name}.context", operand=False)
        query, key, value = self._projections(name, layer, stream.narrow)
        AttentionLowering(self.builder, name, layer, self.length, self.causal, query, key, value, context).build()
        return self._feed_forward(name, layer, self._attention_output(name, layer, context, stream))

    def _linear(self, key: str, part: QuantisedLinear, **heads: bool) -> Linear:
        return padded_linear(self.builder.tiling, key, part, **heads)

    def _projections(self, name: str, layer: QuantisedLayer, x: Tensor) -> list[Tensor]:
        """Q, K and V."""
        b, lowering = self.builder, LinearLowering(self.builder)
        parts = [("query", layer.query, False), ("key", layer.key, True), ("value", layer.value, True)]
        tensors = [b.heads_tensor(f"{name}.{part}", operand) for part, _, operand in parts]
        linears = [self._linear(f"{name}.{part}", data, heads_out=True) for part, data, _ in parts]
        for block in range(len(b.blocks)):
            for tensor, linear in zip(tensors, linears, strict=True):
                for column in range(tensor.columns):
                    lowering.matmul_requant(linear, x, block, tensor, column)
        return tensors

    def _attention_output(self, name: str, layer: QuantisedLayer, context: Tensor, stream: Stream) -> Stream:
        b, out = self.builder, self._stream(f"{name}.mid")
        linear = self._linear(f"{name}.attention_output", layer.attention_output, heads_in=True)
        norm = NormLowering(
            b, f"{name}.attention_norm", layer.attention_norm, linear, stream.wide, out.narrow, out.wide
        )
        for block in range(len(b.blocks)):
            acc = b.acc(context.height(block), b.tiling.hidden, linear.key)
            for column in range(context.columns):
                LinearLowering(b).matmul_column(linear, context, block, column, acc)
            norm.block(block, acc)
        return out

    def _feed_forward(self, name: str, layer: QuantisedLayer, stream: Stream) -> Stream:
        """The second matmul follows the first by one chunk of inner channels."""
        b, out, lowering = self.builder, self._stream(f"{name}.out"), LinearLowering(self.builder)
        first, second = self._linear(f"{name}.ffn1", layer.ffn1), self._linear(f"{name}.ffn2", layer.ffn2)
        norm = NormLowering(b, f"{name}.output_norm", layer.output_norm, second, stream.wide, out.narrow, out.wide)
        if self.encoder.gelu == "table":
            lowering.load_table(f"{name}.table", layer.gelu_table)
        constants = pack_constants(layer.gelu_constants)
        for block in range(len(b.blocks)):
            inner = b.int8_tensor(f"{name}.inner{block}", b.tiling.ffn)
            acc = b.acc(inner.height(block), b.tiling.hidden, second.key)
            for column in range(inner.columns + 1):
                if column < inner.columns:
                    lowering.matmul_requant(first, stream.narrow, block, inner, column, Activation.TABLE, constants)
                if column:
                    lowering.matmul_column(second, inner, block, column - 1, acc)
            norm.block(block, acc)
        return out
