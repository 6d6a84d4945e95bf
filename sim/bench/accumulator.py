"""Tests of the accumulator: the array's rows, POST's reads and writes, maxima and completions, against integers."""

from itertools import pairwise

import cocotb
import numpy as np
from amaranth.utils import ceil_log2

from celosia.hw.interfaces import Done, PartialRow, write_layout
from celosia.hw.memory.accumulator import ROW_DISTANCE
from celosia.sim.bench import harness
from celosia.sim.bench.array_model import AccumulatorModel, ResultRow
from celosia.sim.bench.streams import StreamSink, StreamSource, hub_of

ROWS = 1200


class Bench:
    """An accumulator and its surroundings. The array writes the first half of the rows, POST works in the second."""

    def __init__(self, dut) -> None:
        self.dut = dut
        parameters = harness.parameters()
        self.config, self.width = parameters["config"], parameters["width"]

    async def start(self, stall: float = 0.0, rows_stall: float = 0.0) -> None:
        """Reset, and clear all rows and maxima."""
        dut, config = self.dut, self.config
        self.columns, self.half = config.array.columns, config.acc_rows // 2
        layout = write_layout(ceil_log2(config.acc_rows), 32 * self.columns, self.columns)
        self.rows = StreamSource(dut, "rows", PartialRow(config, self.width), stall=rows_stall)
        self.write = StreamSource(dut, "write.write", layout, stall=stall)
        self.read_addresses = StreamSource(dut, "read.address", stall=stall)
        self.read = StreamSink(dut, "read.data", stall=stall)
        self.maxima_addresses = StreamSource(dut, "maxima.address", stall=stall)
        self.maxima = StreamSink(dut, "maxima.data", stall=stall)
        self.written = StreamSink(dut, "written", Done)
        self.rng = await harness.start(dut)
        self.model = AccumulatorModel(config)
        for index in range(config.acc_rows):
            stat = (index % config.accumulator.stat_rows, True, 0)
            self.send(ResultRow(index, False, stat, None, (0,) * self.columns))
        await self.rows.drained()
        await hub_of(dut).cycles(20)

    def send(self, row: ResultRow) -> None:
        """Queue a row of the array, and account for it."""
        self.model.write(row)
        stat_row, init, limit = row.stat or (0, False, 0)
        self.rows.send(
            [
                {
                    "address": row.address,
                    "accumulate": row.accumulate,
                    "maxima": row.stat is not None,
                    "init": init,
                    "limit": limit,
                    "stat_row": stat_row,
                    "done": row.done is not None,
                    "mask": row.done or 0,
                    "sums": list(row.sums),
                }
            ]
        )

    def random_row(self, recent: list[ResultRow]) -> ResultRow:
        """A row that respects the distance to `recent` ones, else at random; few addresses, so that rows meet often."""
        rng, width = self.rng, self.width
        lowest = -(1 << (width - 1))
        while True:
            stat = (rng.randrange(10), rng.random() < 0.2, rng.randrange(self.columns + 1))
            row = ResultRow(
                address=rng.randrange(min(12, self.half)),
                accumulate=rng.random() < 0.8,
                stat=stat if rng.random() < 0.5 else None,
                done=rng.getrandbits(4) if rng.random() < 0.1 else None,
                sums=tuple(
                    rng.choice([lowest, -1 - lowest, rng.getrandbits(width) + lowest]) for _ in range(self.columns)
                ),
            )
            if not row.accumulate or all(row.address != other.address for other in recent):
                stats = [other.stat[0] for other in recent if other.stat]
                if row.stat is None or row.stat[1] or row.stat[0] not in stats:
                    return row

    def integers(self, bits: int) -> list[int]:
        """A row as integers."""
        return [int(x) for x in np.frombuffer(bits.to_bytes(4 * self.columns, "little"), "<i4")]

    async def contents(self, addresses: list[int]) -> list[list[int]]:
        """Rows, read through POST's port."""
        before = len(self.read.values)
        self.read_addresses.send(addresses)
        return [self.integers(bits) for bits in (await self.read.received(before + len(addresses)))[before:]]

    async def check(self) -> None:
        """Compare all rows and all maxima."""
        await hub_of(self.dut).cycles(20)
        got = await self.contents(list(range(self.config.acc_rows)))
        for index, row in enumerate(got):
            assert row == [int(x) for x in self.model.rows[index]], f"row {index}"
        stat_rows = self.config.accumulator.stat_rows
        before = len(self.maxima.values)
        self.maxima_addresses.send(range(stat_rows))
        maxima = (await self.maxima.received(before + stat_rows))[before:]
        assert [v - (v >> 31 << 32) for v in maxima] == list(self.model.maxima)

    def post(self, count: int) -> None:
        """POST's work beside the array: masked writes, each of its own row, and reads of rows that it wrote before."""
        rng, rows = self.rng, self.model.rows
        for _ in range(count):
            address, mask = rng.randrange(self.half, self.config.acc_rows), rng.getrandbits(self.columns)
            values = [rng.randrange(-(1 << 31), 1 << 31) for _ in range(self.columns)]
            bits = int.from_bytes(np.array(values, "<i4").tobytes(), "little")
            self.write.send([{"address": address, "data": bits, "mask": mask}])
            for column in range(self.columns):
                if mask >> column & 1:
                    rows[address, column] = values[column]


async def _random(dut, stall: float, rows_stall: float) -> None:
    bench = Bench(dut)
    await bench.start(stall, rows_stall)
    recent: list[ResultRow] = []
    dones = []
    for _ in range(ROWS):
        row = bench.random_row(recent)
        bench.send(row)
        dones += [] if row.done is None else [row.done]
        recent = [*recent, row][-(ROW_DISTANCE - 1) :]
    bench.post(ROWS // 3)
    await bench.rows.drained()
    await bench.write.drained()
    await bench.check()
    assert [done["mask"] for done in bench.written.consts()] == dones


@cocotb.test()
async def random_rows(dut) -> None:
    """A row in every cycle, the closest that are allowed, and POST beside it."""
    await _random(dut, 0.0, 0.0)


@cocotb.test()
async def random_rows_stalled(dut) -> None:
    """The same with pauses everywhere."""
    await _random(dut, 0.4, 0.3)


@cocotb.test()
async def visible_when_written(dut) -> None:
    """What is asked for in the cycle of `written` is there, sums and maximum; and it is told as early as that."""
    bench = Bench(dut)
    await bench.start()
    latencies = {}
    for index in range(40):
        maxima = bool(index % 2)
        row = ResultRow(
            address=bench.rng.randrange(bench.half),
            accumulate=True,
            stat=(bench.rng.randrange(8), True, bench.columns) if maxima else None,
            done=index % 16,
            sums=tuple(bench.rng.randrange(-99, 99) for _ in range(bench.columns)),
        )
        sent = len(bench.written.values)
        asked = len(bench.maxima.values)
        bench.send(row)
        await bench.written.received(sent + 1)
        if row.stat:
            bench.maxima_addresses.send([row.stat[0]])
        (got,) = await bench.contents([row.address])
        assert got == [int(x) for x in bench.model.rows[row.address]]
        if row.stat:
            (value,) = (await bench.maxima.received(asked + 1))[asked:]
            assert value - (value >> 31 << 32) == bench.model.maxima[row.stat[0]]
        latencies.setdefault(maxima, set()).add(bench.written.times[-1] - bench.rows.times[-1])
    levels = ceil_log2(bench.columns)
    assert latencies == {False: {4}, True: {4 + levels + 2}}


@cocotb.test()
async def full_rate(dut) -> None:
    """The array in every cycle, POST reading and writing beside it: sequential, they lose a few cycles once."""
    bench = Bench(dut)
    await bench.start()
    banks = bench.config.accumulator.banks
    count = bench.half // banks * banks
    start = hub_of(dut).cycle
    for _ in range(2):
        for address in range(count):
            bench.send(ResultRow(address, True, (address % 16, False, bench.columns), None, (1,) * bench.columns))
    base = bench.half + (-bench.half) % banks
    rows = [base + i % (bench.config.acc_rows - base) for i in range(count)]
    bench.read_addresses.send(rows)
    for address in rows:
        bench.write.send([{"address": address, "data": 0, "mask": (1 << bench.columns) - 1}])
    await bench.rows.drained()
    await bench.write.drained()
    await bench.read.received(count)
    assert bench.rows.times[-1] - start <= 2 * count + 2
    assert all(after - before == 1 for before, after in pairwise(bench.rows.times[-2 * count :]))
    assert bench.read.times[-1] - start <= count + 3 + banks
    assert bench.write.times[-1] - start <= count + 3 + banks
    await bench.check()
