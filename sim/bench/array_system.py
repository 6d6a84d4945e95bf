"""ARRAY with the real scratchpad and accumulator, and tests of the three together."""

import cocotb
import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.array.payloads import groups_of
from celosia.hw.array.pe import sum_bits
from celosia.hw.array.systolic import latency
from celosia.hw.array.unit import Array
from celosia.hw.config import Config
from celosia.hw.interfaces import (
    ReadPortSignature,
    Status,
    UnitSignature,
    accumulator_read,
    scratchpad_read,
    scratchpad_write,
    write_layout,
)
from celosia.hw.memory.accumulator import Accumulator
from celosia.hw.memory.scratchpad import Scratchpad
from celosia.hw.numerics import ACC_BITS
from celosia.sim.bench import harness
from celosia.sim.bench.array_model import AccumulatorModel, random_matmul, result_rows
from celosia.sim.bench.ports import UnitDriver, instruction, word_of
from celosia.sim.bench.streams import StreamSink, StreamSource

CASES = 24


class ArraySystem(wiring.Component):
    """Matmuls from scratchpad to accumulator.

    Ports: `control`; `load`, `store`: of the scratchpad; `read`, `maxima`: of the accumulator.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "load": In(scratchpad_write(config)),
                "store": In(scratchpad_read(config)),
                "read": In(accumulator_read(config)),
                "maxima": In(ReadPortSignature(ceil_log2(config.accumulator.stat_rows), ACC_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.array = array = Array(self.config)
        m.submodules.scratchpad = scratchpad = Scratchpad(self.config)
        m.submodules.accumulator = accumulator = Accumulator(self.config, sum_bits(self.config.array.rows))
        connect(m, flipped(self.control), array.control)
        connect(m, array.a, scratchpad.array_a)
        connect(m, array.b, scratchpad.array_b)
        connect(m, array.rows, accumulator.rows)
        connect(m, accumulator.written, array.written)
        connect(m, flipped(self.load), scratchpad.load)
        connect(m, flipped(self.store), scratchpad.store)
        connect(m, flipped(self.read), accumulator.read)
        connect(m, flipped(self.maxima), accumulator.maxima)
        return m


class Bench:
    """A scratchpad full of random bytes, loaded through its port."""

    def __init__(self, dut) -> None:
        self.dut, self.config = dut, harness.parameters()["config"]

    async def start(self) -> None:
        """Reset, fill the scratchpad, clear nothing else."""
        dut, config = self.dut, self.config
        numbers = np.random.default_rng(cocotb.RANDOM_SEED)
        self.memory = numbers.integers(0, 256, (config.scratchpad_words, config.word_bytes), np.uint8)
        address_bits = ceil_log2(config.scratchpad_words)
        self.unit = UnitDriver(dut, "control")
        write = write_layout(address_bits, 8 * config.word_bytes, config.word_bytes)
        load = StreamSource(dut, "load.write", write)
        self.store_addresses = StreamSource(dut, "store.address", stall=0.3)
        self.store = StreamSink(dut, "store.data", stall=0.3)
        self.read_addresses, self.read = StreamSource(dut, "read.address"), StreamSink(dut, "read.data")
        self.maxima_addresses, self.maxima = StreamSource(dut, "maxima.address"), StreamSink(dut, "maxima.data")
        self.rng = await harness.start(dut)
        mask = (1 << config.word_bytes) - 1
        load.send({"address": i, "data": word_of(word), "mask": mask} for i, word in enumerate(self.memory))
        await load.drained()

    def issue(self, *matmuls: dict) -> int:
        """Issue matmuls; the number of rows they launch."""
        for fields in matmuls:
            self.unit.issue(instruction(isa.Opcode.MATMUL, signal=self.rng.getrandbits(4), **fields))
        return sum(f["m"] * f["n_tiles"] * f["k_tiles"] for f in matmuls)

    async def rows(self, addresses: list[int]) -> list[list[int]]:
        """Rows of the accumulator."""
        before, columns = len(self.read.values), self.config.array.columns
        self.read_addresses.send(addresses)
        values = (await self.read.received(before + len(addresses)))[before:]
        return [list(np.frombuffer(v.to_bytes(4 * columns, "little"), "<i4")) for v in values]

    async def row_maxima(self, addresses: list[int]) -> list[int]:
        """Row maxima."""
        before = len(self.maxima.values)
        self.maxima_addresses.send(addresses)
        values = (await self.maxima.received(before + len(addresses)))[before:]
        return [v - (v >> 31 << 32) for v in values]


@cocotb.test()
async def random_programs(dut) -> None:
    """Matmuls that meet in accumulator and statistics, while STORE reads the scratchpad; both memories compared."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    model = AccumulatorModel(config)
    # First of all every row that may be read, or added to, is written.
    span = min(config.acc_rows, 256)
    stat_rows = config.accumulator.stat_rows
    base = {"k_tiles": 1, "n_tiles": 1, "accumulate": 0, "maxima": 1, "maxima_init": 1}
    clear = [
        random_matmul(bench.rng, config, **base, m=stat_rows, stat_row=0, acc_address=start)
        for start in range(0, span, stat_rows)
        if start + stat_rows <= config.acc_rows
    ]
    programs = clear + [random_matmul(bench.rng, config) for _ in range(CASES)]
    for fields in programs:
        for row in result_rows(config, bench.memory, fields, 0):
            model.write(row)
    wanted = [bench.rng.randrange(config.scratchpad_words) for _ in range(500)]
    bench.store_addresses.send(wanted)
    bench.issue(*programs)
    await bench.unit.finished(len(programs))
    written = [row for f in clear for row in range(f["acc_address"], f["acc_address"] + f["m"])]
    got = await bench.rows(written)
    for row, values in zip(written, got, strict=True):
        assert values == list(model.rows[row]), f"accumulator row {row}"
    assert await bench.row_maxima(list(range(stat_rows))) == list(model.maxima)
    assert await bench.store.received(len(wanted)) == [word_of(bench.memory[address]) for address in wanted]


@cocotb.test()
async def visible_when_done(dut) -> None:
    """What is asked for in the cycle of `done` is there: sums and maxima."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    for maxima in (0, 1, 1, 0):
        fields = random_matmul(bench.rng, config, m=8, maxima=maxima, maxima_init=1, accumulate=0, length=99, causal=0)
        model = AccumulatorModel(config)
        for row in result_rows(config, bench.memory, fields, 0):
            model.write(row)
        last = fields["acc_address"] + (fields["n_tiles"] - 1) * fields["acc_stride"] + fields["m"] - 1
        bench.issue(fields)
        await bench.unit.finished(len(bench.unit.done) + 1)
        (values,) = await bench.rows([last])
        assert values == list(model.rows[last])
        if maxima:
            stat = fields["stat_row"] + fields["m"] - 1
            assert await bench.row_maxima([stat]) == [model.maxima[stat]]


@cocotb.test()
async def occupancy(dut) -> None:
    """Back to back, from tile to tile and from instruction to instruction, there is no bubble after the first fill."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    rows, columns = config.array.rows, config.array.columns
    words = config.scratchpad_words
    largest = max(rows, columns)
    for m in (largest, 2 * largest):
        for transposed in (0, 1):
            k, n = 8, 4
            b_stride = n * columns if transposed else k * rows
            blocks = k if transposed else -(-n * columns // rows)
            assert max(blocks * b_stride, k * m) <= words
            assert n * m <= config.acc_rows
            shape = {"m": m, "k_tiles": k, "n_tiles": n, "transposed": transposed, "accumulate": 0}
            place = {"a_address": 0, "a_stride": m, "b_address": 0, "b_stride": b_stride}
            place |= {"acc_address": 0, "acc_stride": m}
            for status in bench.unit.statuses:
                bench.unit.statuses[status] = 0
            launched = bench.issue(*(random_matmul(bench.rng, config, **shape, **place) for _ in range(4)))
            issued, done = len(bench.unit.issued), len(bench.unit.done)
            await bench.unit.finished(done + 4)
            cycles = bench.unit.done[-1][0] - bench.unit.issued[issued]
            fill = rows * groups_of(config) + latency(config) + 20
            busy, statuses = bench.unit.statuses[Status.BUSY], bench.unit.statuses
            dut._log.info(f"m {m} transposed {transposed}: {launched} rows in {cycles} cycles, {statuses}")
            assert busy == launched
            assert cycles <= launched + fill, f"{cycles} cycles for {launched} rows with m = {m}"
