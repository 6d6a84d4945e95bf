"""Third stage of LOAD and STORE: from segments to AXI bursts."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw.common.buffers import exceeds
from celosia.hw.config import Config
from celosia.hw.dma.axi import PAGE_BYTES
from celosia.hw.dma.layouts import Burst, Segment, beat_address_bits, count_bits


class Bursts(wiring.Component):
    """Cuts segments into bursts of at most `config.bus.burst` beats, none across 4 KiB, each as long as the rules
    allow.

    Ports: `i`: segments. `o`: bursts, one a cycle, one cycle of latency, and one between segments.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(Segment(config))), "o": Out(stream.Signature(Burst(config)))})

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        grow = exact_log2(max(1, config.word_bytes // config.bus.bytes))
        shrink = exact_log2(max(1, config.bus.bytes // config.word_bytes))
        # One less than the beats that are left of the segment, and than the longest burst.
        left = Signal(count_bits(config) + grow - shrink)
        address, segment = Signal(beat_address_bits(config)), self.i.payload
        last, mask = Signal(), Signal.like(segment.mask)
        most = self._most(m, address)
        end = Signal()  # of the segment
        m.d.comb += [
            end.eq(~exceeds(left, most)),
            self.o.payload.address.eq(address),
            self.o.payload.length.eq(Mux(end, left, most)),
            self.o.payload.last.eq(last & end),
            self.o.payload.mask.eq(mask),
            self.i.ready.eq(~self.o.valid),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.o.valid.eq(1),
                address.eq(segment.address),
                left.eq(((segment.words << grow) >> shrink) - 1),
                last.eq(segment.last),
                mask.eq(segment.mask),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += [
                self.o.valid.eq(self.o.valid & ~end),
                address.eq(address + most + 1),
                left.eq(left - most - 1),
            ]
        return m

    def _most(self, m: Module, address: Signal) -> Signal:
        """One less than the longest burst legal at `address`: only the last `burst` beats of a page shorten it."""
        burst = self.config.bus.burst
        low, high = exact_log2(burst), exact_log2(PAGE_BYTES // self.config.bus.bytes)
        most = Signal(range(burst))
        # A burst as long as a page leaves no bits between `low` and `high`.
        at_end = address[low:high].all() if low < high else 1
        m.d.comb += most.eq(Mux(at_end, ~address[:low], burst - 1))
        return most
