"""The page docs/fusion.md: what fusing saves on our accelerator, and the way there from the survey's baseline."""

import textwrap
from collections.abc import Sequence

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.sw.cli import fusing
from celosia.sw.cli.output import markdown_table
from celosia.sw.compiler.sections import Section
from celosia.sw.compiler.tiling import choices
from celosia.sw.performance.fusion import ACCUMULATORS, BERT_BASE, LENGTHS, Effect, study
from celosia.sw.performance.host import PRINTED_SHARE, PRINTED_UTILISATION, Host, elements, load, moved_bytes
from celosia.sw.performance.ladder import PRINTED_SPEEDUP, PRUNED, PRUNING, Step, ladder, matmul_cycles, pruned_steps
from celosia.sw.performance.sections import Sections

LADDER_TOKENS = 512
NARROW_BUS = 4
"""Bytes a cycle; the survey's figures of rebalancing are those of about so many."""

_HEAD = """Written by `celosia analyze document --page fusion -o docs/fusion.md`; do not edit. The survey is "Full
    Stack Optimization of Transformer Inference: a Survey" (arXiv 2302.14017). Cycles are those of the performance
    model, for a BERT-Base layer on the preset `transformer` with the accumulator given."""

_CHOICE = """What is fused is part of the mapping, which the compiler chooses by cost. `compile_encoder(...,
    fusion=Fusion(softmax=False, attention_output=False, ffn2=False))` asks for something else; results are the same
    to the bit."""

_PAIRS = [
    ("Q x K with softmax", """Scores cannot leave the accumulator: STORE reads the scratchpad, POST writes 8 or 16
        bits, and scores have 32. So there is no softmax as a pass over memory here. Not fused, the array waits for
        the softmax of each block, and POST for its scores; fused, other matmuls go on meanwhile."""),
    ("W_out, W_2 with LayerNorm", """Fused, a block has all outputs of its rows, and LayerNorm works on the
        accumulator. Not fused, blocks are as wide and tall as is best for the matmul alone, the sums with the
        residual go to the scratchpad as int16, and LayerNorm is a pass of its own."""),
]  # fmt: skip

_TABLE = """`celosia analyze fusion`. The change is by fusing; *pair* are the two operations by themselves, from
    operands in memory to results there, of Q x K and softmax without P x V; *part* is the whole MHA or FFN, its
    operations one after the other, with everything else as by cost. Where W_2 is fused, both halves of the FFN may
    take turns. *By cost* is what the compiler takes by itself. *Printed* is the survey's figure for its hardware; its
    figures of MHA are for all that is fused in it. Blocks are all alike: {least} rows or more and twice as many are
    replayed, and the rest is counted from the difference."""

_CHANGED = [
    """**Softmax is small here, and hidden.** The survey finds 78 % of the pair's time in softmax. Here it is
        {share:.0%} at {kib} KiB and 512 tokens when nothing is hidden: row maxima are gathered while scores enter the
        accumulator, EXP reads each score once, and the division is left to the requantisation behind P x V. Fusing
        changes the pair by {softmax}; MHA by {mha}, where the survey prints -23 % to -52 %.""",
    """**W_out with LayerNorm: fusing pays at both sizes of the accumulator.** The survey prints +83 % at 128 KiB and
        -4 % at 256 KiB. Here the pair changes by {output}. Sums and sums of squares are gathered by the residual add,
        on the way through POST, so that a row waits for its last channels alone; a bus of {bus} bytes a cycle loads
        the weights of a block of 32 rows faster than the array uses them; and not fused, sums go to the scratchpad
        and mostly on to memory, and come back.""",
    """**W_2 with LayerNorm:** the survey prints +27 % at both lengths. Here the pair changes by {ffn}, and the FFN by
        {whole}.""",
    """**So what is best does not depend on the case.** Of the {count} cases above, the compiler fuses {chosen} by
        itself.""",
]

_LADDER = """`celosia analyze ladder`. The first two steps leave to a host all that is not a matmul: the accelerator
    computes the matmuls one by one, the host does the rest in between, and nothing overlaps. All accelerator cycles
    are those of the performance model; operands and results of the baseline's matmuls travel as int8, since ours has
    no int32 results to store. The last steps are sections of our layer, one after the other: with the nonlinear units
    and nothing fused, then as the compiler maps it; then with
    pruned attention ([HDP](hdp.md)), on the array as the preset `transformer-hdp` has it. (The steps are `ladder` and
    `pruned_steps` of `celosia.sw.performance.ladder`.)"""

_PRINTED = """The survey prints {printed}x for rebalanced memories and nonlinear units together; ours is {units:.1f}x
    without and {total:.1f}x with a fused mapping. Its own figures do not quite agree: with {share:.0%} of the time
    outside matmuls that use {utilisation:.0%} of the array, an array that never waits would be {most:.1f}x as fast as
    the baseline. (96.5 %, which still rounds to 96 %, would allow {rounded:.1f}x.) Rebalancing is worth
    {balance:+.1%} of the accelerator's cycles here, where the survey prints -36 % of the matmuls': the bus carries
    {bus} bytes a cycle, so loading weights again costs nothing. With a bus of {narrow} bytes it is worth
    {narrowed:+.1%} of the matmuls' cycles, in mappings that are made for such a bus."""

_PRUNED = """HDP needs K and V of a head whole in the scratchpad, which the larger one is for. Of the layer's cycles
    {attention:.0%} are attention's, so that no pruning could make the layer more than {most:.2f}x as fast; with
    {percent} % of the blocks pruned attention itself is {gain:.2f}x as fast. What that costs in quality is known for
    MiniLM alone: blocks as tall as the array and two keys wide, by `mean-max`, at 59.4 % of 128 tokens leave the
    embeddings at a cosine of 0.9603 to those of the dense int8 model, and at 49.6 % at 0.9766. `--pruned` and `--set`
    try other shares and other settings of `transformer-hdp`."""

_HOST = """The survey prints no cycles of its host. The model (`sw/performance/host.toml`, or `--host FILE`) counts
    cycles of an in-order scalar core; one factor, {scale:g}, brings the sum to the printed {share:.0%} beside matmuls
    of {utilisation:.0%} utilisation, at 512 tokens. So the first two totals hold what the survey prints, and the
    speed-up is no independent confirmation of it; the accelerator's cycles are ours."""


def page() -> str:
    """The page, in Markdown."""
    config, host = PRESETS["transformer"], load()
    found = [one for kib in ACCUMULATORS for one in study(config, kib, LENGTHS)]
    blocks = [
        "# Fusion, and the ladder from the survey's baseline",
        _paragraph(_HEAD),
        "## What fused means here",
        _paragraph(_CHOICE),
        *(_paragraph(f"**{name}.** {text}") for name, text in _PAIRS),
        "## Figures 21 and 22 on our accelerator",
        _paragraph(_TABLE.format(least=64)),
        markdown_table(fusing.FUSION, fusing.effects(found)),
        "## Where this changes the survey's conclusion",
        *(_paragraph(text.format(**_facts(found))) for text in _CHANGED),
        *_ladder(host),
    ]
    return "\n\n".join(blocks) + "\n"


def _paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def _facts(found: Sequence[Effect]) -> dict[str, object]:
    """What the texts state beyond the table."""
    by = {name: [one for one in found if one.pair.field == name] for name in ("softmax", "attention_output", "ffn2")}
    first = by["softmax"][0]
    return {
        "share": 1 - _ideal_scores(first.tokens) / first.pair_apart,
        "kib": first.accumulator,
        "softmax": _range([one.pair_change for one in by["softmax"]]),
        "mha": _range([one.part_change for one in by["softmax"]]),
        "output": _range([one.pair_change for one in by["attention_output"]]),
        "ffn": _range([one.pair_change for one in by["ffn2"]]),
        "whole": _range([one.part_change for one in by["ffn2"]]),
        "bus": PRESETS["transformer"].bus.bytes,
        "count": len(found),
        "chosen": sum(one.chosen for one in found),
    }


def _ideal_scores(tokens: int) -> float:
    """Cycles of the array for Q x K."""
    array = PRESETS["transformer"].array
    return tokens**2 * BERT_BASE.hidden / (array.rows * array.columns)


def _range(changes: Sequence[float]) -> str:
    return f"{min(changes):+.1%} to {max(changes):+.1%}"


def _ladder(host: Host) -> list[str]:
    steps, pruned = ladder(host, LADDER_TOKENS), pruned_steps(LADDER_TOKENS)
    columns = ["operation", ">elements a layer", ">cycles an element", ">Mcycles"]
    counts = elements(BERT_BASE, LADDER_TOKENS)
    rows = [
        [name, f"{count:,}", f"{host.per_element[name]:g}", f"{host.scale * host.per_element[name] * count / 1e6:.1f}"]
        for name, count in counts.items()
    ]
    moved = moved_bytes(BERT_BASE, LADDER_TOKENS)
    rows.append(["bytes moved", f"{moved:,}", f"{host.per_byte:g}", f"{host.scale * host.per_byte * moved / 1e6:.1f}"])
    return [
        f"## The ladder: a BERT-Base layer at {LADDER_TOKENS} tokens",
        _paragraph(_LADDER),
        markdown_table(fusing.LADDER, fusing.rungs([*steps, *pruned])),
        _paragraph(_PRINTED.format(**_totals(steps))),
        _paragraph(_PRUNED.format(**_attention([steps[-1], *pruned]))),
        "### The host",
        _paragraph(_HOST.format(scale=host.scale, share=PRINTED_SHARE, utilisation=PRINTED_UTILISATION)),
        markdown_table(columns, rows),
    ]


def _attention(steps: Sequence[Step]) -> dict[str, object]:
    """How much attention weighs on the accelerator that prunes, and what pruning saves of it."""
    dense, pruned = (one.cycles for one in steps[-2:])
    config = override(PRESETS[PRUNING], steps[-1].config.split()[1:])
    chosen = choices(config, LADDER_TOKENS, BERT_BASE.hidden, BERT_BASE.heads, BERT_BASE.ffn)[0]
    whole = Sections(config, BERT_BASE).cycles(chosen, Section.ATTENTION)
    return {
        "attention": whole / dense,
        "most": dense / (dense - whole),
        "percent": PRUNED,
        "gain": whole / (whole - dense + pruned),
    }


def _totals(steps: Sequence[Step]) -> dict[str, object]:
    baseline, rebalanced, units, fused = steps
    narrow = {
        preset: matmul_cycles(override(PRESETS[preset], [f"bus.bytes={NARROW_BUS}"]), BERT_BASE, LADDER_TOKENS)
        for preset in ("gemmini", "transformer")
    }
    return {
        "printed": PRINTED_SPEEDUP,
        "units": baseline.cycles / units.cycles,
        "total": baseline.cycles / fused.cycles,
        "share": PRINTED_SHARE,
        "utilisation": PRINTED_UTILISATION,
        "most": 1 / ((1 - PRINTED_SHARE) * PRINTED_UTILISATION),
        "rounded": 1 / (0.035 * PRINTED_UTILISATION),
        "balance": rebalanced.accelerator / baseline.accelerator - 1,
        "narrow": NARROW_BUS,
        "narrowed": narrow["transformer"] / narrow["gemmini"] - 1,
        "bus": PRESETS["transformer"].bus.bytes,
    }
