"""The register bank."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from celosia.hw import isa
from celosia.hw.config import Config
from celosia.hw.control.axilite import REGISTER_BITS, RegisterBusSignature
from celosia.hw.control.layouts import Cause, CountersSignature
from celosia.hw.dma.windows import WindowsSignature
from celosia.hw.registers import BY_NAME, COUNTERS, REGISTER_BYTES, REGISTERS, identity

GROUP_BITS = 4
"""Registers whose values are chosen from in one cycle: 2 to this power."""


def register_width(config: Config, name: str) -> int:
    """Bits that a plain register keeps, of those that the host writes."""
    narrow = {"GIE": len(BY_NAME["GIE"].fields), "IER": len(BY_NAME["IER"].fields)}
    if name.endswith("_BASE_LO"):
        return min(config.bus.address_bits, REGISTER_BITS)
    if name.endswith("_BASE_HI"):
        return max(config.bus.address_bits - REGISTER_BITS, 0)
    return narrow.get(name, REGISTER_BITS)


class Bank(wiring.Component):
    """The registers of `celosia.hw.registers`, and the interrupt.

    Ports: `registers`: accesses. `ended`: a run has ended, with `trapped` by a trap (`cause`). `idle`: no run.
    `reset_done`: the soft reset has ended. `counters`. `start`: run; falls when the run has ended, unless automatic
    restart is on. `soft_reset`. `program`, `watchdog`, `windows`: what the host wrote. `interrupt`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "registers": In(RegisterBusSignature()),
                "ended": In(1),
                "trapped": In(1),
                "idle": In(1),
                "reset_done": In(1),
                "cause": In(Cause),
                "counters": In(CountersSignature(config)),
                "start": Out(1),
                "soft_reset": Out(1),
                "program": Out(REGISTER_BITS),
                "watchdog": Out(REGISTER_BITS),
                "windows": Out(WindowsSignature(config)),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        values: dict[str, Value | int] = dict(identity(self.config))
        values |= self._plain(m)
        values |= self._control(m)
        values |= self._events(m, values)
        values |= self._status()
        self._read(m, values)
        return m

    def _written(self, name: str) -> Value:
        """In this cycle the host writes to the register."""
        return self.registers.write & (self.registers.write_index == BY_NAME[name].offset // REGISTER_BYTES)

    def _written_bits(self, name: str, field: str) -> Value:
        """The field's new value, where its byte is written; else zero."""
        bits = BY_NAME[name].field(field)
        strobe = self.registers.strobe[bits.lsb // 8]
        return Mux(self._written(name) & strobe, self.registers.write_data[bits.lsb : bits.lsb + bits.width], 0)

    def _plain(self, m: Module) -> dict[str, Value | int]:
        """Registers that only keep what was written."""
        names = ["GIE", "IER", "PROGRAM", "WATCHDOG", *(r.name for r in REGISTERS if r.name.startswith("WINDOW"))]
        values: dict[str, Value | int] = {}
        for name in names:
            width = register_width(self.config, name)
            if not width:
                values[name] = 0
                continue
            values[name] = kept = Signal(width, name=name.lower())
            with m.If(self._written(name)):
                for byte in range(-(-width // 8)):
                    with m.If(self.registers.strobe[byte]):
                        m.d.sync += kept[8 * byte : 8 * byte + 8].eq(self.registers.write_data[8 * byte :])
        m.d.comb += [self.program.eq(values["PROGRAM"]), self.watchdog.eq(values["WATCHDOG"])]
        for index in range(isa.WINDOWS):
            base = Cat(values[f"WINDOW{index}_BASE_LO"], values[f"WINDOW{index}_BASE_HI"])
            m.d.comb += [self.windows.base[index].eq(base), self.windows.size[index].eq(values[f"WINDOW{index}_SIZE"])]
        return values

    def _control(self, m: Module) -> dict[str, Value | int]:
        """CTRL: what the host sets comes before what the run clears in the same cycle."""
        done = Signal()
        auto_restart = Signal()
        start, reset = self._written_bits("CTRL", "START"), self._written_bits("CTRL", "SOFT_RESET")
        read = self.registers.read & (self.registers.read_index == BY_NAME["CTRL"].offset // REGISTER_BYTES)
        with m.If(self.ended):
            m.d.sync += self.start.eq(auto_restart & ~self.trapped)
            with m.If(self.trapped):
                m.d.sync += auto_restart.eq(0)
        with m.If(self.reset_done):
            m.d.sync += self.soft_reset.eq(0)
        with m.If(read | start | reset):
            m.d.sync += done.eq(0)
        with m.If(self.ended):
            m.d.sync += done.eq(1)
        with m.If(self._written("CTRL") & self.registers.strobe[0]):
            m.d.sync += auto_restart.eq(self._written_bits("CTRL", "AUTO_RESTART"))
        with m.If(reset):
            m.d.sync += [self.soft_reset.eq(1), self.start.eq(0)]
            with m.If(~self._written_bits("CTRL", "AUTO_RESTART")):
                m.d.sync += auto_restart.eq(0)
        with m.If(start):
            m.d.sync += self.start.eq(1)
        idle = self.idle & ~self.start & ~self.soft_reset
        places = {"START": self.start, "DONE": done, "IDLE": idle, "READY": done}
        places |= {"AUTO_RESTART": auto_restart, "SOFT_RESET": self.soft_reset}
        value = Signal(REGISTER_BITS, name="ctrl")
        m.d.comb += [value[BY_NAME["CTRL"].field(name).lsb].eq(bit) for name, bit in places.items()]
        return {"CTRL": value}

    def _events(self, m: Module, values: dict[str, Value | int]) -> dict[str, Value | int]:
        """ISR: an event that comes in the cycle in which the host clears it stays."""
        pending = Signal(len(BY_NAME["ISR"].fields), name="isr")
        clear = Signal(REGISTER_BITS)
        with m.If(self._written("ISR") & self.registers.strobe[0]):
            m.d.comb += clear.eq(self.registers.write_data)
        events = Cat(self.ended, self.ended & self.trapped) & values["IER"]
        m.d.sync += pending.eq((pending & ~clear) | events)
        m.d.comb += self.interrupt.eq(pending.any() & values["GIE"])
        return {"ISR": pending}

    def _status(self) -> dict[str, Value | int]:
        """What the run tells."""
        values: dict[str, Value | int] = {
            "TRAP_CODE": self.cause.code.as_value(),
            "TRAP_ADDRESS_LO": self.cause.address[:REGISTER_BITS],
            "TRAP_ADDRESS_HI": self.cause.address[REGISTER_BITS:],
            "TRAP_PC": self.cause.pc,
        }
        for name in COUNTERS:
            counter = getattr(self.counters, name.lower())
            values[f"{name}_LO"] = counter[:REGISTER_BITS]
            values[f"{name}_HI"] = counter[REGISTER_BITS:] if len(counter) > REGISTER_BITS else 0
        return values

    def _read(self, m: Module, values: dict[str, Value | int]) -> None:
        bus = self.registers
        indices = [register.offset // REGISTER_BYTES for register in REGISTERS]
        with m.Switch(bus.write_index):
            with m.Case(*indices):
                m.d.comb += bus.write_error.eq(0)
            with m.Default():
                m.d.comb += bus.write_error.eq(1)
        # Two multiplexers, one behind the other: within groups of registers, then among the groups.
        low, high = bus.read_index[:GROUP_BITS], bus.read_index[GROUP_BITS:]
        group, second = Signal.like(high), Signal()
        m.d.sync += second.eq(bus.read)
        with m.If(second):
            m.d.sync += [bus.read_data.eq(0), bus.read_error.eq(1)]
        with m.If(bus.read):
            m.d.sync += group.eq(high)
        for number in sorted({index >> GROUP_BITS for index in indices}):
            word, error = Signal(REGISTER_BITS, name=f"group{number}"), Signal(name=f"group{number}_error")
            with m.If(bus.read), m.Switch(low):
                for register, index in zip(REGISTERS, indices, strict=True):
                    if index >> GROUP_BITS == number:
                        with m.Case(index % (1 << GROUP_BITS)):
                            m.d.sync += [word.eq(values[register.name]), error.eq(0)]
                with m.Default():
                    m.d.sync += [word.eq(0), error.eq(1)]
            with m.If(second & (group == number)):
                m.d.sync += [bus.read_data.eq(word), bus.read_error.eq(error)]
