"""Between a unit's queue and the unit."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.control.layouts import PC_BITS, Queued


class Issue(wiring.Component):
    """Offers the head of a unit's queue to the unit once all of its tokens are there, and takes them all when the unit
    takes it.

    No latency, one instruction a cycle. What has been offered stays offered under `freeze`: a stream's valid does not
    fall.

    Ports: `i`: the queue. `o`: the unit's instruction stream. `available`: units whose token is there; `take`: units
    whose token is taken in this cycle. `missing`: units for whose token the head waits. `freeze`: offer nothing new.
    `started`: an instruction went to the unit. `pc`: the one that did so last.
    """

    def __init__(self, unit: isa.Unit) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(Queued(unit))),
                "o": Out(stream.Signature(isa.INSTRUCTION_BITS)),
                "available": In(isa.UNITS),
                "take": Out(isa.UNITS),
                "missing": Out(isa.UNITS),
                "freeze": In(1),
                "started": Out(1),
                "pc": Out(PC_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        head = isa.Head(self.i.payload.instruction[: isa.Head.as_shape().size])
        offered = Signal()
        m.d.comb += [
            self.missing.eq(Mux(self.i.valid, head.wait & ~self.available, 0)),
            self.o.payload.eq(self.i.payload.instruction),
            self.o.valid.eq(self.i.valid & ~self.missing.any() & (~self.freeze | offered)),
            self.started.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(self.started),
            self.take.eq(Mux(self.started, head.wait, 0)),
        ]
        m.d.sync += offered.eq(self.o.valid & ~self.o.ready)
        with m.If(self.started):
            m.d.sync += self.pc.eq(self.i.payload.pc)
        return m
