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

    LATENCY: ClassVar[int] = 3

    def elaborate(self, platform) -> Module:
        m = Module()
        bits = self.config.post.table_bits
        m.submodules.table = table = Sram(depth=(1 << bits) // TABLE_BYTES, width=8 * TABLE_BYTES)
        index, part = Signal(bits, reset_less=True), Signal(range(TABLE_BYTES), reset_less=True)
        raws = [Signal(signed(RAW_BITS), name=f"raw{k}", reset_less=True) for k in range(2)]
        modes = [Signal(isa.Activation, name=f"mode{k}", reset_less=True) for k in range(2)]
        raw, mode = raws[1], modes[1]
        entry = Array(table.read_data.word_select(k, 8) for k in range(TABLE_BYTES))[part].as_signed()
        rectified = Mux((mode == isa.Activation.RELU) & raw[-1], 0, raw)
        value = Signal(signed(RAW_BITS), reset_less=True)
        m.d.comb += [
            table.read_en.eq(self.advance[1]),
            table.read_address.eq(index[len(part) :]),
            table.write_en.eq(self.load.en),
            table.write_address.eq(self.load.address),
            table.write_data.eq(self.load.data),
            self.value.eq(value),
        ]
        with m.If(self.advance[0]):
            m.d.sync += [index.eq(saturate(self.i, bits)), raws[0].eq(self.i), modes[0].eq(self.mode)]
        with m.If(self.advance[1]):
            m.d.sync += [part.eq(index[: len(part)]), raws[1].eq(raws[0]), modes[1].eq(modes[0])]
        with m.If(self.advance[2]):
            m.d.sync += value.eq(Mux(mode == isa.Activation.TABLE, entry, rectified))
        return m
