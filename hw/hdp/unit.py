"""What decides on the dense array: sparsity engine, lists of kept keys, and what is under way between them."""

from amaranth.hdl import Assert, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.array.systolic import latency
from celosia.hw.common.buffers import Queue, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config, throttled
from celosia.hw.hdp.engine import SparsityEngine, engine_latency
from celosia.hw.hdp.kept import KeptKeys, Record
from celosia.hw.hdp.layouts import Masks, beat_layout
from celosia.hw.hdp.resolver import Rule, groups_bits
from celosia.hw.hdp.scoreboard import Scoreboard
from celosia.hw.hdp.walker import KeyWalker
from celosia.hw.hdp.widths import HEAD_BITS
from celosia.hw.interfaces import KeptSignature, KeySignature

_AROUND = 24
"""Cycles of a DECIDE on its way through sequencers, accumulator and walker, beside array and engine."""
_BEFORE = 6
"""DECIDEs in jobs and sequencers, in front of the one that streams."""


def most_decisions(config: Config) -> int:
    """DECIDEs under way, a power of two: as many of the shortest, a tile of `columns` cycles, as overlap."""
    cycles = latency(config) + engine_latency(engine_config(config)) + config.array.columns + _AROUND
    return 1 << (_BEFORE + cycles // config.array.columns).bit_length()


class Decisions(wiring.Component):
    """From a DECIDE's integer scores to a list of kept keys and a head's slot.

    Ports: `decides`: DECIDEs, before their `beats`, in order; as many are under way at most as `most_decisions`.
    `rule`: of all that are under way. `headed`, with list and slot of `kept`: is it `pending`, a cycle later; `idle`:
    none is under way. `kept`, `post`: counts of keys. `keys`: lists. `listed`: the oldest DECIDE is done.
    Beats may come in any cycle. The engine's masks never wait so long that its ring is full: groups come `columns`
    cycles apart or more, but for one that catches up, and a group is written in as many cycles at most; so no more wait
    than of the longest row, those of the cycles until its cut, and a few, which the engine has room for.
    With fill rows may take longer than they come apart; where two keys stream at a time, groups may come twice as often
    as they are written. There a DECIDE is taken only when the ring has room for all of its `groups`, with those that
    are under way, whose masks are taken whatever comes behind them.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.engine = SparsityEngine(engine_config(config))
        assert config.hdp is not None
        super().__init__(
            {
                "decides": In(stream.Signature(Record(config))),
                "beats": In(stream.Signature(beat_layout(engine_config(config)), always_ready=True)),
                "rule": In(Rule(config)),
                "pending": Out(1),
                "idle": Out(1),
                "kept": In(KeptSignature(config, turns=True)),
                "post": In(KeptSignature(config)),
                "keys": In(KeySignature(config)),
                "listed": Out(1),
                **({"groups": In(groups_bits(config))} if throttled(config) else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, depth = self.config, most_decisions(self.config)
        m.submodules.engine = engine = self.engine
        m.submodules.masks = masks = SkidBuffer(Masks(engine_config(config)))
        m.submodules.records = records = Queue(Record(config), depth)
        m.submodules.importances = importances = Queue(signed(HEAD_BITS), depth)
        m.submodules.walker = walker = KeyWalker(config)
        m.submodules.kept_keys = kept_keys = KeptKeys(config)
        m.submodules.scoreboard = scoreboard = Scoreboard(config, depth)
        for source, sink in (
            (flipped(self.beats), engine.i),
            (engine.masks, masks.i),
            (masks.o, walker.masks),
            (records.o, walker.records),
            (importances.o, walker.importances),
            (walker.entries, kept_keys.entries),
            (walker.verdicts, kept_keys.verdicts),
            (flipped(self.keys), kept_keys.keys),
            (flipped(self.kept), kept_keys.kept0),
            (flipped(self.post), kept_keys.kept1),
        ):
            connect(m, source, sink)
        room = self._room(m, masks) if throttled(config) else 1
        self._begin(m, records, scoreboard, room)
        m.d.comb += [
            *(engine.setting[name].eq(self.rule[name]) for name in Rule(config).members),
            importances.i.valid.eq(engine.head.valid),
            importances.i.p.eq(engine.head.p.importance),
            scoreboard.free.eq(walker.verdicts.valid),
            scoreboard.list.eq(self.kept.list),
            scoreboard.headed.eq(self.kept.headed),
            scoreboard.slot.eq(self.kept.slot),
            self.pending.eq(scoreboard.pending),
            self.idle.eq(scoreboard.idle),
            self.listed.eq(walker.verdicts.valid),
        ]
        m.d.sync += [
            Assert(~engine.overflow, "masks of the sparsity engine waited too long"),
            Assert(~engine.head.valid | importances.i.ready, "more heads than DECIDEs"),
            Assert(~masks.o.valid | records.o.valid, "masks of no DECIDE"),
            Assert(~walker.importances.ready | importances.o.valid, "a head ended before its importance was known"),
        ]
        return m

    def _room(self, m: Module, masks: SkidBuffer) -> Signal:
        """Whether the ring has room for what waits to begin. It waits for two cycles at least."""
        most = self.engine.depth - 1
        free, room = Signal(range(most + 1), init=most), Signal()
        begins, walks = self.decides.valid & self.decides.ready, masks.o.valid & masks.o.ready
        m.d.sync += [free.eq(free - Mux(begins, self.groups, 0) + walks), room.eq(free >= self.groups)]
        return room

    def _begin(self, m: Module, records: Queue, scoreboard: Scoreboard, room) -> None:
        """A DECIDE begins: everything that it needs later is kept."""
        record, begins = self.decides.p, Signal()
        m.d.comb += [
            begins.eq(self.decides.valid & self.decides.ready),
            self.decides.ready.eq(scoreboard.room if isinstance(room, int) else scoreboard.room & room),
            records.i.valid.eq(begins),
            records.i.p.eq(record),
            scoreboard.put.eq(begins),
            scoreboard.put_list.eq(record.list),
            scoreboard.put_head.eq(record.end_head),
            scoreboard.put_slot.eq(record.slot),
        ]
