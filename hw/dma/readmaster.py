"""LOAD's side of the read channels."""

from amaranth.hdl import Cat, Const, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.common.buffers import Queue, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.dma.axi import LENGTH_BITS, LOAD_ID, axi_read
from celosia.hw.dma.layouts import Burst, beat_address_bits
from celosia.hw.interfaces import Fault


class ReadMaster(wiring.Component):
    """Requests bursts, up to `config.bus.outstanding` in flight, and hands their data on in order.

    A beat with an error response ends in `fault` (BUS_ERROR with its burst's address), valid from then on: that beat
    and all later ones are taken and dropped. `stop`: start no new burst; those in flight go on. One beat a cycle, no
    latency on data.

    Ports: `burst`: requests. `o`: data. `axi`: read half. `stop`. `idle`: no burst in flight. `fault`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "burst": In(stream.Signature(Burst(config))),
                "o": Out(stream.Signature(8 * config.bus.bytes)),
                "axi": Out(axi_read(config)),
                "stop": In(1),
                "idle": Out(1),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        beat_bits = beat_address_bits(self.config)
        request = data.StructLayout({"address": beat_bits, "length": LENGTH_BITS})
        place = data.StructLayout({"address": beat_bits})
        m.submodules.ar = ar = SkidBuffer(request)
        m.submodules.flight = flight = Queue(place, self.config.bus.outstanding)
        low = Const(0, exact_log2(self.config.bus.bytes))
        m.d.comb += [
            ar.i.payload.address.eq(self.burst.payload.address),
            ar.i.payload.length.eq(self.burst.payload.length),
            flight.i.payload.address.eq(self.burst.payload.address),
            ar.i.valid.eq(self.burst.valid & flight.i.ready & ~self.stop),
            flight.i.valid.eq(self.burst.valid & ar.i.ready & ~self.stop),
            self.burst.ready.eq(ar.i.ready & flight.i.ready & ~self.stop),
            self.axi.arid.eq(LOAD_ID),
            self.axi.araddr.eq(Cat(low, ar.o.payload.address)),
            self.axi.arlen.eq(ar.o.payload.length),
            self.axi.arvalid.eq(ar.o.valid),
            ar.o.ready.eq(self.axi.arready),
            self.idle.eq(~flight.o.valid),
        ]
        self._receive(m, flight, low)
        return m

    def _receive(self, m: Module, flight: Queue, low: Const) -> None:
        axi, fault = self.axi, self.fault
        m.d.comb += [
            self.o.payload.eq(axi.rdata),
            self.o.valid.eq(axi.rvalid & ~axi.rresp[1] & ~fault.valid),
            # The beat with the error is dropped in the cycle after it was seen.
            axi.rready.eq(self.o.ready | fault.valid),
            flight.o.ready.eq(axi.rvalid & axi.rready & axi.rlast),
        ]
        with m.If(axi.rvalid & axi.rresp[1] & ~fault.valid):
            m.d.sync += [
                fault.valid.eq(1),
                fault.payload.code.eq(isa.Trap.BUS_ERROR),
                fault.payload.address.eq(Cat(low, flight.o.payload.address)),
            ]
