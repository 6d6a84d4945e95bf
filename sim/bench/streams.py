"""Sources and sinks of streams, with random stalls and contract checks.

One process a clock (`Hub`) samples and drives all agents of a bench, which keeps a cycle cheap. Values are sampled at
the clock edge, before it takes effect; what agents drive takes effect after it.
"""

import enum
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import cocotb
from amaranth.hdl import Const, Shape, ShapeCastable, unsigned
from amaranth.lib import data
from cocotb.triggers import Event, RisingEdge


class Agent(Protocol):
    """Something that acts once a cycle."""

    def step(self) -> None:
        """Sample signals as they were before the clock edge, and drive what follows it."""

    def reset(self) -> None:
        """Forget everything under way."""


class Hub:
    """All agents of one clock. `cycle`: clock edges so far. `driven`: names of inputs that agents drive."""

    def __init__(self, dut, clock: str) -> None:
        self.dut = dut
        self.cycle = 0
        self.running = False
        self.driven: set[str] = set()
        self.agents: list[Agent] = []
        self._edge = RisingEdge(getattr(dut, clock))
        self._alarms: list[tuple[int, int, Event]] = []
        self._alarm_count = 0
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await self._edge
            self.cycle += 1
            if self.running:
                for agent in self.agents:
                    agent.step()
            while self._alarms and self._alarms[0][0] <= self.cycle:
                heapq.heappop(self._alarms)[2].set()

    def wake_at(self, cycle: int, event: Event) -> None:
        """Set `event` at clock edge number `cycle`."""
        self._alarm_count += 1
        heapq.heappush(self._alarms, (cycle, self._alarm_count, event))

    async def cycles(self, count: int = 1) -> None:
        """Wait for `count` clock edges."""
        event = Event()
        self.wake_at(self.cycle + count, event)
        await event.wait()


_hubs: dict[str, Hub] = {}


def hub_of(dut, clock: str = "clk") -> Hub:
    """The hub of the running test's clock."""
    # The process of a hub ends with the test that started it.
    if clock not in _hubs or _hubs[clock].task.done():
        _hubs[clock] = Hub(dut, clock)
    return _hubs[clock]


async def cycles(dut, count: int = 1) -> None:
    """Wait for `count` clock edges."""
    await hub_of(dut).cycles(count)


def now(dut) -> int:
    """Clock edges since the test began."""
    return hub_of(dut).cycle


def packer(shape: Any) -> Callable[[Any], int]:
    """A function that makes bits of a shape's values as its `const` does, many times as fast.

    Values: integers and enumerations, mappings for structures (fields left out are 0), sequences for arrays.
    """
    width = Shape.cast(shape).width
    mask = (1 << width) - 1
    if isinstance(shape, type) and issubclass(shape, data.Struct) and not shape.const({}).as_value().value:
        shape = data.Layout.cast(shape)
    if isinstance(shape, data.StructLayout):
        fields = {name: (field.offset, packer(field.shape)) for name, field in shape}

        def pack(value: Any) -> int:
            if not isinstance(value, Mapping):
                return shape.const(value).as_value().value & mask
            bits = 0
            for name, item in value.items():
                offset, make = fields[name]
                bits |= make(item) << offset
            return bits

        return pack
    if isinstance(shape, data.ArrayLayout):
        each, make = Shape.cast(shape.elem_shape).width, packer(shape.elem_shape)

        def join(value: Any) -> int:
            if not isinstance(value, (list, tuple)) or len(value) > shape.length:
                return shape.const(value).as_value().value & mask
            bits = 0
            for item in reversed(value):
                bits = bits << each | make(item)
            return bits

        return join
    if isinstance(shape, (int, range, Shape, enum.EnumMeta)):
        return lambda value: int(getattr(value, "value", value)) & mask
    return lambda value: Const.cast(shape.const(value)).value & mask


class Codec:
    """Encodes values of a `shape` (integer shape or layout) to bits and back."""

    def __init__(self, shape: Any) -> None:
        self.layout = shape if isinstance(shape, ShapeCastable) and not isinstance(shape, (int, range)) else None
        self.shape = Shape.cast(shape)
        self._mask = (1 << self.shape.width) - 1
        self._pack = packer(shape)

    def encode(self, value: Any) -> int:
        """Bits of a value: an integer (signed or raw bits), or what the layout's `const` takes."""
        if isinstance(value, Mapping) or (self.layout is not None and not isinstance(value, int)):
            return self._pack(value)
        value = int(value)
        if not -(1 << self.shape.width) < value <= self._mask:
            raise ValueError(f"{value} does not fit {self.shape.width} bits")
        return value & self._mask

    def decode(self, bits: int) -> Any:
        """The value: an integer with its sign, or the layout's constant."""
        if self.layout is not None:
            return self.layout.from_bits(bits)
        if self.shape.signed and bits >> (self.shape.width - 1):
            return bits - (1 << self.shape.width)
        return bits


def fields_of(layout: Any, *names: str) -> Callable[[int], tuple[int, ...]]:
    """A function that takes fields out of a layout's bits, unsigned: for what is looked at in every cycle."""
    found = data.Layout.cast(layout)
    places = [(found[name].offset, (1 << found[name].width) - 1) for name in names]
    return lambda bits: tuple(bits >> offset & mask for offset, mask in places)


def reader(handle) -> Callable[[], int]:
    """A function that reads a handle as an unsigned integer; a missing one reads as 0. Unknown bits: ValueError."""
    if handle is None:
        return lambda: 0
    # By the text that `value` is made from: making a vector of it takes most of the time of a bench.
    text = handle._handle.get_signal_val_binstr
    return lambda: int(text(), 2)


class _Endpoint:
    """Handles of a stream's signals; a missing payload has no bits, a missing ready is always ready."""

    def __init__(self, dut, port: str, shape: Any, stall: float, rng: random.Random | None, clock: str) -> None:
        if not 0 <= stall < 1:
            raise ValueError(f"stall must be from 0 to below 1, not {stall!r}")
        self.hub = hub_of(dut, clock)
        self.port = port.replace(".", "__")
        self.codec = Codec(shape if shape is not None else unsigned(1 << 20))
        self.stall = stall
        self.rng = rng or random.Random(f"{cocotb.RANDOM_SEED} {self.port}")
        self.valid = getattr(dut, f"{self.port}__valid")
        self.ready = getattr(dut, f"{self.port}__ready", None)
        self.payload = getattr(dut, f"{self.port}__payload", None)
        self.read_valid, self.read_ready, self.read_payload = map(reader, (self.valid, self.ready, self.payload))


class StreamSource(_Endpoint):
    """Drives the stream `port` of `dut` (an input): values in order, with pauses of probability `stall`.

    `shape`: shape or layout of the payload, or None for raw bits. `times`: cycle of each transfer.
    """

    def __init__(
        self, dut, port: str, shape: Any = None, *, stall: float = 0.0, rng: random.Random | None = None, clock="clk"
    ):
        super().__init__(dut, port, shape, stall, rng, clock)
        self.times: list[int] = []
        self._queue: deque[int] = deque()
        self._offered = False
        self._empty = Event()
        self.valid.value = 0
        self.hub.driven |= {f"{self.port}__valid", f"{self.port}__payload"}
        if self.payload is not None:
            self.payload.value = 0
        self.hub.agents.append(self)

    def send(self, values: Iterable[Any]) -> None:
        """Queue values for sending."""
        self._queue.extend(self.codec.encode(value) for value in values)
        self._empty.clear()

    async def drained(self) -> None:
        """Wait until everything that was queued has been taken."""
        if self._queue:
            await self._empty.wait()

    @property
    def pending(self) -> int:
        """Values that have not been taken."""
        return len(self._queue)

    def step(self) -> None:
        """See `Agent`."""
        if self._offered and (self.ready is None or self.read_ready()):
            self._queue.popleft()
            self.times.append(self.hub.cycle)
            self._offered = False
            if not self._queue:
                self._empty.set()
                self.valid.value = 0
        if not self._offered and self._queue:
            if self.stall and self.rng.random() < self.stall:
                self.valid.value = 0
                return
            self._offered = True
            self.valid.value = 1
            if self.payload is not None:
                self.payload.value = self._queue[0]

    def reset(self) -> None:
        """See `Agent`. What was queued is dropped."""
        self._queue.clear()
        self._offered = False
        self.valid.value = 0
        self._empty.set()


class StreamSink(_Endpoint):
    """Takes the stream `port` of `dut` (an output), with pauses of probability `stall`, and checks its contract.

    The contract: once valid, a stream stays valid with the same payload until it is taken. `values`: what was received
    (integers; `consts()` decodes layouts). `times`: cycle of each transfer. `on_value`: called with each value as it
    arrives.
    """

    def __init__(
        self,
        dut,
        port: str,
        shape: Any = None,
        *,
        stall: float = 0.0,
        rng: random.Random | None = None,
        clock="clk",
        on_value=None,
    ):
        super().__init__(dut, port, shape, stall, rng, clock)
        self.values: list[int] = []
        self.times: list[int] = []
        self.on_value = on_value
        self.blocked = False
        self._ready_now = False
        self._held: int | None = None
        self._wanted: list[tuple[int, Event]] = []
        if self.ready is not None:
            self.ready.value = 0
            self.hub.driven.add(f"{self.port}__ready")
        self.hub.agents.append(self)

    async def received(self, count: int, timeout: int = 100_000) -> list[Any]:
        """Wait until `count` values arrived in all; these values.

        Errors: AssertionError when none comes for `timeout` cycles.
        """
        while len(self.values) < count:
            before = len(self.values)
            event = Event()
            self._wanted.append((count, event))
            self.hub.wake_at(self.hub.cycle + timeout, event)
            await event.wait()
            assert len(self.values) > before, f"{self.port}: {before} of {count} values, and none for {timeout} cycles"
        return self.values[:count]

    def consts(self) -> list[Any]:
        """What was received, decoded by the layout."""
        return [self.codec.decode(value) if self.codec.layout is not None else value for value in self.values]

    def step(self) -> None:
        """See `Agent`."""
        if self.read_valid():
            raw = self.read_payload()
            if self._held is not None:
                assert raw == self._held, f"{self.port}: payload changed from {self._held:#x} to {raw:#x} while stalled"
            if self._ready_now or self.ready is None:
                self._held = None
                self._take(raw)
            else:
                self._held = raw
        else:
            assert self._held is None, f"{self.port}: valid fell before the payload was taken"
        if self.ready is not None:
            ready = not self.blocked and not (self.stall and self.rng.random() < self.stall)
            if ready != self._ready_now:
                self.ready.value = int(ready)
                self._ready_now = ready

    def reset(self) -> None:
        """See `Agent`. What was received stays."""
        self._held = None

    def _take(self, raw: int) -> None:
        value = raw if self.codec.layout is not None else self.codec.decode(raw)
        self.values.append(value)
        self.times.append(self.hub.cycle)
        if self.on_value is not None:
            self.on_value(value)
        if self._wanted:
            for wanted, event in self._wanted:
                if len(self.values) >= wanted:
                    event.set()
            self._wanted = [(wanted, event) for wanted, event in self._wanted if not event.is_set()]
