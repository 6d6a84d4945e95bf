"""From the survey's baseline to our accelerator, step by step: cycles of an encoder layer."""

from dataclasses import dataclass

from celosia.hw.config import Config
from celosia.hw.presets import PRESETS
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.mapping import Fusion, Mapping, Queries
from celosia.sw.compiler.sections import Section
from celosia.sw.compiler.tiling import Choice, choices, cut, map_linear
from celosia.sw.performance.fusion import BERT_BASE
from celosia.sw.performance.host import Host
from celosia.sw.performance.sections import LEAST_ROWS, Meter, Sections, modelled
from celosia.sw.workloads import Geometry

PRINTED_SPEEDUP = 39.6
"""Of the survey's accelerator over its baseline, by rebalanced memories and nonlinear units on the chip."""


@dataclass(frozen=True)
class Step:
    """A rung. `config`: named preset. `accelerator`, `host`: cycles of a layer, which follow one another."""

    name: str
    config: str
    accelerator: int
    host: int

    @property
    def cycles(self) -> int:
        """Of a layer."""
        return self.accelerator + self.host


def ladder(host: Host, tokens: int, shape: Geometry = BERT_BASE, meter: Meter = modelled) -> list[Step]:
    """All steps, the baseline first. Errors: CompileError when a step does not fit."""
    config, outside = PRESETS["transformer"], round(host.cycles(shape, tokens))
    whole = {
        name: choices(config, tokens, shape.hidden, shape.heads, shape.ffn, fusion)[0]
        for name, fusion in (("nonlinear units on the chip", Fusion(False, False, False)), ("fused mapping", Fusion()))
    }  # first: what does not fit is told at once
    steps = [
        Step(name, preset, matmul_cycles(PRESETS[preset], shape, tokens, meter), outside)
        for name, preset in (("baseline", "gemmini"), ("memories rebalanced", "transformer"))
    ]
    steps += [
        Step(name, "transformer", Sections(config, shape, meter).layer(choice), 0) for name, choice in whole.items()
    ]
    return steps


def matmul_cycles(config: Config, shape: Geometry, tokens: int, meter: Meter = modelled) -> int:
    """Cycles of a layer's matmuls by themselves, each in the blocks that are best for it.

    Operands come from memory and results go there, as int8: our accelerator has no int32 results to store. What the
    host moves is in its own model. Errors: CompileError when one does not fit.
    """
    head = shape.hidden // shape.heads
    counted = [
        (4, shape.hidden, shape.hidden),
        (shape.heads, head, tokens),
        (shape.heads, tokens, head),
        (1, shape.hidden, shape.ffn),
        (1, shape.ffn, shape.hidden),
    ]
    return sum(count * _matmul(config, tokens, inputs, outputs, meter) for count, inputs, outputs in counted)


def _matmul(config: Config, tokens: int, inputs: int, outputs: int, meter: Meter) -> int:
    """[tokens, inputs] x [inputs, outputs]: the first half of an FFN of that shape, without activation."""
    tiling = cut(config, min(tokens, 2 * config.array.rows), tokens, inputs, 1, outputs)
    blocks = map_linear(config, tiling)
    if blocks is None:
        raise CompileError(f"a matmul of {tokens} x {inputs} x {outputs} has no room on this configuration")
    mapping = Mapping(blocks, Queries(1), blocks, blocks, blocks, 1)
    # More rows at a time than the scratchpad has room for: fewer would not be loaded again.
    held = config.scratchpad_words * config.word_bytes // inputs
    sections = Sections(config, Geometry(hidden=inputs, heads=1, ffn=outputs), meter, max(LEAST_ROWS, held))
    return sections.cycles(Choice(tiling, mapping, 0), Section.FFN_INPUT)
