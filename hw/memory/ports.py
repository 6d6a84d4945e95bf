"""From a memory's raw grants and answers to `ReadPortSignature`."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import Queue
from celosia.hw.interfaces import ReadPortSignature

ROOM = 5
"""Words that a read port keeps: enough for a word a cycle, with one to spare."""


class ReadPort(wiring.Component):
    """Keeps the words that a memory answers until the reader takes them, and asks only for words it has room for.

    Ports: `port`: the reader's side. `request`: addresses to the memory, taken when granted. `response`: the memory's
    answers, in order, at any latency. `room`: words, at least the memory's latency + 2 for full rate.
    Latency: none from `port.address` to `request`, one cycle from `response` to `port.data`.
    Throughput: one word a cycle.
    """

    def __init__(self, address_bits: int, width: int, room: int = ROOM) -> None:
        self.width, self.room = width, room
        super().__init__(
            {
                "port": In(ReadPortSignature(address_bits, width)),
                "request": Out(stream.Signature(unsigned(address_bits))),
                "response": In(stream.Signature(unsigned(width), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.words = words = Queue(self.width, self.room)
        # What was asked for is counted a cycle late: grants come late. `one`, `more`: as much is `free`.
        free, one, more = Signal(range(self.room + 1), init=self.room), Signal(), Signal(init=1)
        asked, taken, some = Signal(), Signal(), Signal()
        m.d.sync += asked.eq(self.request.valid & self.request.ready)
        m.d.comb += [
            some.eq(more | (one & ~asked)),
            self.request.payload.eq(self.port.address.payload),
            self.request.valid.eq(self.port.address.valid & some),
            self.port.address.ready.eq(self.request.ready & some),
            words.i.payload.eq(self.response.payload),
            words.i.valid.eq(self.response.valid),
            self.port.data.payload.eq(words.o.payload),
            self.port.data.valid.eq(words.o.valid),
            words.o.ready.eq(self.port.data.ready),
            taken.eq(words.o.valid & words.o.ready),
        ]
        with m.If(asked & ~taken):
            m.d.sync += [free.eq(free - 1), one.eq(free == 2), more.eq(free > 2)]
        with m.Elif(taken & ~asked):
            m.d.sync += [free.eq(free + 1), one.eq(~free.any()), more.eq(free.any())]
        return m
