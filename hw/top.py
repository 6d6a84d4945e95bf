"""The accelerator: units, memories and control, connected; and its outside with flat AXI names."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from celosia.hw.array.payloads import partial_bits
from celosia.hw.array.unit import Array
from celosia.hw.config import COPROCESSOR, Config
from celosia.hw.control.axilite import AxiLiteSignature
from celosia.hw.control.layouts import PC_BITS
from celosia.hw.control.run import RESET_CYCLES
from celosia.hw.control.unit import Control
from celosia.hw.dma.axi import axi_read, axi_write
from celosia.hw.dma.load import Load
from celosia.hw.dma.readarbiter import ReadArbiter
from celosia.hw.dma.store import Store
from celosia.hw.isa import Unit
from celosia.hw.memory.accumulator import Accumulator
from celosia.hw.memory.scratchpad import Scratchpad
from celosia.hw.post.unit import Post
from celosia.hw.registers import Activity

UNIT_NAMES = tuple(unit.name.lower() for unit in Unit)
_OBSERVED = {
    f"{what}_{name}": Out(shape) for name in UNIT_NAMES for what, shape in (("activity", Activity), ("pc", PC_BITS))
}
"""What a trace shows of each unit: what it does, and the number of the instruction that it started last."""


class Core(wiring.Component):
    """Everything in one clock domain, with structured ports.

    Ports: `reset`: everything; the domain has none of its own. `s_axi`: registers; `read`, `write`: halves of the
    memory port; `interrupt`; `activity_<unit>`, `pc_<unit>`: for traces. Soft reset resets all but the registers;
    memories keep their contents.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "reset": In(1),
                "s_axi": In(AxiLiteSignature()),
                "read": Out(axi_read(config)),
                "write": Out(axi_write(config)),
                "interrupt": Out(1),
                **_OBSERVED,
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        control, arbiter = Control(config), ReadArbiter(config)
        m.submodules.control = ResetInserter(self.reset)(control)
        m.submodules.arbiter = ResetInserter(self.reset)(arbiter)
        units = self.make_units()
        self._units(m, control, units)
        for name in UNIT_NAMES:
            if name in units:
                connect(m, getattr(control, name), units[name].control)
        self.connect_units(m, **units)
        self._memory_port(m, control, arbiter, units["load"], units["store"])
        connect(m, flipped(self.s_axi), control.s_axi)
        m.d.comb += self.interrupt.eq(control.interrupt)
        m.d.comb += [getattr(self, name).eq(getattr(control, name)) for name in _OBSERVED]
        return m

    def make_units(self) -> dict[str, wiring.Component]:
        """Units that control knows, by their names, and memories."""
        config = self.config
        return {
            "load": Load(config),
            "array": Array(config),
            "post": Post(config),
            "store": Store(config),
            "scratchpad": Scratchpad(config),
            "accumulator": Accumulator(config, partial_bits(config)),
        }

    def _units(self, m: Module, control: Control, units: dict[str, wiring.Component]) -> None:
        """Reset the units one after another, a cycle apart, each by a register of its own: the net of a reset then
        spans a unit, not the chip. For some cycles all are reset together: nothing passes from one to the other.
        """
        held = Signal(RESET_CYCLES, init=-1)
        with m.If(self.reset):
            m.d.sync += held.eq(-1)
        with m.Else():
            m.d.sync += held.eq(held << 1)
        before = held[-1] | control.core_reset
        for name, unit in units.items():
            reset = Signal(init=1, name=f"{name}_reset")
            m.d.sync += reset.eq(before)
            # On the bus nothing may be valid in a reset.
            now = self.reset if name in ("load", "store") else 0
            m.submodules[name] = ResetInserter(reset | now)(unit)
            before = reset

    def connect_units(
        self,
        m: Module,
        load: Load,
        array: Array,
        post: Post,
        store: Store,
        scratchpad: Scratchpad,
        accumulator: Accumulator,
    ) -> None:
        """Units to scratchpad and accumulator."""
        connect(m, load.write, scratchpad.load)
        connect(m, array.a, scratchpad.array_a)
        connect(m, array.b, scratchpad.array_b)
        connect(m, post.read, scratchpad.post)
        connect(m, post.write, scratchpad.post_out)
        connect(m, store.read, scratchpad.store)
        connect(m, array.rows, accumulator.rows)
        connect(m, accumulator.written, array.written)
        if self.config.hdp is not None:
            connect(m, accumulator.beats, array.beats)
            connect(m, post.kept, array.kept)
        connect(m, post.acc_read, accumulator.read)
        connect(m, post.acc_write, accumulator.write)
        connect(m, post.maxima, accumulator.maxima)

    def _memory_port(self, m: Module, control: Control, arbiter: ReadArbiter, load: Load, store: Store) -> None:
        """LOAD and fetch share the read half; windows and the state of the bus."""
        connect(m, load.axi, arbiter.load)
        connect(m, control.fetch, arbiter.fetch)
        connect(m, arbiter.axi, flipped(self.read))
        connect(m, store.axi, flipped(self.write))
        for transfer in (load, store):
            for index, (base, size) in enumerate(zip(control.windows.base, control.windows.size, strict=True)):
                m.d.comb += [transfer.windows.base[index].eq(base), transfer.windows.size[index].eq(size)]
            m.d.comb += transfer.quiesce.eq(control.quiesce)
        m.d.comb += [
            control.load_idle.eq(load.idle),
            control.store_idle.eq(store.idle),
            control.load_beat.eq(load.beat),
            control.store_beat.eq(store.beat),
        ]


def _flat(prefix: str, signature: wiring.Signature, flow) -> dict[str, wiring.Member]:
    """Members of a port under the names that vendor tools infer interfaces from."""
    members = signature.members if flow is Out else signature.flip().members
    return {f"{prefix}_{name}": member for name, member in members.items()}


def core_of(config: Config) -> Core:
    """What is inside the accelerator of a configuration."""
    if config.rate == COPROCESSOR:
        from celosia.hw.coprocessor.top import Coprocessor

        return Coprocessor(config)
    return Core(config)


class Accelerator(wiring.Component):
    """The accelerator as other tools see it: `aclk`, `aresetn`, `s_axi_*`, `m_axi_*`, `interrupt`.

    `activity_*` and `pc_*` are for traces.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._ports = {
            "s_axi": ("s_axi", AxiLiteSignature(), In),
            "read": ("m_axi", axi_read(config), Out),
            "write": ("m_axi", axi_write(config), Out),
        }
        members = {"aclk": In(1), "aresetn": In(1), "interrupt": Out(1)}
        members |= _OBSERVED
        for prefix, signature, flow in self._ports.values():
            members |= _flat(prefix, signature, flow)
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.core = core = core_of(self.config)
        m.d.comb += [ClockSignal().eq(self.aclk), core.reset.eq(~self.aresetn)]
        for port, (prefix, signature, flow) in self._ports.items():
            for name, member in signature.members.items():
                inside, outside = getattr(getattr(core, port), name), getattr(self, f"{prefix}_{name}")
                outward = (member.flow is Out) == (flow is Out)
                m.d.comb += outside.eq(inside) if outward else inside.eq(outside)
        m.d.comb += self.interrupt.eq(core.interrupt)
        m.d.comb += [getattr(self, name).eq(getattr(core, name)) for name in _OBSERVED]
        return m
