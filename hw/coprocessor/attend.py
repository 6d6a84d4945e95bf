"""ATTEND: from instructions to the cores, and back to control in their order."""

from amaranth.hdl import Array, Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from celosia.hw import isa
from celosia.hw.common.buffers import Queue
from celosia.hw.coprocessor.config import OPERANDS, CoprocessorConfig
from celosia.hw.coprocessor.layouts import Start, Ticket
from celosia.hw.dma.track import InFlight
from celosia.hw.hdp.core.layouts import ALIGNED
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import RHO_ONE
from celosia.hw.interfaces import Status, UnitSignature


class Attend(wiring.Component):
    """Executes `isa.Attend`: gives each head to its core, in order, and tells control when it is done, in order too.

    An instruction waits here until its core takes it: a core has up to `HEADS` heads under way, and those behind wait
    with it. Cores that end out of order are remembered, and reported in order.
    A core is given its head three cycles after the instruction came; one instruction every three cycles. `done` comes
    in the cycle after `ended` of its head, or after that of the instruction before.

    Faults, before a head is given (`isa.Attend` says which; the first that holds): ILLEGAL_INSTRUCTION,
    SCRATCHPAD_RANGE of Q, K, V, ACCUMULATOR_RANGE of the context. Nothing is given after a fault.

    Ports: `control`: unit side. Status: BUSY the PEs of a core work, STALL_IN heads are under way and none do.
    `starts`: to each core. `ended`: of each core, for a cycle: a head's context is written. `working`: of each core.
    """

    def __init__(self, config: CoprocessorConfig) -> None:
        self.config = config
        self.depth = config.tickets
        super().__init__(
            {
                "control": In(UnitSignature()),
                "starts": Out(stream.Signature(Start(config))).array(config.cores),
                "ended": In(1).array(config.cores),
                "working": In(1).array(config.cores),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        control, cores = self.control, self.config.cores
        held, code, address = Signal(isa.Attend, reset_less=True), Signal(isa.Trap), Signal(64, reset_less=True)
        body = held.body
        m.submodules.tickets = tickets = Queue(Ticket(self.config), self.depth)
        m.submodules.flight = flight = InFlight(self.depth + 1)
        offers, given = Signal(), Signal()
        ready = Array(start.ready for start in self.starts)
        m.d.comb += [
            given.eq(offers & tickets.i.ready & ready[body.core[: ceil_log2(cores)]]),
            tickets.i.valid.eq(given),
            tickets.i.p.core.eq(body.core),
            tickets.i.p.mask.eq(held.head.signal),
            flight.start.eq(control.instruction.valid & control.instruction.ready),
            flight.finish.eq(control.done.valid),
            control.busy.eq(flight.busy),
            control.fault.p.code.eq(code),
            control.fault.p.address.eq(address),
        ]
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += control.instruction.ready.eq(1)
                m.d.sync += held.eq(control.instruction.payload)
                with m.If(control.instruction.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                self._check(m, body, code, address)
                m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += [control.fault.valid.eq(code != isa.Trap.NONE), offers.eq(code == isa.Trap.NONE)]
                with m.If(given):
                    m.next = "TAKE"
        self._give(m, body, offers & tickets.i.ready)
        self._report(m, tickets, flight)
        return m

    def _check(self, m: Module, body, code: Signal, address: Signal) -> None:
        """The trap of an instruction, in the cycle after."""
        config, core = self.config, self.config.core
        region_bits = exact_log2(core.parts * core.rows)
        flags = Cat(body.absolute, body.peak_columns, body.peak_rows)
        built = Cat(flags == Cat(*(Const(bit, 1) for bit in RULES[rule].values())) for rule in core.rules).any()
        rows = Cat(body.query, body.key, body.value)
        odd = Cat(rows.word_select(k, 16)[: exact_log2(ALIGNED)] for k in range(OPERANDS)).any()
        illegal = (
            (body.core >= config.cores)
            | (body.length == 0)
            | (body.length > core.length)
            | ~built
            | odd
            | (body.rho > RHO_ONE)
            | (body.rho < -RHO_ONE)
            | (body.headed & (not core.tau))
        )
        m.d.sync += code.eq(isa.Trap.NONE)
        # The last assignment holds: go backwards, so that the first bad place is reported.
        places = [(isa.Trap.ACCUMULATOR_RANGE, body.core, body.context)]
        for k, row in reversed(list(enumerate((body.query, body.key, body.value)))):
            places.append((isa.Trap.SCRATCHPAD_RANGE, body.core * OPERANDS + k, row))
        for trap, region, row in places:
            with m.If(row + body.length > core.rows):
                m.d.sync += [code.eq(trap), address.eq((region << region_bits) + row)]
        with m.If(illegal):
            m.d.sync += [code.eq(isa.Trap.ILLEGAL_INSTRUCTION), address.eq(0)]

    def _give(self, m: Module, body, offers) -> None:
        """The instruction's fields are named as those of a job."""
        for k, start in enumerate(self.starts):
            job = start.p.job
            m.d.comb += [
                start.valid.eq(offers & (body.core == k)),
                start.p.context.eq(body.context),
                *(job[name].eq(body[name]) for name, _ in job.shape()),
            ]

    def _report(self, m: Module, tickets: Queue, flight: InFlight) -> None:
        control, ticket = self.control, tickets.o
        over = Signal(self.config.cores)
        for k, ended in enumerate(self.ended):
            count = Signal(range(self.depth + 1), name=f"ended{k}_count")
            reported = Signal(name=f"reported{k}")
            m.d.comb += [over[k].eq(count != 0), reported.eq(control.done.valid & (ticket.p.core == k))]
            m.d.sync += count.eq(count + ended - reported)
        m.d.comb += [
            control.done.valid.eq(ticket.valid & over.bit_select(ticket.p.core, 1)),
            control.done.p.mask.eq(ticket.p.mask),
            ticket.ready.eq(control.done.valid),
        ]
        with m.If(Cat(self.working).any()):
            m.d.comb += control.status.eq(Status.BUSY)
        with m.Elif(flight.busy):
            m.d.comb += control.status.eq(Status.STALL_IN)
