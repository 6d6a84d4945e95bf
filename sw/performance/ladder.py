"""From the survey's baseline to our accelerator, step by step: cycles of an encoder layer."""

from dataclasses import dataclass
from typing import Any

from celosia.hw.config import Config, override
from celosia.hw.presets import PRESETS
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.compiler.heads import compile_heads
from celosia.sw.compiler.mapping import Fusion, Mapping, Queries
from celosia.sw.compiler.pruning import prunings
from celosia.sw.compiler.sections import Section
from celosia.sw.compiler.tiling import Choice, choices, cut, map_linear
from celosia.sw.performance.fusion import BERT_BASE
from celosia.sw.performance.host import Host
from celosia.sw.performance.prediction import predict
from celosia.sw.performance.sections import LEAST_ROWS, Meter, Sections, modelled
from celosia.sw.runtime.driver import Driver
from celosia.sw.runtime.functional import FunctionalDevice
from celosia.sw.workloads import Geometry

PRUNING = "transformer-hdp"
"""Preset of the last steps."""
PRINTED_SPEEDUP = 39.6
"""Of the survey's accelerator over its baseline, by rebalanced memories and nonlinear units on the chip."""
PRUNED = 60
"""Percent of the blocks that the last step prunes: what docs/hdp.md tells the loss of, for long texts."""


@dataclass(frozen=True)
class Step:
    """A rung. `config`: preset and settings. `accelerator`, `host`: cycles of a layer, which follow one another."""

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


def pruned_steps(
    tokens: int,
    percent: int = PRUNED,
    settings: tuple[str, ...] = (),
    shape: Geometry = BERT_BASE,
    meter: Meter = modelled,
) -> list[Step]:
    """The steps to hybrid dynamic pruning, behind those of `ladder`, on PRUNING with `settings`.

    K and V of a head must be whole in the scratchpad: where they do not fit, a larger one is a step of its own. Of the
    layer's attention `percent` of the blocks are pruned, at random codes, by the rule that rates best for long texts.
    Errors: CompileError when no scratchpad is enough, or a row has more keys than a list; ModelError when no threshold
    prunes that share.
    """
    config = override(PRESETS[PRUNING], list(settings))
    enough = _with_room(config, tokens, shape)
    others = [one for one in settings if enough == config or not one.startswith("scratchpad.kib")]
    label = " ".join([PRUNING, *others])
    steps = []
    choice = choices(enough, tokens, shape.hidden, shape.heads, shape.ffn)[0]
    sections = Sections(enough, shape, meter)
    dense = sections.layer(choice)
    if enough != config:
        label += f" scratchpad.kib={enough.scratchpad.kib}"
        steps.append(Step("K and V of a head whole", label, dense, 0))
    pruned = _pruned_attention(enough, AttentionWorkload(tokens, shape.hidden // shape.heads, percent, shape.heads))
    cycles = dense - sections.cycles(choice, Section.ATTENTION) + pruned
    return [*steps, Step(f"HDP, {percent} % of the blocks", label, cycles, 0)]


def _with_room(config: Config, tokens: int, shape: Geometry) -> Config:
    """`config` with a scratchpad in which K and V of a head are whole. Errors: CompileError."""
    for factor in (1, 2, 4, 8):
        larger = override(config, [f"scratchpad.kib={factor * config.scratchpad.kib}"])
        try:
            choices(larger, tokens, shape.hidden, shape.heads, shape.ffn, pruned=True)
        except CompileError:
            continue
        return larger
    choices(config, tokens, shape.hidden, shape.heads, shape.ffn, pruned=True)
    raise AssertionError("one of them has said what is wrong")


def _pruned_attention(config: Config, work: AttentionWorkload) -> int:
    """Modelled cycles of heads under pruning, with the keys that the functional device keeps."""
    (pruning,) = prunings(config, work.policy(config), 1, work.tokens)
    program = compile_heads(config, work.layer(config), work.tokens, work.heads, work.head, pruning)
    device = FunctionalDevice(config)
    inputs: dict[str, Any] = work.inputs()
    Driver(device, program).run(**inputs)
    return predict(program, gathered=device.gathered).cycles


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
