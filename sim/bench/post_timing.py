"""How many cycles POST takes when nothing stalls."""

from itertools import pairwise

import cocotb

from celosia.hw import isa
from celosia.hw.interfaces import Status
from celosia.hw.post.jobs import rows_wait
from celosia.hw.post.layouts import Geometry
from celosia.sim.bench import harness
from celosia.sim.bench.post import Bench

ROWS, GROUPS = 24, 4
"""Rows that are as many as the cycles from the last use of a buffer of records to its next records, or more."""
DRAIN = 16
"""Cycles from the last beat of an instruction to its last write, and a few."""


async def _bench(dut) -> tuple[Bench, Geometry]:
    bench = Bench(dut, 0.0, 2)
    await harness.start(dut)
    bench.programs.gather = {}
    # The constants of a polynomial activation change only while the lanes are empty: one set, there from the beginning.
    bench.programs.gelu = bench.programs.gelu[:1]
    activation = bench.config.post.gelu == "table"
    while not activation:
        step = bench.programs.requant(m=1, groups=1)
        await bench.run([step])
        activation = step.fields["activation"] == isa.Activation.TABLE
    return bench, Geometry(bench.config)


@cocotb.test()
async def requant_takes_a_cycle_a_beat(dut) -> None:
    """No bubble within REQUANT, and its parameters are fetched while the group before streams."""
    bench, _ = await _bench(dut)
    cycles, _ = await bench.timed(bench.programs.requant(m=ROWS, groups=GROUPS))
    assert cycles == ROWS * GROUPS


@cocotb.test()
async def exp_takes_a_cycle_a_beat(dut) -> None:
    """Rows, and sums of three rows and more, without a bubble."""
    bench, _ = await _bench(dut)
    for m in (ROWS, 5, 3):
        cycles, _ = await bench.timed(*bench.programs.exp(m=m, groups=GROUPS))
        assert cycles == m * GROUPS, m


@cocotb.test()
async def exp_of_kept_keys_takes_a_cycle_a_beat_of_them(dut) -> None:
    """Beats of whole words of the keys that there are; without a key none is written."""
    bench, g = await _bench(dut)
    if bench.config.hdp is None:
        return
    kept, pruned = bench.programs.model.kept, min(bench.programs.model.pruned)
    for number, keys in kept.items():
        words = -(-keys // bench.config.array.rows)
        if words * g.word_groups > GROUPS:
            kept[number] = keys = GROUPS // g.word_groups * bench.config.array.rows
            words = -(-keys // bench.config.array.rows)
        bench.programs.gather = {"gather": 1, "list": number, "slot": pruned + 1, "headed": 1, "causal": 0}
        steps = bench.programs.exp(m=ROWS, groups=GROUPS)
        if keys == 0:
            await bench.run(steps)
            assert not bench.write.times
            continue
        cycles, _ = await bench.timed(*steps)
        assert cycles == ROWS * words * g.word_groups, f"{keys} keys"
    bench.programs.gather |= {"slot": pruned}
    before = len(bench.write.times)
    await bench.run(bench.programs.exp(m=ROWS, groups=GROUPS))
    assert len(bench.write.times) == before


@cocotb.test()
async def few_rows_wait_for_their_sums(dut) -> None:
    """One or two rows return after the latency of their read-modify-write, not later."""
    bench, _ = await _bench(dut)
    for m in (1, 2):
        cycles, _ = await bench.timed(*bench.programs.exp(m=m, groups=GROUPS))
        assert cycles == 3 * (GROUPS - 1) + m, m


@cocotb.test()
async def residual_keeps_its_read_port_busy(dut) -> None:
    """A word of residuals or parameters every cycle."""
    bench, g = await _bench(dut)
    steps = []
    while not steps or steps[0].fields["no_acc"]:
        steps = bench.programs.residual(m=ROWS, groups=GROUPS)
        if steps and steps[0].fields["no_acc"]:
            await bench.run(steps)
    cycles, _ = await bench.timed(*steps)
    assert cycles <= GROUPS * (g.halves * ROWS + g.record_words)
    assert cycles >= GROUPS * g.halves * ROWS


@cocotb.test()
async def norm_takes_a_cycle_a_word(dut) -> None:
    """As many cycles as words are written, whichever outputs there are."""
    bench, g = await _bench(dut)
    seen = set()
    while len(seen) < 3:
        steps = bench.programs.residual(m=ROWS, groups=GROUPS)
        await bench.run(steps)
        norm = bench.programs.norm(m=ROWS, groups=GROUPS)
        outputs = norm.fields["out8"], norm.fields["out16"]
        cycles, _ = await bench.timed(norm)
        assert cycles == ROWS * GROUPS * (outputs[0] + outputs[1] * g.halves), outputs
        seen.add(outputs)


@cocotb.test()
async def instructions_follow_one_another(dut) -> None:
    """At most two idle cycles between instructions, whatever their kind, when none needs the row unit."""
    bench, _ = await _bench(dut)
    program = bench.programs
    steps = [program.requant(m=ROWS, groups=2), *program.exp(m=ROWS, groups=2), program.requant(m=ROWS, groups=2)]
    steps += [program.requant(m=ROWS, groups=2) for _ in range(2)]
    cycles, times = await bench.timed(*steps)
    assert cycles <= 2 * ROWS * len(steps) + 2 * (len(steps) - 1)
    assert max(b - a for a, b in pairwise(times)) <= 3


@cocotb.test()
async def short_instructions_follow_one_another(dut) -> None:
    """Instructions of a few beats: limited by their parameters, not by a drain."""
    bench, g = await _bench(dut)
    steps = [bench.programs.requant(m=2, groups=1) for _ in range(12)]
    cycles, _ = await bench.timed(*steps)
    assert cycles <= 12 * (g.record_words + 10)


@cocotb.test()
async def softmax_rows_take_eleven_cycles(dut) -> None:
    """Row factors of EXP: the REQUANT that needs them waits, says so, and starts as soon as they are there. With three
    engines rows take a third."""
    bench, _ = await _bench(dut)
    program, cycles = bench.programs, 4 if bench.config.rate > 1 else 11
    await _rows(bench, lambda: program.exp(m=ROWS, groups=2), lambda: program.requant(row_factor=True), cycles)


@cocotb.test()
async def layernorm_rows_take_eleven_cycles(dut) -> None:
    """Statistics of RESIDUAL: one row each in moments, root and divider."""
    bench, _ = await _bench(dut)
    await _rows(bench, lambda: bench.programs.residual(m=ROWS, groups=2), bench.programs.norm, 11)


async def _rows(bench: Bench, gather, use, cycles_a_row: int) -> None:
    gathered, used = gather(), use()
    while used is None:
        used = use()
    _, times = await bench.timed(*gathered, used)
    longest = max(b - a for a, b in pairwise(times))
    assert (cycles_a_row - 2) * ROWS < longest <= cycles_a_row * ROWS + 40 + DRAIN
    assert bench.unit.statuses[Status.STALL_OUT] > (cycles_a_row - 3) * ROWS


@cocotb.test()
async def requant_does_not_wait_for_rows(dut) -> None:
    """REQUANT by records runs while row factors are computed."""
    bench, _ = await _bench(dut)
    steps = [*bench.programs.exp(m=ROWS, groups=2), bench.programs.requant(m=ROWS, groups=2)]
    cycles, _ = await bench.timed(*steps)
    assert cycles <= 4 * ROWS + 3


@cocotb.test()
async def exp_does_not_wait_for_the_factors_before(dut) -> None:
    """Where jobs of the row unit wait, an EXP streams while factors of the one before are computed; a third one waits
    until those are on their way."""
    bench, _ = await _bench(dut)
    if not rows_wait(bench.config):
        return
    steps = [bench.programs.exp(m=ROWS // 2, groups=1)[0]]
    while len(steps) < 3:
        steps += bench.programs.exp(m=ROWS // 2, groups=1)
    _, times = await bench.timed(*steps)
    first, second, third = (times[k * ROWS // 2 : (k + 1) * ROWS // 2] for k in range(3))
    assert second[-1] - first[0] <= ROWS + 3
    assert ROWS < third[0] - second[0] <= 4 * ROWS // 2 + 30


@cocotb.test()
async def table_loads_four_bytes_a_cycle(dut) -> None:
    """A REQUANT after TABLE finds its table; the load takes a quarter of its bytes."""
    bench, _ = await _bench(dut)
    await bench.run([bench.programs.requant(m=2, groups=1)])
    start = bench.unit.hub.cycle
    await bench.run([bench.programs.table()])
    assert bench.unit.hub.cycle - start <= (1 << bench.config.post.table_bits) // 4 + 20
