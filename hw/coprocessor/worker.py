"""A core with the memory of its context."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import Queue
from celosia.hw.common.sram import Sram
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.coprocessor.layouts import Start
from celosia.hw.dma.resize import Resize
from celosia.hw.hdp.core.config import HEADS
from celosia.hw.hdp.core.core import Core
from celosia.hw.hdp.core.layouts import Write

_UNDER_WAY = HEADS + 2
"""Heads between their start and the last word of their context: those of the core, and some in its last stages."""


class Worker(wiring.Component):
    """A core, whose context goes to a memory beside it: as many rows as its other memories have, a word of the bus a
    part of a row, blocked.

    Ports: `write`: words for the core's memories. `start`: heads. `ended`: a head's context can be read from this
    cycle on. `working`: the PEs work. `read_en`, `read_address`: a word of the context memory (`Local.address` of
    region 0); `read_data`: a cycle later, held.
    The context memory takes a word in every cycle, so that it never holds up the core.
    """

    def __init__(self, config: CoprocessorConfig) -> None:
        self.config = config
        words = config.core.rows * config.core.parts
        super().__init__(
            {
                "write": In(stream.Signature(Write(config.core), always_ready=True)),
                "start": In(stream.Signature(Start(config))),
                "ended": Out(1),
                "working": Out(1),
                "read_en": In(1),
                "read_address": In(ceil_log2(words)),
                "read_data": Out(8 * config.bus.bytes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.core = core = Core(config.core)
        m.submodules.places = places = Queue(ceil_log2(config.core.rows), _UNDER_WAY)
        connect(m, flipped(self.write), core.write)
        # A start goes both ways at once.
        both = self.start
        m.d.comb += [
            core.jobs.valid.eq(both.valid & places.i.ready),
            core.jobs.p.eq(both.p.job),
            places.i.valid.eq(both.valid & core.jobs.ready),
            places.i.payload.eq(both.p.context),
            both.ready.eq(core.jobs.ready & places.i.ready),
            self.working.eq(core.work.integer | core.work.score | core.work.value),
        ]
        self._keep(m, core, places)
        return m

    def _keep(self, m: Module, core: Core, places: Queue) -> None:
        """Rows of context to their places."""
        config = self.config.core
        m.submodules.resize = resize = Resize(8 * config.lanes, 8 * config.bus)
        m.submodules.words = words = Sram(config.rows * config.parts, 8 * config.bus)
        row, part, place = Signal(range(config.rows)), Signal(range(config.parts)), Signal(range(config.rows))
        codes, over = core.context.p, Signal()
        m.d.comb += [
            resize.i.valid.eq(core.context.valid),
            resize.i.payload.eq(Value.cast(codes.codes)),
            core.context.ready.eq(resize.i.ready),
            resize.o.ready.eq(1),
            # The last piece of a row goes in the same cycle in which its last word comes out.
            over.eq(core.context.valid & core.context.ready & codes.last),
            place.eq(places.o.payload + row),
            places.o.ready.eq(over & codes.end_head),
            words.write_en.eq(resize.o.valid),
            words.write_address.eq(Cat(place, part)),
            words.write_data.eq(resize.o.payload),
            words.read_en.eq(self.read_en),
            words.read_address.eq(self.read_address),
            self.read_data.eq(words.read_data),
        ]
        m.d.sync += self.ended.eq(places.o.ready)
        with m.If(resize.o.valid):
            m.d.sync += part.eq(Mux(over, 0, part + 1))
        with m.If(over):
            m.d.sync += row.eq(Mux(codes.end_head, 0, row + 1))
