"""STORE: from the scratchpad to memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw import isa
from celosia.hw.common.buffers import PairBuffer
from celosia.hw.config import Config
from celosia.hw.dma.axi import axi_write
from celosia.hw.dma.planner import Planner
from celosia.hw.dma.resize import Resize
from celosia.hw.dma.track import FirstFault, InFlight
from celosia.hw.dma.windows import WindowsSignature
from celosia.hw.dma.wordreader import WordReader
from celosia.hw.dma.writemaster import WriteMaster
from celosia.hw.interfaces import Status, UnitSignature, scratchpad_read


class Store(wiring.Component):
    """Executes `isa.Transfer` with opcode STORE.

    Requests and scratchpad reads run ahead over instructions; up to `config.bus.outstanding` bursts wait for their
    acknowledgement. Throughput: a beat or a word a cycle, whichever is the smaller, without gaps between bursts,
    segments and instructions; AWVALID rises six cycles after an instruction is taken. Segments that touch on both
    sides travel as one.

    Faults: as in `Load`. After a fault or `quiesce` no burst starts, beats still owed are sent with strobes 0, and
    nothing is done.

    Ports: `control`: unit side; `done` comes in the cycle after the last acknowledgement. Status: BUSY a beat is
    taken by the bus, STALL_IN waits for scratchpad words, STALL_OUT memory is not ready or has not acknowledged.
    `windows`. `axi`: write half. `read`: scratchpad. `quiesce`: stop, held until reset. `idle`: no burst in flight.
    `beat`: a beat was taken by the bus.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "windows": In(WindowsSignature(config)),
                "axi": Out(axi_write(config)),
                "read": Out(scratchpad_read(config)),
                "quiesce": In(1),
                "idle": Out(1),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.planner = planner = Planner(config, isa.Opcode.STORE, ahead=4)
        m.submodules.reader = reader = WordReader(config)
        # An address is granted late.
        m.submodules.addresses = addresses = PairBuffer(reader.address.payload.shape())
        m.submodules.resize = resize = Resize(8 * config.word_bytes, 8 * config.bus.bytes)
        m.submodules.master = master = WriteMaster(config)
        m.submodules.fault = fault = FirstFault()
        m.submodules.flight = flight = InFlight(config.bus.outstanding + 8)
        connect(m, flipped(self.control.instruction), planner.i)
        connect(m, flipped(self.windows), planner.windows)
        connect(m, planner.segment, reader.segment)
        connect(m, reader.address, addresses.i)
        connect(m, addresses.o, flipped(self.read.address))
        connect(m, flipped(self.read.data), resize.i)
        connect(m, resize.o, master.i)
        connect(m, planner.burst, master.burst)
        connect(m, master.axi, flipped(self.axi))
        connect(m, master.done, flipped(self.control.done))
        connect(m, master.fault, fault.a)
        connect(m, planner.fault, fault.b)
        connect(m, fault.o, flipped(self.control.fault))
        quiet = Signal()
        m.d.sync += quiet.eq(self.quiesce)
        m.d.comb += [
            master.stop.eq(quiet | planner.fault.valid | master.fault.valid),
            flight.start.eq(self.control.instruction.valid & self.control.instruction.ready),
            flight.finish.eq(master.done.valid),
            self.control.busy.eq(flight.busy),
            self.idle.eq(master.idle),
            self.beat.eq(self.axi.wvalid & self.axi.wready),
        ]
        self._status(m, master)
        return m

    def _status(self, m: Module, master: WriteMaster) -> None:
        status = self.control.status
        with m.If(self.beat):
            m.d.comb += status.eq(Status.BUSY)
        with m.Elif(self.axi.wvalid | (~master.owes & ~master.idle)):
            m.d.comb += status.eq(Status.STALL_OUT)
        with m.Elif(self.control.busy):
            m.d.comb += status.eq(Status.STALL_IN)
