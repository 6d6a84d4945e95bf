"""Codes to their integer parts, on their way into the array."""

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.hdp.widths import CODE_BITS

_NIBBLE = CODE_BITS // 2


class Split(wiring.Component):
    """Integer parts at 4 fraction bits of a word of int8 codes, as int8; or the codes as they are (docs/hdp.md).

    The upper nibble plus bit 3 of the lower one; 7 stays 7, which is the saturation of the code at 119.
    Ports: `i`, `o`: words of `codes` codes. `on`: split. Combinational. `twice`: in either nibble of the byte.
    """

    def __init__(self, codes: int, *, twice: bool = False) -> None:
        self.codes, self.twice = codes, twice
        super().__init__({"i": In(codes * CODE_BITS), "on": In(1), "o": Out(codes * CODE_BITS)})

    def elaborate(self, platform) -> Module:
        m = Module()
        for index in range(self.codes):
            code = self.i.word_select(index, CODE_BITS)
            high = code[_NIBBLE:]
            top = (high == (1 << _NIBBLE - 1) - 1) | ~code[_NIBBLE - 1]
            whole = (high + ~top)[:_NIBBLE]
            extended = Cat(whole, whole if self.twice else whole[-1].replicate(CODE_BITS - _NIBBLE))
            m.d.comb += self.o.word_select(index, CODE_BITS).eq(Mux(self.on, extended, code))
        return m
