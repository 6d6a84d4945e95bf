"""LOAD: from memory to the scratchpad."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.dma.axi import axi_read
from celosia.hw.dma.placer import Placer
from celosia.hw.dma.planner import Planner
from celosia.hw.dma.readmaster import ReadMaster
from celosia.hw.dma.resize import Resize
from celosia.hw.dma.track import FirstFault, InFlight
from celosia.hw.dma.windows import WindowsSignature
from celosia.hw.interfaces import Status, UnitSignature, scratchpad_write


class Load(wiring.Component):
    """Executes `isa.Transfer` with opcode LOAD.

    Requests run ahead of data, over instructions, by up to `config.bus.outstanding` bursts. Throughput: a beat or a
    word a cycle, whichever is the smaller, without gaps between bursts, segments and instructions; ARVALID rises six
    cycles after an instruction is taken. Segments that touch on both sides travel as one.

    Faults: ILLEGAL_INSTRUCTION, MISALIGNED, SCRATCHPAD_RANGE, MEMORY_WINDOW (`Decode`, `Segments`) before a request
    leaves; BUS_ERROR with the burst's address. After a fault no burst starts, those in flight are taken; after
    BUS_ERROR their data are dropped.

    Ports: `control`: unit side; `done` comes in the cycle after the write port took the last word. Status: BUSY a
    word moves, STALL_IN waits for memory, STALL_OUT the scratchpad is not ready. `windows`. `axi`: read half.
    `write`: scratchpad. `quiesce`: start no new burst. `idle`: no burst in flight. `beat`: a beat was taken from the
    bus.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "windows": In(WindowsSignature(config)),
                "axi": Out(axi_read(config)),
                "write": Out(scratchpad_write(config)),
                "quiesce": In(1),
                "idle": Out(1),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, outstanding = self.config, self.config.bus.outstanding
        # A segment waits from its first request to its last word: two more than bursts, for those past the bus.
        m.submodules.planner = planner = Planner(config, isa.Opcode.LOAD, ahead=outstanding + 2)
        m.submodules.master = master = ReadMaster(config)
        m.submodules.resize = resize = Resize(8 * config.bus.bytes, 8 * config.word_bytes)
        m.submodules.placer = placer = Placer(config)
        m.submodules.fault = fault = FirstFault()
        m.submodules.flight = flight = InFlight(outstanding + 8)
        connect(m, flipped(self.control.instruction), planner.i)
        connect(m, flipped(self.windows), planner.windows)
        connect(m, planner.burst, master.burst)
        connect(m, master.axi, flipped(self.axi))
        connect(m, master.o, resize.i)
        connect(m, resize.o, placer.i)
        connect(m, planner.segment, placer.segment)
        connect(m, placer.write, flipped(self.write))
        connect(m, placer.done, flipped(self.control.done))
        connect(m, master.fault, fault.a)
        connect(m, planner.fault, fault.b)
        connect(m, fault.o, flipped(self.control.fault))
        quiet = Signal()
        m.d.sync += quiet.eq(self.quiesce)
        m.d.comb += [
            master.stop.eq(quiet | planner.fault.valid | master.fault.valid),
            flight.start.eq(self.control.instruction.valid & self.control.instruction.ready),
            flight.finish.eq(placer.done.valid),
            self.control.busy.eq(flight.busy),
            self.idle.eq(master.idle),
            self.beat.eq(self.axi.rvalid & self.axi.rready),
        ]
        self._status(m)
        return m

    def _status(self, m: Module) -> None:
        write, status = self.write.write, self.control.status
        moves = Signal()
        m.d.comb += moves.eq(self.beat | (write.valid & write.ready))
        with m.If(moves):
            m.d.comb += status.eq(Status.BUSY)
        with m.Elif(write.valid):
            m.d.comb += status.eq(Status.STALL_OUT)
        with m.Elif(self.control.busy):
            m.d.comb += status.eq(Status.STALL_IN)
