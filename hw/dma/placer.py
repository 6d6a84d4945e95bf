"""LOAD's side of the scratchpad."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.config import Config
from celosia.hw.dma.layouts import Segment, count_bits
from celosia.hw.interfaces import Done, scratchpad_write


class Placer(wiring.Component):
    """Writes words to the places that segments name, in order.

    Ports: `segment`, `i`: segments and their words. `write`: write port. `done`: valid in the cycle after the last
    word of an instruction was taken. One word a cycle, segments back to back, no latency on words.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "segment": In(stream.Signature(Segment(config))),
                "i": In(stream.Signature(8 * config.word_bytes)),
                "write": Out(scratchpad_write(config)),
                "done": Out(stream.Signature(Done, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        write = self.write.write
        left, active, final, taken = Signal(count_bits(self.config)), Signal(), Signal(), Signal()
        place, last, mask = Signal.like(write.payload.address), Signal(), Signal.like(self.done.payload.mask)
        m.d.comb += [
            final.eq(left == 1),
            taken.eq(write.valid & write.ready),
            write.valid.eq(self.i.valid & active),
            write.payload.address.eq(place),
            write.payload.data.eq(self.i.payload),
            write.payload.mask.eq(~0),
            self.i.ready.eq(write.ready & active),
            self.segment.ready.eq(~active | (taken & final)),
        ]
        m.d.sync += [self.done.valid.eq(taken & final & last), self.done.payload.mask.eq(mask)]
        with m.If(self.segment.ready):
            m.d.sync += active.eq(self.segment.valid)
            with m.If(self.segment.valid):
                segment = self.segment.payload
                m.d.sync += [
                    left.eq(segment.words),
                    place.eq(segment.place),
                    last.eq(segment.last),
                    mask.eq(segment.mask),
                ]
        with m.Elif(taken):
            m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
        return m
