"""Between a unit's queue and the unit."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.control.layouts import PC_BITS, Queued


class Issue(wiring.Component):
    """Takes the head of a unit's queue, offers it to the unit once all of its tokens are there, and takes them all when
    the unit takes it.

    One cycle of latency, one instruction every other cycle. What has been offered stays offered under `freeze`: a
    stream's valid does not fall.

    Ports: `i`: the queue. `o`: the unit's instruction stream. `available`: units whose token is there; `take`: units
    whose token is taken, in the cycle of `started`. `missing`: units for whose token it waits. `freeze`: offer nothing
    new. `waits`: an instruction waits here or in the queue. `started`: an instruction went to the unit, in the cycle
    before. `pc`: the one that did so last.
    """

    def __init__(self, unit: isa.Unit, rate: int) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(Queued(unit, rate))),
                "o": Out(stream.Signature(isa.INSTRUCTION_BITS)),
                "available": In(isa.UNITS),
                "take": Out(isa.UNITS),
                "missing": Out(isa.UNITS),
                "freeze": In(1),
                "waits": Out(1),
                "started": Out(1),
                "pc": Out(PC_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # `vacant` is `~holds`, of its own because each bit of `held` hangs on it.
        held, offered = Signal.like(self.i.payload, reset_less=True), Signal()
        holds, vacant, starts = Signal(), Signal(init=1), Signal()
        head = isa.Head(held.instruction[: isa.Head.as_shape().size])
        m.d.comb += [
            self.missing.eq(Mux(holds, head.wait & ~self.available, 0)),
            self.o.payload.eq(held.instruction),
            self.o.valid.eq(holds & ~self.missing.any() & (~self.freeze | offered)),
            starts.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(vacant),
            self.waits.eq(holds | self.i.valid),
            # Soon enough for the next instruction, which comes into `held` at the end of this cycle.
            self.take.eq(Mux(self.started, head.wait, 0)),
        ]
        m.d.sync += [offered.eq(self.o.valid & ~self.o.ready), self.started.eq(starts)]
        with m.If(self.i.ready):
            m.d.sync += [held.eq(self.i.payload), holds.eq(self.i.valid), vacant.eq(~self.i.valid)]
        with m.If(starts):
            m.d.sync += [holds.eq(0), vacant.eq(1), self.pc.eq(held.pc)]
        return m
