"""Lists and head slots that are yet to be written, and the end of instructions in their order."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.common.buffers import Queue
from celosia.hw.config import Config
from celosia.hw.interfaces import Done


class Scoreboard(wiring.Component):
    """Up to `depth` (a power of two) decisions under way.

    Ports: `put`: one begins that writes `put_list`, and `put_slot` with `put_head`; never without `room`. `free`: the
    oldest is written. `list`, `headed`, `slot`: what somebody wants to read; `pending`: it is yet to be written, a
    cycle later. `idle`: none is under way.
    """

    def __init__(self, config: Config, depth: int) -> None:
        self.depth = depth
        assert config.hdp is not None
        wanted = {"list": In(config.hdp.list_bits), "headed": In(1), "slot": In(isa.HEAD_SLOT_BITS)}
        super().__init__(
            {
                "put": In(1),
                "put_list": In(config.hdp.list_bits),
                "put_head": In(1),
                "put_slot": In(isa.HEAD_SLOT_BITS),
                "free": In(1),
                **wanted,
                "pending": Out(1),
                "room": Out(1, init=1),
                "idle": Out(1, init=1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        newest, oldest = Signal(ceil_log2(self.depth)), Signal(ceil_log2(self.depth))
        level, hits = Signal(range(self.depth + 1)), []
        for k in range(self.depth):
            valid, head = Signal(name=f"valid{k}"), Signal(name=f"head{k}", reset_less=True)
            list_, slot = Signal.like(self.list, name=f"list{k}"), Signal.like(self.slot, name=f"slot{k}")
            with m.If(self.put & (newest == k)):
                m.d.sync += [
                    valid.eq(1),
                    list_.eq(self.put_list),
                    head.eq(self.put_head),
                    slot.eq(self.put_slot),
                ]
            with m.Elif(self.free & (oldest == k)):
                m.d.sync += valid.eq(0)
            hits.append(valid & ((list_ == self.list) | (self.headed & head & (slot == self.slot))))
        m.d.sync += [
            self.pending.eq(Cat(hits).any()),
            newest.eq(newest + self.put),
            oldest.eq(oldest + self.free),
        ]
        with m.If(self.put & ~self.free):
            m.d.sync += [level.eq(level + 1), self.room.eq(level != self.depth - 1), self.idle.eq(0)]
        with m.Elif(self.free & ~self.put):
            m.d.sync += [level.eq(level - 1), self.room.eq(1), self.idle.eq(level == 1)]
        return m


class Ending(data.Struct):
    """What the end of an instruction waits for: its last row in the accumulator (`rows`), its list (`list`). `mask`:
    units to signal."""

    rows: 1
    list: 1
    mask: isa.UNITS


class Completion(wiring.Component):
    """Tells of the end of instructions in their order, though a DECIDE takes longer than what follows it.

    Ports: `i`: instructions as they begin, at most `depth` that have not ended. `written`: somebody's last row is in
    the accumulator; `listed`: somebody's list is written; both in the order of those that wait for it. `o`: an
    instruction ended, two cycles later at the earliest.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(Ending)),
                "written": In(1),
                "listed": In(1),
                "o": Out(stream.Signature(Done, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(Ending, self.depth)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        head, ends = queue.o.p, Signal()
        there = []
        for name, wants, comes in (("rows", head.rows, self.written), ("lists", head.list, self.listed)):
            count = Signal(range(self.depth + 1), name=name)
            m.d.sync += count.eq(count + comes - (ends & wants))
            there.append(~wants | count.any())
        m.d.comb += [ends.eq(queue.o.valid & Cat(there).all()), queue.o.ready.eq(Cat(there).all())]
        m.d.sync += [self.o.valid.eq(ends), self.o.p.mask.eq(head.mask)]
        return m
