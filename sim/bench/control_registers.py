"""Register accesses on control: every register, both orders of address and data, stalls, interrupts."""

import itertools
import random

import cocotb
from cocotb.triggers import Combine

from celosia.hw import isa
from celosia.hw.isa import Unit
from celosia.hw.registers import ADDRESS_BITS, BY_NAME, REGISTERS, Access, identity
from celosia.sim.bench.control_models import (
    AUTO_RESTART,
    DONE,
    DONE_BIT,
    IDLE_BIT,
    START,
    TRAP,
    Host,
    bench,
    end,
    random_instruction,
)
from celosia.sim.bench.streams import cycles, now

SLAVE_ERROR = 2


def _pauses(seed: str, probability: float):
    rng = random.Random(seed)
    while True:
        yield rng.random() < probability


def _stall(host: Host, probability: float) -> None:
    """Stall every channel of the host's port."""
    write, read = host.axi.write_if, host.axi.read_if
    for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel):
        channel.clear_pause_generator()
        channel.pause = False
        if probability:
            channel.set_pause_generator(_pauses(f"{cocotb.RANDOM_SEED} {id(channel)}", probability))


def _kept(host: Host, name: str) -> int:
    """The bits that a register which only stores keeps of what is written."""
    bits = host.config.bus.address_bits
    if name.endswith("BASE_HI"):
        return (1 << max(bits - 32, 0)) - 1
    if name.endswith("BASE_LO"):
        return (1 << min(bits, 32)) - 1
    return {"GIE": 1, "IER": 3}.get(name, 0xFFFFFFFF)


STORES = [r.name for r in REGISTERS if r.access == Access.RW and r.name != "CTRL"]


@bench()
async def reset_values(dut) -> None:
    """After a reset every register reads as documented."""
    from celosia.sim.bench import harness

    host = Host(dut)
    await harness.start(dut)
    known = identity(host.config)
    for register in REGISTERS:
        assert await host.read(register.name) == known.get(register.name, register.reset), register.name
    assert await host.read("MAGIC") == int.from_bytes(b"CLSA", "little")
    assert await host.read("CONFIG_HASH") == host.config.hash


@bench()
async def stores(dut) -> None:
    """Random writes of random bytes and random reads, on all channels with stalls, behave as an array of registers."""
    host = Host(dut)
    rng = await host.begin()
    want = {name: await host.read(name) for name in STORES}
    for probability in (0.0, 0.5):
        _stall(host, probability)
        for _ in range(250):
            name = rng.choice(STORES)
            offset = BY_NAME[name].offset
            if rng.random() < 0.5:
                first, count = rng.choice([(0, 4), (1, 2), (3, 1), (0, 1), (2, 2)])
                data = rng.randbytes(count)
                response = await host.axi.write(offset + first, data)
                assert response.resp == 0
                image = bytearray(want[name].to_bytes(4, "little"))
                image[first : first + count] = data
                want[name] = int.from_bytes(image, "little") & _kept(host, name)
            else:
                assert await host.read(name) == want[name], name
    _stall(host, 0)
    assert {name: await host.read(name) for name in STORES} == want
    ports = {f"base__{i}": want[f"WINDOW{i}_BASE_LO"] | want[f"WINDOW{i}_BASE_HI"] << 32 for i in range(isa.WINDOWS)}
    ports |= {f"size__{i}": want[f"WINDOW{i}_SIZE"] for i in range(isa.WINDOWS)}
    assert {name: int(getattr(dut, f"windows__{name}").value) for name in ports} == ports


@bench()
async def reads_and_writes_at_once(dut) -> None:
    """Reads and writes in flight at the same time do not disturb each other; two cycles each at most when nothing
    stalls."""
    host = Host(dut)
    rng = await host.begin()
    for probability in (0.3, 0.0):
        _stall(host, probability)
        values = [rng.getrandbits(32) for _ in range(60)]
        begin = now(dut)
        write = cocotb.start_soon(_write_all(host, values))
        read = cocotb.start_soon(_read_all(host, 60))
        await Combine(write, read)
        if not probability:
            assert now(dut) - begin <= 60 * 2 + 40
        assert await host.read("PROGRAM") == values[-1]


async def _write_all(host: Host, values: list[int]) -> None:
    offset = BY_NAME["PROGRAM"].offset
    events = [host.axi.init_write(offset, value.to_bytes(4, "little")) for value in values]
    for event in events:
        await event.wait()
        assert event.data.resp == 0


async def _read_all(host: Host, count: int) -> None:
    events = [host.axi.init_read(BY_NAME["MAGIC"].offset, 4) for _ in range(count)]
    for event in events:
        await event.wait()
        assert event.data.resp == 0
        assert int.from_bytes(event.data.data, "little") == isa.MAGIC


@bench()
async def data_before_address(dut) -> None:
    """A write whose data comes long before its address, or after it, is the same write."""
    host = Host(dut)
    await host.begin()
    for first, second in (("w_channel", "aw_channel"), ("aw_channel", "w_channel")):
        for value in range(3):
            getattr(host.axi.write_if, second).pause = True
            event = host.axi.init_write(BY_NAME["PROGRAM"].offset, value.to_bytes(4, "little"))
            await cycles(dut, 20)
            assert int(getattr(dut, f"s_axi__{first[:-8]}ready").value) == 0, "one is held, another would not fit"
            assert not int(dut.s_axi__bvalid.value)
            getattr(host.axi.write_if, second).pause = False
            await event.wait()
            assert await host.read("PROGRAM") == value


@bench()
async def unknown_offsets(dut) -> None:
    """Every offset without a register answers SLVERR to reads and writes; every register OKAY."""
    host = Host(dut)
    await host.begin()
    known = {register.offset for register in REGISTERS}
    reads = {offset: host.axi.init_read(offset, 4) for offset in range(0, 1 << ADDRESS_BITS, 4)}
    for offset, event in reads.items():
        await event.wait()
        assert event.data.resp == (0 if offset in known else SLAVE_ERROR), hex(offset)
        assert offset in known or event.data.data == bytes(4)
    writes = {offset: host.axi.init_write(offset, bytes(4)) for offset in range(0, 1 << ADDRESS_BITS, 4)}
    for offset, event in writes.items():
        await event.wait()
        assert event.data.resp == (0 if offset in known else SLAVE_ERROR), hex(offset)


@bench()
async def read_only(dut) -> None:
    """Writes to read-only registers are accepted and do nothing."""
    host = Host(dut)
    await host.begin()
    names = [register.name for register in REGISTERS if register.access == Access.RO]
    before = [await host.read(name) for name in names]
    for name in names:
        await host.write(name, 0xFFFFFFFF)
    assert [await host.read(name) for name in names] == before


@bench()
async def done_is_cleared_by_reading(dut) -> None:
    """DONE and READY show the end of a run once; START reads 1 and IDLE 0 while it lasts."""
    host = Host(dut)
    rng = await host.begin()
    host.set_units(duration=(200, 200))
    host.place([random_instruction(rng, Unit.POST), end()])
    assert await host.read("CTRL") == IDLE_BIT
    await host.start()
    assert await host.read("CTRL") == START
    await host.interrupted()
    assert await host.read("CTRL") == DONE_BIT | 1 << 3 | IDLE_BIT
    assert await host.read("CTRL") == IDLE_BIT
    # A start clears what was not read.
    for _ in range(2):
        await host.start()
        assert await host.read("CTRL") == START
        await host.interrupted()


@bench()
async def starting_twice_is_starting_once(dut) -> None:
    """START while a run lasts does nothing."""
    host = Host(dut)
    rng = await host.begin()
    host.set_units(duration=(200, 200))
    host.place([random_instruction(rng, Unit.POST), end()])
    for _ in range(4):
        await host.start()
    await host.interrupted()
    await cycles(dut, 400)
    assert len(host.units[Unit.POST].taken) == 1


@bench()
async def interrupts(dut) -> None:
    """ISR takes enabled events only, is cleared by ones alone, and reaches the interrupt only through GIE."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    good, bad = [random_instruction(rng, Unit.LOAD), end()], [0xEE, end()]
    for enabled, globally, traps in itertools.product(range(4), (0, 1), (False, True)):
        await host.write("IER", enabled)
        await host.write("GIE", globally)
        host.place(bad if traps else good)
        await host.start()
        while not await host.read("CTRL") & IDLE_BIT:
            pass
        want = enabled & (DONE | TRAP if traps else DONE)
        assert await host.read("ISR") == want
        assert int(dut.irq.value) == bool(want and globally)
        await host.write("ISR", ~want & 3)
        assert await host.read("ISR") == want, "zeros must not clear, ones must not set"
        await host.write("GIE", 1)
        await cycles(dut, 2)
        assert int(dut.irq.value) == bool(want)
        for bit in (DONE, TRAP):
            await host.write("ISR", bit)
            want &= ~bit
            assert await host.read("ISR") == want
            assert int(dut.irq.value) == bool(want)


@bench()
async def automatic_restart(dut) -> None:
    """With AUTO_RESTART the program runs again and again, until the bit is cleared or a trap comes."""
    host = Host(dut)
    rng = await host.begin()
    load = random_instruction(rng, Unit.LOAD)
    for stop_by_trap in (False, True):
        host.forget()
        host.place([load, end()])
        await host.write("CTRL", START | AUTO_RESTART)
        for runs in range(1, 4):
            assert await host.interrupted() == DONE
            assert len(host.units[Unit.LOAD].taken) >= runs
        assert await host.read("CTRL") & (START | AUTO_RESTART) == START | AUTO_RESTART
        if stop_by_trap:
            host.place([0xEE, end()])
            while not await host.read("ISR") & TRAP:
                pass
        else:
            await host.write("CTRL", 0)
        while not await host.read("CTRL") & IDLE_BIT:
            pass
        assert not await host.read("CTRL") & (START | AUTO_RESTART)
        count = len(host.units[Unit.LOAD].taken)
        await host.write("ISR", DONE | TRAP)
        await cycles(dut, 500)
        assert len(host.units[Unit.LOAD].taken) == count
        assert host.bus.resets == 0, "a run after a trap starts with a reset"
        assert not int(dut.irq.value)
