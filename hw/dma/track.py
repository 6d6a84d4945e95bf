"""What LOAD and STORE tell control about themselves."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.interfaces import Fault


class InFlight(wiring.Component):
    """Counts what was started and not yet finished, at most `limit`.

    Ports: `start`, `finish`: one each, the same cycle allowed. `busy`: some are in flight, from the cycle after the
    start.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__({"start": In(1), "finish": In(1), "busy": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        count = Signal(range(self.limit + 1))
        m.d.sync += count.eq(count + self.start - self.finish)
        m.d.comb += self.busy.eq(count.any())
        return m


class FirstFault(wiring.Component):
    """Holds the first of two faults; `a` wins when both come at once. One cycle of latency.

    Ports: `a`, `b`: faults, valid from when they happen. `o`: valid from the cycle after the first until reset.
    """

    def __init__(self) -> None:
        fault = stream.Signature(Fault, always_ready=True)
        super().__init__({"a": In(fault), "b": In(fault), "o": Out(fault)})

    def elaborate(self, platform) -> Module:
        m = Module()
        with m.If(~self.o.valid):
            m.d.sync += self.o.valid.eq(self.a.valid | self.b.valid)
            with m.If(self.a.valid):
                m.d.sync += self.o.payload.eq(self.a.payload)
            with m.Elif(self.b.valid):
                m.d.sync += self.o.payload.eq(self.b.payload)
        return m
