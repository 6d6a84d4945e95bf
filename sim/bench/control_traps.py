"""Faults on control with abstract units: every code, the first one wins, the bus drains, the next run works."""

from celosia.hw import isa
from celosia.hw.control.run import RESET_CYCLES
from celosia.hw.isa import Trap, Unit
from celosia.hw.legal import executes
from celosia.hw.registers import Activity
from celosia.sim.bench.control_models import (
    DONE,
    DONE_BIT,
    IDLE_BIT,
    SOFT_RESET,
    START,
    TRAP,
    Host,
    bench,
    end,
    random_instruction,
    random_program,
)
from celosia.sim.bench.streams import cycles


async def _check_trap(host: Host, *want) -> None:
    """The run has ended in this trap: code, address, instruction."""
    assert await host.interrupted() == DONE | TRAP
    assert await host.trap() == want
    assert await host.read("CTRL") == DONE_BIT | 1 << 3 | IDLE_BIT
    host.fetch.check_quiet()


async def _check_works(host: Host, rng, *, reset: bool) -> None:
    """After a soft reset, or at once, the next program runs from its first instruction to its END, with no token left
    over."""
    if reset:
        await host.soft_reset()
        assert await host.read("TRAP_CODE") == 0
    host.forget()
    host.set_units(stall=0.2, stuck=False, duration=(1, 9))
    code = random_program(rng, 30)
    assert await host.run([bits for _, bits, _, _ in code] + [end()]) == DONE
    assert await host.trap() == (Trap.NONE, 0, 0)
    for unit in Unit:
        assert [bits for _, bits in host.units[unit].taken] == [bits for of, bits, _, _ in code if of == unit]


@bench()
async def bad_headers(dut) -> None:
    """A header of another format, version or configuration stops before any instruction."""
    host = Host(dut)
    rng = await host.begin()
    for index, wrong in enumerate(({"magic": isa.MAGIC ^ 1 << 31}, {"version": isa.VERSION + 1}, {"config_hash": 1})):
        host.forget()
        host.place([random_instruction(rng, Unit.LOAD), end()], **wrong)
        await host.start()
        await _check_trap(host, Trap.BAD_HEADER, host.base + host.offset, 0)
        assert not host.events
        await _check_works(host, rng, reset=index == 1)


@bench()
async def illegal_opcodes(dut) -> None:
    """Every opcode that is not listed is illegal; instructions before it may run, none behind it."""
    host = Host(dut, stall=0, latency=2)
    rng = await host.begin()
    legal = {opcode.value for opcode in isa.Opcode if executes(opcode, 0)}
    illegal = [code for code in range(256) if code not in legal]
    near = [0x00, 0x02, 0x11, 0x1F, 0x21, 0x23, 0x35, 0x3F, 0x41, 0x50, 0xFF]
    for opcode in near + rng.sample(illegal, 20):
        host.forget()
        before = rng.randrange(30)
        code = [bits for _, bits, _, _ in random_program(rng, before)]
        rest = [random_instruction(rng, Unit.STORE) for _ in range(5)]
        host.place([*code, rng.getrandbits(248) << 8 | opcode, *rest, end()])
        await host.start()
        await _check_trap(host, Trap.ILLEGAL_INSTRUCTION, 0, before)
        assert sum(len(unit.taken) for unit in host.units) <= before
    await _check_works(host, rng, reset=False)


@bench()
async def programs_without_end(dut) -> None:
    """Running past the last instruction is a trap there, also when there is none at all."""
    host = Host(dut)
    rng = await host.begin()
    for length in (0, 1, 7, 8, 33):
        host.forget()
        code = [random_instruction(rng, Unit.ARRAY) for _ in range(length)]
        # END stands behind the last instruction that the header counts.
        host.place([*code, end()], count=length)
        await host.start()
        await _check_trap(host, Trap.ILLEGAL_INSTRUCTION, 0, length)
    await _check_works(host, rng, reset=True)


@bench()
async def programs_beyond_their_window(dut) -> None:
    """No request leaves the window; the trap names the burst that would have."""
    host = Host(dut)
    rng = await host.begin()
    step = max(32, host.config.bus.bytes)
    host.set_units(stall=0, duration=(1, 1))
    for size in (0, step - 4, step, 2 * step, 0x1000 - 4):
        host.offset = step * rng.randrange(3) if size > 2 * step else 0
        await host.write("PROGRAM", host.offset)
        await host.set_window(host.base, size)
        host.place([random_instruction(rng, Unit.LOAD) for _ in range(200)] + [end()])
        await host.start()
        assert await host.interrupted() == DONE | TRAP
        code, address, pc = await host.trap()
        assert code == Trap.MEMORY_WINDOW
        # The first burst that does not fit starts where the last one that fits ended, within the window.
        ends = [burst.address + burst.beats * host.config.bus.bytes for burst in host.fetch.reads]
        assert address == (ends[-1] if ends else host.base + host.offset)
        assert host.base + host.offset <= address <= host.base + max(size, host.offset)
        assert pc == max((address - host.base - host.offset) // 32 - 1, 0)
        host.fetch.reads.clear()
    host.offset = 0x1000
    await host.write("PROGRAM", host.offset)
    await host.set_window(host.base, 0x10000)
    await _check_works(host, rng, reset=False)


@bench()
async def too_many_instructions(dut) -> None:
    """A header that counts more instructions than any window holds ends at the window, not before."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(stall=0, duration=(1, 1))
    for count in (1 << 27, (1 << 32) - 1):
        await host.set_window(host.base, 0x2000)
        host.place([random_instruction(rng, Unit.POST) for _ in range(127)], count=count)
        await host.start()
        await _check_trap(host, Trap.MEMORY_WINDOW, host.base + 0x2000, 127)
        assert host.units[Unit.POST].taken
        host.forget()


@bench()
async def misaligned_programs(dut) -> None:
    """A program that is not aligned is not read at all."""
    host = Host(dut)
    rng = await host.begin()
    step = max(32, host.config.bus.bytes)
    for offset in (4, step // 2, step - 1):
        await host.write("PROGRAM", host.offset + offset)
        await host.start()
        assert await host.interrupted() == DONE | TRAP
        assert (await host.trap())[0] == Trap.MISALIGNED
        assert not host.fetch.reads
    await host.write("PROGRAM", host.offset)
    await _check_works(host, rng, reset=False)


@bench()
async def bus_errors(dut) -> None:
    """An error response to a fetch names the beat and its instruction; what it brought is not run."""
    host = Host(dut)
    rng = await host.begin()
    beat = host.config.bus.bytes
    for record in (0, 1, 9, 40):
        host.forget()
        code = [random_instruction(rng, Unit.LOAD) for _ in range(50)]
        host.place([*code, end()])
        address = (host.base + host.offset + 32 * record + rng.randrange(32)) // beat * beat
        host.memory.bad = {address}
        first = max((address - host.base - host.offset) // 32 - 1, 0)
        await host.start()
        await _check_trap(host, Trap.BUS_ERROR, address, first)
        taken = [bits for _, bits in host.units[Unit.LOAD].taken]
        assert taken == code[: len(taken)]
        assert len(taken) <= max(0, record - 1, first)
        host.memory.bad = set()
    await _check_works(host, rng, reset=False)


@bench()
async def faults_of_units(dut) -> None:
    """Every code from every unit arrives with its address; issue stops, the bus drains before the run ends, then all
    works."""
    host = Host(dut)
    rng = await host.begin()
    host.bus.busy = 0.1
    for index, trap in enumerate([code for code in Trap if code != Trap.NONE]):
        host.forget()
        host.set_units(duration=(3, 20))
        unit, address = rng.choice(list(Unit)), rng.getrandbits(64)
        host.place([random_instruction(rng, unit) for _ in range(100)] + [end()])
        await host.start()
        await cycles(dut, rng.randrange(60, 300))
        host.units[unit].fail = (trap, address)
        assert await host.interrupted() == DONE | TRAP
        code, where, pc = await host.trap()
        assert (code, where) == (trap, address)
        # What was taken last, an instruction that was on offer already when the fault came included.
        assert pc == max(len(host.units[unit].taken) - 1, 0)
        assert int(dut.quiesce.value)
        await _check_works(host, rng, reset=bool(index % 2))


@bench()
async def first_fault_wins(dut) -> None:
    """Of faults in one cycle the lowest unit's is recorded; later ones change nothing; issue stops at once."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    for late in range(3):
        host.set_units(duration=(5, 5), stall=0)
        host.forget()
        host.bus.busy, host.bus.dead = 1.0, True
        host.place([random_instruction(rng, Unit(index % 3)) for index in range(60)] + [end()])
        await host.start()
        await cycles(dut, 120)
        host.units[Unit.POST].fail = (Trap.ACCUMULATOR_RANGE, 0x1234)
        if late:
            await cycles(dut, late)
        host.units[Unit.ARRAY].fail = (Trap.SCRATCHPAD_RANGE, 0x99)
        await cycles(dut, 2)
        issued = len(host.units[Unit.LOAD].taken)
        await cycles(dut, 100)
        assert len(host.units[Unit.LOAD].taken) <= issued + 1
        assert not int(dut.irq.value), "the run ended before the bus was quiet"
        host.bus.dead = False
        assert await host.interrupted() == DONE | TRAP
        want = (Trap.SCRATCHPAD_RANGE, 0x99) if late == 0 else (Trap.ACCUMULATOR_RANGE, 0x1234)
        assert (await host.trap())[:2] == want
    host.bus.busy = 0.0
    await _check_works(host, rng, reset=True)


@bench()
async def overflows(dut) -> None:
    """255 tokens fit a semaphore, one more is a trap that names the pair."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    for giver, taker in ((Unit.LOAD, Unit.STORE), (Unit.POST, Unit.POST), (Unit.STORE, Unit.ARRAY)):
        host.set_units(duration=(1, 1), stall=0)
        give = [random_instruction(rng, giver, signal=1 << taker) for _ in range(256)]
        assert await host.run([*give[:255], end()]) == DONE
        host.forget()
        take = random_instruction(rng, taker, wait=1 << giver)
        assert await host.run([*give[:255], take, give[255], end()]) == DONE
        host.place([*give, end()])
        await host.start()
        await _check_trap(host, Trap.SEMAPHORE_OVERFLOW, giver * 4 + taker, 255)
    await _check_works(host, rng, reset=True)


@bench()
async def watchdog(dut) -> None:
    """A program that waits for a token that never comes is stopped after the set time, and the trap tells who waits for
    whom."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(duration=(1, 1), stall=0)
    code = [
        random_instruction(rng, Unit.ARRAY, wait=1 << Unit.POST | 1 << Unit.STORE),
        random_instruction(rng, Unit.STORE, wait=1 << Unit.STORE),
        random_instruction(rng, Unit.LOAD),
        end(),
    ]
    address = Activity.WAIT_POST.value << 4 * Unit.ARRAY | Activity.WAIT_STORE.value << 4 * Unit.STORE
    for limit in (50, 333):
        await host.write("WATCHDOG", limit)
        host.forget()
        host.place(code)
        await host.start()
        await _check_trap(host, Trap.WATCHDOG, address, 4)
        # Progress ended with the LOAD's report at the latest, a few cycles after it was taken.
        spent = await host.counter("CYCLES") - (await host.counter("ARRAY_WAIT_POST"))
        assert limit <= await host.counter("ARRAY_WAIT_POST") <= limit + 40
        assert 0 < spent < 100
    await host.write("WATCHDOG", 0)
    host.place(code)
    await host.start()
    await cycles(dut, 1500)
    assert not int(dut.irq.value)
    await _check_works(host, rng, reset=True)


@bench()
async def watchdog_spares_the_busy(dut) -> None:
    """A unit that works for longer than the limit is not stuck; one that neither works nor ends is."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    await host.write("WATCHDOG", 100)
    host.set_units(duration=(700, 700), stall=0)
    assert await host.run([random_instruction(rng, Unit.ARRAY), end()]) == DONE
    host.set_units(stuck=True)
    assert await host.run([random_instruction(rng, Unit.ARRAY), end()]) == DONE | TRAP
    assert (await host.trap())[0] == Trap.WATCHDOG
    await _check_works(host, rng, reset=True)


@bench()
async def a_dead_bus_cannot_hide_a_trap(dut) -> None:
    """When the bus never drains, the watchdog ends the run after a trap; the next start waits for the bus."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    await host.write("WATCHDOG", 60)
    host.bus.busy, host.bus.dead = 1.0, True
    host.set_units(stuck=True)
    host.place([random_instruction(rng, Unit.LOAD), end()])
    await host.start()
    assert await host.interrupted(1000) == DONE | TRAP
    assert (await host.trap())[0] == Trap.WATCHDOG
    await host.write("CTRL", SOFT_RESET)
    await cycles(dut, 200)
    assert host.bus.resets == 0
    host.bus.busy, host.bus.dead = 0.0, False
    await _check_works(host, rng, reset=True)


@bench()
async def soft_reset_at_any_moment(dut) -> None:
    """A reset in the middle of fetch, execution, a trap or nothing is clean: the bus is drained and the next program
    runs."""
    host = Host(dut)
    rng = await host.begin()
    for case in range(24):
        host.forget()
        host.bus.busy = 0.1
        host.set_units(duration=(1, 30), stall=0.3)
        host.place([bits for _, bits, _, _ in random_program(rng, 60)] + [end()])
        if case % 8:
            await host.write("CTRL", START | (1 << 7 if case % 3 == 0 else 0))
        await cycles(dut, rng.randrange(200))
        if case % 4 == 3:
            host.units[rng.randrange(4)].fail = (Trap.MEMORY_WINDOW, case)
            await cycles(dut, rng.randrange(8))
        before = host.bus.resets
        if case % 5 == 4:
            # With START in the same write, the program runs after the reset.
            host.place(code := [random_instruction(rng, Unit.ARRAY), end()])
            await host.read("ISR")
            await host.write("CTRL", SOFT_RESET | START)
            while await host.read("CTRL") & (SOFT_RESET | START):
                pass
            assert host.units[Unit.ARRAY].taken[-1][1] == code[0]
            await host.read("CTRL")
        else:
            await host.soft_reset()
            assert await host.read("CTRL") & ~DONE_BIT & ~(1 << 3) == IDLE_BIT
        assert host.bus.resets == before + RESET_CYCLES
        await host.write("ISR", DONE | TRAP)
        assert await host.read("IER") == DONE | TRAP, "the host's registers stay"
        assert await host.read("PROGRAM") == host.offset
        await _check_works(host, rng, reset=False)


@bench()
async def soft_reset_between_bursts(dut) -> None:
    """While instructions go on, fetch asks from time to time; a reset in between never cuts off what it asked for."""
    host = Host(dut, stall=0, latency=6)
    rng = await host.begin()
    host.set_units(duration=(9, 9), depth=1, stall=0)
    host.place([random_instruction(rng, Unit.ARRAY) for _ in range(200)] + [end()])
    for case in range(60):
        await host.start()
        await cycles(dut, 300 + case)
        # The model of the bus checks each core reset.
        await host.soft_reset()
        host.fetch.check_quiet()
    await _check_works(host, rng, reset=False)
