"""Fetch's read requests."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.control.layouts import PC_BITS, Cause

BURST_INSTRUCTIONS = 8
"""Longest burst, in instructions."""


def burst_beats(config: Config) -> int:
    """Longest burst in beats, a power of two: 8 instructions or what the bus allows."""
    return min(config.bus.burst, BURST_INSTRUCTIONS * isa.INSTRUCTION_BYTES // config.bus.bytes)


def offset_bits(config: Config) -> int:
    """Width of an offset in window 0 in beats, one bit more than the window, so that a step over its end is seen."""
    return 33 - exact_log2(config.bus.bytes)


def record_of_beat(config: Config, beat: Value) -> Value:
    """Number of the (first) 32-byte record in a beat that is counted from the start of the program."""
    ratio = exact_log2(isa.INSTRUCTION_BYTES) - exact_log2(config.bus.bytes)
    return beat[ratio:] if ratio >= 0 else Cat(Const(0, -ratio), beat)


def pc_of_beat(config: Config, beat: Value) -> Value:
    """Number of the (first) instruction in a beat: record 0 is the header, and counts as instruction 0."""
    record = record_of_beat(config, beat)
    return Mux(record == 0, 0, record - 1)


def request_layout(config: Config) -> data.StructLayout:
    """A burst: bus address in beats, number of beats."""
    return data.StructLayout(
        {"address": config.bus.address_bits - exact_log2(config.bus.bytes), "beats": range(burst_beats(config) + 1)}
    )


class Requests(wiring.Component):
    """Plans the bursts of a program: in order, each up to a multiple of the burst size, so that none crosses 4 KiB.

    Four cycles a burst. Each is checked against the window before it leaves; one that does not fit is a fault, and the
    last.

    Ports: `go`: a program starts at byte `program` of the window `base`, `size`. `limit`: beats of the program that may
    be asked for. `room`: there is room for a burst. `stop`: plan no more. `o`: bursts. `fault`: MEMORY_WINDOW, or
    MISALIGNED when the program does not start on a multiple of the larger of 32 bytes and a beat.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "go": In(1),
                "base": In(config.bus.address_bits),
                "size": In(32),
                "program": In(32),
                "limit": In(offset_bits(config)),
                "room": In(1),
                "stop": In(1),
                "o": Out(stream.Signature(request_layout(config))),
                "fault": Out(stream.Signature(Cause, always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        shift, most = exact_log2(self.config.bus.bytes), burst_beats(self.config)
        width = offset_bits(self.config)
        request = self.o.payload
        code = Signal(isa.Trap)
        start = Signal(self.config.bus.address_bits)
        asked, offset, end, left, whole = (Signal(width, name=n) for n in ("asked", "offset", "end", "left", "whole"))
        m.d.comb += [
            start.eq(self.base + self.program),
            whole.eq(most - request.address[: exact_log2(most)]),
            end.eq(offset + request.beats),
        ]
        m.d.sync += left.eq(self.limit - asked)
        with m.FSM():
            with m.State("IDLE"), m.If(self.go):
                m.d.sync += [request.address.eq(start[shift:]), offset.eq(self.program[shift:]), asked.eq(0)]
                m.next = "CHOOSE"
                with m.If(start[: exact_log2(max(isa.INSTRUCTION_BYTES, self.config.bus.bytes))].any()):
                    m.d.sync += code.eq(isa.Trap.MISALIGNED)
                    m.next = "FAULT"
            with m.State("CHOOSE"):
                m.d.sync += request.beats.eq(Mux(left < whole, left, whole))
                with m.If(left.any() & self.room & ~self.stop):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.next = "SEND"
                with m.If(self.stop):
                    m.next = "CHOOSE"
                with m.Elif(end > self.size[shift:]):
                    m.d.sync += code.eq(isa.Trap.MEMORY_WINDOW)
                    m.next = "FAULT"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [request.address.eq(request.address + request.beats), offset.eq(end)]
                    m.d.sync += asked.eq(asked + request.beats)
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.next = "CHOOSE"
            with m.State("FAULT"):
                m.d.comb += self.fault.valid.eq(1)
        m.d.comb += [
            self.fault.payload.code.eq(code),
            self.fault.payload.address.eq(Cat(Const(0, shift), request.address)),
            self.fault.payload.pc.eq(pc_of_beat(self.config, asked)[:PC_BITS]),
        ]
        return m
