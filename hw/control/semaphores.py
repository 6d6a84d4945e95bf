"""Counting semaphores between units."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.control.layouts import PC_BITS, Cause

COUNT_BITS = 8
"""Width of a semaphore: more than 255 tokens waiting in one are a trap."""


class Semaphore(wiring.Component):
    """One counter of tokens. A token given in a cycle may be taken from the next on.

    Ports: `give`, `take`: one token each; never take without `available`. `overflow`: a token was given to a full
    counter and lost, in the cycle before.
    """

    def __init__(self) -> None:
        super().__init__({"give": In(1), "take": In(1), "available": Out(1), "overflow": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        count = Signal(COUNT_BITS)
        full = Signal()
        m.d.comb += full.eq(count.all())
        m.d.sync += self.overflow.eq(self.give & ~self.take & full)
        with m.If(self.give & ~self.take):
            m.d.sync += [count.eq(count + ~full), self.available.eq(1)]
        with m.Elif(self.take & ~self.give):
            m.d.sync += [count.eq(count - 1), self.available.eq(count != 1)]
        return m


class Semaphores(wiring.Component):
    """A semaphore for each ordered pair of units, a unit with itself included.

    Ports: `give[u]`: units to which unit u gives a token in this cycle. `take[u]`: units whose token unit u takes.
    `available[u]`: units whose token waits for unit u. `pc[u]`: the instruction that unit u started last. `fault`:
    overflow two cycles before, with giver * UNITS + receiver as the address.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "give": In(isa.UNITS).array(isa.UNITS),
                "take": In(isa.UNITS).array(isa.UNITS),
                "available": Out(isa.UNITS).array(isa.UNITS),
                "pc": In(PC_BITS).array(isa.UNITS),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        overflows = {}
        for giver in isa.Unit:
            for receiver in isa.Unit:
                name = f"{giver.name}_{receiver.name}".lower()
                m.submodules[name] = semaphore = Semaphore()
                m.d.comb += [
                    semaphore.give.eq(self.give[giver][receiver]),
                    semaphore.take.eq(self.take[receiver][giver]),
                    self.available[receiver][giver].eq(semaphore.available),
                ]
                overflows[giver, receiver] = semaphore.overflow
        self._fault(m, overflows)
        return m

    def _fault(self, m: Module, overflows: dict[tuple[isa.Unit, isa.Unit], Signal]) -> None:
        fault = self.fault.payload
        pair = Signal(range(isa.UNITS**2))
        pc = Signal(PC_BITS)
        m.d.comb += fault.code.eq(isa.Trap.SEMAPHORE_OVERFLOW)
        # The last assignment holds: go backwards, so that the lowest pair is reported.
        for (giver, receiver), overflow in reversed(overflows.items()):
            with m.If(overflow):
                m.d.comb += [pair.eq(giver * isa.UNITS + receiver), pc.eq(self.pc[giver])]
        m.d.sync += [
            self.fault.valid.eq(Cat(overflows.values()).any()),
            fault.address.eq(pair),
            fault.pc.eq(pc),
        ]
