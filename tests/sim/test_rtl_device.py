"""The RTL device: memory model, bus, registers and recording, around a machine that copies memory."""

import numpy as np
import pytest

from celosia.hw.config import ArrayConfig, BusConfig, Config, PostConfig
from celosia.hw.isa import Unit
from celosia.hw.registers import Activity
from celosia.sim.bench.standin import BURST, BURSTS, FLAW, SOURCE, START, TARGET, Standin
from celosia.sim.rtl.device import BusError, ProtocolError, Response, RtlDevice
from celosia.sw.runtime.device import DeviceError

SIZE = 1 << 16
AT = 1 << 15

CONFIGS = {
    "narrow": Config(array=ArrayConfig(rows=4, columns=8), bus=BusConfig(bytes=4, burst=16), post=PostConfig(lanes=4)),
    "wide": Config(bus=BusConfig(bytes=32, burst=64, address_bits=40)),
}


def device(width: str = "narrow", **options) -> RtlDevice:
    config = CONFIGS[width]
    return RtlDevice(config, component=Standin(config), memory_bytes=SIZE, **options)


def start(d: RtlDevice, bursts: int, *, source: int = 0, target: int = AT, flaw: int = 0) -> None:
    for register, value in ((SOURCE, source), (TARGET, target), (BURSTS, bursts), (FLAW, flaw), (START, 1)):
        d.write_register(register, value)


def run(d: RtlDevice, bursts: int, **options: int) -> None:
    start(d, bursts, **options)
    d.wait(10_000)


def fill(d: RtlDevice, seed: int = 1) -> np.ndarray:
    data = np.random.default_rng(seed).integers(0, 256, AT, dtype=np.uint8)
    d.write_memory(0, data)
    return data


def bytes_of(d: RtlDevice, bursts: int) -> int:
    return bursts * BURST * d.config.bus.bytes


@pytest.mark.parametrize("width", CONFIGS)
@pytest.mark.parametrize("seed", range(4))
def test_copies_whatever_the_bus_does(width: str, seed: int) -> None:
    d = device(width, latency=1 + 7 * seed, stalls=0.15 * seed, bandwidth=1 / (1 + seed % 2), seed=seed)
    data, bursts = fill(d, seed), AT // (BURST * CONFIGS[width].bus.bytes)
    start(d, bursts)
    d.wait(20 * bursts * BURST)
    assert d.read_register(START) == 2
    np.testing.assert_array_equal(d.read_memory(AT, AT), data)
    assert d.beats == (bursts * BURST, bursts * BURST)


def test_cycles_follow_latency_and_bandwidth() -> None:
    def cycles(bursts: int, **options) -> int:
        d = device(**options)
        start(d, bursts)
        return d.wait(100_000)

    # One burst: the latency counts twice, once for the read and once for the response of the write.
    assert cycles(1, latency=51) - cycles(1, latency=1) == 100
    # Many bursts: a beat a cycle, and a beat in 2, or 3 in 4, where the memory gives no more.
    for bandwidth, per_beat in ((1, 1), (1 / 2, 2), (3 / 4, 4 / 3)):
        more, fewer = (cycles(bursts, latency=5, bandwidth=bandwidth) for bursts in (200, 100))
        assert more - fewer == pytest.approx(100 * BURST * per_beat, abs=2)


def test_reads_beyond_outstanding_wait() -> None:
    d = device(latency=100, outstanding=1)
    start(d, 4)
    # Each burst waits for the one before: four latencies, and the last response.
    assert d.wait(10_000) > 5 * 100


def test_same_seed_same_cycles() -> None:
    def cycles(seed: int) -> int:
        d = device(stalls=0.3, seed=seed)
        start(d, 50)
        return d.wait(100_000)

    assert cycles(3) == cycles(3)
    assert len({cycles(seed) for seed in range(5)}) > 1


def test_instances_are_independent() -> None:
    one, two = device(), device()
    data, other = fill(one, 1), fill(two, 2)
    start(one, 20)
    start(two, 10)
    two.wait(10_000)
    assert one.cycles < two.cycles
    one.wait(10_000)
    np.testing.assert_array_equal(one.read_memory(AT, bytes_of(one, 20)), data[: bytes_of(one, 20)])
    np.testing.assert_array_equal(two.read_memory(AT, bytes_of(two, 10)), other[: bytes_of(two, 10)])


@pytest.mark.parametrize("kind", ["reads", "writes"])
def test_injected_errors(kind: str) -> None:
    d = device()
    data = fill(d)
    begin = bytes_of(d, 2) + (AT if kind == "writes" else 0)
    d.inject_error(begin, begin + 1, Response.SLVERR, reads=kind == "reads", writes=kind == "writes")
    start(d, 5)
    d.wait(10_000)
    assert d.read_register(START) == 6
    beat = d.config.bus.bytes
    bad = slice(bytes_of(d, 2), bytes_of(d, 2) + beat)
    copied = d.read_memory(AT, bytes_of(d, 5))
    # A write that failed leaves memory as it was; what was read with an error is not the memory's content.
    np.testing.assert_array_equal(copied[bad], np.full(beat, 0 if kind == "writes" else 0xEE))
    np.testing.assert_array_equal(np.delete(copied, bad), np.delete(data[: bytes_of(d, 5)], bad))
    d.clear_errors()
    start(d, 5)
    d.wait(10_000)
    assert d.read_register(START) == 2


def test_addresses_beyond_memory_answer_errors() -> None:
    d = device()
    start(d, 2, source=SIZE)
    d.wait(10_000)
    assert d.read_register(START) == 6


@pytest.mark.parametrize(("flaw", "message"), [(1, "AR: burst type 0"), (2, "AR: valid fell")])
def test_protocol_violations(flaw: int, message: str) -> None:
    d = device(stalls=0.9)
    with pytest.raises(ProtocolError, match=message):
        run(d, 4, flaw=flaw)


@pytest.mark.parametrize(("address", "message"), [(2, "not aligned"), (4096 - 16, "cross 4 KiB")])
def test_illegal_addresses(address: int, message: str) -> None:
    d = device()
    with pytest.raises(ProtocolError, match=message):
        run(d, 1, source=address)


def test_register_errors_and_timeouts() -> None:
    d = device()
    with pytest.raises(BusError, match="register 0x40 cannot be read"):
        d.read_register(0x40)
    with pytest.raises(BusError, match="register 0x40 cannot be written"):
        d.write_register(0x40, 1)
    with pytest.raises(DeviceError, match="no interrupt in 100 cycles"):
        d.wait(100)
    with pytest.raises(DeviceError, match="addresses must be within the 65536 bytes"):
        d.read_memory(SIZE - 1, 2)


def test_reset_at_any_moment() -> None:
    d = device(latency=10)
    data = fill(d)
    for cycles in range(1, 60, 7):
        start(d, 10)
        d.step(cycles)
        d.reset()
    start(d, 10)
    d.wait(10_000)
    np.testing.assert_array_equal(d.read_memory(AT, bytes_of(d, 10)), data[: bytes_of(d, 10)])


def test_memory_grows_and_is_shared() -> None:
    d = device()
    data = fill(d)
    d.reserve(2 * SIZE)
    assert d.memory.size == 2 * SIZE
    np.testing.assert_array_equal(d.memory[:AT], data)
    d.memory[0] ^= 0xFF
    assert d.read_memory(0, 1)[0] == data[0] ^ 0xFF
    d.reserve(1)
    assert d.memory.size == 2 * SIZE


def test_recording() -> None:
    d = device(latency=20)
    d.record()
    d.step(5)
    begin = d.cycles
    start(d, 10)
    d.wait(10_000)
    d.record(False)
    events = d.events
    cycles = {unit: events["cycle"][events["unit"] == unit.value].astype(int) for unit in (Unit.LOAD, Unit.STORE)}
    codes = events["code"][events["unit"] == Unit.LOAD.value]
    # The first entry of a unit is its state at the start, then each change once.
    assert [*codes] == [Activity.IDLE.value, Activity.BUSY.value, Activity.IDLE.value]
    load, store = cycles[Unit.LOAD], cycles[Unit.STORE]
    assert load[1] > begin
    assert load[2] - load[1] == pytest.approx(20 + 10 * BURST, abs=6)
    assert store[-1] - load[2] == pytest.approx(20, abs=4)
    d.step(50)
    assert len(d.events) == len(events)


@pytest.mark.parametrize(
    "wrong", [{"latency": -1}, {"bandwidth": 0.0}, {"bandwidth": 2.0}, {"stalls": 1.0}, {"outstanding": 0}]
)
def test_options_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        RtlDevice(CONFIGS["narrow"], **wrong)
