"""The interface of the kernels."""

from typing import ClassVar

from amaranth.hdl import signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.numerics import SHIFT_BITS
from celosia.hw.post.layouts import CONSTANT_BITS, RAW_BITS, VALUE_BITS, Geometry, TableLoad


class Kernel(wiring.Component):
    """A function of a requantised element; its last scaling and saturation follow in the lane.

    Ports: `i`: int16, with the `mode` of its instruction. `advance[k]`: the registers of stage k load. `value`,
    `shift`: after `LATENCY` stages; the element is `rshift(value, shift)`. `load`: bytes of the activation table.
    `constants`: of the instruction, where `CONSTANTS`; they change only while no element is inside.
    """

    LATENCY: ClassVar[int]
    CONSTANTS: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(signed(RAW_BITS)),
                "mode": In(isa.Activation),
                "advance": In(self.LATENCY),
                "load": In(TableLoad(Geometry(config))),
                "value": Out(signed(VALUE_BITS)),
                "shift": Out(SHIFT_BITS),
                **({"constants": In(CONSTANT_BITS)} if self.CONSTANTS else {}),
            }
        )
