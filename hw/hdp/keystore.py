"""The key store, which DECIDE streams keys out of, with who fills it, and who reads it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.array.payloads import RowOrder
from celosia.hw.common.sram import Sram
from celosia.hw.config import Config
from celosia.hw.hdp.filler import Filler, FillJob, SharedRead, Writer
from celosia.hw.hdp.store import HALVES, StoreShape
from celosia.hw.interfaces import Fault, scratchpad_read


class KeyStore(wiring.Component):
    """Keys as integer parts (`StoreShape`), between the orders of rows and the launcher.

    Ports: `jobs`: KEYS, one at a time; `filling`: halves that are not complete yet. `port`: to the scratchpad, which it
    shares with `rows`, `words`: addresses and words of rows. `i`, `o`: orders of rows, a cycle later; with a `stored`
    one comes its word `key`. `released`: halves whose DECIDE has read its last word. `fault`: see `Filler`.
    Throughput: a row a cycle, and a word that is filled in any cycle without an address of a row.
    """

    def __init__(self, config: Config) -> None:
        self.config, read, order = config, scratchpad_read(config), RowOrder(config)
        super().__init__(
            {
                "jobs": In(stream.Signature(FillJob())),
                "filling": Out(HALVES),
                "port": Out(read),
                "rows": In(stream.Signature(read.address_bits)),
                "words": Out(stream.Signature(read.width)),
                "i": In(stream.Signature(order)),
                "o": Out(stream.Signature(order)),
                "key": Out(StoreShape(config).width),
                "released": Out(HALVES),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shape = StoreShape(self.config)
        m.submodules.cells = cells = Sram(shape.depth, shape.width, granules=shape.rate)
        m.submodules.filler = filler = Filler(self.config)
        m.submodules.share = share = SharedRead(self.config)
        m.submodules.writer = writer = Writer(self.config)
        connect(m, share.port, flipped(self.port))
        connect(m, flipped(self.rows), share.rows)
        connect(m, share.words, flipped(self.words))
        connect(m, filler.o, share.wanted)
        connect(m, share.arrived, writer.i)
        connect(m, filler.fault, flipped(self.fault))
        m.d.comb += [
            cells.write_en.eq(writer.en),
            cells.write_address.eq(writer.address),
            cells.write_data.eq(writer.data),
            self.key.eq(cells.read_data),
            # One at a time: nothing is asked for before the last word of the one before is here.
            filler.jobs.valid.eq(self.jobs.valid & ~self.filling.any()),
            filler.jobs.payload.eq(self.jobs.payload),
            self.jobs.ready.eq(filler.jobs.ready & ~self.filling.any()),
        ]
        with m.If(self.jobs.valid & self.jobs.ready):
            m.d.sync += self.filling.eq(self.jobs.p.halves)
        with m.Elif(writer.last):
            m.d.sync += self.filling.eq(0)
        self._orders(m, cells)
        return m

    def _orders(self, m: Module, cells: Sram) -> None:
        """A word is read while its order moves on."""
        moves, order = Signal(), self.i.payload
        m.d.comb += [
            moves.eq(self.o.ready | ~self.o.valid),
            self.i.ready.eq(moves),
            cells.read_en.eq(moves & self.i.valid & order.stored),
            cells.read_address.eq(order.key),
            self.released.eq(Mux(moves & self.i.valid & order.stored & order.tag.done, order.halves, 0)),
        ]
        with m.If(moves):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(order)]
