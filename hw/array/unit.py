"""ARRAY: the matmul unit."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.array.nibbles import NibbleArray
from celosia.hw.array.payloads import partial_row
from celosia.hw.array.sequencer import Sequencer, hdp_ports
from celosia.hw.array.systolic import SystolicArray
from celosia.hw.config import Config
from celosia.hw.interfaces import Done, UnitSignature, scratchpad_read


class Array(wiring.Component):
    """Executes `isa.Matmul`, with HDP `isa.Decide`, and at nibble rates above 1 `isa.Keys`: operands from the
    scratchpad, results into the accumulator.

    Ports: `control`: the unit side. `a`, `b`: read ports of the scratchpad, left operand and weights. `rows`: to the
    accumulator, which takes one a cycle and tells of last rows by `written`. Others: `hdp_ports`.
    Latency, throughput, errors: see `Sequencer` and `SystolicArray`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "a": Out(scratchpad_read(config)),
                "b": Out(scratchpad_read(config)),
                "rows": Out(stream.Signature(partial_row(config), always_ready=True)),
                "written": In(stream.Signature(Done, always_ready=True)),
                **hdp_ports(config),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self.config)
        m.submodules.systolic = systolic = (NibbleArray if self.config.rate > 1 else SystolicArray)(self.config)
        connect(m, flipped(self.control), sequencer.control)
        connect(m, sequencer.a, flipped(self.a))
        connect(m, sequencer.b, flipped(self.b))
        connect(m, sequencer.activations, systolic.activations)
        connect(m, sequencer.weights, systolic.weights)
        connect(m, systolic.rows, flipped(self.rows))
        connect(m, flipped(self.written), sequencer.written)
        for name in hdp_ports(self.config):
            connect(m, flipped(getattr(self, name)), getattr(sequencer, name))
        return m
