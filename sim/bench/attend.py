"""Tests of ATTEND between control and models of cores that take their heads, and end them, when they like."""

import random
from collections import deque

import cocotb
from amaranth.lib import data

from celosia.hw import isa
from celosia.hw.coprocessor.config import from_dict
from celosia.hw.coprocessor.instruction import Attention
from celosia.hw.coprocessor.layouts import Start
from celosia.hw.hdp.core.config import HEADS
from celosia.hw.hdp.core.layouts import HeadJob
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import HEAD_BITS, RHO_ONE
from celosia.hw.interfaces import Status
from celosia.sim.bench import harness
from celosia.sim.bench.ports import UnitDriver, instruction
from celosia.sim.bench.streams import StreamSink, hub_of
from celosia.sw.compiler.codec import decode
from celosia.sw.runtime.checks import TrapError
from celosia.sw.runtime.cores import check_attend

CASES = 200


class CoreModel:
    """Takes heads, `HEADS` at once, and ends them in order after a random time. `ends`: cycles in which it did."""

    def __init__(self, dut, index: int, config, rng, stall: float, longest: int) -> None:
        self.hub, self.rng, self.longest = hub_of(dut), rng, longest
        self.heads: deque[int] = deque()
        self.ends: list[int] = []
        self.ended, self.working = getattr(dut, f"ended__{index}"), getattr(dut, f"working__{index}")
        self.sink = StreamSink(dut, f"starts.{index}", Start(config), stall=stall, on_value=self._begin)
        self.hub.driven |= {f"ended__{index}", f"working__{index}"}
        self.reset()
        # Before the sink: whether it takes another one is known in this cycle.
        self.hub.agents.insert(self.hub.agents.index(self.sink), self)

    def _begin(self, _: int) -> None:
        self.heads.append(self.hub.cycle + self.rng.randint(1, self.longest))

    def step(self) -> None:
        """See `Agent`."""
        ends = bool(self.heads) and self.heads[0] <= self.hub.cycle
        if ends:
            self.heads.popleft()
            self.ends.append(self.hub.cycle)
        self.ended.value = int(ends)
        self.working.value = int(bool(self.heads))
        self.sink.blocked = len(self.heads) >= HEADS - 1

    def reset(self) -> None:
        """See `Agent`."""
        self.heads.clear()
        self.ended.value = self.working.value = 0


class Bench:
    """ATTEND, control and the cores."""

    def __init__(self, dut) -> None:
        self.dut, self.config = dut, from_dict(harness.parameters()["config"])

    async def start(self, stall: float = 0.0, longest: int = 40) -> None:
        """Reset."""
        dut, config = self.dut, self.config
        self.unit = UnitDriver(dut, "control", stall=stall)
        rng = random.Random(cocotb.RANDOM_SEED)
        self.cores = [CoreModel(dut, k, config, rng, stall, longest) for k in range(config.cores)]
        self.rng = await harness.start(dut)

    def legal(self, **chosen: int) -> dict[str, int]:
        """Fields of an instruction that does not stop it."""
        config, rng = self.config.core, self.rng
        length = rng.randint(1, config.length)
        row = config.rows - length
        fields = {
            name: rng.getrandbits(field.width)
            for name, field in data.Layout.cast(Attention)
            if not name.startswith("reserved")
        }
        return {
            **fields,
            **RULES[rng.choice(config.rules)],
            "core": rng.randrange(self.config.cores),
            "headed": rng.randrange(2) if config.tau else 0,
            "length": length,
            **{name: rng.randint(0, row // 4) * 4 for name in ("query", "key", "value")},
            "context": rng.randint(0, row),
            "rho": rng.randint(-RHO_ONE, RHO_ONE),
            "limit": rng.randint(-(1 << HEAD_BITS - 1), (1 << HEAD_BITS - 1) - 1),
            **chosen,
        }


async def _order(dut, stall: float, longest: int) -> None:
    """Every core gets its heads in order, whole; control is told in the order of instructions, with their masks."""
    bench = Bench(dut)
    await bench.start(stall, longest)
    config = bench.config
    cases = [(bench.legal(), bench.rng.getrandbits(isa.UNITS)) for _ in range(CASES)]
    for fields, mask in cases:
        bench.unit.issue(instruction(isa.Opcode.ATTEND, signal=mask, **fields))
    assert await bench.unit.finished(CASES) == [mask for _, mask in cases]
    await bench.unit.hub.cycles(3)
    assert not bench.unit.busy
    # A head is reported in the cycle after it ended, or after the one before it was.
    ends = [iter(core.ends) for core in bench.cores]
    last = 0
    for (fields, _), (cycle, _) in zip(cases, bench.unit.done, strict=True):
        last = max(next(ends[fields["core"]]) + 2, last + 1)
        assert cycle == last
    names = [name for name, _ in HeadJob(config.core)]
    for k, core in enumerate(bench.cores):
        mine = [fields for fields, _ in cases if fields["core"] == k]
        want = [({name: fields[name] for name in names}, fields["context"]) for fields in mine]
        got = [({name: start.job[name] for name in names}, start.context) for start in core.sink.consts()]
        assert got == want, k


@cocotb.test()
async def order_of_short_heads(dut) -> None:
    """Cores that end at once."""
    await _order(dut, 0.0, 3)


@cocotb.test()
async def order_of_long_heads(dut) -> None:
    """Cores that end out of order."""
    await _order(dut, 0.0, 60)


@cocotb.test()
async def order_stalled(dut) -> None:
    """Pauses everywhere."""
    await _order(dut, 0.5, 30)


@cocotb.test()
async def throughput(dut) -> None:
    """An instruction every three cycles, as long as cores take them; BUSY while one works."""
    bench = Bench(dut)
    await bench.start(longest=2)
    count = 30
    for k in range(count):
        bench.unit.issue(instruction(isa.Opcode.ATTEND, **bench.legal(core=k % bench.config.cores)))
    await bench.unit.finished(count)
    times = sorted(time for core in bench.cores for time in core.sink.times)
    assert times[-1] - times[0] == 3 * (count - 1), times
    assert bench.unit.statuses[Status.BUSY] > 0


@cocotb.test()
async def faults(dut) -> None:
    """What the functional device says is wrong stops the unit, with its code and address, and nothing is given."""
    bench = Bench(dut)
    await bench.start()
    core = bench.config.core
    bad = [
        {"core": bench.config.cores}, {"core": 255}, {"length": 0}, {"length": core.length + 1}, {"length": 65535},
        {"rho": RHO_ONE + 1}, {"rho": -RHO_ONE - 1}, {"query": 2}, {"key": 1}, {"value": 3}, {"query": core.rows},
        {"key": core.rows}, {"value": core.rows}, {"context": core.rows}, {"context": core.rows - 1, "length": 2},
        {"query": core.rows - 4, "length": 5},
        {"query": 65532, "context": 65535}, {"value": 65532}, {"absolute": 1, "peak_columns": 1, "peak_rows": 1},
        {"peak_columns": 0, "peak_rows": 1, "absolute": 0}, *([] if core.tau else [{"headed": 1}]),
    ]  # fmt: skip
    for fields in bad:
        one = instruction(isa.Opcode.ATTEND, **bench.legal(**fields))
        want = None
        try:
            check_attend(decode(one.to_bytes(isa.INSTRUCTION_BYTES, "little")), bench.config)
        except TrapError as trap:
            want = trap.code, trap.address
        assert want is not None, fields
        taken = sum(len(one.sink.values) for one in bench.cores)
        bench.unit.issue(one)
        fault = await bench.unit.fault()
        assert fault == want, fields
        await hub_of(dut).cycles(5)
        assert sum(len(one.sink.values) for one in bench.cores) == taken
        await harness.reset(dut)
