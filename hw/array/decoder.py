"""Takes matmul instructions apart, counts them, and holds the first fault."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.array.columns import WeightJob
from celosia.hw.array.rows import RowJob
from celosia.hw.config import Config
from celosia.hw.interfaces import Fault


class Decoder(wiring.Component):
    """Splits instructions into jobs for rows and for weights.

    Ports: `instruction`; `rows`, `weights`: jobs, given together. `row_fault`, `weight_fault`: faults of who does them.
    `fault`: the first fault, from the next cycle until reset; no instruction is taken then. An illegal instruction is
    taken and does nothing but fault. `done`: an instruction is done. `busy`: some is not, of at most `in_flight`.
    `jobs`: ports of a subclass in place of `rows` and `weights`.
    """

    def __init__(self, config: Config, in_flight: int, jobs: dict[str, wiring.Member] | None = None) -> None:
        fault = stream.Signature(Fault, always_ready=True)
        plain = {
            "rows": Out(stream.Signature(RowJob(config))),
            "weights": Out(stream.Signature(WeightJob(config))),
        }
        super().__init__(
            {
                "instruction": In(stream.Signature(isa.INSTRUCTION_BITS)),
                **(jobs or plain),
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
            legal.eq(self._legal(matmul)),
            ready.eq(self._ready() & ~self.fault.valid),
            self.instruction.ready.eq(ready),
            taken.eq(self.instruction.valid & ready),
            started.eq(taken & legal),
            *self._start(started),
            self.busy.eq(self.count.any()),
        ]
        self._jobs(m, matmul)
        self._started(m, started, matmul)
        with m.If(started & ~self.done):
            m.d.sync += self.count.eq(self.count + 1)
        with m.Elif(self.done & ~started):
            m.d.sync += self.count.eq(self.count - 1)
        self._faults(m, taken & ~legal)
        return m

    def _legal(self, matmul):
        """Whether it is an instruction of this unit, and of some size."""
        return (matmul.head.opcode == isa.Opcode.MATMUL) & matmul.m.any() & matmul.n_tiles.any() & matmul.k_tiles.any()

    def _ready(self):
        """Whether jobs are taken."""
        return self.rows.ready & self.weights.ready

    def _start(self, started) -> list:
        """Give jobs."""
        return [self.rows.valid.eq(started), self.weights.valid.eq(started)]

    def _jobs(self, m: Module, matmul) -> None:
        """What jobs say."""
        rows, weights = self.rows.payload, self.weights.payload
        m.d.comb += [rows[name].eq(matmul[name]) for name in rows.shape().members if name != "mask"]
        m.d.comb += rows.mask.eq(matmul.head.signal)
        m.d.comb += [weights[name].eq(matmul[name]) for name in weights.shape().members]

    def _started(self, m: Module, started: Signal, matmul) -> None:
        """What a subclass remembers of an instruction that starts."""

    def _sources(self) -> list:
        """Who may fault."""
        return [self.row_fault, self.weight_fault]

    def _faults(self, m: Module, illegal) -> None:
        with m.If(~self.fault.valid):
            for source in self._sources():
                with m.If(source.valid):
                    m.d.sync += [self.fault.valid.eq(1), self.fault.payload.eq(source.payload)]
                illegal = illegal & ~source.valid
            with m.If(illegal):
                m.d.sync += [self.fault.valid.eq(1), self.fault.payload.code.eq(isa.Trap.ILLEGAL_INSTRUCTION)]
