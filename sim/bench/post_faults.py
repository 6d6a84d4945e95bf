"""POST's faults: code and address, and no access beyond a memory (the models of the ports check that); reset."""

from typing import Any

import cocotb

from celosia.hw.isa import Opcode, Trap
from celosia.sim.bench import harness
from celosia.sim.bench.ports import instruction
from celosia.sim.bench.post import Bench


def _cases(bench: Bench) -> list[tuple[Opcode, dict[str, Any], Trap, int | None]]:
    config = bench.config
    words, rows, stats = config.scratchpad_words, config.acc_rows, config.accumulator.stat_rows
    small = {"m": 2, "groups": 2, "acc_stride": 2}
    columns = config.array.columns // config.post.lanes
    long = config.post.max_channels // config.post.lanes + 1
    blocks = config.word_bytes // config.post.lanes
    scratchpad, accumulator, illegal = Trap.SCRATCHPAD_RANGE, Trap.ACCUMULATOR_RANGE, Trap.ILLEGAL_INSTRUCTION
    return [
        (Opcode.REQUANT, small | {"m": 0}, illegal, None),
        (Opcode.EXP, small | {"groups": 0}, illegal, None),
        (Opcode.EXP, small | {"groups": long}, illegal, None),
        (Opcode.RESIDUAL, small | {"groups": long}, illegal, None),
        (Opcode.NORM, small, illegal, None),
        (Opcode.LOAD, {}, illegal, None),
        (Opcode.REQUANT, small | {"out_address": words - 1}, scratchpad, words),
        (Opcode.REQUANT, small | {"groups": blocks + 1, "out_stride": 65535}, scratchpad, 65535),
        (Opcode.REQUANT, small | {"parameters": words - config.record_words}, scratchpad, words),
        (Opcode.REQUANT, small | {"acc_address": rows - 1}, accumulator, rows),
        (Opcode.REQUANT, small | {"groups": columns + 1, "acc_stride": 65535}, accumulator, 65535),
        (Opcode.REQUANT, small | {"row_factor": 1, "stat_row": stats - 1}, accumulator, stats),
        (Opcode.EXP, small | {"stat_row": stats - 1}, accumulator, stats),
        (Opcode.EXP, small | {"stat_row": 4095}, accumulator, 4095),
        (Opcode.EXP, small | {"out_address": (1 << 24) - 1}, scratchpad, (1 << 24) - 1),
        (Opcode.RESIDUAL, small | {"no_acc": 1, "residual_address": words - 2}, scratchpad, words),
        (Opcode.RESIDUAL, small | {"no_acc": 1, "acc_address": rows - 1}, accumulator, rows),
        (Opcode.NORM, small | {"out8": 1, "out8_address": words}, scratchpad, words),
        (Opcode.NORM, small | {"out8": 1, "out16": 1, "out16_address": words - 2}, scratchpad, words),
        (Opcode.TABLE, {"parameters": words - 1}, scratchpad, words),
        *([] if config.hdp is None else _gathers(bench, small)),
    ]


def _gathers(bench: Bench, small: dict[str, Any]) -> list[tuple[Opcode, dict[str, Any], Trap, int | None]]:
    """Of EXPs that gather: what there is no key for is not looked at, but the statistics."""
    config = bench.config
    assert config.hdp is not None
    words, rows, stats = config.scratchpad_words, config.acc_rows, config.accumulator.stat_rows
    none, one = small | {"gather": 1, "list": 0}, small | {"gather": 1, "list": 1, "groups": 99}
    kept = bench.programs.model.kept
    assert (kept[0], kept[1]) == (0, 1)
    far = {"out_address": words, "acc_address": rows, "m": 1, "stat_row": stats}
    return [
        (Opcode.EXP, one | {"causal": 1}, Trap.ILLEGAL_INSTRUCTION, None),
        (Opcode.EXP, one | {"list": config.hdp.lists}, Trap.ILLEGAL_INSTRUCTION, None),
        (Opcode.EXP, none | {"groups": 0}, Trap.ILLEGAL_INSTRUCTION, None),
        (Opcode.EXP, one | {"out_address": words - 1}, Trap.SCRATCHPAD_RANGE, words),
        (Opcode.EXP, one | {"acc_address": rows - 1}, Trap.ACCUMULATOR_RANGE, rows),
        (Opcode.EXP, none | far, Trap.ACCUMULATOR_RANGE, stats),
    ]


@cocotb.test()
async def faults_stop_the_unit(dut) -> None:
    """Each is reported once, held, and nothing is done after it; after a reset the unit works."""
    bench = Bench(dut, 0.1, (1, 4))
    await harness.start(dut)
    for opcode, fields, code, address in _cases(bench):
        finished = len(bench.unit._done.values)
        bench.unit.issue(instruction(opcode, **fields), instruction(Opcode.REQUANT, m=1, groups=1))
        fault = await bench.unit.fault(2000)
        assert fault[0] == code, (opcode, fields, fault)
        assert address is None or fault[1] == address, (opcode, fields, fault)
        await bench.unit.hub.cycles(60)
        assert len(bench.unit._done.values) == finished, (opcode, fields)
        await harness.reset(dut)


@cocotb.test()
async def works_after_a_reset_at_any_moment(dut) -> None:
    """A reset in the middle of a program leaves nothing behind."""
    bench = Bench(dut, 0.2, (1, 4), seed=2)
    await harness.start(dut)
    for wait in (3, 17, 40, 77, 150):
        program = bench.programs
        steps = [program.requant(m=4, groups=3), *program.residual(m=4, groups=3), *program.exp(m=5, groups=3)]
        bench.prepare()
        bench.unit.issue(*(instruction(step.opcode, **step.fields) for step in steps))
        await bench.unit.hub.cycles(wait)
        await harness.reset(dut)
        # What the interrupted program would have done, the model has done already.
        bench.acc[:], bench.scratchpad[:] = program.model.acc, program.model.scratchpad
        for known in (program.model.factors, program.model.means, program.model.sums):
            known.clear()
        bench.done = len(bench.unit._done.values)
        program.begin()
        again = [program.table(), program.requant(m=3, groups=3)]
        again += program.residual(m=4, groups=3)
        await bench.run([*again, program.norm(m=2, groups=2) or program.requant(m=1, groups=1)])
