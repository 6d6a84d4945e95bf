"""LOAD's side of the scratchpad."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import PairBuffer
from celosia.hw.config import Config
from celosia.hw.dma.layouts import Segment, count_bits
from celosia.hw.interfaces import Done, scratchpad_write


class Placer(wiring.Component):
    """Writes words to the places that segments name, in order.

    Ports: `segment`, `i`: segments and their words. `write`: write port. `done`: valid in the cycle after the last
    word of an instruction was taken. One word a cycle, segments back to back, one cycle of latency on words.
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
        left, active, final, taken = Signal(count_bits(self.config)), Signal(), Signal(), Signal()
        place, last = Signal.like(self.write.write.payload.address), Signal()
        mask = Signal.like(self.done.payload.mask)
        word = data.StructLayout({"place": len(place), "word": len(self.i.payload), "last": 1, "mask": len(mask)})
        m.submodules.buffer = buffer = PairBuffer(word)
        m.d.comb += [
            final.eq(left == 1),
            taken.eq(buffer.i.valid & buffer.i.ready),
            buffer.i.valid.eq(self.i.valid & active),
            buffer.i.payload.place.eq(place),
            buffer.i.payload.word.eq(self.i.payload),
            buffer.i.payload.last.eq(final & last),
            buffer.i.payload.mask.eq(mask),
            self.i.ready.eq(buffer.i.ready & active),
            self.segment.ready.eq(~active | (taken & final)),
        ]
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
        self._write(m, buffer)
        return m

    def _write(self, m: Module, buffer: PairBuffer) -> None:
        write, word = self.write.write, buffer.o.payload
        m.d.comb += [
            write.valid.eq(buffer.o.valid),
            write.payload.address.eq(word.place),
            write.payload.data.eq(word.word),
            write.payload.mask.eq(~0),
            buffer.o.ready.eq(write.ready),
        ]
        m.d.sync += [self.done.valid.eq(write.valid & write.ready & word.last), self.done.payload.mask.eq(word.mask)]
