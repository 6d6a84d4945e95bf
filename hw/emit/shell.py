"""A frame for place and route: a design with more ports than a package has pins, timed between registers."""

from amaranth.hdl import Cat, ClockDomain, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Shell(wiring.Component):
    """`component` with every port but clock and reset on a shift register, so that six pins are enough.

    Its inputs come from flip-flops that are filled bit by bit from `shift_in`; its outputs are captured in flip-flops
    when `capture` is high and shifted out at `shift_out` otherwise. Every path of the design thus starts and ends at
    a register, as in a system that registers its bus, and none is optimised away. The frame costs one flip-flop an
    input bit, a flip-flop and a LUT an output bit.

    `component` must have ports `aclk` and `aresetn`.
    """

    def __init__(self, component: wiring.Component) -> None:
        self.component = component
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "shift_in": In(1),
                "capture": In(1),
                "shift_out": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.shell = clock = ClockDomain(reset_less=True)
        m.submodules.design = design = self.component
        inputs, outputs = [], []
        for path, member, value in design.signature.flatten(design):
            if path not in (("aclk",), ("aresetn",)):
                (inputs if member.flow == wiring.In else outputs).append(Value.cast(value))
        driven, seen = Cat(inputs), Cat(outputs)
        source = Signal(len(driven))
        captured = Signal(len(seen))
        reset_n = Signal()
        m.d.comb += [
            clock.clk.eq(self.aclk),
            design.aclk.eq(self.aclk),
            design.aresetn.eq(reset_n),
            driven.eq(source),
            self.shift_out.eq(captured[0]),
        ]
        m.d.shell += [
            reset_n.eq(self.aresetn),
            source.eq(Cat(source[1:], self.shift_in)),
            captured.eq(Cat(captured[1:], source[0])),
        ]
        with m.If(self.capture):
            m.d.shell += captured.eq(seen)
        return m
