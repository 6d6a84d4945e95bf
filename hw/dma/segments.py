"""Second stage of LOAD and STORE: from a plan to its segments."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.dma.layouts import Plan, Segment
from celosia.hw.interfaces import Fault


class Segments(wiring.Component):
    """Walks over the segments of a plan and checks each one before it leaves.

    A plan that came with a fault, a segment beyond the scratchpad (SCRATCHPAD_RANGE) and one beyond its window or the
    address space (MEMORY_WINDOW) end in `fault`, valid from then on; nothing follows. Its address is the segment's
    first: a scratchpad address for SCRATCHPAD_RANGE, else a bus address.

    Ports: `i`: plans. `o`: segments, one a cycle, two cycles of latency, plans back to back. `fault`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(Plan(config))),
                "o": Out(stream.Signature(Segment(config))),
                "fault": Out(stream.Signature(Fault, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        plan, active, final, step = Signal(Plan(self.config)), Signal(), Signal(), Signal()
        m.d.comb += [
            final.eq(plan.segments == 1),
            step.eq(active & ~self.fault.valid & (self.o.ready | ~self.o.valid)),
            self.i.ready.eq(~active | (step & final)),
        ]
        with m.If(self.i.ready):
            m.d.sync += active.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += plan.eq(self.i.payload)
        with m.Elif(step):
            m.d.sync += [
                plan.segments.eq(plan.segments - 1),
                plan.offset.eq(plan.offset + plan.stride),
                plan.place.eq(plan.place + plan.sp_stride),
            ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        self._emit(m, plan, step, final)
        return m

    def _emit(self, m: Module, plan, step: Signal, final: Signal) -> None:
        config, fault, segment = self.config, self.fault, self.o.payload
        code = Signal(isa.Trap)
        address = Signal(max(config.bus.address_bits, len(plan.offset)) + 1)
        m.d.comb += address.eq(plan.base + plan.offset)
        self._check(m, plan, code)
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(code == isa.Trap.NONE),
                segment.address.eq(address[exact_log2(config.bus.bytes) :]),
                segment.words.eq(plan.words),
                segment.place.eq(plan.place),
                segment.last.eq(final),
                segment.mask.eq(plan.mask),
            ]
            with m.If(code != isa.Trap.NONE):
                m.d.sync += [fault.valid.eq(1), fault.payload.code.eq(code), fault.payload.address.eq(address)]
                with m.If(code == isa.Trap.SCRATCHPAD_RANGE):
                    m.d.sync += fault.payload.address.eq(plan.place)

    def _check(self, m: Module, plan, code: Signal) -> None:
        config = self.config
        top = 1 << config.bus.address_bits
        end, place_end = Signal(len(plan.offset) + 1), Signal(len(plan.place) + 1)
        bus_end = Signal(max(config.bus.address_bits, len(end)) + 1)
        m.d.comb += [
            end.eq(plan.offset + (plan.words << exact_log2(config.word_bytes))),
            bus_end.eq(plan.base + end),
            place_end.eq(plan.place + plan.words),
        ]
        with m.If(plan.code != isa.Trap.NONE):
            m.d.comb += code.eq(plan.code)
        with m.Elif(place_end > config.scratchpad_words):
            m.d.comb += code.eq(isa.Trap.SCRATCHPAD_RANGE)
        with m.Elif((end > plan.size) | (bus_end > top)):
            m.d.comb += code.eq(isa.Trap.MEMORY_WINDOW)
