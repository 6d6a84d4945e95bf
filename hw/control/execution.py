"""From a program in memory to the instruction streams of the units."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.common.buffers import Queue, SkidBuffer
from celosia.hw.config import Config
from celosia.hw.control.dispatch import Dispatch
from celosia.hw.control.fetch import Fetch
from celosia.hw.control.issue import Issue
from celosia.hw.control.layouts import PC_BITS, Cause, Fetched, Queued
from celosia.hw.control.semaphores import Semaphores
from celosia.hw.control.traps import Traps, Watchdog
from celosia.hw.dma.axi import axi_read
from celosia.hw.interfaces import Status, UnitSignature
from celosia.hw.registers import Activity

UNIT_NAMES = tuple(unit.name.lower() for unit in isa.Unit)
"""Names of the ports of the units, in their order."""


class Execution(wiring.Component):
    """Everything that belongs to one program: fetch, dispatch, queues, semaphores, traps. Reset it before each.

    An instruction passes from the bus to its unit in four cycles; one a cycle, and one to a unit every other cycle,
    when queues and tokens allow it. A token given in a cycle is used in the next. From the cycle after a fault (three
    after an overflow) nothing new is offered to a unit.

    Ports: `go`: begin, with the program at byte `program` of the window `base`, `size`. `running`: watch for faults.
    `stop`: fetch nothing more. `watchdog`: its limit. `axi`: the program. `load`, `array`, `post`, `store`: the units;
    `activity[u]`: what they do. `missing[u]`: units for whose token the next instruction of unit u waits. `pc[u]`: what
    unit u started last. `dispatched`: an instruction was. `fetch_idle`: fetch is owed nothing. `empty`: END was
    dispatched, no instruction waited or ran in the cycle before. `trapped`: a fault has come before this cycle,
    `cause`. `expired`: the watchdog's pulse.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "go": In(1),
                "base": In(config.bus.address_bits),
                "size": In(32),
                "program": In(32),
                "watchdog": In(32),
                "running": In(1),
                "stop": In(1),
                "axi": Out(axi_read(config)),
                **{name: Out(UnitSignature()) for name in UNIT_NAMES},
                "activity": In(Activity).array(isa.UNITS),
                "missing": Out(isa.UNITS).array(isa.UNITS),
                "pc": Out(PC_BITS).array(isa.UNITS),
                "dispatched": Out(1),
                "fetch_idle": Out(1),
                "empty": Out(1),
                "trapped": Out(1),
                "expired": Out(1),
                "cause": Out(Cause),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.fetch = fetch = Fetch(self.config)
        m.submodules.dispatch = dispatch = Dispatch(rate=self.config.rate)
        m.submodules.semaphores = semaphores = Semaphores()
        m.submodules.watchdog = watchdog = Watchdog()
        own = [fetch.fault, dispatch.fault, semaphores.fault, watchdog.fault]
        m.submodules.traps = traps = Traps(isa.UNITS + len(own))
        issues = [self._unit(m, unit, dispatch, semaphores, traps) for unit in isa.Unit]
        for cause, slot in zip(own, traps.causes[isa.UNITS :], strict=True):
            wiring.connect(m, cause, slot)
        wiring.connect(m, wiring.flipped(self.axi), fetch.axi)
        m.submodules.fetched = fetched = SkidBuffer(Fetched)
        wiring.connect(m, fetch.o, fetched.i)
        wiring.connect(m, fetched.o, dispatch.i)
        units = [getattr(self, name) for name in UNIT_NAMES]
        started = Cat(issue.started for issue in issues).any()
        working = Cat(unit.status == Status.BUSY for unit in units).any()
        m.d.comb += [
            fetch.go.eq(self.go),
            fetch.base.eq(self.base),
            fetch.size.eq(self.size),
            fetch.program.eq(self.program),
            fetch.stop.eq(self.stop | dispatch.ended | traps.trapped),
            self.fetch_idle.eq(fetch.idle),
            self.dispatched.eq(dispatch.taken),
            watchdog.limit.eq(self.watchdog),
            watchdog.pc.eq(dispatch.pc),
            self.expired.eq(watchdog.fault.valid),
            traps.enable.eq(self.running),
            self.trapped.eq(traps.trapped),
            self.cause.eq(traps.cause),
        ]
        waits, busy = Cat(issue.waits for issue in issues).any(), Cat(unit.busy for unit in units).any()
        m.d.sync += [
            self.empty.eq(dispatch.ended & ~waits & ~busy),
            watchdog.enable.eq(self.running),
            watchdog.progress.eq(started | working | fetch.beat | dispatch.taken),
        ]
        m.d.comb += [slot.eq(activity) for slot, activity in zip(watchdog.activity, self.activity, strict=True)]
        return m

    def _unit(self, m: Module, unit: isa.Unit, dispatch: Dispatch, semaphores: Semaphores, traps: Traps) -> Issue:
        """Connects what stands in front of one unit, and what the unit reports."""
        name = UNIT_NAMES[unit]
        port = getattr(self, name)
        rate = self.config.rate
        m.submodules[f"{name}_queue"] = queue = Queue(Queued(unit, rate), self.config.control.queue)
        m.submodules[f"{name}_issue"] = issue = Issue(unit, rate)
        wiring.connect(m, getattr(dispatch, name), queue.i)
        wiring.connect(m, queue.o, issue.i)
        wiring.connect(m, issue.o, wiring.flipped(port.instruction))
        fault, cause = port.fault, traps.causes[unit]
        m.d.comb += [
            issue.available.eq(semaphores.available[unit]),
            issue.freeze.eq(traps.trapped),
            semaphores.take[unit].eq(issue.take),
            semaphores.pc[unit].eq(issue.pc),
            cause.valid.eq(fault.valid),
            cause.payload.code.eq(fault.payload.code),
            cause.payload.address.eq(fault.payload.address),
            cause.payload.pc.eq(issue.pc),
            self.missing[unit].eq(issue.missing),
            self.pc[unit].eq(issue.pc),
        ]
        with m.If(port.done.valid):
            m.d.comb += semaphores.give[unit].eq(port.done.payload.mask)
        return issue
