"""AXI4-Lite slave in front of the register bank."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.registers import ADDRESS_BITS, REGISTER_BYTES

REGISTER_BITS = 8 * REGISTER_BYTES
_OFFSET_BITS = (REGISTER_BYTES - 1).bit_length()
INDEX_BITS = ADDRESS_BITS - _OFFSET_BITS
"""Width of a register's number, its byte address without the offset within the register."""
_SLVERR = 0b10


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite of 32 bits, seen from the master."""

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(ADDRESS_BITS),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(REGISTER_BITS),
                "wstrb": Out(REGISTER_BYTES),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(ADDRESS_BITS),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(REGISTER_BITS),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class RegisterBusSignature(wiring.Signature):
    """Register accesses without waiting, seen from the master.

    `write`: in this cycle bytes `strobe` of register `write_index` become those of `write_data`; `write_error`, in the
    same cycle: there is no such register. `read`: `read_data` and `read_error` belong to register `read_index` from the
    second cycle after until the next read.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "write": Out(1),
                "write_index": Out(INDEX_BITS),
                "write_data": Out(REGISTER_BITS),
                "strobe": Out(REGISTER_BYTES),
                "write_error": In(1),
                "read": Out(1),
                "read_index": Out(INDEX_BITS),
                "read_data": In(REGISTER_BITS),
                "read_error": In(1),
            }
        )


class AxiLite(wiring.Component):
    """Turns AXI4-Lite transactions into register accesses. Address and data of a write may come in either order.

    All outputs are registered. Two cycles from a write to its response, three from a read; one write every two cycles
    and one read every three, at the same time. An error of the register bus answers SLVERR.

    Ports: `s_axi`: the slave. `registers`: the bank.
    """

    def __init__(self) -> None:
        super().__init__({"s_axi": In(AxiLiteSignature()), "registers": Out(RegisterBusSignature())})

    def elaborate(self, platform) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        axi, bus = self.s_axi, self.registers
        address_held = Signal()
        data_held = Signal()
        m.d.comb += [
            axi.awready.eq(~address_held),
            axi.wready.eq(~data_held),
            bus.write.eq(address_held & data_held & (~axi.bvalid | axi.bready)),
        ]
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [address_held.eq(1), bus.write_index.eq(axi.awaddr[_OFFSET_BITS:])]
        with m.If(axi.wvalid & axi.wready):
            m.d.sync += [data_held.eq(1), bus.write_data.eq(axi.wdata), bus.strobe.eq(axi.wstrb)]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(bus.write):
            m.d.sync += [
                address_held.eq(0),
                data_held.eq(0),
                axi.bvalid.eq(1),
                axi.bresp.eq(Mux(bus.write_error, _SLVERR, 0)),
            ]

    def _read(self, m: Module) -> None:
        axi, bus = self.s_axi, self.registers
        held, coming = Signal(), Signal()
        m.d.comb += [
            axi.arready.eq(~held),
            bus.read.eq(held & ~coming & (~axi.rvalid | axi.rready)),
            axi.rdata.eq(bus.read_data),
            axi.rresp.eq(Mux(bus.read_error, _SLVERR, 0)),
        ]
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [held.eq(1), bus.read_index.eq(axi.araddr[_OFFSET_BITS:])]
        with m.If(axi.rready):
            m.d.sync += axi.rvalid.eq(0)
        with m.If(bus.read):
            m.d.sync += held.eq(0)
        m.d.sync += coming.eq(bus.read)
        with m.If(coming):
            m.d.sync += axi.rvalid.eq(1)
