"""Attention under hybrid dynamic pruning: decisions ahead of the matmuls that gather what they keep (docs/hdp.md)."""

from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property

from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import HEAD_BITS
from celosia.hw.isa import Opcode
from celosia.sw.compiler.attention import AttentionLowering, Kept, Unit
from celosia.sw.compiler.buffers import Access, Buffer, CompileError, Ref, Step
from celosia.sw.compiler.pruning import AHEAD, BEHIND, LayerPruning, Room
from celosia.sw.compiler.schedule import crowded_words
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Part


@dataclass(frozen=True)
class PrunedLowering(AttentionLowering):
    """Steps of one layer's attention under `pruning`, head by head and row of blocks by row of blocks.

    A row of blocks is `array.rows` queries. DECIDE comes some rows of blocks ahead of the scores, where heads may be
    pruned a whole head; scores, some ahead of the context. Rows from `length` on are not decided on; their context is
    0. Errors: CompileError when there are too few lists.
    """

    pruning: LayerPruning = field(kw_only=True)

    def build(self) -> None:
        """All heads."""
        units, decided, waiting = self._units, 0, deque[Unit]()
        for index, unit in enumerate(units):
            ends = (index // self._high + 1) * self._high  # of this head
            while decided < min(index + self._ahead + 1, len(units) if self._across else ends):
                self._decide(units[decided], decided)
                decided += 1
            self._scores(unit, [])
            self._softmax(unit, self.keys[0])
            waiting.append(unit)
            # Where the next head's K has to wait for room, this head is finished first: K comes meanwhile.
            keep = BEHIND if self._across or index + 1 < ends else 0
            while len(waiting) > keep:
                self._context(waiting.popleft())
        for unit in waiting:
            self._context(unit)
        self._padding()

    @property
    def _eager(self) -> bool:
        return True

    @cached_property
    def _high(self) -> int:
        """Rows of blocks of a head."""
        return -(-self.length // self.builder.config.array.rows)

    @cached_property
    def _across(self) -> bool:
        """A head's decisions begin while the head before is under way: there is room for K of both."""
        c = self.builder.config
        return Room(c, self.builder.tiling).two_heads <= crowded_words(c)

    @cached_property
    def _ahead(self) -> int:
        """Rows of blocks that are decided on before the scores of one. Errors: CompileError."""
        hdp = self.builder.config.hdp
        assert hdp is not None
        whole = self.pruning.limit is not None
        wanted, least = (self._high + 1, self._high - 1) if whole else (AHEAD, 0)
        # A list is in use from its decision to the context; so are slots, and heads have at least one row of blocks.
        most = hdp.lists - BEHIND - 1
        if most < least:
            raise CompileError(
                f"with tau all {self._high} rows of blocks of a head are decided on before its scores: hdp.lists must "
                f"be at least {1 << (self._high + BEHIND - 1).bit_length()}, not {hdp.lists}"
            )
        return min(wanted, most)

    @cached_property
    def _units(self) -> list[Unit]:
        """All rows of blocks of all heads."""
        t, c = self.builder.tiling, self.builder.config
        rows = [parts for parts in t.blocks(c.array.rows) if parts[0].start < self.length]
        units = []
        for head in range(t.heads):
            slot = Buffer(Space.HEADS, 1, f"{self.name}.head{head}")
            for (part,) in rows:
                there = replace(part, rows=min(part.rows, self.length - part.start))
                unit = self._unit(head, [there])
                kept = Kept(Buffer(Space.LISTS, 1, unit.label), None if self.pruning.limit is None else slot)
                units.append(replace(unit, kept=kept))
        return units

    @cached_property
    def _sums(self) -> Buffer:
        """Where the integer scores of all decisions pass through: the array alone uses it, so nothing waits for it."""
        rows = self.builder.config.array.rows
        return Buffer(Space.ACCUMULATOR, min(rows, self.length), f"{self.name}.decide")

    def _decide(self, unit: Unit, index: int) -> None:
        """The integer pass of a row of blocks: its list, and behind a head's last one whether the head is kept."""
        t, c, p = self.builder.tiling, self.builder.config, self.pruning
        (part,), (keys,) = unit.parts, self.keys
        assert unit.kept is not None
        end = index % self._high == self._high - 1
        head = unit.kept.head or Buffer(Space.HEADS, 1, unit.label)
        fields: dict[str, int | Ref] = {
            "a_address": self.query.at(part, unit.column, unit.block),
            "a_stride": self.query.stride(part.tile),
            "b_address": self.key.at(keys, unit.column, unit.block),
            "b_stride": self.key.stride(keys.tile),
            "acc_address": self._sums.at(),
            "m": part.rows,
            "n_tiles": -(-self.length // c.array.columns),
            "k_tiles": t.head // c.array.rows,
            "length": self.length,
            **RULES[p.rule],
            "wide": p.wide,
            "rho": p.rho,
            "fill": int(p.fill),
            "limit": -(1 << HEAD_BITS - 1) if p.limit is None else p.limit,
            "list": unit.kept.keys.at(),
            **({"slot": head.at(), "end_head": 1} if end else {"slot": 0, "end_head": 0}),
        }
        blocks = t.head // c.word_bytes
        reads = [
            self.query.access(part, unit.column, unit.block, blocks),
            self.key.tiles[keys.tile, unit.column].whole(),
        ]
        writes = [Access(self._sums, 0, part.rows), unit.kept.keys.whole(), *([head.whole()] if end else [])]
        frees = self._sums if index == len(self._units) - 1 else None
        self.builder.add(Step(Opcode.DECIDE, fields, reads, writes, f"{unit.label}.decide", frees))

    def _padding(self) -> None:
        """Context 0 for rows that nobody attends to: the softmax weights of no key at all."""
        b, t = self.builder, self.builder.tiling
        for head in range(t.heads if self.length < t.tokens else 0):
            for (part,) in t.blocks(b.config.array.rows):
                first = max(part.start, self.length)
                rows = part.start + part.rows - first
                if rows > 0:
                    self._zero(head, Part(part.tile, part.row + first - part.start, rows, first))

    def _zero(self, head: int, part: Part) -> None:
        b, t = self.builder, self.builder.tiling
        label = f"{self.name}.head{head}[{part.start}:].padding"
        column, within = divmod(head * t.head, self.query.tile_channels)
        block, blocks = within // b.config.word_bytes, t.head // b.config.word_bytes
        acc, stats = b.acc(part.rows, t.head, label), Buffer(Space.STATISTICS, part.rows, label)
        fields = b.post_fields(acc, 0, part.rows, t.head, stats) | {
            "length": 0,
            "first": 1,
            "out_address": self.context.at(part, column, block),
            "out_stride": self.context.stride(part.tile),
        }
        reads = [acc.whole(), stats.whole()]
        writes = [self.context.access(part, column, block, blocks), stats.whole()]
        b.add(Step(Opcode.EXP, fields, reads, writes, label))
