"""Attention under hybrid dynamic pruning: decisions ahead of the matmuls that gather what they keep (docs/hdp.md)."""

from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property

from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.store import StoreShape
from celosia.hw.hdp.widths import HEAD_BITS
from celosia.hw.isa import Opcode
from celosia.sw.compiler.attention import AttentionLowering, Kept, Unit
from celosia.sw.compiler.buffers import Access, Buffer, CompileError, Ref, Step
from celosia.sw.compiler.pruning import AHEAD, BEHIND, LEAD, LayerPruning, Room
from celosia.sw.compiler.regions import store_keys
from celosia.sw.compiler.schedule import crowded_words
from celosia.sw.compiler.sync import Space
from celosia.sw.compiler.tensors import Part


@dataclass(frozen=True)
class PrunedLowering(AttentionLowering):
    """Steps of one layer's attention under `pruning`, head by head and row of blocks by row of blocks.

    A row of blocks is `block_height` queries. DECIDE comes some rows of blocks ahead of the scores, where heads may be
    pruned a whole head; scores, some ahead of the context. Rows from `length` on are not decided on; their context is
    0.
    At a nibble rate above 1 the queries of a DECIDE load as long as several tiles stream, but not as long as a DECIDE
    does: so some of them follow one another. Best are all of a head, between the scores and the context of the head
    before: few turns between matmuls and decisions, something to do while a verdict is awaited, and a pruned head,
    whose scores and context take the array no time, does not hold it up while POST goes over it.
    KEYS of the head behind stands behind half of them: it fetches while they stream. Where K of two heads has no room
    beside V and what streams by, all DECIDEs of a head come where heads meet, and behind them the first one of the
    next: when that is done its K may leave the scratchpad. There are no weights meanwhile, so these DECIDEs bring K and
    V for the scores and the context that follow. Without room for all three KEYS stands among the first.
    Errors: CompileError when there are too few lists.
    """

    pruning: LayerPruning = field(kw_only=True)

    def build(self) -> None:
        """All heads."""
        if self._whole:
            self._take_turns()
        elif self._brings < self._high:
            self._straddle()
        else:
            self._interleave()
        self._padding()

    def _take_turns(self) -> None:
        """All scores of a head, all decisions of the next one, all of the head's context."""
        units, high = self._units, self._high
        self._decide_all(0, high)
        for first in range(0, len(units), high):
            for unit in units[first : first + high]:
                self._scores(unit, [])
                self._softmax(unit, self.keys[0])
            self._decide_all(first + high, min(first + 2 * high, len(units)))
            for unit in units[first : first + high]:
                self._context(unit)

    def _straddle(self) -> None:
        """All decisions of a head where heads meet: a few between the last contexts of the head before, most of them by
        themselves, a few between the first scores. Scores are `LEAD` rows of blocks ahead of the context.

        The first decision of the head behind is the last of them, and weights come only then: they have its K's place.
        """
        units, high, decided = self._units, self._high, 0

        def decide(upto: int) -> None:
            nonlocal decided
            upto = min(upto, len(units))
            self._decide_all(decided, upto)
            decided = max(decided, upto)

        lead = min(LEAD, high)
        # Scores of a head that may be pruned need its verdict; and decisions are ahead of the scores.
        between = 2 if self.pruning.limit is None and high >= 2 * lead + AHEAD else 0
        decide(1)
        for first in range(0, len(units), high):
            head, end = units[first : first + high], first + high
            decide(end + 1 - between * lead)
            for ahead, unit in enumerate(head[:lead], 1):
                self._scores(unit, [])
                decide(end + 1 - between * (lead - ahead))
            self._softmax(head[0], self.keys[0])
            for row, unit in enumerate(head):
                for later in head[row + lead : row + lead + 1]:
                    self._scores(later, [])
                for later in head[row + 1 : row + 2]:
                    self._softmax(later, self.keys[0])
                self._context(unit)
                if row + lead >= high:
                    decide(min(decided + 1, end + self._late))

    def _interleave(self) -> None:
        """Decisions some rows of blocks ahead of scores, and scores some ahead of the context."""
        units, decided, waiting = self._units, 0, deque[Unit]()
        for index, unit in enumerate(units):
            ends = (index // self._high + 1) * self._high  # of this head
            least, most = self._wanted(index)
            if decided < least:
                self._decide_all(decided, most)
                decided = most
            self._scores(unit, [])
            self._softmax(unit, self.keys[0])
            waiting.append(unit)
            # Where the next head's K has to wait for room, this head is finished first: K comes meanwhile.
            keep = self._behind if self._across or index + 1 < ends else 0
            while len(waiting) > keep:
                self._context(waiting.popleft())
        for unit in waiting:
            self._context(unit)

    def _wanted(self, index: int) -> tuple[int, int]:
        """Before the scores of a row of blocks: decisions that there must be, and how many there shall be if there are
        fewer."""
        ends, units = (index // self._high + 1) * self._high, len(self._units)
        if self.builder.config.rate == 1:
            wanted = min(index + self._ahead + 1, units if self._across else ends)
            return wanted, wanted
        # With the first of the next head where its keys are there early, and more of heads of few rows of blocks.
        bound = ends if self._halves == 2 else units if self._across else ends + max(1, AHEAD + 2 - self._high)
        together = self._together if self._across else self._high
        least = max(index + AHEAD + 1, ends if self.pruning.limit is not None else 0)
        most = min(max(index + AHEAD + together, least), index + self._ahead + 1)
        return min(least, bound, units), min(most, bound, units)

    @cached_property
    def _whole(self) -> bool:
        """Whether heads take turns as a whole. It takes room, lists, and decisions that last longer than the copy of K
        beside them."""
        c, t = self.builder.config, self.builder.tiling
        assert c.hdp is not None
        if c.rate == 1 or c.hdp.lists < 2 * self._high or self._halves == 2:
            return False
        tiles = t.head // c.array.rows
        decisions = self._high * max(self.length, min(tiles, c.rate) * c.array.columns) * -(-tiles // c.rate)
        fits = Room(c, t, self._high).whole_heads <= crowded_words(c)
        return fits and decisions > self.length * tiles

    @cached_property
    def _together(self) -> int:
        """DECIDEs that follow one another: the queries of the first of them load as long as so many tiles stream, the
        others' while it streams itself. More of them, and softmax would have nothing to do meanwhile."""
        c = self.builder.config
        return min(self.builder.tiling.head // c.array.rows, c.rate)

    @property
    def _eager(self) -> bool:
        return True

    @cached_property
    def _halves(self) -> int:
        """Halves of the key store that a head takes."""
        c = self.builder.config
        return 1 if self.length <= store_keys(c, self.builder.tiling.head // c.array.rows) else 2

    @cached_property
    def _high(self) -> int:
        """Rows of blocks of a head."""
        return -(-self.length // self.builder.config.block_height)

    @cached_property
    def _across(self) -> bool:
        """A head's decisions begin while the head before is under way: there is room for K of both, and some to spare
        where all of a head's decisions may come at once instead."""
        c = self.builder.config
        return Room(c, self.builder.tiling, BEHIND + self._at_once).two_heads <= crowded_words(c)

    @cached_property
    def _at_once(self) -> bool:
        """Whether all decisions of a head may come at once: there is room for K and V of it and K of the next."""
        c, t = self.builder.config, self.builder.tiling
        if c.rate == 1 or self._halves == 2 or not self._many_lists:
            return False
        rows = min(c.block_height, self.length)
        scores = (LEAD + 1) * rows * t.keys // c.array.columns
        fits = scores <= c.acc_rows and (LEAD + 2) * rows <= c.accumulator.stat_rows
        return fits and Room(c, t).decisions <= crowded_words(c)

    @cached_property
    def _late(self) -> int:
        """The row of blocks of a head behind whose decision KEYS of the next one stands: late where it may be, as its K
        has a place from there on, but with as many DECIDEs behind it as it takes to copy."""
        half, early = self._high // 2, min(1, self._high - 1)
        if self._whole:
            return half
        copied = -(-self.length * (self.builder.tiling.head // self.builder.config.array.rows) // self._streams)
        return max(early, min(half, self._high - copied)) if self._across or self._at_once else early

    @cached_property
    def _streams(self) -> int:
        """Cycles in which the keys of a DECIDE stream."""
        c = self.builder.config
        shape, tiles = StoreShape(c), self.builder.tiling.head // c.array.rows
        return shape.passes(tiles) * shape.words(tiles, self.length)

    @cached_property
    def _many_lists(self) -> bool:
        """Whether there are lists for a head and for what is under way beside it."""
        hdp = self.builder.config.hdp
        assert hdp is not None
        return hdp.lists >= self._high + 2 * AHEAD

    @cached_property
    def _brings(self) -> int:
        """Row of blocks from which on DECIDEs bring K and V of their head: these two load while the DECIDEs before it
        stream, whose queries come first. The number of rows where no DECIDE does."""
        c, t = self.builder.config, self.builder.tiling
        if self._whole or self._across or not self._at_once:
            return self._high
        beats = 2 * Room(c, t).operand * c.word_bytes // c.bus.bytes
        return min(-(-beats // self._streams), self._high - 1)

    @cached_property
    def _behind(self) -> int:
        """Rows of blocks whose scores are computed before the context of the first of them: one more than else at a
        nibble rate above 1, where there are room and lists for it, since the array has little to do meanwhile."""
        c = self.builder.config
        fits = Room(c, self.builder.tiling, BEHIND + 1).two_heads <= crowded_words(c)
        return BEHIND + (c.rate > 1 and fits and self._many_lists)

    @cached_property
    def _ahead(self) -> int:
        """Rows of blocks that are decided on before the scores of one. Errors: CompileError."""
        hdp = self.builder.config.hdp
        assert hdp is not None
        whole = self.pruning.limit is not None
        wanted, least = (self._high + 1, self._high - 1) if whole else (AHEAD, 0)
        if self.builder.config.rate > 1:
            wanted = self._high + AHEAD + self._together
        # A list is in use from its decision to the context; so are slots, and heads have at least one row of blocks.
        most = hdp.lists - self._behind - 1
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
        rows = [parts for parts in t.blocks(c.block_height) if parts[0].start < self.length]
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
        c = self.builder.config
        if c.rate == 1:
            return Buffer(Space.ACCUMULATOR, min(c.block_height, self.length), f"{self.name}.decide")
        several = -(-self.builder.tiling.head // c.array.rows // c.rate) > 1
        return Buffer(Space.ACCUMULATOR, self.length * several, f"{self.name}.decide")

    @cached_property
    def _stores(self) -> list[Buffer]:
        """Each head's place in the key store."""
        return [
            Buffer(Space.STORE, self._halves, f"{self.name}.head{head}") for head in range(self.builder.tiling.heads)
        ]

    def _keys(self, unit: Unit, store: Buffer) -> None:
        """K of a head to the key store."""
        (keys,), t, c = self.keys, self.builder.tiling, self.builder.config
        fields: dict[str, int | Ref] = {
            "b_address": self.key.at(keys, unit.column, unit.block),
            "b_stride": self.key.stride(keys.tile),
            "k_tiles": t.head // c.array.rows,
            "length": self.length,
            "half": store.at(),
        }
        reads = [self.key.tiles[keys.tile, unit.column].whole()]
        self.builder.add(Step(Opcode.KEYS, fields, reads, [store.whole()], f"{unit.label}.keys"))

    def _decide_all(self, first: int, last: int) -> None:
        """Decisions of rows of blocks in their order, up to the one before `last`."""
        for index in range(first, last):
            self._decide(self._units[index], index)

    def _decide(self, unit: Unit, index: int) -> None:
        """The decision of a row of blocks, and before or behind it KEYS of its head, or of the next."""
        if self.builder.config.rate == 1:
            self._integer_pass(unit, index)
            return
        head, row = divmod(index, self._high)
        early = self._halves == 1
        if row == 0 and (head == 0 or not early):
            self._keys(unit, self._stores[head])
        self._integer_pass(unit, index, self._stores[head])
        if early and row == self._late and head + 1 < self.builder.tiling.heads:
            self._keys(self._units[(head + 1) * self._high], self._stores[head + 1])

    def _integer_pass(self, unit: Unit, index: int, store: Buffer | None = None) -> None:
        """The integer pass of a row of blocks: its list, and behind a head's last one whether the head is kept.

        `store`: where its keys are, but in the scratchpad.
        """
        t, c, p = self.builder.tiling, self.builder.config, self.pruning
        (part,), (keys,) = unit.parts, self.keys
        assert unit.kept is not None
        end = index % self._high == self._high - 1
        head = unit.kept.head or Buffer(Space.HEADS, 1, unit.label)
        fields: dict[str, int | Ref] = {
            "a_address": self.query.at(part, unit.column, unit.block),
            "a_stride": self.query.stride(part.tile),
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
        if store is None:
            fields |= {
                "b_address": self.key.at(keys, unit.column, unit.block),
                "b_stride": self.key.stride(keys.tile),
            }
        else:
            fields |= {"half": store.at()}
        blocks = t.head // c.word_bytes
        reads = [self.query.access(part, unit.column, unit.block, blocks), *([store.whole()] if store else [])]
        if store is None or index % self._high == 0:
            # Of the key store the first one: when it is done the keys are there, and not before.
            reads.append(self.key.tiles[keys.tile, unit.column].whole())
        writes = [unit.kept.keys.whole(), *([head.whole()] if end else [])]
        frees = None
        if self._sums.size:
            fields |= {"acc_address": self._sums.at()}
            writes.append(Access(self._sums, 0, part.rows) if store is None else self._sums.whole())
            frees = self._sums if index == len(self._units) - 1 else None
        late = index % self._high >= self._brings
        brings = [tensor.tiles[keys.tile, unit.column] for tensor in (self.key, self.value) if late]
        self.builder.add(Step(Opcode.DECIDE, fields, reads, writes, f"{unit.label}.decide", frees, brings))

    def _padding(self) -> None:
        """Context 0 for rows that nobody attends to: the softmax weights of no key at all."""
        b, t = self.builder, self.builder.tiling
        for head in range(t.heads if self.length < t.tokens else 0):
            for (part,) in t.blocks(b.config.block_height):
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
