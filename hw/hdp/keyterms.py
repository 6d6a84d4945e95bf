"""Importance of blocks from keys that stream: a beat is a key or two with the scores of all queries of the block."""

from itertools import zip_longest

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import exceeds
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.importance import chosen
from celosia.hw.hdp.layouts import Group, KeyBeat, Setting, shape_of
from celosia.hw.hdp.statistics import TREE_LEVELS


def terms_latency(config: EngineConfig) -> int:
    """Cycles from a beat to the thetas of its blocks."""
    return 3 + -(-ceil_log2(config.height) // TREE_LEVELS)


class _Where(data.StructLayout):
    """Where a beat's thetas go: `block`: one is complete, of lane `lane`; `two`: and another one, of the next lane.
    `end`: of a group. `first`: it has the first key of its block. With fill, `key`: place of its first key in the
    group; `there`: keys from there on with a valid score."""

    def __init__(self, config: EngineConfig) -> None:
        flags = dict.fromkeys(("first", "block", "two", "end", "end_row", "end_head"), 1)
        lane = ceil_log2(config.columns)
        super().__init__({"lane": lane, **flags, **({"key": lane, "there": config.stream} if config.fill else {})})


class KeyTerms(wiring.Component):
    """Scores of keys to thetas: over the keys of a block in the order in which they come, query by query; then over
    the queries, by a tree, or two where a beat may hold two blocks.

    Ports: `i`: `KeyBeat`. `setting`. `o`: `Group`, `terms_latency` cycles after its last beat, for a cycle. `busy`:
    what came is on its way there.
    Throughput: a beat a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config, self.trees = config, config.stream
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(KeyBeat(config), always_ready=True)),
                "o": Out(stream.Signature(Group(config), always_ready=True)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        where, valid = Signal(_Where(self.config)), self.i.valid
        self.stages: list[Signal] = []
        self._where(m, where)
        keys = self._keys(m)
        where, valid = self._later(m, where, valid, "keys")
        level = self._queries(m, valid, where.first, keys)
        where, valid = self._later(m, where, valid, "terms")
        while len(level[0]) > 1:
            for _ in range(TREE_LEVELS):
                level = [self._halve(m, nodes) for nodes in level]
            stage = len(level[0])
            level = [[self._hold(m, node, f"tree{k}_{stage}_") for node in nodes] for k, nodes in enumerate(level)]
            where, valid = self._later(m, where, valid, f"tree_{stage}")
        self._group(m, valid, where, [nodes[0] for nodes in level])
        m.d.comb += self.busy.eq(Cat(self.stages).any() | self.o.valid)
        return m

    def _later(self, m: Module, where, valid, name: str):
        """What goes with a beat, a stage on."""
        next_where = Signal(_Where(self.config), name=f"where_{name}", reset_less=True)
        next_valid = Signal(name=f"valid_{name}")
        m.d.sync += [next_where.eq(where), next_valid.eq(valid)]
        self.stages.append(next_valid)
        return next_where, next_valid

    def _where(self, m: Module, where) -> None:
        """The lane of a beat's first key, and what is over with its last."""
        config, beat = self.config, self.i.p
        lane = Signal(ceil_log2(config.columns))
        last, inside = Signal.like(lane), Signal.like(lane)
        pair = beat.pair if config.stream > 1 else 0
        narrow = self.setting.wide == 0
        m.d.comb += [
            # Places in a block of 1, 2, 4, ... keys: none, one, two, ... bits of a lane's number.
            inside.eq(Cat(self.setting.wide > step for step in range(config.steps - 1))),
            last.eq(lane + pair),
            where.first.eq(~(lane & inside).any()),
            where.lane.eq(lane & ~inside),
            where.two.eq(pair & narrow),
            where.block.eq(narrow | ((last & inside) == inside) | beat.end_row),
            where.end.eq((last == config.columns - 1) | beat.end_row),
            where.end_row.eq(beat.end_row),
            where.end_head.eq(beat.end_head),
        ]
        if config.fill:
            m.d.comb += [where.key.eq(lane), where.there.eq(Cat(queries.any() for queries in beat.valid))]
        with m.If(self.i.valid):
            m.d.sync += lane.eq(Mux(beat.end_row, 0, last + 1))

    def _keys(self, m: Module) -> list[list]:
        """Of each query, its share in the block of a beat's first key, and in that of the second alone; registered."""
        config, shape = self.config, shape_of(self.config.term)
        absolute = chosen(config, self.setting, "absolute")
        peak = chosen(config, self.setting, "peak_columns")
        shares: list[list] = [[] for _ in range(config.stream)]
        for query in range(config.height):
            keys = []
            for key in range(config.stream):
                score, there = self.i.p.scores[key][query], self.i.p.valid[key][query]
                value = Signal(shape, name=f"value{key}_{query}")
                m.d.comb += value.eq(Mux(there, Mux(absolute, abs(score), score), 0))
                keys.append((value, there))
            if len(keys) > 1:
                both, narrow = self._join(m, *keys, peak), self.setting.wide == 0
                keys[0] = tuple(Mux(narrow, alone, joined) for alone, joined in zip(keys[0], both, strict=True))
            for key, share in enumerate(keys):
                held = Signal(shape, name=f"key{key}_{query}", reset_less=True)
                there = Signal(name=f"there{key}_{query}", reset_less=True)
                m.d.sync += [held.eq(share[0]), there.eq(share[1])]
                shares[key].append((held, there))
        return shares

    def _queries(self, m: Module, valid, first, keys: list[list]) -> list[list]:
        """The shares of all keys of a block so far, registered."""
        peak, shape, shares = chosen(self.config, self.setting, "peak_columns"), shape_of(self.config.term), []
        for query, new in enumerate(keys[0]):
            share = Signal(shape, name=f"share{query}", reset_less=True)
            some = Signal(name=f"some{query}", reset_less=True)
            total = self._join(m, (share, some), new, peak)
            with m.If(valid):
                m.d.sync += [share.eq(Mux(first, new[0], total[0])), some.eq(Mux(first, new[1], total[1]))]
            shares.append((share, some))
        return [shares, *([self._hold(m, node, "second") for node in nodes] for nodes in keys[1:])]

    def _join(self, m: Module, left, right, peak):
        """Of two: the sum, or the larger one that is there; 0 if there is none."""
        value = Signal(left[0].shape())
        larger = Mux(left[1] & (~right[1] | exceeds(left[0], right[0])), left[0], right[0])
        m.d.comb += value.eq(Mux(peak, larger, left[0] + right[0]))
        return value, left[1] | right[1]

    def _halve(self, m: Module, nodes: list) -> list:
        """A level of the tree over the queries."""
        peak, shape = chosen(self.config, self.setting, "peak_rows"), shape_of(self.config.theta)
        joined = []
        for left, right in zip_longest(nodes[::2], nodes[1::2]):
            wide = [(Signal(shape), there) for _, there in (left, right or left)]
            m.d.comb += [new.eq(old) for (new, _), (old, _) in zip(wide, (left, right or left), strict=True)]
            joined.append(self._join(m, *wide, peak) if right else wide[0])
        return joined

    def _hold(self, m: Module, node, name: str):
        held = tuple(Signal.like(part, name=f"{name}{k}", reset_less=True) for k, part in enumerate(node))
        m.d.sync += [new.eq(old) for new, old in zip(held, node, strict=True)]
        return held

    def _group(self, m: Module, valid, where, blocks: list) -> None:
        """Thetas, in excess, to their lanes; a group is there in the cycle after its last one."""
        config, bits = self.config, self.config.theta.bits
        group, exists, fresh = self.o.p, Signal(config.lanes, reset_less=True), Signal(init=1)
        m.d.comb += group.exists.eq(exists)
        m.d.sync += [
            self.o.valid.eq(valid & where.end),
            group.end_row.eq(where.end_row),
            group.end_head.eq(where.end_head),
        ]
        with m.If(valid):
            m.d.sync += fresh.eq(where.end)
        with m.If(valid & fresh):
            m.d.sync += exists.eq(0)
        if config.fill:
            self._there(m, valid, where, fresh)
        for lane in range(config.lanes):
            theta = Signal(bits, name=f"theta{lane}", reset_less=True)
            m.d.comb += group.theta[lane].eq(theta & exists[lane].replicate(bits))
            for tree, (value, there) in enumerate(blocks):
                here = where.block & (where.lane == lane) if tree == 0 else where.two & (where.lane + 1 == lane)
                with m.If(valid & here):
                    m.d.sync += [
                        theta.eq(Cat(value[:-1], value[-1] ^ int(config.theta.signed))),
                        exists[lane].eq(there),
                    ]

    def _there(self, m: Module, valid, where, fresh: Signal) -> None:
        """Keys of the group with a valid score."""
        keys = Signal(self.config.columns, reset_less=True)
        m.d.comb += self.o.p.keys.eq(keys)
        with m.If(valid):
            m.d.sync += keys.eq(Mux(fresh, 0, keys) | (where.there << where.key))
