"""KEYS, and DECIDE on keys that stream: order, traps, and cycles, at nibble rates above 1."""

import cocotb
import numpy as np

from celosia.hw.array.systolic import latency
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.engine import engine_latency
from celosia.hw.hdp.widths import RHO_ONE
from celosia.hw.interfaces import Status
from celosia.hw.isa import Opcode, Trap
from celosia.sim.bench import harness
from celosia.sim.bench.array_hdp import Bench, full_decide
from celosia.sim.bench.array_hdp_model import Fields, Step, half_keys, random_decide
from celosia.sim.bench.array_model import random_matmul
from celosia.sim.bench.ports import instruction

_KEYS = ("b_address", "b_stride", "length", "k_tiles", "half")


def sized_decide(config: Config, length: int, k_tiles: int, **fixed: int) -> Step:
    """A DECIDE of so many keys and k tiles, that keeps all."""
    tiles = -(-length // config.array.columns)
    return full_decide(config, 0, **({"length": length, "k_tiles": k_tiles, "n_tiles": tiles, "rho": -RHO_ONE} | fixed))


def keys_of(decide: Step, **fixed: int) -> Step:
    """The KEYS that a DECIDE needs."""
    return Opcode.KEYS, {name: decide[1][name] for name in _KEYS} | fixed


def tiles_of(config: Config) -> int:
    """K tiles of the widest head."""
    assert config.hdp is not None
    return config.hdp.head_width // config.array.rows


@cocotb.test()
async def every_width_and_length(dut) -> None:
    """Each number of k tiles, with few keys, an odd number, a half of the store and all of it: lists and sums."""
    bench = Bench(dut, 0.1, (1, 3))
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    for k_tiles in range(1, tiles_of(config) + 1):
        most = half_keys(config, k_tiles)
        for length in (1, 2, config.array.columns + 1, most, min(most + 1, hdp.keys), hdp.keys):
            half = bench.rng.getrandbits(1) if length <= most else 0
            fixed = {"length": length, "k_tiles": k_tiles, "half": half, "list": 1, "end_head": 1}
            for rho in (40, -RHO_ONE):
                bench.issue((Opcode.DECIDE, random_decide(bench.rng, config, **fixed, rho=rho)))
        await bench.finished()
        await bench.compare()


@cocotb.test()
async def halves_are_filled_behind_decides(dut) -> None:
    """Keys of the next head are filled while those of this one stream; the scratchpad changes once they are there."""
    bench = Bench(dut, 0.2, (1, 5))
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    numbers = np.random.default_rng(7)
    for turn in range(8):
        size = {"length": hdp.keys // 2 - turn % 3, "k_tiles": 1 + turn % tiles_of(config)}
        half = turn % 2
        decide = random_decide(bench.rng, config, **size, half=half, end_head=1, list=half)
        bench.issue(keys_of((Opcode.DECIDE, decide)))
        for _ in range(2):
            again = random_decide(bench.rng, config, **bench_rule(decide), **size, half=half, end_head=1, list=half)
            bench.issue((Opcode.DECIDE, again))
        held = bench.model.held[1 - half]
        if held is not None:
            length, k_tiles = held
            other = random_decide(bench.rng, config, length=length, k_tiles=k_tiles, half=1 - half, list=2 + half)
            bench.issue((Opcode.DECIDE, other))
        if turn % 3 == 2:
            # A DECIDE of the half is done: its keys may be overwritten.
            await bench.finished()
            bench.memory[:] = numbers.integers(0, 256, bench.memory.shape, np.uint8)
    await bench.finished()
    await bench.compare()


def bench_rule(decide: Fields) -> Fields:
    """What DECIDEs of a head share."""
    return {name: decide[name] for name in ("absolute", "peak_columns", "peak_rows", "wide", "rho")}


@cocotb.test()
async def masks_that_pile_up_hold_decides_back(dut) -> None:
    """All keys kept, of long and short rows of blocks, as fast as they stream: the walker falls behind, no more."""
    bench = Bench(dut)
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    for length in (hdp.keys, config.array.columns, hdp.keys // 2 + 1):
        bench.issue(*(sized_decide(config, length, 1, list=n % hdp.lists, end_head=n == 23) for n in range(24)))
        await bench.finished()
    await bench.compare()


def _illegal(config: Config) -> list[tuple[list[Step], tuple[Trap, int]]]:
    """Instructions of which the last faults, and how."""
    hdp, rows, columns = config.hdp, config.array.rows, config.array.columns
    assert hdp is not None
    words, acc_rows, tiles, most = config.scratchpad_words, config.acc_rows, tiles_of(config), min(rows, columns)
    bad, scratchpad = (Trap.ILLEGAL_INSTRUCTION, 0), (Trap.SCRATCHPAD_RANGE, words)
    good = sized_decide(config, columns, 1, half=1)
    wrong: list[tuple[Fields, tuple[Trap, int]]] = [
        ({"m": 0}, bad),
        ({"m": most + 1}, bad),
        ({"length": 0, "n_tiles": 0}, bad),
        ({"k_tiles": 0}, bad),
        ({"n_tiles": 2}, bad),
        ({"wide": hdp.widest.bit_length()}, bad),
        ({"list": hdp.lists}, bad),
        # Not what was filled.
        ({"half": 0}, bad),
        ({"length": columns - 1}, bad),
        ({"k_tiles": 2}, bad),
        ({"a_address": words - most + 1}, scratchpad),
    ]
    cases: list[tuple[list[Step], tuple[Trap, int]]] = [
        ([keys_of(good), (Opcode.DECIDE, good[1] | fields)], want) for fields, want in wrong
    ]
    several = sized_decide(config, columns, tiles, half=1, acc_address=acc_rows - columns + 1)
    if tiles > hdp.rate:
        cases.append(([keys_of(several), several], (Trap.ACCUMULATOR_RANGE, acc_rows)))
    long, beyond = sized_decide(config, hdp.keys, tiles), half_keys(config, tiles) + 1
    for fields, want in (
        ({"length": 0}, bad),
        ({"length": hdp.keys + 1, "half": 0}, bad),
        *([({"length": beyond, "k_tiles": tiles}, bad)] if beyond <= hdp.keys else []),
        ({"k_tiles": 0}, bad),
        ({"k_tiles": tiles + 1}, bad),
        ({"b_address": words - columns + 1}, scratchpad),
        ({"b_address": words}, scratchpad),
    ):
        cases.append(([keys_of(good, **fields)], want))
    if tiles > 1:
        cases.append(([keys_of(good, k_tiles=2, b_address=words - columns - 1, b_stride=2)], scratchpad))
    cases.append(([good], bad))
    # One that takes both halves, and one that takes back the upper.
    if beyond <= hdp.keys:
        cases += [([keys_of(good), keys_of(long), good], bad), ([keys_of(long), keys_of(good), long], bad)]
    return cases


@cocotb.test()
async def faults_of_keys(dut) -> None:
    """What comes before a bad instruction ends, it faults, nothing follows; a reset forgets what was filled."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    good = sized_decide(config, config.array.columns - 1, 1, list=3)
    for steps, want in _illegal(config):
        done, before = len(bench.unit.done), [keys_of(good), good]
        bench.unit.issue(*(instruction(opcode, **fields) for opcode, fields in (*before, *steps)))
        assert await bench.unit.fault() == want, f"{steps[-1]}"
        taken = len(bench.unit.issued)
        bench.unit.issue(instruction(Opcode.MATMUL, m=1, n_tiles=1, k_tiles=1))
        await bench.unit.hub.cycles(400)
        assert len(bench.unit.issued) == taken
        # A KEYS is done when it has begun, before its addresses are looked at.
        begun = steps[-1][0] is Opcode.KEYS and want[0] is not Trap.ILLEGAL_INSTRUCTION
        assert len(bench.unit.done) == done + len(before) + len(steps) - 1 + begun, f"{steps[-1]}"
        await harness.reset(dut)
    bench.unit.issue(instruction(good[0], **good[1]))
    assert await bench.unit.fault() == (Trap.ILLEGAL_INSTRUCTION, 0)


async def _timed(bench: Bench, *steps: Step) -> int:
    """Cycles from the first instruction's start to the last one's end."""
    bench.forget()
    issued = len(bench.unit.issued)
    bench.issue(*steps)
    await bench.finished()
    return bench.unit.done[-1][0] - bench.unit.issued[issued]


@cocotb.test()
async def decide_takes_the_time_of_its_keys(dut) -> None:
    """DECIDE after DECIDE: each pass the larger of its words of keys and of queries; and few keys kept hold nobody."""
    bench = Bench(dut)
    await bench.start()
    config, hdp = bench.config, bench.hdp
    columns, rate = config.array.columns, hdp.rate
    fill = latency(config) + engine_latency(engine_config(config)) + 60
    for k_tiles in range(1, tiles_of(config) + 1):
        decides = [
            sized_decide(config, hdp.keys // 2, k_tiles, list=n % hdp.lists, rho=RHO_ONE, end_head=n == 7)
            for n in range(8)
        ]
        bench.issue(keys_of(decides[0]))
        await bench.finished()
        cycles = await _timed(bench, *decides)
        passes = [min(rate, k_tiles - first) for first in range(0, k_tiles, rate)]
        words = hdp.keys // 4 if rate == 4 and k_tiles <= 2 else hdp.keys // 2
        wanted = 8 * sum(max(words, slots * columns) for slots in passes)
        dut._log.info(f"8 DECIDE of {k_tiles} k tiles: {cycles} cycles, {wanted} of keys")
        assert cycles <= wanted + rate * columns + fill, f"{cycles} cycles for {wanted}"


@cocotb.test()
async def keys_are_filled_in_idle_cycles(dut) -> None:
    """Behind a KEYS, DECIDEs of the other half and matmuls take as long as without; alone it takes a cycle a word."""
    bench = Bench(dut)
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    length, k_tiles, columns = hdp.keys // 2, tiles_of(config), config.array.columns
    first = sized_decide(config, length, k_tiles, half=0, rho=RHO_ONE, end_head=1)
    other = sized_decide(config, length, k_tiles, half=1, rho=RHO_ONE, end_head=1)
    alone = await _timed(bench, keys_of(first), first)
    fill = latency(config) + engine_latency(engine_config(config)) + 60
    passes = -(-k_tiles // hdp.rate)
    assert alone <= length * k_tiles + passes * max(length, hdp.rate * columns) + hdp.rate * columns + fill
    decides = [first] * (2 * hdp.rate)
    plain = await _timed(bench, *decides)
    behind = await _timed(bench, keys_of(other), *decides)
    assert behind <= plain + 4, f"{behind} cycles, {plain} without KEYS"
    after = await _timed(bench, other)
    assert after <= passes * max(length, hdp.rate * columns) + hdp.rate * columns + fill
    size = max(config.array.rows, columns)
    fields = random_matmul(bench.rng, config, m=size, k_tiles=2, n_tiles=2, transposed=1, accumulate=0)
    matmuls: list[Step] = [(Opcode.MATMUL, fields)] * 8
    plain = await _timed(bench, *matmuls)
    behind = await _timed(bench, keys_of(first), *matmuls)
    assert behind <= plain + 4, f"{behind} cycles, {plain} without KEYS"
    assert bench.unit.statuses[Status.BUSY] == 8 * 4 * size
