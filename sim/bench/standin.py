"""A small machine with the outside of the accelerator, which copies memory: for tests of the simulator around it."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import Queue
from celosia.hw.config import Config
from celosia.hw.control.axilite import AxiLite, AxiLiteSignature
from celosia.hw.dma.axi import axi_read, axi_write
from celosia.hw.isa import Unit

BURST = 8
"""Beats of every burst; addresses are multiples of it."""
START, SOURCE, TARGET, BURSTS, FLAW = range(0, 20, 4)
"""Registers. START reads 1 while busy, 2 when done, 4 more after a bus error.
FLAW: 1 makes bursts of the wrong type, 2 withdraws requests.
"""


class Standin(wiring.Component):
    """Copies `BURSTS` bursts from SOURCE to TARGET as fast as the bus allows; reading a register ends the interrupt.

    Ports: those of `celosia.hw.top.Accelerator`. `activity_load`, `activity_store`: 1 while bursts are under way.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        members = {"aclk": In(1), "aresetn": In(1), "interrupt": Out(1)}
        members |= {f"activity_{unit.name.lower()}": Out(3) for unit in Unit}
        members |= {f"s_axi_{n}": member for n, member in AxiLiteSignature().flip().members.items()}
        for half in (axi_read(config), axi_write(config)):
            members |= {f"m_axi_{n}": member for n, member in half.members.items()}
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.queue = queue = Queue(data.StructLayout({"beat": 8 * self.config.bus.bytes}), 8 * BURST)
        start, busy, error, flaw = Signal(), Signal(), Signal(), Signal(2)
        source, target = (Signal(self.config.bus.address_bits) for _ in range(2))
        count, bursts, written = Signal(32), Signal(32), Signal(32)
        with m.If(start):
            m.d.sync += bursts.eq(count)
        self._registers(m, start, error, flaw, source, target, count, busy)
        with m.If(start):
            m.d.sync += busy.eq(1)
        with m.Elif(busy & (written == bursts)):
            m.d.sync += [busy.eq(0), self.interrupt.eq(1)]
        self._read(m, queue, start, error, flaw, source, bursts)
        self._write(m, queue, start, error, target, bursts, written)
        return m

    def _registers(self, m: Module, start, error, flaw, source, target, count, busy) -> None:
        m.submodules.slave = slave = AxiLite()
        for name, member in AxiLiteSignature().members.items():
            inside, outside = getattr(slave.s_axi, name), getattr(self, f"s_axi_{name}")
            m.d.comb += inside.eq(outside) if member.flow is Out else outside.eq(inside)
        bus = slave.registers
        m.d.comb += start.eq(bus.write & (bus.write_index == START // 4))
        with m.If(bus.write):
            for offset, register in ((SOURCE, source), (TARGET, target), (BURSTS, count), (FLAW, flaw)):
                with m.If(bus.write_index == offset // 4):
                    m.d.sync += register.eq(bus.write_data)
        m.d.comb += bus.write_error.eq(bus.write_index > FLAW // 4)
        with m.If(bus.read):
            m.d.sync += [bus.read_error.eq(bus.read_index > FLAW // 4), self.interrupt.eq(0)]
            m.d.sync += bus.read_data.eq(busy | (~busy << 1) | (error << 2))

    def _read(self, m: Module, queue: Queue, start, error, flaw, source, bursts) -> None:
        asked, room, done = Signal(32), Signal(range(8 * BURST + 1), init=8 * BURST), Signal(32)
        taken = Signal()
        request = Signal()
        m.d.comb += [
            taken.eq(self.m_axi_arvalid & self.m_axi_arready),
            request.eq(~self.m_axi_arvalid & (asked != bursts) & (room >= BURST)),
            self.m_axi_arlen.eq(BURST - 1),
            self.m_axi_arburst.eq(Mux(flaw[0], 0, 1)),
            queue.i.valid.eq(self.m_axi_rvalid),
            queue.i.payload.beat.eq(self.m_axi_rdata),
            self.m_axi_rready.eq(queue.i.ready),
            self.activity_load.eq(asked != done),
        ]
        # A free place in the queue for every beat that was asked for.
        m.d.sync += room.eq(room - Mux(request, BURST, 0) + (queue.o.valid & queue.o.ready))
        with m.If(start):
            m.d.sync += [asked.eq(0), done.eq(0), error.eq(0)]
        with m.Elif(request):
            m.d.sync += [
                self.m_axi_arvalid.eq(1),
                self.m_axi_araddr.eq(source + asked * BURST * self.config.bus.bytes),
                asked.eq(asked + 1),
            ]
        with m.If(taken | (flaw[1] & self.m_axi_arvalid)):
            m.d.sync += self.m_axi_arvalid.eq(0)
        with m.If(self.m_axi_rvalid & self.m_axi_rready):
            m.d.sync += done.eq(done + self.m_axi_rlast)
            with m.If(self.m_axi_rresp[1]):
                m.d.sync += error.eq(1)

    def _write(self, m: Module, queue: Queue, start, error, target, bursts, written) -> None:
        asked, beat = Signal(32), Signal(range(BURST))
        m.d.comb += [
            self.m_axi_awlen.eq(BURST - 1),
            self.m_axi_awvalid.eq(asked != bursts),
            self.m_axi_awaddr.eq(target + asked * BURST * self.config.bus.bytes),
            self.m_axi_wvalid.eq(queue.o.valid),
            queue.o.ready.eq(self.m_axi_wready),
            self.m_axi_wdata.eq(queue.o.payload.beat),
            self.m_axi_wstrb.eq(-1),
            self.m_axi_wlast.eq(beat == BURST - 1),
            self.m_axi_bready.eq(1),
            self.activity_store.eq(written != asked),
        ]
        with m.If(self.m_axi_wvalid & self.m_axi_wready):
            m.d.sync += beat.eq(beat + 1)
        with m.If(self.m_axi_awvalid & self.m_axi_awready):
            m.d.sync += asked.eq(asked + 1)
        with m.If(self.m_axi_bvalid):
            m.d.sync += written.eq(written + 1)
            with m.If(self.m_axi_bresp[1]):
                m.d.sync += error.eq(1)
        with m.If(start):
            m.d.sync += [asked.eq(0), written.eq(0)]
