"""STORE's side of the scratchpad."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.config import Config
from celosia.hw.dma.layouts import Segment, count_bits


class WordReader(wiring.Component):
    """Asks for the words of segments: one address a cycle, segments back to back, one cycle of latency.

    Ports: `segment`: segments. `address`: the address stream of a read port.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "segment": In(stream.Signature(Segment(config))),
                "address": Out(stream.Signature(unsigned(ceil_log2(config.scratchpad_words)))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        left, final = Signal(count_bits(self.config)), Signal()
        m.d.comb += [final.eq(left == 1), self.segment.ready.eq(~self.address.valid | (self.address.ready & final))]
        with m.If(self.segment.ready):
            m.d.sync += self.address.valid.eq(self.segment.valid)
            with m.If(self.segment.valid):
                m.d.sync += [left.eq(self.segment.payload.words), self.address.payload.eq(self.segment.payload.place)]
        with m.Elif(self.address.ready):
            m.d.sync += [left.eq(left - 1), self.address.payload.eq(self.address.payload + 1)]
        return m
