"""POST against the golden models: random programs under stalls, throughput, faults."""

from collections.abc import Iterable
from typing import Any

import cocotb
import numpy as np
from amaranth.utils import ceil_log2

from celosia.hw.isa import Opcode
from celosia.sim.bench import harness
from celosia.sim.bench.ports import KeptModel, ReadPortModel, UnitDriver, WritePortModel, instruction
from celosia.sim.bench.post_model import Step
from celosia.sim.bench.post_programs import Programs


class Bench:
    """POST with its memories; `programs` makes steps and knows what they should do."""

    def __init__(self, dut, stall: float, latency: int | tuple[int, int] = 2, seed: int = 0) -> None:
        self.dut = dut
        self.config = config = harness.parameters()["config"]
        self.programs = programs = Programs(config, cocotb.RANDOM_SEED + seed)
        self.scratchpad, self.acc = programs.model.scratchpad.copy(), programs.model.acc.copy()
        self.maxima = programs.model.maxima.copy()
        acc_bytes = self.acc.view(np.uint8)
        self.unit = UnitDriver(dut, stall=stall)
        self.acc_read = ReadPortModel(dut, "acc_read", acc_bytes, stall=stall, latency=latency)
        self.maxima_read = ReadPortModel(
            dut, "maxima", self.maxima.view(np.uint8).reshape(-1, 4), stall=stall, latency=latency
        )
        self.read = ReadPortModel(dut, "read", self.scratchpad, stall=stall, latency=latency)
        self.write = WritePortModel(
            dut,
            "write",
            self.scratchpad,
            granules=config.word_bytes,
            address_bits=ceil_log2(config.scratchpad_words),
            stall=stall,
        )
        self.acc_write = WritePortModel(
            dut,
            "acc_write",
            acc_bytes,
            granules=config.array.columns,
            address_bits=ceil_log2(config.acc_rows),
            stall=stall,
        )
        if config.hdp is not None:
            self.kept = KeptModel(dut, "kept", self._kept)
        self.done = 0

    def _kept(self, number: int, headed: int, slot: int) -> int:
        return self.programs.model.count({"list": number, "headed": headed, "slot": slot})

    def prepare(self) -> None:
        """Give the hardware what the program's steps read."""
        half = self.config.scratchpad_words // 2
        self.scratchpad[:half] = self.programs.model.scratchpad[:half]
        self.maxima[:] = self.programs.model.maxima

    async def run(self, steps: Iterable[Step]) -> None:
        """Run a program and compare signals and memories."""
        steps = list(steps)
        self.prepare()
        before = self.done
        self.done += len(steps)
        self.unit.issue(*(instruction(step.opcode, signal=step.signal, **step.fields) for step in steps))
        names = [f"{step.opcode.name} {step.fields}" for step in steps]
        try:
            done = await self.unit.finished(self.done, timeout=5000)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), str(self.unit.faults), *names])) from None
        assert done[before:] == [step.signal for step in steps], names
        assert not self.unit.faults, (self.unit.faults, names)
        _compare("accumulator", self.acc, self.programs.model.acc, names)
        _compare("scratchpad", self.scratchpad, self.programs.model.scratchpad, names)
        self.programs.begin()

    async def timed(self, *steps: Step) -> tuple[int, list[int]]:
        """Run steps; cycles from the first write to the last, and the cycles of all writes."""
        writes = [len(self.write.times), len(self.acc_write.times)]
        await self.run(steps)
        times = sorted(self.write.times[writes[0] :] + self.acc_write.times[writes[1] :])
        return times[-1] - times[0] + 1, times


def _compare(name: str, got: np.ndarray, expected: np.ndarray, program: list[str]) -> None:
    if np.array_equal(got, expected):
        return
    row, column = (int(x) for x in np.argwhere(got != expected)[0])
    count = int((got != expected).sum())
    raise AssertionError(
        f"{name}: {count} differ, the first at ({row}, {column}): {got[row, column]}, not {expected[row, column]}\n"
        + "\n".join(program)
    )


def _random_steps(programs: Programs, count: int) -> list[Step]:
    rng, steps = programs.rng, []
    while len(steps) < count:
        made: Any = rng.choice(
            [
                programs.requant,
                programs.requant,
                lambda: programs.requant(row_factor=True),
                programs.exp,
                lambda: programs.exp(parts=rng.randint(2, 3)),
                programs.residual,
                lambda: programs.residual(parts=rng.randint(2, 3)),
                programs.norm,
                programs.norm,
                lambda: programs.table() if rng.random() < 0.3 else None,
            ]
        )()
        if made is None:
            # No room, or no rows with factors yet.
            if rng.random() < 0.2:
                break
            continue
        steps += made if isinstance(made, list) else [made]
        if isinstance(made, list) and made and made[-1].fields["last"] and rng.random() < 0.7:
            # What was just gathered is used at once.
            use = _use(programs, made[-1])
            steps += [] if use is None else [use]
    return steps


@cocotb.test()
async def random_programs_with_stalls(dut) -> None:
    """Whatever the stalls and latencies, memories end as the golden models say, and every instruction is reported in
    order."""
    bench = Bench(dut, 0.25, (1, 6))
    await harness.start(dut)
    for _ in range(harness.parameters().get("rounds", 12)):
        await bench.run(_random_steps(bench.programs, 10))


@cocotb.test()
async def random_programs_at_full_speed(dut) -> None:
    """The same without stalls, where instructions overlap most."""
    bench = Bench(dut, 0.0, 1, seed=1)
    await harness.start(dut)
    for _ in range(harness.parameters().get("rounds", 12)):
        await bench.run(_random_steps(bench.programs, 12))


@cocotb.test()
async def residual_is_seen_by_what_follows(dut) -> None:
    """An instruction that reads the accumulator where the one before it writes sees what was written."""
    bench = Bench(dut, 0.0, 1, seed=2)
    await harness.start(dut)
    for size in ({"m": 1, "groups": 1}, {"m": 2, "groups": 3}, {"m": 5, "groups": 2}):
        steps = bench.programs.residual(**size)
        same = {name: steps[0].fields[name] for name in ("acc_address", "acc_stride")}
        for make in (bench.programs.requant, bench.programs.residual):
            bench.programs.place = same
            made = make(**size)
            steps += made if isinstance(made, list) else [made]
        bench.programs.place = {}
        await bench.run(steps)


@cocotb.test()
async def rows_follow_one_another(dut) -> None:
    """Many short EXPs and RESIDUALs before anything uses their rows: each row has its own factors, whatever the rows
    before it were."""
    await _rows(Bench(dut, 0.0, 1, seed=3))


@cocotb.test()
async def rows_follow_one_another_with_stalls(dut) -> None:
    """The same, with stalls."""
    await _rows(Bench(dut, 0.25, (1, 6), seed=4))


async def _rows(bench: Bench) -> None:
    await harness.start(bench.dut)
    programs, rng = bench.programs, bench.programs.rng
    for _ in range(harness.parameters().get("rounds", 12)):
        gathered: list[Step] = []
        for _ in range(6):
            make = programs.residual if rng.random() < 0.25 else programs.exp
            gathered += make(m=rng.randint(1, 12), groups=rng.randint(1, 4))
        uses = [_use(programs, step) for step in gathered]
        await bench.run([*gathered, *(step for step in uses if step is not None)])


def _use(programs: Programs, step: Step) -> Step | None:
    """What uses the rows that `step` has gathered; None where there is no room for its parameters."""
    size = {"m": step.fields["m"], "row": step.fields["stat_row"]}
    return programs.norm(**size) if step.opcode == Opcode.RESIDUAL else programs.requant(row_factor=True, **size)


@cocotb.test()
async def a_row_is_used_at_once(dut) -> None:
    """EXP of a single beat, and what waits for its factor right behind."""
    bench = Bench(dut, 0.0, 1, seed=5)
    await harness.start(dut)
    for _ in range(8):
        steps = bench.programs.exp(m=1, groups=1)
        await bench.run([*steps, *(use for step in steps if (use := _use(bench.programs, step)))])
