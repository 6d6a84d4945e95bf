"""Traps and the watchdog."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.control.layouts import PC_BITS, Cause
from celosia.hw.registers import Activity


class Traps(wiring.Component):
    """Records the first cause; of several in one cycle the lowest. Reset it before a program.

    Ports: `causes`: who may report one. `enable`: record. `trapped`: from the cycle after a cause has come; then
    `cause` is the record.
    """

    def __init__(self, causes: int) -> None:
        super().__init__(
            {
                "causes": In(stream.Signature(Cause, always_ready=True)).array(causes),
                "enable": In(1),
                "trapped": Out(1),
                "cause": Out(Cause),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        first = Signal(Cause)
        # The last assignment holds: go backwards, so that the lowest cause is recorded.
        for cause in reversed(self.causes):
            with m.If(cause.valid):
                m.d.comb += first.eq(cause.payload)
        with m.If(self.enable & ~self.trapped & Cat(cause.valid for cause in self.causes).any()):
            m.d.sync += [self.trapped.eq(1), self.cause.eq(first)]
        return m


class Watchdog(wiring.Component):
    """Reports that `limit` cycles have passed without progress, then counts anew. Reset it before a program.

    Ports: `limit`: cycles, 0: never. `enable`: count. `progress`: something happened in this cycle. `activity[u]`: what
    unit u does; reported as the address, four bits a unit. `pc`: the next instruction to be dispatched. `fault`: for
    one cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "limit": In(32),
                "enable": In(1),
                "progress": In(1),
                "activity": In(Activity).array(isa.UNITS),
                "pc": In(PC_BITS),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        fault = self.fault.payload
        count = Signal(32)
        m.d.comb += [
            self.fault.valid.eq(self.enable & ~self.progress & (self.limit != 0) & (count >= self.limit)),
            fault.code.eq(isa.Trap.WATCHDOG),
            fault.address.eq(Cat(Cat(activity.as_value(), Signal(1)) for activity in self.activity)),
            fault.pc.eq(self.pc),
        ]
        with m.If(self.progress | ~self.enable | self.fault.valid):
            m.d.sync += count.eq(0)
        with m.Else():
            m.d.sync += count.eq(count + 1)
        return m
