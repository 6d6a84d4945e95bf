"""Queues in memories, and whose turn it is."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import PriorityArbiter, Queue
from celosia.hw.common.sram import Sram

_AHEAD = 3
"""Words between the memory and `o`: so many cycles pass from a read to the next one that its word makes room for."""


class SramQueue(wiring.Component):
    """First-in first-out buffer of `depth` words, a power of two, in a memory with clocked reads; a word a cycle.

    Ports: `i`, `o`: streams of `shape`. Latency: three cycles.
    """

    def __init__(self, shape, depth: int) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, at least 2, not {depth!r}")
        self.shape, self.depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.words = cells = Sram(self.depth, Shape.cast(self.shape).width)
        m.submodules.ahead = ahead = Queue(self.shape, _AHEAD)
        connect(m, ahead.o, flipped(self.o))
        written, read = (Signal(ceil_log2(self.depth), name=name) for name in ("written", "read"))
        stored, under_way, arrives = Signal(range(self.depth + 1)), Signal(range(_AHEAD + 1)), Signal()
        push, pop, fetch = self.i.valid & self.i.ready, self.o.valid & self.o.ready, Signal()
        m.d.comb += [
            self.i.ready.eq(stored != self.depth),
            fetch.eq((stored != 0) & (under_way != _AHEAD)),
            cells.write_en.eq(push),
            cells.write_address.eq(written),
            cells.write_data.eq(Value.cast(self.i.payload)),
            cells.read_en.eq(fetch),
            cells.read_address.eq(read),
            ahead.i.valid.eq(arrives),
            ahead.i.payload.eq(cells.read_data),
        ]
        m.d.sync += [
            written.eq(written + push),
            read.eq(read + fetch),
            stored.eq(stored + push - fetch),
            under_way.eq(under_way + fetch - pop),
            arrives.eq(fetch),
        ]
        return m


class Credits(wiring.Component):
    """Counts what is free of `total`.

    Ports: `take`, `give`: how many, in this cycle; never more taken than are free. `free`: a cycle after `give`.
    """

    def __init__(self, total: int, most: int = 1) -> None:
        self.total = total
        super().__init__({"take": In(range(most + 1)), "give": In(1), "free": Out(range(total + 1), init=total)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.sync += self.free.eq(self.free + self.give - self.take)
        return m


class Turns(wiring.Component):
    """Joins streams whose words come in runs that must not be parted: the lowest that has a word begins its run.

    Ports: `i`: streams of `shape`, each with `last[k]`: its word ends its run. `o`: always taken.
    Throughput: a word a cycle; the next run begins in the cycle after the last word of the one before.
    """

    def __init__(self, shape, inputs: int) -> None:
        self.shape, self.inputs = shape, inputs
        super().__init__(
            {
                "i": In(stream.Signature(shape)).array(inputs),
                "last": In(inputs),
                "o": Out(stream.Signature(shape, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.arbiter = arbiter = PriorityArbiter(self.inputs)
        owner, inside, ask, turn = Signal(self.inputs), Signal(), Signal(self.inputs), Signal(self.inputs)
        m.d.comb += [
            *(ask[k].eq(self.i[k].valid) for k in range(self.inputs)),
            arbiter.request.eq(ask),
            turn.eq(Mux(inside, owner, arbiter.grant)),
            self.o.valid.eq((turn & ask).any()),
            *(self.i[k].ready.eq(turn[k]) for k in range(self.inputs)),
        ]
        for k in range(self.inputs):
            with m.If(turn[k]):
                m.d.comb += self.o.payload.eq(self.i[k].payload)
        with m.If(self.o.valid):
            m.d.sync += [owner.eq(turn), inside.eq(~(turn & self.last).any())]
        return m
