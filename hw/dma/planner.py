"""The front of LOAD and STORE: from instructions to checked segments and their bursts."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw import isa
from celosia.hw.common.buffers import Queue
from celosia.hw.config import Config
from celosia.hw.dma.bursts import Bursts
from celosia.hw.dma.decode import Decode
from celosia.hw.dma.layouts import Burst, Segment
from celosia.hw.dma.segments import Segments
from celosia.hw.dma.windows import WindowsSignature
from celosia.hw.interfaces import Fault


class Planner(wiring.Component):
    """Turns instructions into bursts for the bus and, beside them, segments for the scratchpad side, both in order.

    It runs ahead into following instructions. A segment's first burst is out five cycles after its instruction was
    taken, then one burst a cycle. Faults: see `Decode` and `Segments`; nothing of the faulting segment leaves.

    `ahead`: segments that may wait for the scratchpad side.
    Ports: `i`: instructions. `windows`. `segment`, `burst`: streams. `fault`: valid from a fault on.
    """

    def __init__(self, config: Config, opcode: isa.Opcode, *, ahead: int) -> None:
        self.config, self.opcode, self.ahead = config, opcode, ahead
        super().__init__(
            {
                "i": In(stream.Signature(isa.INSTRUCTION_BITS)),
                "windows": In(WindowsSignature(config)),
                "segment": Out(stream.Signature(Segment(config))),
                "burst": Out(stream.Signature(Burst(config))),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.decode = decode = Decode(self.config, self.opcode)
        m.submodules.segments = segments = Segments(self.config)
        m.submodules.bursts = bursts = Bursts(self.config)
        m.submodules.queue = queue = Queue(Segment(self.config), self.ahead)
        connect(m, flipped(self.i), decode.i)
        connect(m, flipped(self.windows), decode.windows)
        connect(m, decode.o, segments.i)
        connect(m, segments.fault, flipped(self.fault))
        connect(m, bursts.o, flipped(self.burst))
        connect(m, queue.o, flipped(self.segment))
        # A segment goes both ways at once.
        both = segments.o
        m.d.comb += [
            bursts.i.payload.eq(both.payload),
            queue.i.payload.eq(both.payload),
            bursts.i.valid.eq(both.valid & queue.i.ready),
            queue.i.valid.eq(both.valid & bursts.i.ready),
            both.ready.eq(queue.i.ready & bursts.i.ready),
        ]
        return m
