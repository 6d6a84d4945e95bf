"""Programs on control with abstract units: order, tokens, rates, counters."""

from celosia.hw import isa
from celosia.hw.registers import Activity
from celosia.sim.bench.control_models import (
    DONE,
    DONE_BIT,
    IDLE_BIT,
    Host,
    bench,
    check_tokens,
    end,
    random_instruction,
    random_program,
)
from celosia.sim.bench.streams import cycles


def _check_order(host: Host, sent: list[tuple[isa.Unit, int]]) -> None:
    for unit in isa.Unit:
        want = [bits for of, bits in sent if of == unit]
        assert [bits for _, bits in host.units[unit].taken] == want, f"{unit.name}: not what the program holds"


@bench()
async def random_programs(dut) -> None:
    """Every unit gets its instructions in order, no token is taken before it was given, and every run ends."""
    host = Host(dut)
    rng = await host.begin()
    for case in range(12):
        host.forget()
        host.bus.busy = 0.05 * (case % 2)
        host.set_units(
            duration=rng.choice([(1, 1), (1, 12), (5, 40)]), depth=rng.choice([1, 3, 9]), stall=case % 3 * 0.3
        )
        host.offset = 32 * 4 * rng.randrange(64)
        await host.write("PROGRAM", host.offset)
        code = random_program(rng, rng.randrange(1, 90))
        assert await host.run([bits for _, bits, _, _ in code] + [end()]) == DONE
        _check_order(host, [(unit, bits) for unit, bits, _, _ in code])
        left = check_tokens(host.events)
        assert sum(left.values()) == sum((signal.bit_count() - wait.bit_count()) for *_, wait, signal in code)
        assert await host.read("TRAP_CODE") == 0
        assert await host.read("CTRL") & (DONE_BIT | IDLE_BIT) == DONE_BIT | IDLE_BIT
        assert await host.counter("INSTRUCTIONS") == len(code) + 1
        host.fetch.check_quiet()


@bench()
async def tokens_do_not_outlive_a_run(dut) -> None:
    """A token left by one program is not there for the next, which then waits for it until it comes."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(duration=(1, 1), stall=0)
    give = random_instruction(rng, isa.Unit.LOAD, signal=1 << isa.Unit.POST)
    take = random_instruction(rng, isa.Unit.POST, wait=1 << isa.Unit.LOAD)
    await host.run([give, give, end()])
    host.forget()
    host.units[isa.Unit.LOAD].duration = (100, 100)
    await host.run([give, take, end()])
    assert host.units[isa.Unit.POST].taken[0][0] - host.units[isa.Unit.LOAD].taken[0][0] == 101


@bench()
async def one_instruction_a_cycle(dut) -> None:
    """With tokens at hand, instructions start in successive cycles, and at the rate of the bus from memory."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(duration=(1, 1), stall=0, depth=64)
    # Self tokens: each waits for that of the instruction before of its unit, given as early as can be.
    units = [isa.Unit(index % isa.UNITS) for index in range(80)]
    code = [
        random_instruction(rng, unit, wait=(index >= 4) << unit, signal=1 << unit) for index, unit in enumerate(units)
    ]
    await host.run([*code, end()])
    times = sorted(cycle for unit in host.units for cycle, _ in unit.taken)
    each = max(1, 32 // host.config.bus.bytes)
    span = times[-1] - times[0]
    assert span <= each * (len(times) - 1) * 1.12, (
        f"{span} cycles for {len(times)} instructions, {each} each on the bus"
    )


@bench()
async def a_full_queue_drains_every_other_cycle(dut) -> None:
    """What waits in a queue starts at full rate when its token comes; a token given in a cycle is used in the next."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    depth = host.config.control.queue
    host.set_units(duration=(1, 1), stall=0, depth=64)
    host.units[isa.Unit.LOAD].duration = (300, 300)
    gate = random_instruction(rng, isa.Unit.LOAD, signal=1 << isa.Unit.ARRAY)
    first = random_instruction(rng, isa.Unit.ARRAY, wait=1 << isa.Unit.LOAD)
    rest = [random_instruction(rng, isa.Unit.ARRAY) for _ in range(depth - 1)]
    await host.run([gate, first, *rest, end()])
    done = next(event.cycle for event in host.events if event.kind == "done" and event.unit == isa.Unit.LOAD)
    times = [cycle for cycle, _ in host.units[isa.Unit.ARRAY].taken]
    assert times == list(range(done + 1, done + 1 + 2 * depth, 2))


@bench()
async def counters_add_up(dut) -> None:
    """Per unit, the counters and its idle cycles are the cycles of the run; each is what its activity output showed."""
    host = Host(dut)
    rng = await host.begin()
    for _ in range(4):
        before = {unit: seen.copy() for unit, seen in host.activity.seen.items()}
        code = [bits for _, bits, _, _ in random_program(rng, 60)]
        assert await host.run([*code, end()]) == DONE
        total = await host.counter("CYCLES")
        for unit in isa.Unit:
            seen = host.activity.seen[unit] - before[unit]
            idle = total
            for activity in Activity:
                if activity != Activity.IDLE:
                    count = await host.counter(f"{unit.name}_{activity.name}")
                    assert count == seen[activity], f"{unit.name} {activity.name}: {count}, {seen[activity]} seen"
                    idle -= count
            assert 0 <= idle <= seen[Activity.IDLE]


@bench()
async def counters_name_the_cause(dut) -> None:
    """A unit that waits counts for the lowest unit whose token is missing; one that works, by its status."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(duration=(1, 1), stall=0)
    host.units[isa.Unit.ARRAY].duration, host.units[isa.Unit.POST].duration = (200, 200), (300, 300)
    to_store = 1 << isa.Unit.STORE
    code = [
        random_instruction(rng, isa.Unit.ARRAY, signal=to_store),
        random_instruction(rng, isa.Unit.POST, signal=to_store),
        random_instruction(rng, isa.Unit.STORE, wait=1 << isa.Unit.ARRAY | 1 << isa.Unit.POST),
    ]
    await host.run([*code, end()])
    taken = [host.units[unit].taken[0][0] for unit in isa.Unit if unit != isa.Unit.LOAD]
    done = {event.unit: event.cycle for event in host.events if event.kind == "done"}
    assert await host.counter("STORE_WAIT_LOAD") == 0
    wait_array, wait_post = await host.counter("STORE_WAIT_ARRAY"), await host.counter("STORE_WAIT_POST")
    assert wait_post == done[isa.Unit.POST] - done[isa.Unit.ARRAY]
    # It waits for ARRAY from the cycle in which it reaches the head of its queue.
    assert 190 <= wait_array <= done[isa.Unit.ARRAY] - taken[0]
    works = sum([await host.counter(f"POST_{name}") for name in ("BUSY", "STALL_IN", "STALL_OUT")])
    assert works == done[isa.Unit.POST] - taken[1] - 1


@bench()
async def counts_beats(dut) -> None:
    """Bytes are beats times the bus, while a run lasts."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(duration=(120, 120), stall=0)
    host.place([random_instruction(rng, isa.Unit.LOAD), end()])
    await host.start()
    await cycles(dut, 30)
    for port, count in (("load_beat", 17), ("store_beat", 5)):
        getattr(dut, port).value = 1
        await cycles(dut, count)
        getattr(dut, port).value = 0
    await host.interrupted()
    assert await host.counter("BYTES_READ") == 17 * host.config.bus.bytes
    assert await host.counter("BYTES_WRITTEN") == 5 * host.config.bus.bytes


@bench()
async def end_waits_for_the_bus(dut) -> None:
    """A run ends only when units are done and the bus is quiet, and soon after that."""
    host = Host(dut, stall=0, latency=1)
    rng = await host.begin()
    host.set_units(duration=(40, 40), stall=0)
    host.bus.busy, host.bus.dead = 1.0, True
    host.place([random_instruction(rng, isa.Unit.STORE), end()])
    await host.start()
    await cycles(dut, 200)
    assert not int(dut.irq.value)
    assert not await host.read("CTRL") & (DONE_BIT | IDLE_BIT)
    host.bus.busy, host.bus.dead = 0.0, False
    await cycles(dut, 40)
    assert int(dut.irq.value)


@bench()
async def code_after_end_is_not_run(dut) -> None:
    """An early END ends the program; what was fetched beyond it is forgotten, and the next program is not disturbed."""
    host = Host(dut)
    rng = await host.begin()
    for length in (1, 5, 40):
        host.forget()
        head = [random_instruction(rng, isa.Unit.LOAD) for _ in range(length)]
        assert await host.run([*head, end(), *(random_instruction(rng, isa.Unit.POST) for _ in range(30))]) == DONE
        _check_order(host, [(isa.Unit.LOAD, bits) for bits in head])
        host.fetch.check_quiet()
