"""The way of an address and its order, from the sequencers of rows and weights."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import PAIR, Queue
from celosia.hw.config import Config
from celosia.hw.interfaces import scratchpad_read


class Asked(data.StructLayout):
    """An address of the scratchpad, and the order that says what its word is for."""

    def __init__(self, config: Config, order: data.StructLayout) -> None:
        super().__init__({"address": scratchpad_read(config).address_bits, "order": order})


class Asker(wiring.Component):
    """Sends each address to the scratchpad and its order to its queue in one cycle.

    Whether there is room is told ahead, from a register: so that a sequencer decides by nothing else.
    An order with `zero` or `stored` has no word of the scratchpad, and its address is not sent.
    Ports: `i`: what to send; always taken. `begun`: one has been begun that will come at `i`, `ahead` + 1 cycles later
    at most; never without `room`. `address`, `order`. Latency: two cycles. Throughput: one a cycle.
    """

    ROOM = 5
    """Those begun and not yet sent: as many as the cycles from one to the other, and back to `room`. Some of
    them are in the queue's register. As many more as cycles `ahead`."""

    def __init__(self, config: Config, order: data.StructLayout, ahead: int = 0) -> None:
        self.asked, self.places = Asked(config, order), self.ROOM + ahead
        super().__init__(
            {
                "i": In(stream.Signature(self.asked, always_ready=True)),
                "begun": In(1),
                "room": Out(1, init=1),
                "address": scratchpad_read(config).members["address"],
                "order": Out(stream.Signature(order)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.asked, self.places - PAIR, registered=True)
        o, free, sent = queue.o, Signal(range(self.places + 1), init=self.places), Signal()
        asks, sends = o.valid & self.order.ready, self.address.ready
        for name in ("zero", "stored"):
            if name in o.payload.order.shape().members:
                asks, sends = asks & ~o.payload.order[name], sends | o.payload.order[name]
        m.d.comb += [
            queue.i.payload.eq(self.i.payload),
            queue.i.valid.eq(self.i.valid),
            self.address.payload.eq(o.payload.address),
            self.order.payload.eq(o.payload.order),
            self.address.valid.eq(asks),
            self.order.valid.eq(o.valid & sends),
            o.ready.eq(sends & self.order.ready),
        ]
        m.d.sync += sent.eq(o.valid & o.ready)
        with m.If(self.begun & ~sent):
            m.d.sync += [free.eq(free - 1), self.room.eq(free != 1)]
        with m.Elif(sent & ~self.begun):
            m.d.sync += [free.eq(free + 1), self.room.eq(1)]
        return m
