"""Parts of an encoder layer as programs of their own: operands come from memory, results go there.

For measurements. Weights are those of the layer; blocks are those of a mapping, so that a section does what it does in
the whole layer.
"""

import enum
from dataclasses import dataclass, replace
from itertools import accumulate

from celosia.hw.config import Config
from celosia.hw.garbage import without_collection
from celosia.sw.compiler.builder import Builder
from celosia.sw.compiler.compile import link
from celosia.sw.compiler.linear import LinearLowering, Target
from celosia.sw.compiler.lower import EncoderLowering, Heads, Stream, Sums
from celosia.sw.compiler.program import INPUTS, Program
from celosia.sw.compiler.tensors import Tensor, round_up, spans
from celosia.sw.compiler.tiling import Choice
from celosia.sw.model.quantised import QuantisedEncoder


class Section(enum.StrEnum):
    """A part of a layer.

    `SCORES`: attention without P x V. `ATTENTION_OUTPUT`, `FFN_OUTPUT`: a linear part with the LayerNorm behind it.
    `FFN`: both halves of it.
    """

    PROJECTIONS = "projections"
    SCORES = "scores"
    ATTENTION = "attention"
    ATTENTION_OUTPUT = "attention_output"
    FFN_INPUT = "ffn_input"
    FFN_OUTPUT = "ffn_output"
    FFN = "ffn"


@without_collection()
def compile_section(
    config: Config, encoder: QuantisedEncoder, choice: Choice, section: Section, rows: int | None = None
) -> Program:
    """A section of the first layer for `choice`'s tiles and blocks, MACs left out.

    `rows`: only so many, in whole blocks; of attention, queries, one head after the other. Errors: CompileError when it
    does not fit.
    """
    tiling = choice.tiling
    if rows is not None and section not in (Section.SCORES, Section.ATTENTION):
        tiling = replace(tiling, tokens=rows)
    builder = Builder(config, tiling)
    lowering = _SectionLowering(builder, encoder, choice.mapping, tiling.tokens, False)
    sources, results = lowering.section(section, rows)
    builder.flush()
    end = 0
    for tensor in sources:
        end = round_up(tensor.place(INPUTS, end), 4096)
        for tile in tensor.tiles.values():
            tile.loaded = True
    for tensor in results:
        for tile in tensor.tiles.values():
            tile.output = True
    return link(config, builder.steps, builder.constants.image(), end)


@dataclass(frozen=True)
class _SectionLowering(EncoderLowering):
    """Steps of one section; operands and results."""

    def section(self, section: Section, rows: int | None) -> tuple[list[Tensor], list[Tensor]]:
        """Its operands and its results."""
        b, layer = self.builder, self.encoder.layers[0]
        x, residual = b.int8_tensor("x", b.tiling.hidden), b.residual_tensor("residual")
        if section is Section.PROJECTIONS:
            return [x], self._projections("layer", layer, x)
        if section in (Section.SCORES, Section.ATTENTION):
            return self._heads(section is Section.ATTENTION, rows)
        if section is Section.FFN_INPUT:
            return [x], [self._ffn_input(x)]
        if section is Section.FFN:
            out = self._feed_forward("layer", layer, Stream(x, residual))
            return [x, residual], [out.narrow, out.wide]
        return self._output(section is Section.ATTENTION_OUTPUT, residual)

    def _heads(self, context: bool, rows: int | None) -> tuple[list[Tensor], list[Tensor]]:
        names = [("query", False), ("key", True), ("value", True), ("context", False)]
        heads = Heads(*(self.builder.heads_tensor(name, operand) for name, operand in names))
        lowering = self._attention("layer", self.encoder.layers[0], heads)
        blocks = lowering.blocks
        if rows is not None:
            heights = accumulate(sum(part.rows for part in parts) for _, parts in blocks)
            blocks = blocks[: sum(height <= rows for height in heights)]
        lowering.work(blocks, context)
        return [heads.query, heads.key, heads.value], [heads.context]

    def _ffn_input(self, x: Tensor) -> Tensor:
        b, blocking = self.builder, self.mapping.ffn1
        assert blocking is not None, "it takes turns with the other half"
        inner = b.int8_tensor("inner", b.tiling.ffn)
        lowering = LinearLowering(b, self._linear("ffn1", self.encoder.layers[0].ffn1), x, blocking.resident)
        for rows in b.tiling.blocks(blocking.rows):
            for first, outputs in spans(inner.channels, blocking.outputs):
                lowering.requantise(rows, first, outputs, Target(inner))
        return inner

    def _output(self, attention: bool, residual: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        b, layer, out = self.builder, self.encoder.layers[0], self._stream("out")
        if attention:
            x = b.heads_tensor("x", operand=False)
            linear, norm = self._linear("linear", layer.attention_output, heads_in=True), layer.attention_norm
            blocking = self.mapping.attention_output
        else:
            x = b.int8_tensor("x", b.tiling.ffn)
            linear, norm, blocking = self._linear("linear", layer.ffn2), layer.output_norm, self.mapping.ffn2
        self._to_norm(x, Sums("norm", norm, linear, residual, out), blocking)
        return [x, residual], [out.narrow, out.wide]
