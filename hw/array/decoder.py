"""Takes matmul instructions apart, counts them, and holds the first fault."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.array.columns import WeightJob
from celosia.hw.array.rows import RowJob
from celosia.hw.interfaces import Fault


class Decoder(wiring.Component):
    """Splits instructions into jobs for rows and for weights.

    Ports: `instruction`; `rows`, `weights`: jobs, given together. `row_fault`, `weight_fault`: faults of who does them.
    `fault`: the first fault, from the next cycle until reset; no instruction is taken then. An illegal instruction is
    taken and does nothing but fault. `done`: an instruction is done. `busy`: some is not, of at most `in_flight`.
    """

    def __init__(self, in_flight: int) -> None:
        fault = stream.Signature(Fault, always_ready=True)
        super().__init__(
            {
                "instruction": In(stream.Signature(isa.INSTRUCTION_BITS)),
                "rows": Out(stream.Signature(RowJob())),
                "weights": Out(stream.Signature(WeightJob())),
                "row_fault": In(fault),
                "weight_fault": In(fault),
                "fault": Out(fault),
                "done": In(1),
                "busy": Out(1),
            }
        )
        self.count = Signal(range(in_flight + 1))

    def elaborate(self, platform) -> Module:
        m = Module()
        matmul, taken, legal, ready = Signal(isa.Matmul), Signal(), Signal(), Signal()
        started = Signal()
        m.d.comb += [
            matmul.eq(self.instruction.payload),
            legal.eq(
                (matmul.head.opcode == isa.Opcode.MATMUL) & matmul.m.any() & matmul.n_tiles.any() & matmul.k_tiles.any()
            ),
            ready.eq(self.rows.ready & self.weights.ready & ~self.fault.valid),
            self.instruction.ready.eq(ready),
            taken.eq(self.instruction.valid & ready),
            started.eq(taken & legal),
            self.rows.valid.eq(started),
            self.weights.valid.eq(started),
            self.busy.eq(self.count.any()),
        ]
        m.d.comb += [self.rows.payload[name].eq(matmul[name]) for name in RowJob().members if name != "mask"]
        m.d.comb += self.rows.payload.mask.eq(matmul.head.signal)
        m.d.comb += [self.weights.payload[name].eq(matmul[name]) for name in WeightJob().members]
        with m.If(started & ~self.done):
            m.d.sync += self.count.eq(self.count + 1)
        with m.Elif(self.done & ~started):
            m.d.sync += self.count.eq(self.count - 1)
        self._faults(m, taken & ~legal)
        return m

    def _faults(self, m: Module, illegal) -> None:
        with m.If(~self.fault.valid):
            for source in (self.row_fault, self.weight_fault):
                with m.If(source.valid):
                    m.d.sync += [self.fault.valid.eq(1), self.fault.payload.eq(source.payload)]
            with m.If(illegal & ~self.row_fault.valid & ~self.weight_fault.valid):
                m.d.sync += [self.fault.valid.eq(1), self.fault.payload.code.eq(isa.Trap.ILLEGAL_INSTRUCTION)]
