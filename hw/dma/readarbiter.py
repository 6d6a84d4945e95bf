"""The shared read channels."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import SkidBuffer
from celosia.hw.config import Config
from celosia.hw.dma.axi import FETCH_ID, LENGTH_BITS, LOAD_ID, axi_read


class ReadArbiter(wiring.Component):
    """Joins the read halves of fetch and LOAD; a request of fetch goes first. Data find their way back by ID.

    A word a cycle and one cycle of latency in each direction; everything towards the bus comes from registers. A
    master that does not take its data holds up the other's: fetch asks only for what it has room for.

    Ports: `load`, `fetch`: read halves, their IDs ignored and set. `axi`: read half, IDs `LOAD_ID` and `FETCH_ID`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        half = axi_read(config)
        super().__init__({"load": In(half), "fetch": In(half), "axi": Out(half)})

    def elaborate(self, platform) -> Module:
        m = Module()
        self._request(m)
        self._respond(m)
        return m

    def _request(self, m: Module) -> None:
        load, fetch, axi = self.load, self.fetch, self.axi
        request = data.StructLayout({"address": len(axi.araddr), "length": LENGTH_BITS, "fetch": 1})
        m.submodules.ar = ar = SkidBuffer(request)
        with m.If(fetch.arvalid):
            m.d.comb += [ar.i.payload.address.eq(fetch.araddr), ar.i.payload.length.eq(fetch.arlen)]
        with m.Else():
            m.d.comb += [ar.i.payload.address.eq(load.araddr), ar.i.payload.length.eq(load.arlen)]
        m.d.comb += [
            ar.i.payload.fetch.eq(fetch.arvalid),
            ar.i.valid.eq(fetch.arvalid | load.arvalid),
            fetch.arready.eq(ar.i.ready),
            load.arready.eq(ar.i.ready & ~fetch.arvalid),
            axi.araddr.eq(ar.o.payload.address),
            axi.arlen.eq(ar.o.payload.length),
            axi.arvalid.eq(ar.o.valid),
            ar.o.ready.eq(axi.arready),
        ]
        with m.If(ar.o.payload.fetch):
            m.d.comb += axi.arid.eq(FETCH_ID)
        with m.Else():
            m.d.comb += axi.arid.eq(LOAD_ID)

    def _respond(self, m: Module) -> None:
        axi, fetched = self.axi, Signal()
        response = data.StructLayout({"data": len(axi.rdata), "error": 1, "last": 1, "fetch": 1})
        m.submodules.r = r = SkidBuffer(response)
        m.d.comb += [
            r.i.payload.data.eq(axi.rdata),
            r.i.payload.error.eq(axi.rresp[1]),
            r.i.payload.last.eq(axi.rlast),
            r.i.payload.fetch.eq(axi.rid == FETCH_ID),
            r.i.valid.eq(axi.rvalid),
            axi.rready.eq(r.i.ready),
            fetched.eq(r.o.payload.fetch),
        ]
        for master, mine, number in ((self.load, ~fetched, LOAD_ID), (self.fetch, fetched, FETCH_ID)):
            m.d.comb += [
                master.rid.eq(number),
                master.rdata.eq(r.o.payload.data),
                master.rresp[1].eq(r.o.payload.error),
                master.rlast.eq(r.o.payload.last),
                master.rvalid.eq(r.o.valid & mine),
            ]
            with m.If(mine):
                m.d.comb += r.o.ready.eq(master.rready)
