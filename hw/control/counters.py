"""Performance counters and what they count."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.control.layouts import CountersSignature
from celosia.hw.interfaces import Status
from celosia.hw.registers import Activity


class ActivityMonitor(wiring.Component):
    """Tells what a unit does: its status or, while that is idle, for which unit's token its next instruction waits.

    One cycle of latency.

    Ports: `status`: of the unit. `missing`: units for whose token the head of its queue waits. `activity`: the result.
    """

    def __init__(self) -> None:
        super().__init__({"status": In(Status), "missing": In(isa.UNITS), "activity": Out(Activity)})

    def elaborate(self, platform) -> Module:
        m = Module()
        waits = Signal(Activity)
        for unit in reversed(isa.Unit):
            with m.If(self.missing[unit]):
                m.d.comb += waits.eq(Activity[f"WAIT_{unit.name}"])
        idle = self.status == Status.IDLE
        # The codes of `Status` are the lower half of those of `Activity`.
        m.d.sync += self.activity.eq(Mux(idle, waits.as_value(), self.status.as_value()))
        return m


class Counters(wiring.Component):
    """The counters of a run.

    Ports: `clear`: all to zero. `enable`: count. `activity[u]`: what unit u does. `instruction`: one was dispatched.
    `read_beat`, `write_beat`: a beat passed. `values`: the counters; they lag by one cycle and wrap around.
    """

    def __init__(self, config: Config) -> None:
        self.bus_bytes = config.bus.bytes
        super().__init__(
            {
                "clear": In(1),
                "enable": In(1),
                "activity": In(Activity).array(isa.UNITS),
                "instruction": In(1),
                "read_beat": In(1),
                "write_beat": In(1),
                "values": Out(CountersSignature(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        values = self.values
        steps = [
            (values.cycles, 1, 1),
            (values.instructions, self.instruction, 1),
            (values.bytes_read, self.read_beat, self.bus_bytes),
            (values.bytes_written, self.write_beat, self.bus_bytes),
        ]
        for unit in isa.Unit:
            for activity in Activity:
                if activity != Activity.IDLE:
                    counter = getattr(values, f"{unit.name}_{activity.name}".lower())
                    steps.append((counter, self.activity[unit] == activity, 1))
        for counter, condition, step in steps:
            with m.If(self.clear):
                m.d.sync += counter.eq(0)
            with m.Elif(self.enable & condition):
                m.d.sync += counter.eq(counter + step)
        return m
