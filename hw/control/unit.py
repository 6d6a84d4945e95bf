"""CONTROL."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.control.axilite import AxiLite, AxiLiteSignature
from celosia.hw.control.bank import Bank
from celosia.hw.control.counters import ActivityMonitor, Counters
from celosia.hw.control.execution import UNIT_NAMES, Execution
from celosia.hw.control.layouts import PC_BITS
from celosia.hw.control.run import Run
from celosia.hw.dma.axi import axi_read
from celosia.hw.dma.windows import WindowsSignature
from celosia.hw.interfaces import UnitSignature
from celosia.hw.registers import Activity


class Control(wiring.Component):
    """Runs programs for the host: registers, execution, counters, interrupt.

    Register writes take two cycles, reads three. `quiesce` follows a fault by three cycles; a run ends 5 cycles after
    everything stands still. `core_reset` lasts 8 cycles and comes only when `load_idle`, `store_idle` and fetch owe the
    bus nothing.

    Ports: `s_axi`: registers. `fetch`: reads the program. `load`, `array`, `post`, `store`: the units. `windows`: the
    memory windows. `quiesce`: start no new bursts. `load_idle`, `store_idle`: no burst is outstanding, no request
    waits. `load_beat`, `store_beat`: a data beat passed. `core_reset`: reset everything but control. `interrupt`:
    level. `activity_*`: what a unit did in the last cycle; `pc_*`: the number of the instruction that it started last.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "s_axi": In(AxiLiteSignature()),
                "fetch": Out(axi_read(config)),
                **{name: Out(UnitSignature()) for name in UNIT_NAMES},
                "windows": Out(WindowsSignature(config)),
                "quiesce": Out(1),
                "load_idle": In(1),
                "store_idle": In(1),
                "load_beat": In(1),
                "store_beat": In(1),
                "core_reset": Out(1),
                "interrupt": Out(1),
                **{f"activity_{name}": Out(Activity) for name in UNIT_NAMES},
                **{f"pc_{name}": Out(PC_BITS) for name in UNIT_NAMES},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.run = run = Run()
        m.submodules.axilite = axilite = AxiLite()
        m.submodules.bank = bank = Bank(self.config)
        execution = Execution(self.config)
        m.submodules.execution = ResetInserter(run.clear)(execution)
        wiring.connect(m, wiring.flipped(self.s_axi), axilite.s_axi)
        wiring.connect(m, axilite.registers, bank.registers)
        wiring.connect(m, bank.windows, wiring.flipped(self.windows))
        wiring.connect(m, execution.axi, wiring.flipped(self.fetch))
        for name in UNIT_NAMES:
            wiring.connect(m, getattr(execution, name), wiring.flipped(getattr(self, name)))
        self._run(m, run, bank, execution)
        self._count(m, run, bank, execution)
        return m

    def _run(self, m: Module, run: Run, bank: Bank, execution: Execution) -> None:
        drained = Signal()
        m.d.comb += [
            drained.eq(self.load_idle & self.store_idle & execution.fetch_idle),
            run.start.eq(bank.start),
            run.soft_reset.eq(bank.soft_reset),
            run.trap.eq(execution.trapped),
            run.finished.eq(execution.empty & drained),
            run.drained.eq(drained),
            run.expired.eq(execution.expired),
            bank.ended.eq(run.ended),
            bank.trapped.eq(run.trapped),
            bank.idle.eq(run.idle),
            bank.reset_done.eq(run.reset_done),
            bank.cause.eq(execution.cause),
            execution.go.eq(run.go),
            execution.running.eq(run.running),
            execution.stop.eq(run.quiesce),
            execution.base.eq(bank.windows.base[0]),
            execution.size.eq(bank.windows.size[0]),
            execution.program.eq(bank.program),
            execution.watchdog.eq(bank.watchdog),
            self.quiesce.eq(run.quiesce),
            self.core_reset.eq(run.core_reset),
            self.interrupt.eq(bank.interrupt),
        ]

    def _count(self, m: Module, run: Run, bank: Bank, execution: Execution) -> None:
        m.submodules.counters = counters = Counters(self.config)
        wiring.connect(m, counters.values, bank.counters)
        # What a unit does is known one cycle later, and counted then.
        m.d.sync += counters.enable.eq(run.running)
        m.d.comb += [
            counters.clear.eq(run.cleared),
            counters.instruction.eq(execution.dispatched),
            counters.read_beat.eq(self.load_beat),
            counters.write_beat.eq(self.store_beat),
        ]
        for unit, name in zip(isa.Unit, UNIT_NAMES, strict=True):
            m.submodules[f"{name}_monitor"] = monitor = ActivityMonitor()
            m.d.comb += [
                monitor.status.eq(getattr(self, name).status),
                monitor.missing.eq(execution.missing[unit]),
                counters.activity[unit].eq(monitor.activity),
                execution.activity[unit].eq(monitor.activity),
                getattr(self, f"activity_{name}").eq(monitor.activity),
                getattr(self, f"pc_{name}").eq(execution.pc[unit]),
            ]
