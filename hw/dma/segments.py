"""Second stage of LOAD and STORE: from a plan to its segments."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.common.buffers import exceeds
from celosia.hw.config import Config
from celosia.hw.dma.layouts import Plan, Segment
from celosia.hw.interfaces import Fault


class Segments(wiring.Component):
    """Walks over the segments of a plan and checks each one before it leaves.

    A plan that came with a fault, a segment beyond the scratchpad (SCRATCHPAD_RANGE) and one beyond its window or the
    address space (MEMORY_WINDOW) end in `fault`, valid from then on; nothing follows. Its address is the segment's
    first: a scratchpad address for SCRATCHPAD_RANGE, else a bus address.

    Ports: `i`: plans. `o`: segments, one a cycle, two cycles of latency, one more between plans. `fault`.
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
        plan = Signal(Plan(self.config), reset_less=True)
        active, final, step = Signal(), Signal(), Signal()
        m.d.comb += [
            final.eq(plan.segments == 1),
            step.eq(active & ~self.fault.valid & (self.o.ready | ~self.o.valid)),
            self.i.ready.eq(~active),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [active.eq(1), plan.eq(self.i.payload)]
        with m.Elif(step):
            m.d.sync += [
                active.eq(~final),
                plan.segments.eq(plan.segments - 1),
                plan.offset.eq(plan.offset + plan.stride),
                plan.place.eq(plan.place + plan.sp_stride),
            ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        self._emit(m, plan, step, final)
        return m

    def _emit(self, m: Module, plan, step: Signal, final: Signal) -> None:
        config, segment, fault = self.config, self.o.payload, self.fault.payload
        address = Signal(max(config.bus.address_bits, len(plan.offset)) + 1, reset_less=True)
        place, code = Signal(len(plan.place), reset_less=True), Signal(isa.Trap)
        self._check(m, plan, code)
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(code == isa.Trap.NONE),
                self.fault.valid.eq(code != isa.Trap.NONE),
                address.eq(plan.base + plan.offset),
                place.eq(plan.place),
                segment.words.eq(plan.words),
                segment.last.eq(final),
                segment.mask.eq(plan.mask),
                fault.code.eq(code),
            ]
        # After a fault both stand still.
        m.d.comb += [
            segment.address.eq(address[exact_log2(config.bus.bytes) :]),
            segment.place.eq(place),
            fault.address.eq(Mux(fault.code == isa.Trap.SCRATCHPAD_RANGE, place, address)),
        ]

    def _check(self, m: Module, plan, code: Signal) -> None:
        config = self.config
        end, place_end = Signal(len(plan.offset) + 1), Signal(len(plan.place) + 1)
        m.d.comb += [
            end.eq(plan.offset + (plan.words << exact_log2(config.word_bytes))),
            place_end.eq(plan.place + plan.words),
        ]
        with m.If(plan.code != isa.Trap.NONE):
            m.d.comb += code.eq(plan.code)
        with m.Elif(exceeds(place_end, config.scratchpad_words)):
            m.d.comb += code.eq(isa.Trap.SCRATCHPAD_RANGE)
        with m.Elif(exceeds(end, plan.size)):
            m.d.comb += code.eq(isa.Trap.MEMORY_WINDOW)
