"""Memory behind an AXI4 port, with latency, stalls and errors, for benches of one half of a port."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import cocotb

from celosia.sim.bench.streams import hub_of, reader

PAGE = 4096
OKAY, SLAVE_ERROR = 0, 2


class SparseMemory:
    """Bytes by address, random until written. `bad`: addresses of beats that answer with an error."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.pages: dict[int, bytearray] = {}
        self.bad: set[int] = set()

    def _page(self, number: int) -> bytearray:
        if number not in self.pages:
            self.pages[number] = bytearray(random.Random(f"{self.seed} {number}").randbytes(PAGE))
        return self.pages[number]

    def read(self, address: int, count: int) -> bytes:
        """`count` bytes from `address` on."""
        out = bytearray()
        while len(out) < count:
            page, low = divmod(address + len(out), PAGE)
            out += self._page(page)[low : low + count - len(out)]
        return bytes(out)

    def write(self, address: int, values: bytes) -> None:
        """Store `values` from `address` on."""
        for index, value in enumerate(values):
            page, low = divmod(address + index, PAGE)
            self._page(page)[low] = value


class _Half:
    """What both halves share: a generator, stalls, and driving of signals whose value changed."""

    def __init__(
        self, dut, prefix: str, memory: SparseMemory, data_bytes: int, latency, stall: float, clock: str
    ) -> None:
        self.dut, self.prefix, self.memory, self.data_bytes = dut, prefix, memory, data_bytes
        self.latency = latency if isinstance(latency, tuple) else (latency, latency)
        self.stall = stall
        self.blocked = False
        self.hub = hub_of(dut, clock)
        self.rng = random.Random(f"{cocotb.RANDOM_SEED} {prefix} {type(self).__name__}")
        self._last: dict[str, int] = {}
        self._handles: dict[str, Any] = {}
        self._readers: dict[str, Callable[[], int]] = {}
        self.hub.agents.append(self)

    def get(self, name: str) -> int:
        """Value of a signal."""
        if name not in self._readers:
            self._readers[name] = reader(getattr(self.dut, self.prefix + name))
        return self._readers[name]()

    def put(self, name: str, value: int) -> None:
        """Drive a signal from the next cycle on."""
        if name not in self._handles:
            self._handles[name] = getattr(self.dut, self.prefix + name)
        if self._last.get(name) != value:
            self._last[name] = value
            self._handles[name].value = value

    def drives(self, *names: str) -> None:
        """Claim inputs of the device, at zero."""
        self.hub.driven |= {self.prefix + name for name in names}
        for name in names:
            self.put(name, 0)

    def on(self, name: str) -> int:
        """What this side drives now."""
        return self._last[name]

    def pauses(self) -> bool:
        """Whether to pause for a cycle."""
        return self.blocked or (self.stall > 0 and self.rng.random() < self.stall)

    def due(self) -> int:
        """The cycle in whose step an answer to this cycle's request is driven, so that it is seen `latency` cycles
        later.
        """
        return self.hub.cycle + max(1, self.rng.randint(*self.latency)) - 1


class ReadMemory(_Half):
    """Answers AR and R. `latency`: cycles (or a range) from a request to its first beat. `stall`: probability of a
    pause, a cycle.

    Requests of one ID are answered in order; with `interleave`, beats of different IDs mix at random. `blocked`:
    answer nothing. `times`: cycle of each beat taken.
    """

    def __init__(
        self,
        dut,
        prefix: str,
        memory: SparseMemory,
        *,
        data_bytes: int,
        latency=1,
        stall=0.0,
        interleave=False,
        clock="clk",
    ) -> None:
        super().__init__(dut, prefix, memory, data_bytes, latency, stall, clock)
        self.interleave = interleave
        self.times: list[int] = []
        self._queues: dict[int, deque[list[int]]] = {}
        self._order: deque[int] = deque()
        self.drives("arready", "rvalid", "rdata", "rresp", "rlast", "rid")

    def reset(self) -> None:
        """See `Agent`. What was in flight is forgotten."""
        self._queues.clear()
        self._order.clear()
        self.put("rvalid", 0)

    def step(self) -> None:
        """See `Agent`."""
        if self.on("rvalid") and self.get("rready"):
            self.times.append(self.hub.cycle)
            self.put("rvalid", 0)
            self._advance(self.on("rid"))
        if self.on("arready") and self.get("arvalid"):
            number = self.get("arid")
            self._queues.setdefault(number, deque()).append([self.get("araddr"), self.get("arlen") + 1, self.due()])
            self._order.append(number)
        self.put("arready", int(not self.pauses()))
        if not self.on("rvalid") and not self.pauses():
            self._offer()

    def _advance(self, number: int) -> None:
        entry = self._queues[number][0]
        entry[0] += self.data_bytes
        entry[1] -= 1
        if not entry[1]:
            self._queues[number].popleft()
            self._order.remove(number)

    def _offer(self) -> None:
        if not self._order:
            return
        number = self._order[0]
        if self.interleave:
            number = self.rng.choice([key for key, queue in self._queues.items() if queue])
        address, left, due = self._queues[number][0]
        if self.hub.cycle < due:
            return
        self.put("rid", number)
        self.put("rdata", int.from_bytes(self.memory.read(address, self.data_bytes), "little"))
        self.put("rresp", SLAVE_ERROR if address in self.memory.bad else OKAY)
        self.put("rlast", int(left == 1))
        self.put("rvalid", 1)


class WriteMemory(_Half):
    """Takes AW and W in any order, and answers on B. `latency`: cycles (or a range) from the last beat to its response.

    `stall`: probability of a pause, a cycle and channel. `times`: cycle of each beat taken. `strobes`: of each beat.
    `answered`: cycle of each response taken.
    """

    def __init__(
        self, dut, prefix: str, memory: SparseMemory, *, data_bytes: int, latency=1, stall=0.0, clock="clk"
    ) -> None:
        super().__init__(dut, prefix, memory, data_bytes, latency, stall, clock)
        self.times: list[int] = []
        self.strobes: list[int] = []
        self.answered: list[int] = []
        self._requests: deque[tuple[int, int]] = deque()
        self._beats: list[tuple[int, int]] = []
        self._bursts: deque[list[tuple[int, int]]] = deque()
        self._answers: deque[tuple[int, int, int]] = deque()
        self.drives("awready", "wready", "bvalid", "bresp", "bid")

    def reset(self) -> None:
        """See `Agent`. What was in flight is forgotten."""
        self._requests.clear()
        self._beats = []
        self._bursts.clear()
        self._answers.clear()
        self.put("bvalid", 0)

    def step(self) -> None:
        """See `Agent`."""
        if self.on("bvalid") and self.get("bready"):
            self._answers.popleft()
            self.answered.append(self.hub.cycle)
            self.put("bvalid", 0)
        if self.on("awready") and self.get("awvalid"):
            self._requests.append((self.get("awaddr"), self.get("awid")))
        if self.on("wready") and self.get("wvalid"):
            self.times.append(self.hub.cycle)
            self.strobes.append(self.get("wstrb"))
            self._beats.append((self.get("wdata"), self.strobes[-1]))
            if self.get("wlast"):
                self._bursts.append(self._beats)
                self._beats = []
        while self._requests and self._bursts:
            self._store(*self._requests.popleft(), self._bursts.popleft())
        self.put("awready", int(not self.pauses()))
        self.put("wready", int(not self.pauses()))
        if not self.on("bvalid") and self._answers and self.hub.cycle >= self._answers[0][0] and not self.pauses():
            self.put("bresp", self._answers[0][1])
            self.put("bid", self._answers[0][2])
            self.put("bvalid", 1)

    def _store(self, address: int, number: int, beats: list[tuple[int, int]]) -> None:
        response = OKAY
        for value, strobe in beats:
            if address in self.memory.bad:
                response = SLAVE_ERROR
            elif strobe:
                for lane, byte in enumerate(value.to_bytes(self.data_bytes, "little")):
                    if strobe >> lane & 1:
                        self.memory.write(address + lane, bytes([byte]))
            address += self.data_bytes
        self._answers.append((self.due(), response, number))
