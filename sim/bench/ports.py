"""Models of what surrounds a unit: memories behind read and write ports, and control.

A memory is a numpy array of bytes, one row a word, byte 0 lowest.
"""

import random
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import cocotb
import numpy as np
from amaranth.lib import data

from celosia.hw import isa
from celosia.hw.interfaces import Status
from celosia.sim.bench.streams import StreamSink, StreamSource, hub_of, packer, reader


def instruction(opcode: isa.Opcode, *, wait: int = 0, signal: int = 0, **fields: Any) -> int:
    """The bits of an instruction.

    `fields` by the names of its layout; those of a nested structure may be given flat.
    """
    layout = isa.LAYOUTS[opcode]
    values: dict[str, Any] = {"head": {"opcode": opcode, "wait": wait, "signal": signal}}
    nested = {
        inner: name
        for name, field in data.Layout.cast(layout)
        if name != "head" and isinstance(field.shape, type) and issubclass(field.shape, data.Struct)
        for inner, _ in data.Layout.cast(field.shape)
    }
    for name, value in fields.items():
        if name in nested:
            values.setdefault(nested[name], {})[name] = value
        else:
            values[name] = value
    return _packer(opcode)(values)


@cache
def _packer(opcode: isa.Opcode) -> Callable[[Any], int]:
    return packer(isa.LAYOUTS[opcode])


def word_of(row: np.ndarray) -> int:
    """A word as an integer."""
    return int.from_bytes(row.tobytes(), "little")


class ReadPortModel:
    """The memory side of a `ReadPortSignature` port of `dut`, on `memory`: uint8 [words, bytes].

    `latency`: cycles from address to data, or a pair for a random one. `stall`: probability that the address, and the
    data, is held back in a cycle. `room`: words kept for data that was asked for (enough for the full rate by default).
    A word is read when its address is taken. `addresses`: all that were taken.
    """

    def __init__(
        self,
        dut,
        port: str,
        memory: np.ndarray,
        *,
        latency: int | tuple[int, int] = 2,
        stall: float = 0.0,
        room: int | None = None,
        rng: random.Random | None = None,
        clock: str = "clk",
    ) -> None:
        self.hub = hub_of(dut, clock)
        self.memory = memory
        self.latency = (latency, latency) if isinstance(latency, int) else latency
        self.stall = stall
        self.room = max(4, self.latency[1] + 2) if room is None else room
        self.rng = rng or random.Random(f"{cocotb.RANDOM_SEED} {port}")
        self.addresses: list[int] = []
        self._due: deque[tuple[int, int]] = deque()
        self._sink = StreamSink(dut, f"{port}.address", stall=stall, rng=self.rng, clock=clock, on_value=self._ask)
        self._source = StreamSource(dut, f"{port}.data", rng=self.rng, clock=clock, stall=stall)
        # Between the two: what was asked for in a cycle may be offered in the next at the earliest.
        self.hub.agents.insert(self.hub.agents.index(self._sink), self)

    def _ask(self, address: int) -> None:
        assert address < len(self.memory), f"{self._sink.port}: address {address} beyond {len(self.memory)} words"
        self.addresses.append(address)
        due = self.hub.cycle + self.rng.randint(*self.latency)
        self._due.append((due - 1, word_of(self.memory[address])))

    def step(self) -> None:
        """See `Agent`."""
        while self._due and self._due[0][0] <= self.hub.cycle:
            self._source.send([self._due.popleft()[1]])
        self._sink.blocked = len(self._due) + self._source.pending >= self.room

    def reset(self) -> None:
        """See `Agent`."""
        self._due.clear()


class WritePortModel:
    """The memory side of a `WritePortSignature` port of `dut`, on `memory`: uint8 [words, bytes], in `granules` parts.

    `stall`: probability that a write is held back in a cycle. `writes`: (address, mask) of all.
    """

    def __init__(
        self,
        dut,
        port: str,
        memory: np.ndarray,
        *,
        granules: int,
        address_bits: int,
        stall: float = 0.0,
        rng: random.Random | None = None,
        clock: str = "clk",
    ) -> None:
        self.memory, self.granules = memory, granules
        self.writes: list[tuple[int, int]] = []
        self._address_mask = (1 << address_bits) - 1
        self._address_bits = address_bits
        self.sink = StreamSink(dut, f"{port}.write", stall=stall, rng=rng, clock=clock, on_value=self._write)

    @property
    def times(self) -> list[int]:
        """Cycle of each write."""
        return self.sink.times

    def _write(self, bits: int) -> None:
        width = self.memory.shape[1]
        address, mask = bits & self._address_mask, bits >> (self._address_bits + 8 * width)
        assert address < len(self.memory), f"{self.sink.port}: address {address} beyond {len(self.memory)} words"
        self.writes.append((address, mask))
        word = np.frombuffer(
            (bits >> self._address_bits).to_bytes(width + self.granules // 8 + 1, "little")[:width], np.uint8
        )
        part = width // self.granules
        if mask == (1 << self.granules) - 1:
            self.memory[address] = word
            return
        for granule in range(self.granules):
            if mask >> granule & 1:
                self.memory[address, granule * part : (granule + 1) * part] = word[
                    granule * part : (granule + 1) * part
                ]


class KeptModel:
    """Who answers a `KeptSignature` port of `dut`: `count` of (list, headed, slot), a cycle after it is asked."""

    def __init__(self, dut, port: str, count: Callable[[int, int, int], int], *, clock: str = "clk") -> None:
        self.hub, self.count = hub_of(dut, clock), count
        self._asks = [reader(getattr(dut, f"{port}__{name}")) for name in ("list", "headed", "slot")]
        self._en, self._answer = reader(getattr(dut, f"{port}__en")), getattr(dut, f"{port}__count")
        self.hub.driven.add(f"{port}__count")
        self.hub.agents.append(self)

    def step(self) -> None:
        """See `Agent`."""
        if self._en():
            self._answer.value = self.count(*(ask() for ask in self._asks))

    def reset(self) -> None:
        """See `Agent`."""


STATUSES = {status.value: status for status in Status}
"""Looked up in every cycle, which takes much less time than making one."""


class UnitDriver:
    """Control's side of a `UnitSignature` port of `dut`: issues instructions, collects what the unit reports.

    `done`: (cycle, mask). `faults`: the first (code, address), if any. `statuses`: cycles spent in each `Status` while
    busy. `issued`: cycle in which each instruction was taken.
    """

    def __init__(
        self, dut, port: str = "control", *, stall: float = 0.0, rng: random.Random | None = None, clock: str = "clk"
    ) -> None:
        self.hub = hub_of(dut, clock)
        prefix = port.replace(".", "__")
        self._source = StreamSource(dut, f"{port}.instruction", stall=stall, rng=rng, clock=clock)
        self._done = StreamSink(dut, f"{port}.done", clock=clock)
        self._fault_valid = reader(getattr(dut, f"{prefix}__fault__valid"))
        self._fault = reader(getattr(dut, f"{prefix}__fault__payload"))
        self._status = reader(getattr(dut, f"{prefix}__status"))
        self._busy = reader(getattr(dut, f"{prefix}__busy"))
        self.faults: list[tuple[isa.Trap, int]] = []
        self.statuses = dict.fromkeys(Status, 0)
        self.hub.agents.append(self)

    @property
    def issued(self) -> list[int]:
        """Cycle in which each instruction was taken."""
        return self._source.times

    @property
    def done(self) -> list[tuple[int, int]]:
        """Cycle and mask of each report that an instruction is done."""
        return list(zip(self._done.times, self._done.values, strict=True))

    @property
    def busy(self) -> bool:
        """The unit's `busy` now."""
        return bool(self._busy())

    def issue(self, *instructions: int) -> None:
        """Queue instructions (see `instruction`)."""
        self._source.send(instructions)

    async def finished(self, count: int, timeout: int = 100_000) -> list[int]:
        """Wait until `count` instructions are done in all; their masks.

        Errors: AssertionError when none ends for `timeout` cycles.
        """
        return await self._done.received(count, timeout)

    async def fault(self, timeout: int = 10_000) -> tuple[isa.Trap, int]:
        """Wait for a fault: its code and address. Errors: AssertionError after `timeout` cycles."""
        deadline = self.hub.cycle + timeout
        while not self.faults:
            assert self.hub.cycle < deadline, f"no fault for {timeout} cycles"
            await self.hub.cycles(1)
        return self.faults[0]

    def step(self) -> None:
        """See `Agent`."""
        self.statuses[STATUSES[self._status()]] += 1
        if self._fault_valid():
            bits = self._fault()
            fault = (isa.Trap(bits & 15), bits >> 4)
            if not self.faults:
                self.faults.append(fault)
            assert fault == self.faults[0], f"the fault changed from {self.faults[0]} to {fault}"
        else:
            assert not self.faults, "the fault fell without a reset"

    def reset(self) -> None:
        """See `Agent`."""
        self.faults.clear()
