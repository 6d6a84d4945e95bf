"""Activations: none, ReLU, or a table."""

from typing import ClassVar

from amaranth.hdl import Array, Module, Mux, Signal, signed

from celosia.hw import isa
from celosia.hw.common.sram import Sram
from celosia.hw.post.kernels.interface import Kernel
from celosia.hw.post.layouts import RAW_BITS, TABLE_BYTES
from celosia.hw.post.shift import saturate


class TableActivation(Kernel):
    """`i`, `max(i, 0)`, or the table's byte at `sat_table_bits(i)`. The lane has its own copy of the table."""

    LATENCY: ClassVar[int] = 2

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = self.config.post.table_bits
        m.submodules.table = table = Sram(depth=(1 << bits) // TABLE_BYTES, width=8 * TABLE_BYTES)
        index, part = Signal(bits), Signal(range(TABLE_BYTES), reset_less=True)
        raw, mode = Signal(signed(RAW_BITS), reset_less=True), Signal(isa.Activation, reset_less=True)
        entry = Array(table.read_data.word_select(k, 8) for k in range(TABLE_BYTES))[part].as_signed()
        rectified = Mux((mode == isa.Activation.RELU) & raw[-1], 0, raw)
        value = Signal(signed(RAW_BITS), reset_less=True)
        m.d.comb += [
            index.eq(saturate(self.i, bits)),
            table.read_en.eq(self.advance[0]),
            table.read_address.eq(index[len(part) :]),
            table.write_en.eq(self.load.en),
            table.write_address.eq(self.load.address),
            table.write_data.eq(self.load.data),
            self.value.eq(value),
        ]
        with m.If(self.advance[0]):
            m.d.sync += [part.eq(index[: len(part)]), raw.eq(self.i), mode.eq(self.mode)]
        with m.If(self.advance[1]):
            m.d.sync += value.eq(Mux(mode == isa.Activation.TABLE, entry, rectified))
        return m
