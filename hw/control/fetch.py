"""Program fetch."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.common.buffers import Queue
from celosia.hw.config import Config
from celosia.hw.control.layouts import PC_BITS, Cause, Fetched
from celosia.hw.control.requests import (
    BURST_INSTRUCTIONS,
    Requests,
    burst_beats,
    offset_bits,
    pc_of_beat,
    request_layout,
)
from celosia.hw.dma.axi import FETCH_ID, axi_read
from celosia.hw.dma.resize import Resize

_QUEUE_BYTES = 2 * BURST_INSTRUCTIONS * isa.INSTRUCTION_BYTES  # one burst is used while the next one comes


class Reader(wiring.Component):
    """Sends bursts on AXI and queues their beats. A burst must only be sent into `room`; then the bus is never held up.

    Ports: `i`: bursts. `axi`: the read half. `o`: beats, in order. `room`: a burst fits into the queue. `idle`: no
    request waits and no beat is owed. `beat`: one came in this cycle. `fault`: BUS_ERROR of the beat that came in this
    cycle.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.depth = _QUEUE_BYTES // config.bus.bytes
        super().__init__(
            {
                "i": In(stream.Signature(request_layout(config))),
                "axi": Out(axi_read(config)),
                "o": Out(stream.Signature(8 * config.bus.bytes)),
                "room": Out(1),
                "idle": Out(1),
                "beat": Out(1),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        axi, shift = self.axi, exact_log2(self.config.bus.bytes)
        m.submodules.queue = queue = Queue(8 * self.config.bus.bytes, self.depth)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        accepted = Signal()
        left = Signal()
        held = Signal(range(self.depth + 1))
        owed = Signal(range(self.depth + 1))
        m.d.comb += [
            axi.arid.eq(FETCH_ID),
            axi.rready.eq(1),
            queue.i.valid.eq(axi.rvalid),
            queue.i.payload.eq(axi.rdata),
            self.i.ready.eq(~axi.arvalid | axi.arready),
            accepted.eq(self.i.valid & self.i.ready),
            left.eq(self.o.valid & self.o.ready),
            self.beat.eq(axi.rvalid),
            self.room.eq(held <= self.depth - burst_beats(self.config)),
            self.idle.eq((owed == 0) & ~axi.arvalid & ~self.i.valid),
        ]
        with m.If(axi.arready):
            m.d.sync += axi.arvalid.eq(0)
        with m.If(accepted):
            m.d.sync += [
                axi.arvalid.eq(1),
                axi.araddr.eq(Cat(Const(0, shift), self.i.payload.address)),
                axi.arlen.eq(self.i.payload.beats - 1),
            ]
        new = Signal.like(self.i.payload.beats)
        with m.If(accepted):
            m.d.comb += new.eq(self.i.payload.beats)
        m.d.sync += [held.eq(held + new - left), owed.eq(owed + new - self.beat)]
        self._fault(m)
        return m

    def _fault(self, m: Module) -> None:
        """Addresses of beats are those of the first burst and on: the program is read in one piece."""
        axi, shift = self.axi, exact_log2(self.config.bus.bytes)
        address = Signal.like(self.i.payload.address)
        first = Signal(init=1)
        came = Signal(offset_bits(self.config))
        with m.If(first & self.i.valid):
            m.d.sync += [first.eq(0), address.eq(self.i.payload.address)]
        with m.Elif(self.beat):
            m.d.sync += [came.eq(came + 1), address.eq(address + 1)]
        m.d.comb += [
            self.fault.valid.eq(self.beat & axi.rresp[1]),
            self.fault.payload.code.eq(isa.Trap.BUS_ERROR),
            self.fault.payload.address.eq(Cat(Const(0, shift), address)),
            self.fault.payload.pc.eq(pc_of_beat(self.config, came)[:PC_BITS]),
        ]


class Program(wiring.Component):
    """Checks a program's header and numbers its instructions. No latency, one instruction a cycle.

    Ports: `i`: 32-byte records, the header first. `o`: instructions; when all have gone, `past`. `limit`: beats of the
    program, as far as they are known. `fault`: BAD_HEADER, to which the address is missing; nothing comes out then.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(isa.INSTRUCTION_BITS)),
                "o": Out(stream.Signature(Fetched)),
                "limit": Out(offset_bits(config)),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        header, fetched = isa.Header(self.i.payload), self.o.payload
        count, pc, left, past = Signal(PC_BITS + 1), Signal(PC_BITS + 1), Signal(PC_BITS + 1), Signal()
        good = Signal()
        m.d.comb += [
            good.eq(
                (header.magic == isa.MAGIC) & (header.version == isa.VERSION) & (header.config_hash == self.config.hash)
            ),
            self.limit.eq(self._beats(1)),
            fetched.instruction.eq(self.i.payload),
            fetched.pc.eq(pc),
            fetched.past.eq(past),
            self.fault.payload.code.eq(isa.Trap.BAD_HEADER),
        ]
        with m.FSM():
            with m.State("HEADER"), m.If(self.i.valid):
                with m.If(good):
                    # More instructions than a window holds: the limit is then beyond any window.
                    most = 1 << PC_BITS
                    number = Mux(header.instructions > most, most, header.instructions)
                    m.d.sync += [count.eq(number), left.eq(number), past.eq(header.instructions == 0)]
                    m.d.comb += self.i.ready.eq(1)
                    m.next = "RUN"
                with m.Else():
                    m.d.comb += self.fault.valid.eq(1)
            with m.State("RUN"):
                m.d.comb += [
                    self.limit.eq(self._beats(count + 1)),
                    self.o.valid.eq(self.i.valid | fetched.past),
                    self.i.ready.eq(self.o.ready & ~fetched.past),
                ]
                with m.If(self.o.valid & self.o.ready & ~fetched.past):
                    m.d.sync += [pc.eq(pc + 1), left.eq(left - 1), past.eq(left == 1)]
        return m

    def _beats(self, records: Value | int) -> Value | int:
        """Beats that hold so many records."""
        shift = exact_log2(self.config.bus.bytes) - exact_log2(isa.INSTRUCTION_BYTES)
        return records << -shift if shift < 0 else (records + (1 << shift) - 1) >> shift


class Fetch(wiring.Component):
    """Reads a program's header, checks it, then reads its instructions ahead of their use.

    Two round trips to memory before the first instruction; then up to 16 instructions are on their way or wait.
    Sustains the rate of the bus when a round trip takes less than half of them. Reset it before a program, when `idle`.

    Ports: `go`: read the program at byte `program` of the window `base`, `size`. `stop`: ask for nothing more. `axi`:
    the read half; it never holds up data. `o`: instructions. `idle`: nothing is owed by the bus. `beat`: a beat came.
    `fault`: the first fault, a cycle later, valid for a cycle or for good.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "go": In(1),
                "base": In(config.bus.address_bits),
                "size": In(32),
                "program": In(32),
                "stop": In(1),
                "axi": Out(axi_read(config)),
                "o": Out(stream.Signature(Fetched)),
                "idle": Out(1),
                "beat": Out(1),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        program_address = Signal.like(self.base)
        m.submodules.requests = requests = Requests(self.config)
        m.submodules.reader = reader = Reader(self.config)
        m.submodules.resize = resize = Resize(8 * self.config.bus.bytes, isa.INSTRUCTION_BITS)
        m.submodules.program = program = Program(self.config)
        wiring.connect(m, requests.o, reader.i)
        wiring.connect(m, wiring.flipped(self.axi), reader.axi)
        wiring.connect(m, reader.o, resize.i)
        wiring.connect(m, resize.o, program.i)
        wiring.connect(m, program.o, wiring.flipped(self.o))
        m.d.comb += [
            requests.go.eq(self.go),
            requests.base.eq(self.base),
            requests.size.eq(self.size),
            requests.program.eq(self.program),
            requests.stop.eq(self.stop),
            requests.limit.eq(program.limit),
            requests.room.eq(reader.room),
            self.idle.eq(reader.idle),
            self.beat.eq(reader.beat),
        ]
        m.d.sync += program_address.eq(self.base + self.program)
        self._fault(m, [reader.fault, program.fault, requests.fault])
        with m.If(~reader.fault.valid & program.fault.valid):
            m.d.sync += self.fault.payload.address.eq(program_address)
        return m

    def _fault(self, m: Module, causes: list) -> None:
        # The last assignment holds: a bus error comes before what it makes of the header.
        m.d.sync += self.fault.valid.eq(Cat(cause.valid for cause in causes).any())
        for cause in reversed(causes):
            with m.If(cause.valid):
                m.d.sync += self.fault.payload.eq(cause.payload)
