"""Control as its benches see it."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from celosia.hw.config import Config
from celosia.hw.control.unit import Control


class ControlDut(wiring.Component):
    """Control with its interrupt named `irq`: Verilator warns of a top-level port that is called like a C++ word.

    Ports: those of `Control`, and `irq`.
    """

    def __init__(self, config: Config) -> None:
        self._control = Control(config)
        self._outer = {"irq" if name == "interrupt" else name: name for name in self._control.signature.members}
        super().__init__({outer: self._control.signature.members[inner] for outer, inner in self._outer.items()})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.control = control = self._control
        for outer, inner in self._outer.items():
            member, inside, outside = control.signature.members[inner], getattr(control, inner), getattr(self, outer)
            if member.is_signature:
                wiring.connect(m, inside, wiring.flipped(outside))
            else:
                m.d.comb += outside.eq(inside) if member.flow is Out else inside.eq(outside)
        return m
