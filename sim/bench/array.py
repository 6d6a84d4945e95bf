"""Tests of ARRAY against `array_model`: memories with stalls behind its ports, its results compared row by row."""

from itertools import pairwise

import cocotb
import numpy as np

from celosia.hw import isa
from celosia.hw.array.payloads import partial_row
from celosia.hw.array.systolic import latency
from celosia.hw.interfaces import Done, Status
from celosia.sim.bench import harness
from celosia.sim.bench.array_model import ResultRow, random_matmul, result_rows
from celosia.sim.bench.ports import ReadPortModel, UnitDriver, instruction
from celosia.sim.bench.streams import StreamSink, StreamSource

CASES = 40


class Bench:
    """ARRAY between a scratchpad of random bytes, control, and an accumulator that only listens."""

    def __init__(self, dut, stall: float = 0.0, port_latency=2) -> None:
        self.config = harness.parameters()["config"]
        self.dut, self.stall, self.port_latency = dut, stall, port_latency
        self.expected: list[ResultRow] = []
        self.seen = 0
        # Rows beyond the expected ones are let pass.
        self.open_ended = False

    async def start(self) -> None:
        """Reset, and connect everything."""
        dut, config = self.dut, self.config
        seed = np.random.default_rng(cocotb.RANDOM_SEED)
        self.memory = seed.integers(0, 256, (config.scratchpad_words, config.word_bytes), np.uint8)
        self.unit = UnitDriver(dut, "control", stall=self.stall)
        self.a = ReadPortModel(dut, "a", self.memory, stall=self.stall, latency=self.port_latency)
        self.b = ReadPortModel(dut, "b", self.memory, stall=self.stall, latency=self.port_latency)
        self.written = StreamSource(dut, "written", Done)
        self.rows = StreamSink(dut, "rows", partial_row(config), on_value=self._row)
        self.rng = await harness.start(dut)

    def _row(self, bits: int) -> None:
        row = self.rows.codec.decode(bits)
        if row.done:
            self.written.send([{"mask": row["mask"]}])
        self.seen += 1
        if self.open_ended and self.seen > len(self.expected):
            return
        want = self.expected[self.seen - 1]
        got = ResultRow(
            address=row.address,
            accumulate=bool(row.accumulate),
            stat=(row.stat_row, bool(row.init), row.limit) if row.maxima else None,
            done=row["mask"] if row.done else None,
            sums=tuple(row["sums"]),
        )
        assert got == want, f"row {self.seen - 1}: {got}, not {want}"

    def issue(self, *matmuls: dict) -> None:
        """Issue matmuls and expect their rows."""
        for fields in matmuls:
            mask = self.rng.getrandbits(isa.UNITS)
            self.expected += result_rows(self.config, self.memory, fields, mask)
            self.unit.issue(instruction(isa.Opcode.MATMUL, signal=mask, **fields))

    async def finished(self, count: int) -> None:
        """Wait for `count` instructions and check that nothing was left over."""
        masks = await self.unit.finished(count)
        assert masks == [row.done for row in self.expected if row.done is not None]
        await self.unit.hub.cycles(2)
        assert self.seen == len(self.expected)
        assert not self.unit.busy


async def _random(dut, stall: float, port_latency) -> None:
    bench = Bench(dut, stall, port_latency)
    await bench.start()
    bench.issue(*(random_matmul(bench.rng, bench.config) for _ in range(CASES)))
    await bench.finished(CASES)


@cocotb.test()
async def random_matmuls(dut) -> None:
    """Matmuls back to back, operands at full rate."""
    await _random(dut, 0.0, 2)


@cocotb.test()
async def random_matmuls_stalled(dut) -> None:
    """The same with slow memories and a slow control."""
    await _random(dut, 0.4, (1, 9))


@cocotb.test()
async def full_rate(dut) -> None:
    """m = the words of a tile: a row in every cycle, across tiles and instructions; and the latency of the first."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    m = max(config.array.rows, config.array.columns)
    shapes = [(3, 2), (1, 1), (1, 1), (1, 1), (2, 3), (1, 4)]
    bench.issue(
        *(
            random_matmul(bench.rng, config, m=m, k_tiles=k, n_tiles=n, transposed=transposed, accumulate=0)
            for transposed in (0, 1, 0)
            for k, n in shapes
        )
    )
    total = len(bench.expected)
    await bench.finished(3 * len(shapes))
    times = bench.rows.times
    assert times[-1] - times[0] == total - 1, f"{times[-1] - times[0] + 1} cycles for {total} rows"
    assert bench.unit.statuses[Status.BUSY] == total
    first = times[0] - bench.unit.issued[0]
    words = config.array.rows * max(1, config.array.columns // config.array.rows)
    assert first <= words + 7 + latency(config), f"{first} cycles from the instruction to the first row"


@cocotb.test()
async def single_rows(dut) -> None:
    """m = 1: a tile takes its words of weights, no more, though every tile adds to the same row."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    bench.issue(random_matmul(bench.rng, config, m=1, k_tiles=3, n_tiles=3, transposed=1, accumulate=1, acc_stride=0))
    await bench.finished(1)
    times = bench.rows.times
    assert {after - before for before, after in pairwise(times)} == {config.array.columns}


@cocotb.test()
async def meeting_rows(dut) -> None:
    """A matmul that adds to the last rows of the one before: four cycles between the two, in either memory."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    m = max(config.array.rows, config.array.columns)
    shared = {"k_tiles": 1, "n_tiles": 1, "transposed": 1}
    bench.issue(
        random_matmul(bench.rng, config, **shared, m=m, acc_address=0, maxima=1, stat_row=0),
        random_matmul(bench.rng, config, **shared, m=1, acc_address=m - 1, accumulate=1, maxima=0),
        random_matmul(bench.rng, config, **shared, m=m, acc_address=0, accumulate=0, maxima=1, stat_row=0),
        random_matmul(
            bench.rng, config, **shared, m=1, acc_address=m, accumulate=1, maxima=1, maxima_init=0, stat_row=m - 1
        ),
    )
    await bench.finished(4)
    times = bench.rows.times
    assert times[m] - times[m - 1] == 4
    assert times[-1] - times[-2] == 4


def _illegal(bench: Bench) -> list[tuple[dict, tuple[isa.Trap, int]]]:
    config = bench.config
    words, acc_rows, stat_rows = config.scratchpad_words, config.acc_rows, config.accumulator.stat_rows
    columns, rows = config.array.columns, config.array.rows
    small = {"m": 4, "n_tiles": 2, "k_tiles": 2, "a_address": 0, "b_address": 0, "a_stride": 4, "acc_address": 0}
    small |= {"b_stride": 2 * columns, "acc_stride": 4, "stat_row": 0, "transposed": 1, "maxima": 0}
    scratchpad, accumulator = isa.Trap.SCRATCHPAD_RANGE, isa.Trap.ACCUMULATOR_RANGE
    illegal = (isa.Trap.ILLEGAL_INSTRUCTION, 0)
    straight = {"transposed": 0, "b_stride": 0}
    return [
        (small | {"m": 0}, illegal),
        (small | {"n_tiles": 0}, illegal),
        (small | {"k_tiles": 0}, illegal),
        (small | {"a_address": words}, (scratchpad, words)),
        (small | {"a_address": words - 6}, (scratchpad, words)),
        (small | {"a_address": (1 << 24) - 1}, (scratchpad, (1 << 24) - 1)),
        (small | {"a_stride": 65535}, (scratchpad, 65535)),
        (small | {"b_address": words - 4 * columns + 1}, (scratchpad, words)),
        (small | straight | {"b_address": words - 2 * rows + 1, "n_tiles": 1}, (scratchpad, words)),
        (small | {"acc_address": acc_rows - 7}, (accumulator, acc_rows)),
        (small | {"acc_address": 65535}, (accumulator, 65535)),
        (small | {"acc_address": 4, "acc_stride": 65535}, (accumulator, 65539)),
        (small | {"maxima": 1, "stat_row": stat_rows - 3}, (accumulator, stat_rows)),
    ]


@cocotb.test()
async def faults(dut) -> None:
    """Bad matmuls after a good one: that one ends, the bad one faults with its address and accesses nothing beyond."""
    bench = Bench(dut)
    await bench.start()
    bench.open_ended = True
    defaults = {"unsigned_a": 0, "accumulate": 0, "maxima_init": 1, "causal": 0, "length": 0, "diagonal": 0}
    for fields, want in _illegal(bench):
        good = random_matmul(bench.rng, bench.config, k_tiles=2, n_tiles=2)
        bench.expected.clear()
        bench.seen = 0
        bench.issue(good)
        bench.unit.issue(instruction(isa.Opcode.MATMUL, **(defaults | fields)))
        done = len(bench.unit.done)
        assert await bench.unit.fault() == want, f"{fields}"
        # Nothing is taken after a fault.
        taken = len(bench.unit.issued)
        bench.unit.issue(instruction(isa.Opcode.MATMUL, **good))
        await bench.unit.hub.cycles(200 + latency(bench.config))
        assert len(bench.unit.issued) == taken
        assert len(bench.unit.done) == done + 1
        assert bench.seen >= len(bench.expected)
        await harness.reset(dut)
    assert bench.a.addresses
    assert bench.b.addresses
