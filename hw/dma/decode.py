"""First stage of LOAD and STORE: from an instruction to a checked plan."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.common.buffers import exceeds
from celosia.hw.config import Config
from celosia.hw.dma.layouts import Plan, count_bits
from celosia.hw.dma.windows import WindowsSignature


class Decode(wiring.Component):
    """Decodes a transfer, looks its window up, and merges segments that touch on both sides into one.

    Finds what is wrong with the whole instruction (`code` of the plan; the first that holds): ILLEGAL_INSTRUCTION
    (another opcode, no words, no segments), MISALIGNED (offset, stride or segment length no multiple of
    `config.beat_bytes`, or a base of no multiple of the bus), SCRATCHPAD_RANGE (more words than the scratchpad has).
    A window that does not exist has no bytes.

    Ports: `i`: instructions. `windows`. `o`: plans. One instruction every three cycles, two cycles of latency.
    """

    def __init__(self, config: Config, opcode: isa.Opcode) -> None:
        self.config, self.opcode = config, opcode
        super().__init__(
            {
                "i": In(stream.Signature(isa.INSTRUCTION_BITS)),
                "windows": In(WindowsSignature(config)),
                "o": Out(stream.Signature(Plan(config))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        held, busy = Signal(isa.Transfer, reset_less=True), Signal()
        m.d.comb += self.i.ready.eq(~busy)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [busy.eq(0), self.o.valid.eq(0)]
        with m.Elif(busy):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.i.valid):
            m.d.sync += busy.eq(1)
        # Whether an instruction is there is known too late.
        with m.If(~busy):
            m.d.sync += held.eq(self.i.payload)
        plan = self.o.payload
        m.d.comb += [
            plan.offset.eq(held.offset),
            plan.stride.eq(held.stride),
            plan.place.eq(held.address),
            plan.sp_stride.eq(held.sp_stride),
            plan.mask.eq(held.head.signal),
        ]
        self._window(m, held)
        self._check(m, held, self._merge(m, held))
        return m

    def _window(self, m: Module, held) -> None:
        """Base of the plan's window, and its size within the address space."""
        plan, base = self.o.payload, Signal(self.config.bus.address_bits, reset_less=True)
        size = Signal(32, reset_less=True)
        with m.Switch(held.window):
            for index in range(isa.WINDOWS):
                with m.Case(index):
                    m.d.sync += [base.eq(self.windows.base[index]), size.eq(self.windows.size[index])]
            with m.Default():
                m.d.sync += [base.eq(0), size.eq(0)]
        rest = Signal(len(base) + 1)
        m.d.comb += [
            plan.base.eq(base),
            rest.eq((1 << len(base)) - base),
            plan.size.eq(Mux(exceeds(size, rest), rest, size)),
        ]

    def _merge(self, m: Module, held) -> Signal:
        """Words and segments of the plan, a cycle after `held`; returns whether the words are more than the
        scratchpad's."""
        plan, bits = self.o.payload, min(16, count_bits(self.config))
        total, large = Signal(2 * bits), Signal()
        touch, product = Signal(reset_less=True), Signal(2 * bits, reset_less=True)
        word_shift = exact_log2(self.config.word_bytes)
        m.d.sync += [
            touch.eq((held.stride == held.words << word_shift) & (held.sp_stride == held.words)),
            product.eq(held.words[:bits] * held.segments[:bits]),
        ]
        m.d.comb += [
            total.eq(Mux(touch, product, held.words[:bits])),
            large.eq(total > self.config.scratchpad_words),
            plan.words.eq(total),
            plan.segments.eq(Mux(touch, 1, held.segments)),
        ]
        if bits < 16:
            with m.If(held.words[bits:].any() | (touch & held.segments[bits:].any())):
                m.d.comb += large.eq(1)
        return large

    def _check(self, m: Module, held, large: Signal) -> None:
        base, code, config = self.o.payload.base, self.o.payload.code, self.config
        step_bits, bus_bits = exact_log2(config.beat_bytes), exact_log2(config.bus.bytes)
        odd = (held.offset | held.stride)[:step_bits].any() | base[:bus_bits].any()
        if config.beat_bytes > config.word_bytes:
            odd |= held.words[: exact_log2(config.beat_bytes // config.word_bytes)].any()
        with m.If((held.head.opcode != self.opcode) | (held.words == 0) | (held.segments == 0)):
            m.d.comb += code.eq(isa.Trap.ILLEGAL_INSTRUCTION)
        with m.Elif(odd):
            m.d.comb += code.eq(isa.Trap.MISALIGNED)
        with m.Elif(large):
            m.d.comb += code.eq(isa.Trap.SCRATCHPAD_RANGE)
