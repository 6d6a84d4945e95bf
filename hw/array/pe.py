"""Processing element: one multiplication and addition a cycle, with the next weight loading behind the present one."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

ACTIVATION_BITS = 9
"""Width of an activation inside the array: int8 and u8 are both signed 9-bit numbers."""
WEIGHT_BITS = 8
_LOWEST = -255 * 128
_HIGHEST = max(128 * 128, 255 * 127)


def sum_bits(rows: int) -> int:
    """Width of a signed sum of `rows` products of an int8 weight with an int8 or u8 activation (1 for no products)."""
    return max(bits_for(rows * _LOWEST), bits_for(rows * _HIGHEST, require_sign_bit=True))


class ProcessingElement(wiring.Component):
    """PE of array row `row`: `sum_o = sum_i + a_i * weight`, `a_o = a_i`, both one cycle later; every cycle.

    With two `stages` the product of `a_i` is ready a cycle later, and meets the `sum_i` of that cycle.
    Ports: `a_i`, `a_o`: activations, moving right. `sum_i`, `sum_o`: partial sums, moving down, as wide as they need to
    be. `load_row`: take `byte_row` as the next weight, `load_column`: take `byte_column`. `swap`: from the next cycle
    on, the next weight is the present one; a load in the same cycle is of the one after it.
    Nothing is reset: rows that count come after weights that were loaded.
    """

    def __init__(self, row: int, stages: int = 1) -> None:
        self.stages = stages
        super().__init__(
            {
                "a_i": In(signed(ACTIVATION_BITS)),
                "a_o": Out(signed(ACTIVATION_BITS)),
                "sum_i": In(signed(sum_bits(row))),
                "sum_o": Out(signed(sum_bits(row + 1))),
                "byte_row": In(signed(WEIGHT_BITS)),
                "byte_column": In(signed(WEIGHT_BITS)),
                "load_row": In(1),
                "load_column": In(1),
                "swap": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        following = Signal(signed(WEIGHT_BITS), reset_less=True)
        weight = Signal(signed(WEIGHT_BITS), reset_less=True)
        activation = Signal.like(self.a_o, reset_less=True)
        total = Signal.like(self.sum_o, reset_less=True)
        product = Signal(signed(sum_bits(1)), reset_less=True)
        m.d.comb += [self.a_o.eq(activation), self.sum_o.eq(total)]
        m.d.sync += [activation.eq(self.a_i), total.eq(self.sum_i + product)]
        m.d["comb" if self.stages == 1 else "sync"] += product.eq(self.a_i * weight)
        with m.If(self.swap):
            m.d.sync += weight.eq(following)
        with m.If(self.load_row):
            m.d.sync += following.eq(self.byte_row)
        with m.Elif(self.load_column):
            m.d.sync += following.eq(self.byte_column)
        return m
