"""What fusing saves: the survey's figures 21 and 22 on our accelerator."""

from collections.abc import Iterator
from dataclasses import dataclass

from celosia.hw.config import Config, override
from celosia.sw.compiler.mapping import Fusion
from celosia.sw.compiler.sections import Section
from celosia.sw.compiler.tiling import Choice, choices
from celosia.sw.performance.sections import Meter, Sections, halves, modelled
from celosia.sw.workloads import Geometry

BERT_BASE = Geometry(hidden=768, heads=12, ffn=3072)
ACCUMULATORS = (128, 256)
"""KiB, of figures 21 and 22."""
LENGTHS = (512, 4096)
"""Tokens, of figures 21 and 22."""


@dataclass(frozen=True)
class Pair:
    """Two operations that may be fused. `field`: of `Fusion`; `section`: both; `part`: of the layer, in words.

    `printed`: what the survey says of fusing them, by accumulator in KiB and tokens.
    """

    name: str
    field: str
    section: Section
    part: str
    printed: dict[tuple[int, int], str]


PAIRS = (
    Pair(
        "Q x K, softmax",
        "softmax",
        Section.SCORES,
        "MHA",
        {(128, 512): "MHA -23%", (256, 512): "MHA -52%", (128, 4096): "MHA -21%", (256, 4096): "MHA -21%"},
    ),
    Pair(
        "W_out, LayerNorm",
        "attention_output",
        Section.ATTENTION_OUTPUT,
        "MHA",
        {(128, 512): "pair +83%", (256, 512): "pair -4%"},
    ),
    Pair(
        "W_2, LayerNorm",
        "ffn2",
        Section.FFN_OUTPUT,
        "FFN",
        dict.fromkeys([(kib, tokens) for kib in ACCUMULATORS for tokens in LENGTHS], "pair +27%"),
    ),
)
"""The survey's MHA figures are those of all that is fused in it."""


@dataclass(frozen=True)
class Effect:
    """Cycles of a pair, and of the part of the layer that it belongs to, fused and not; all else is as by cost.

    `chosen`: what the mapper takes by itself.
    """

    pair: Pair
    accumulator: int
    tokens: int
    pair_fused: int
    pair_apart: int
    part_fused: int
    part_apart: int
    chosen: bool

    @property
    def pair_change(self) -> float:
        """By fusing, relative to not fused."""
        return self.pair_fused / self.pair_apart - 1

    @property
    def part_change(self) -> float:
        """Of the part of the layer."""
        return self.part_fused / self.part_apart - 1


def study(
    config: Config, accumulator: int, lengths: tuple[int, ...], meter: Meter = modelled, pairs: tuple[Pair, ...] = PAIRS
) -> Iterator[Effect]:
    """Effects on a BERT-Base layer on `config` with `accumulator` KiB. Errors: CompileError when it does not fit."""
    sized = override(config, [f"accumulator.kib={accumulator}"])
    sections = Sections(sized, BERT_BASE, meter)
    for tokens in lengths:
        free = _choice(sized, tokens, Fusion())
        for pair in pairs:
            fused, apart = (_choice(sized, tokens, Fusion(**{pair.field: wanted})) for wanted in (True, False))
            yield Effect(
                pair=pair,
                accumulator=accumulator,
                tokens=tokens,
                pair_fused=sections.cycles(fused, pair.section),
                pair_apart=sections.cycles(apart, pair.section),
                part_fused=_part(sections, fused, pair),
                part_apart=_part(sections, apart, pair),
                chosen=_part_of(free, pair) == _part_of(fused, pair),
            )


def _choice(config: Config, tokens: int, fusion: Fusion) -> Choice:
    return choices(config, tokens, BERT_BASE.hidden, BERT_BASE.heads, BERT_BASE.ffn, fusion)[0]


def _part(sections: Sections, choice: Choice, pair: Pair) -> int:
    mha = (Section.PROJECTIONS, Section.ATTENTION, Section.ATTENTION_OUTPUT)
    return sum(sections.cycles(choice, one) for one in (mha if pair.part == "MHA" else halves(choice.mapping)))


def _part_of(choice: Choice, pair: Pair) -> object:
    """What the mapping says of a pair."""
    return getattr(choice.mapping, "attention" if pair.field == "softmax" else pair.field)
