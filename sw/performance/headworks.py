"""What a head asks of a co-processor's core, from the blocks that it keeps: pair of queries by pair of queries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.isa import Opcode
from celosia.sw.performance.columns import Columns

Blocks = npt.NDArray[np.bool_]
"""Kept blocks of a head: [pairs of queries, blocks of keys]."""


class Pair(NamedTuple):
    """A pair of queries.

    `groups`: of masks. `found`: kept blocks of each of them. `entries`: in its list, one if nothing is kept. `walk`:
    cycles from its first group being taken to its list being complete, if nothing holds it up; `second`: to its second
    kept block being found, if there is one; `offsets`: to each of its groups being taken. `scores`, `values`: steps;
    `last`: steps of the last entry.
    """

    groups: int
    found: tuple[int, ...]
    entries: int
    walk: int
    second: int
    offsets: tuple[int, ...]
    scores: int
    values: int
    last: int


@dataclass(frozen=True, eq=False)
class Head:
    """A head for core `core`. `blocks`: that are kept, as far as it is known, else all that there are.

    `setting`: what the engine is told of it. `dense`: nothing is decided. `headed`: it waits for its verdict.
    `approximate`: no products of fractions. `signal`: units to give a token to.
    """

    config: CoreConfig
    core: int
    length: int
    causal: bool
    dense: bool
    headed: bool
    approximate: bool
    setting: tuple[int, ...]
    blocks: Blocks | None = None

    @property
    def paired(self) -> bool:
        """Its integer scores are kept, and a step scores a block (`hdp.core.passes.kept_apart`)."""
        return self.config.reuse and self.approximate and not self.dense and not self.headed

    @property
    def lone(self) -> bool:
        """Its last pair is a single query."""
        return self.length % BLOCK == 1

    @cached_property
    def pairs(self) -> list[Pair]:
        """All pairs of queries."""
        count, rate = -(-self.length // BLOCK), self.config.rate
        kept = self._exist(count) if self.blocks is None else self.blocks
        padded = np.zeros((count, -(-count // rate) * rate), np.int64)
        padded[:, : kept.shape[1]] = kept
        by_group = padded.reshape(count, -1, rate).sum(axis=2).tolist()
        # The last block has a single key where there is an odd number of them.
        single = kept[:, -1].tolist()
        found: dict[tuple[tuple[int, ...], bool], Pair] = {}
        pairs = []
        for pair, counts in enumerate(by_group):
            keys = self._keys(pair)
            one = tuple(counts[: -(-keys // self.config.group)]), bool(keys % BLOCK and single[pair])
            if one not in found:
                found[one] = self._pair(*one)
            pairs.append(found[one])
        return pairs

    @property
    def steps(self) -> tuple[int, int, int]:
        """Of the integer pass, of scores, of context."""
        pairs = self.pairs
        decided = 0 if self.dense else sum(BLOCK * pair.groups for pair in pairs)
        return decided, sum(pair.scores for pair in pairs), sum(pair.values for pair in pairs)

    def _exist(self, count: int) -> Blocks:
        every = np.ones((count, count), bool)
        return np.tril(every) if self.causal else every

    def _keys(self, pair: int) -> int:
        """That a pair of queries has."""
        return min(BLOCK * (pair + 1), self.length) if self.causal else self.length

    def _pair(self, found: tuple[int, ...], single: bool) -> Pair:
        """`single`: the last kept block has one key only."""
        kept = sum(found)
        # A group takes a cycle a block, at least one; the end of the row another one, and once.
        cycles = [max(1, count) for count in found[:-1]]
        offsets = np.cumsum([0, *cycles]).tolist()
        before, second = np.cumsum([0, *found]).tolist(), 0
        for group, count in enumerate(found):
            if before[group] < 2 <= before[group] + count:
                second = offsets[group] + 2 - before[group]
        keys = max(1, BLOCK * kept - single)
        return Pair(
            groups=len(found),
            found=found,
            entries=max(1, kept),
            walk=offsets[-1] + found[-1] + 1,
            second=second,
            offsets=tuple(offsets),
            scores=max(1, kept) if self.paired else keys,
            values=keys,
            last=1 if self.paired or single or not kept else BLOCK,
        )


def heads_of(columns: Columns, core: CoreConfig, kept: Mapping[int, Blocks]) -> Iterator[Head]:
    """All heads of a program for cores like `core`. `kept`: blocks, by the number of an instruction."""
    op = Opcode.ATTEND
    fields = columns.fields(op, "core", "length", "causal", "dense", "headed", "approximate")
    told = columns.fields(op, "absolute", "peak_columns", "peak_rows", "rho", "limit")
    places = columns.places(op).tolist()
    for place, (k, length, causal, dense, headed, approximate), setting in zip(
        places, zip(*fields, strict=True), zip(*told, strict=True), strict=True
    ):
        flags = bool(causal), bool(dense), bool(headed), bool(approximate)
        yield Head(core, k, length, *flags, setting, kept.get(place))
