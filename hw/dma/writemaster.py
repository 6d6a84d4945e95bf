"""STORE's side of the write channels."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.common.buffers import Queue, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.dma.axi import LENGTH_BITS, axi_write
from celosia.hw.dma.layouts import Burst, beat_address_bits
from celosia.hw.interfaces import Done, Fault


class WriteMaster(wiring.Component):
    """Requests bursts, up to `config.bus.outstanding` in flight until their acknowledgement, and sends their data in
    order.

    An error response ends in `fault` (BUS_ERROR with its burst's address), valid from then on. `stop`, once up, stays
    up until reset: no new burst starts, the beats still owed are sent with strobes 0, and no instruction is done any
    more. One beat a cycle, bursts back to back, one cycle of latency on data.

    Ports: `burst`: requests. `i`: data. `axi`: write half. `stop`. `idle`: no burst in flight. `owes`: data of a
    burst in flight are missing. `done`: valid in the cycle after the last acknowledgement of an instruction. `fault`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "burst": In(stream.Signature(Burst(config))),
                "i": In(stream.Signature(8 * config.bus.bytes)),
                "axi": Out(axi_write(config)),
                "stop": In(1),
                "idle": Out(1),
                "owes": Out(1),
                "done": Out(stream.Signature(Done, always_ready=True)),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, burst = self.config, self.burst
        request = data.StructLayout({"address": beat_address_bits(config), "length": LENGTH_BITS})
        m.submodules.aw = aw = SkidBuffer(request)
        m.submodules.owed = owed = Queue(data.StructLayout({"length": LENGTH_BITS}), config.bus.outstanding)
        m.submodules.flight = flight = Queue(Burst(config), config.bus.outstanding)
        low = Const(0, exact_log2(config.bus.bytes))
        # What is owed is in flight as well: there is always room in `owed` where there is in `flight`.
        m.d.comb += [
            aw.i.payload.address.eq(burst.payload.address),
            aw.i.payload.length.eq(burst.payload.length),
            owed.i.payload.length.eq(burst.payload.length),
            flight.i.payload.eq(burst.payload),
            aw.i.valid.eq(burst.valid & flight.i.ready & ~self.stop),
            flight.i.valid.eq(burst.valid & aw.i.ready & ~self.stop),
            burst.ready.eq(aw.i.ready & flight.i.ready & ~self.stop),
            owed.i.valid.eq(burst.valid & burst.ready),
            self.axi.awaddr.eq(Cat(low, aw.o.payload.address)),
            self.axi.awlen.eq(aw.o.payload.length),
            self.axi.awvalid.eq(aw.o.valid),
            aw.o.ready.eq(self.axi.awready),
            self.idle.eq(~flight.o.valid),
            self.owes.eq(owed.o.valid),
        ]
        self._send(m, owed)
        self._acknowledge(m, flight, low)
        return m

    def _send(self, m: Module, owed: Queue) -> None:
        axi, bits = self.axi, 8 * self.config.bus.bytes
        m.submodules.w = w = SkidBuffer(data.StructLayout({"data": bits, "strobe": 1, "last": 1}))
        index, final = Signal(LENGTH_BITS), Signal()
        m.d.comb += [
            final.eq(index == owed.o.payload.length),
            w.i.payload.data.eq(self.i.payload),
            w.i.payload.strobe.eq(~self.stop),
            w.i.payload.last.eq(final),
            w.i.valid.eq(owed.o.valid & (self.i.valid | self.stop)),
            self.i.ready.eq(owed.o.valid & w.i.ready & ~self.stop),
            owed.o.ready.eq(w.i.valid & w.i.ready & final),
            axi.wdata.eq(w.o.payload.data),
            axi.wstrb.eq(w.o.payload.strobe.replicate(len(axi.wstrb))),
            axi.wlast.eq(w.o.payload.last),
            axi.wvalid.eq(w.o.valid),
            w.o.ready.eq(axi.wready),
        ]
        with m.If(w.i.valid & w.i.ready):
            m.d.sync += index.eq(index + 1)
            with m.If(final):
                m.d.sync += index.eq(0)

    def _acknowledge(self, m: Module, flight: Queue, low: Const) -> None:
        axi, fault, burst = self.axi, self.fault, flight.o.payload
        m.d.comb += [axi.bready.eq(1), flight.o.ready.eq(axi.bvalid)]
        m.d.sync += [
            self.done.valid.eq(axi.bvalid & burst.last & ~axi.bresp[1] & ~fault.valid & ~self.stop),
            self.done.payload.mask.eq(burst.mask),
        ]
        with m.If(axi.bvalid & axi.bresp[1] & ~fault.valid):
            m.d.sync += [
                fault.valid.eq(1),
                fault.payload.code.eq(isa.Trap.BUS_ERROR),
                fault.payload.address.eq(Cat(low, burst.address)),
            ]
