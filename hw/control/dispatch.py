"""From the program's instruction stream to the queues of the units."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.control.layouts import PC_BITS, Cause, Fetched, Queued
from celosia.hw.legal import executes


def legal_opcodes(unit: isa.Unit, rate: int) -> list[isa.Opcode]:
    """What a unit executes in an accelerator of that nibble rate (`Config.rate`)."""
    return [opcode for opcode in isa.Opcode if opcode.unit == unit and executes(opcode, rate)]


class Dispatch(wiring.Component):
    """Sends each instruction, in order, to its unit's queue; stops at END, and for good at an illegal instruction.

    No latency, one instruction a cycle. A full queue holds up the instructions behind. Reset it before a program.

    `rate`: nibble rate of hybrid dynamic pruning (`Config.rate`), which says what is legal.
    Ports: `i`: instructions. `load`, `array`, `post`, `store`: to the queues. `taken`: an instruction, or END, was
    dispatched in this cycle. `pc`: the next instruction. `ended`: END has been dispatched. `fault`: the next
    instruction is illegal, or the program ends before it; from the cycle after it came.
    """

    def __init__(self, *, rate: int = 0) -> None:
        self.rate = rate
        super().__init__(
            {
                "i": In(stream.Signature(Fetched)),
                **{unit.name.lower(): Out(stream.Signature(Queued(unit, rate))) for unit in isa.Unit},
                "taken": Out(1),
                "pc": Out(PC_BITS),
                "ended": Out(1),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        fetched, fault = self.i.payload, self.fault.payload
        opcode = isa.Head(fetched.instruction[: isa.Head.as_shape().size]).opcode
        m.d.comb += [
            fault.code.eq(isa.Trap.ILLEGAL_INSTRUCTION),
            fault.pc.eq(fetched.pc),
            self.taken.eq(self.i.valid & self.i.ready),
        ]
        for unit in isa.Unit:
            queue = getattr(self, unit.name.lower())
            m.d.comb += [queue.payload.instruction.eq(fetched.instruction), queue.payload.pc.eq(fetched.pc)]
        with m.If(self.i.valid & ~self.ended):
            with m.If(fetched.past):
                m.d.sync += self.fault.valid.eq(1)
            with m.Else(), m.Switch(opcode.as_value()):
                for unit in isa.Unit:
                    queue = getattr(self, unit.name.lower())
                    with m.Case(*(code.value for code in legal_opcodes(unit, self.rate))):
                        m.d.comb += [queue.valid.eq(1), self.i.ready.eq(queue.ready)]
                with m.Case(isa.Opcode.END.value):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += self.ended.eq(1)
                with m.Default():
                    m.d.sync += self.fault.valid.eq(1)
        with m.If(self.taken):
            m.d.sync += self.pc.eq(fetched.pc + 1)
        return m
