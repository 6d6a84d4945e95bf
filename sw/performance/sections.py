"""Cycles of sections of a layer, from as much of them as tells the rest.

A section works through blocks of rows that are all alike. Some of them are compiled and replayed (or measured), then
twice as many: the difference is what as many more rows take.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from celosia.hw.config import Config
from celosia.sw.compiler.mapping import Mapping, Queries, Tiling
from celosia.sw.compiler.program import Program
from celosia.sw.compiler.sections import Section, compile_section
from celosia.sw.compiler.tiling import Choice
from celosia.sw.performance.blank import blank_encoder
from celosia.sw.performance.prediction import predict
from celosia.sw.workloads import Geometry

LEAST_ROWS = 64
"""Rows that are compiled at first, at least."""
_PER_HEAD = (Section.SCORES, Section.ATTENTION)

Meter = Callable[[Program], int]
"""Cycles of a program."""


def modelled(program: Program) -> int:
    """By the performance model."""
    return predict(program).cycles


@dataclass(frozen=True)
class Sections:
    """Sections of a layer of `shape` on `config`. `meter`: tells cycles of programs; each is asked for once.

    `least`: rows that are compiled at first, at least.
    """

    config: Config
    shape: Geometry
    meter: Meter = modelled
    least: int = LEAST_ROWS
    _known: dict[tuple[Tiling, Mapping, Section, int], int] = field(default_factory=dict)

    def cycles(self, choice: Choice, section: Section) -> int:
        """Of all rows (of attention: all heads). Errors: CompileError when it does not fit."""
        total, some = self._rows(choice, section)
        if total <= 2 * some:
            return self._some(choice, section, total)
        once, twice = (self._some(choice, section, times * some) for times in (1, 2))
        return round(twice + (total - 2 * some) * (twice - once) / some)

    def layer(self, choice: Choice) -> int:
        """Of a whole layer: its sections one after the other."""
        sections = (Section.PROJECTIONS, Section.ATTENTION, Section.ATTENTION_OUTPUT, *halves(choice.mapping))
        return sum(self.cycles(choice, section) for section in sections)

    def _rows(self, choice: Choice, section: Section) -> tuple[int, int]:
        """Rows of a section, and how many of them to begin with: whole blocks, and whole tiles."""
        t, m = choice.tiling, choice.mapping
        heights = {
            Section.PROJECTIONS: m.projection.rows,
            Section.SCORES: m.attention.rows,
            Section.ATTENTION: m.attention.rows,
            Section.ATTENTION_OUTPUT: m.attention_output.rows,
            Section.FFN_INPUT: m.ffn1.rows if m.ffn1 else 0,
        }
        height = max(heights.get(section, m.ffn2.rows), t.rows)
        some = -(-self.least // height) * height
        if section not in _PER_HEAD:
            return t.tokens, some
        # What a head loads counts only if whole heads are taken; a long one loads it for every block.
        return t.tokens * t.heads, t.tokens if t.tokens <= 8 * some else some

    def _some(self, choice: Choice, section: Section, rows: int) -> int:
        t, m = choice.tiling, choice.mapping
        if section not in _PER_HEAD:  # the same for all lengths that are cut alike
            t, m = replace(t, tokens=rows, key_rows=t.step), replace(m, attention=Queries(1))
        key = (t, m, section, rows)
        if key not in self._known:
            encoder = blank_encoder(self.config, 1, self.shape.hidden, self.shape.heads, self.shape.ffn)
            program = compile_section(self.config, encoder, Choice(t, m, 0), section, rows)
            self._known[key] = self.meter(program)
        return self._known[key]


def halves(mapping: Mapping) -> tuple[Section, ...]:
    """The sections of the FFN: one where its halves take turns."""
    return (Section.FFN,) if mapping.ffn1 is None else (Section.FFN_INPUT, Section.FFN_OUTPUT)
