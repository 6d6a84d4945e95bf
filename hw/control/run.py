"""The states of a run: start, end, trap, soft reset."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SETTLE_CYCLES = 4
"""Cycles for which a condition must hold before it is believed: what a unit takes in one cycle shows as busy in the
next."""
RESET_CYCLES = 8
"""Length of a core reset: longer than the way of a reset through the units (`celosia.hw.top`)."""


class Run(wiring.Component):
    """Takes a run from its start to its end.

    A run starts three cycles after `start`, after a core reset if the last one was trapped. It ends when everything is
    `finished`, or after a trap when the bus has drained or the watchdog expired once more, so that a dead bus cannot
    hide a trap. A soft reset waits for the bus to drain in any case: to break off a burst would break the bus.

    Ports: `start`: run, held until `ended`. `soft_reset`: held until `reset_done`. `trap`: a cause has come.
    `finished`: END was reached, nothing is left to do. `drained`: the bus owes and is owed nothing. `expired`: the
    watchdog's. `clear`: reset the run state of control (for a cycle before a run, and with a core reset). `cleared`: a
    run begins, counters to zero. `go`: fetch. `running`. `quiesce`: no new bursts. `core_reset`: reset the units.
    `ended`: for a cycle; with `trapped` it was a trap. `idle`.
    """

    def __init__(self) -> None:
        inputs = ("start", "soft_reset", "trap", "finished", "drained", "expired")
        outputs = (
            "clear", "cleared", "go", "running", "quiesce", "core_reset", "ended", "trapped", "reset_done", "idle"
        )  # fmt: skip
        super().__init__({**{name: In(1) for name in inputs}, **{name: Out(1) for name in outputs}})

    def elaborate(self, platform) -> Module:
        m = Module()
        settled = Signal()
        condition = Signal()
        steps = Signal(range(SETTLE_CYCLES))
        with m.If(~condition):
            m.d.sync += steps.eq(0)
        with m.Elif(~settled):
            m.d.sync += steps.eq(steps + 1)
        m.d.comb += [condition.eq(self.drained), settled.eq(condition & (steps == SETTLE_CYCLES - 1))]
        self.stand_still, fresh = Signal(), Signal()
        m.d.sync += [
            self.quiesce.eq(self.stand_still),
            self.clear.eq(self.cleared | self.core_reset),
            fresh.eq(self.cleared),
        ]
        m.d.sync += self.go.eq(fresh)
        with m.FSM() as fsm:
            self._run(m, condition, settled)
            self._reset(m, settled)
            resetting = fsm.ongoing("RESET")
        m.d.sync += self.core_reset.eq(resetting)
        return m

    def _run(self, m: Module, condition: Signal, settled: Signal) -> None:
        with m.State("IDLE"):
            m.d.comb += self.idle.eq(1)
            with m.If(self.soft_reset):
                m.next = "STOP"
            with m.Elif(self.start):
                m.next = "CLEAR"
        with m.State("CLEAR"):
            m.d.comb += self.cleared.eq(1)
            m.next = "RUN"
        with m.State("RUN"):
            # The end of the run before still shows while everything is reset.
            m.d.comb += [self.running.eq(1), condition.eq(self.finished & ~self.trap & ~self.clear)]
            with m.If(self.soft_reset):
                m.next = "STOP"
            with m.Elif(self.trap):
                m.next = "DRAIN"
            with m.Elif(settled):
                m.d.comb += self.ended.eq(1)
                m.next = "IDLE"
        with m.State("DRAIN"):
            m.d.comb += [self.running.eq(1), self.stand_still.eq(1), self.trapped.eq(1)]
            with m.If(self.soft_reset):
                m.next = "STOP"
            with m.Elif(settled | self.expired):
                m.d.comb += self.ended.eq(1)
                m.next = "TRAPPED"

    def _reset(self, m: Module, settled: Signal) -> None:
        cycles = Signal(range(RESET_CYCLES))
        with m.State("TRAPPED"):
            m.d.comb += [self.idle.eq(1), self.stand_still.eq(1)]
            with m.If(self.soft_reset | self.start):
                m.next = "STOP"
        with m.State("STOP"):
            m.d.comb += self.stand_still.eq(1)
            with m.If(settled):
                m.next = "RESET"
        with m.State("RESET"):
            m.d.comb += self.stand_still.eq(1)
            m.d.sync += cycles.eq(cycles + 1)
            with m.If(cycles == RESET_CYCLES - 1):
                m.d.comb += self.reset_done.eq(1)
                m.next = "SETTLE"
        # The registered core reset ends here.
        with m.State("SETTLE"):
            m.d.comb += self.stand_still.eq(1)
            m.next = "IDLE"
