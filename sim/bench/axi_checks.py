"""Protocol monitor of an AXI4 memory port: legal bursts, stable payloads, matching responses."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from celosia.sim.bench.streams import hub_of, reader

PAGE = 4096
_REQUEST = ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos")
_LEGAL_CACHE = {0b0000, 0b0001, 0b0010, 0b0011, 0b0110, 0b0111, 0b1010, 0b1011, 0b1110, 0b1111}


@dataclass
class Burst:
    """A request as seen on the bus: bytes `address` to `address + beats * size`, taken in `cycle`."""

    address: int
    beats: int
    id: int
    cycle: int


class _Channel:
    """One channel's handshake: its payload may not change, nor valid fall, until it is taken."""

    def __init__(self, dut, prefix: str, name: str, fields: tuple[str, ...]) -> None:
        self.name = f"{prefix}{name}"
        self.valid, self.ready = reader(getattr(dut, f"{self.name}valid")), reader(getattr(dut, f"{self.name}ready"))
        self.fields = {field: reader(getattr(dut, f"{self.name}{field}")) for field in fields}
        self.held: dict[str, int] | None = None

    def step(self) -> dict[str, int] | None:
        """The payload if it is taken in this cycle."""
        if not self.valid():
            assert self.held is None, f"{self.name}valid fell before {self.name}ready"
            return None
        now = {field: read() for field, read in self.fields.items()}
        if self.held is not None:
            changed = [f"{self.name}{field}" for field, value in now.items() if value != self.held[field]]
            assert not changed, f"{', '.join(changed)} changed while {self.name}ready was low"
        taken = self.ready()
        self.held = None if taken else now
        return now if taken else None


class AxiMonitor:
    """Watches both halves of an AXI4 port whose signals start with `prefix` (`axi__`, `m_axi_`), or the one `half`
    that it has.

    Checks every request (INCR, full size, aligned, at most `longest` beats, within 4 KiB, legal CACHE, no LOCK;
    within `allowed` if given: a function of first address and bytes), at most `outstanding` bursts in flight an ID
    and half, stable payloads, LAST on the last beat, no response without a request. `reads`, `writes`: all bursts so
    far. `beats_in`, `beats_out`: data beats.
    """

    def __init__(
        self,
        dut,
        prefix: str,
        *,
        data_bytes: int,
        longest: int = 256,
        outstanding: int = 256,
        half: str | None = None,
        allowed: Callable[[int, int], bool] | None = None,
        clock: str = "clk",
    ) -> None:
        self.data_bytes, self.longest, self.outstanding, self.allowed = data_bytes, longest, outstanding, allowed
        self.hub = hub_of(dut, clock)
        self.reads: list[Burst] = []
        self.writes: list[Burst] = []
        self.beats_in = self.beats_out = 0
        self._read_flight: dict[int, deque[list[int]]] = {}
        self._write_flight: deque[Burst] = deque()
        self._sent: deque[int] = deque()
        self._beats = 0
        self._read = self._write = None
        if half in (None, "read"):
            self._read = (
                _Channel(dut, prefix, "ar", _REQUEST),
                _Channel(dut, prefix, "r", ("id", "data", "resp", "last")),
            )
        if half in (None, "write"):
            data = _Channel(dut, prefix, "w", ("data", "strb", "last"))
            self._write = (_Channel(dut, prefix, "aw", _REQUEST), data, _Channel(dut, prefix, "b", ("id", "resp")))
        self.hub.agents.append(self)

    @property
    def reading(self) -> int:
        """Read bursts in flight."""
        return sum(map(len, self._read_flight.values()))

    @property
    def writing(self) -> int:
        """Write bursts in flight, from request or data to response."""
        return max(len(self._write_flight), len(self._sent) + bool(self._beats))

    def check_quiet(self) -> None:
        """Errors: AssertionError unless everything that was requested has been answered."""
        assert not self.reading, f"{self.reading} read bursts were not answered"
        assert not self.writing, f"{self.writing} write bursts were not finished"

    def step(self) -> None:
        """See `Agent`."""
        if self._read is not None:
            self._step_read(*self._read)
        if self._write is not None:
            self._step_write(*self._write)

    def reset(self) -> None:
        """See `Agent`. What was in flight is forgotten."""
        for channel in (*(self._read or ()), *(self._write or ())):
            channel.held = None
        self._read_flight.clear()
        self._write_flight.clear()
        self._sent.clear()
        self._beats = 0

    def _step_read(self, ar: _Channel, r: _Channel) -> None:
        beat = r.step()
        if beat is not None:
            flight = self._read_flight.get(beat["id"])
            assert flight, f"{r.name}: data of ID {beat['id']} without a request"
            self.beats_in += 1
            flight[0][0] -= 1
            assert beat["last"] == (flight[0][0] == 0), (
                f"{r.name}last is {beat['last']}, {flight[0][0]} beats are missing"
            )
            if beat["last"]:
                flight.popleft()
        request = ar.step()
        if request is not None:
            self.reads.append(self._request(ar.name, request))
            flight = self._read_flight.setdefault(request["id"], deque())
            flight.append([request["len"] + 1])
            assert len(flight) <= self.outstanding, f"{ar.name}: more than {self.outstanding} bursts in flight"

    def _step_write(self, aw: _Channel, w: _Channel, b: _Channel) -> None:
        response = b.step()
        if response is not None:
            assert self._sent, f"{b.name}: a response before the last beat of its burst"
            assert self._write_flight, f"{b.name}: a response without a request"
            assert response["id"] == self._write_flight[0].id, f"{b.name}id is not the request's"
            self._write_flight.popleft()
            self._sent.popleft()
        request = aw.step()
        if request is not None:
            burst = self._request(aw.name, request)
            self.writes.append(burst)
            self._write_flight.append(burst)
            assert len(self._write_flight) <= self.outstanding, (
                f"{aw.name}: more than {self.outstanding} bursts in flight"
            )
        beat = w.step()
        if beat is not None:
            self.beats_out += 1
            self._beats += 1
            if beat["last"]:
                self._sent.append(self._beats)
                self._beats = 0
        self._match(w.name)

    def _match(self, name: str) -> None:
        """Data and requests come in the same order; whichever is later is compared."""
        for burst, beats in zip(self._write_flight, self._sent, strict=False):
            assert burst.beats == beats, f"{name}last after {beats} beats of a burst of {burst.beats}"
        if len(self._write_flight) > len(self._sent):
            most = self._write_flight[len(self._sent)].beats
            assert self._beats < most, f"{name}last is missing on beat {most}"

    def _request(self, name: str, request: dict[str, int]) -> Burst:
        address, beats = request["addr"], request["len"] + 1
        size = beats * self.data_bytes
        where = f"{name}: burst of {beats} beats at {address:#x}"
        assert 1 << request["size"] == self.data_bytes, f"{where}: size {request['size']}"
        assert request["burst"] == 1, f"{where}: burst type {request['burst']} is not INCR"
        assert request["cache"] in _LEGAL_CACHE, f"{where}: CACHE {request['cache']:#06b} is reserved"
        assert request["lock"] == 0, f"{where}: LOCK"
        assert address % self.data_bytes == 0, f"{where}: not aligned"
        assert beats <= self.longest, f"{where}: longer than {self.longest}"
        assert address // PAGE == (address + size - 1) // PAGE, f"{where}: crosses 4 KiB"
        assert self.allowed is None or self.allowed(address, size), f"{where}: outside of what is allowed"
        return Burst(address, beats, request["id"], self.hub.cycle)
