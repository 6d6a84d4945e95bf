"""DECIDE, and matmuls of kept keys, on ARRAY and accumulator behind a scratchpad that stalls, against golden models."""

import cocotb
import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw import isa
from celosia.hw.array.payloads import partial_bits
from celosia.hw.array.unit import Array
from celosia.hw.config import Config, HdpConfig
from celosia.hw.hdp.widths import RHO_ONE
from celosia.hw.interfaces import (
    KeptSignature,
    ReadPortSignature,
    Status,
    UnitSignature,
    accumulator_read,
    scratchpad_read,
)
from celosia.hw.isa import Opcode, Trap
from celosia.hw.memory.accumulator import Accumulator
from celosia.hw.numerics import ACC_BITS
from celosia.sim.bench import harness
from celosia.sim.bench.array_hdp_model import (
    Fields,
    HdpModel,
    Step,
    random_decide,
    random_gather,
    random_keys,
    random_rule,
)
from celosia.sim.bench.array_model import random_matmul
from celosia.sim.bench.ports import ReadPortModel, UnitDriver, instruction
from celosia.sim.bench.streams import StreamSink, StreamSource

CASES = 20


class HdpSystem(wiring.Component):
    """ARRAY with HDP and its accumulator.

    Ports: `control`; `a`, `b`: to a scratchpad; `read`, `maxima`: of the accumulator; `kept`: counts of kept keys.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitSignature()),
                "a": Out(scratchpad_read(config)),
                "b": Out(scratchpad_read(config)),
                "read": In(accumulator_read(config)),
                "maxima": In(ReadPortSignature(ceil_log2(config.accumulator.stat_rows), ACC_BITS)),
                "kept": In(KeptSignature(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.array = array = Array(self.config)
        m.submodules.accumulator = accumulator = Accumulator(self.config, partial_bits(self.config))
        for name in ("control", "kept"):
            connect(m, flipped(getattr(self, name)), getattr(array, name))
        for name in ("a", "b"):
            connect(m, getattr(array, name), flipped(getattr(self, name)))
        for name in ("read", "maxima"):
            connect(m, flipped(getattr(self, name)), getattr(accumulator, name))
        connect(m, array.rows, accumulator.rows)
        connect(m, accumulator.written, array.written)
        connect(m, accumulator.beats, array.beats)
        return m


class Bench:
    """The system, a scratchpad of random bytes, and a model of both."""

    def __init__(self, dut, stall: float = 0.0, port_latency=2) -> None:
        self.dut, self.config = dut, harness.parameters()["config"]
        self.stall, self.port_latency = stall, port_latency
        self.rows = 0

    @property
    def hdp(self) -> HdpConfig:
        """That of the configuration."""
        assert self.config.hdp is not None
        return self.config.hdp

    async def start(self) -> None:
        """Reset, and write all that may be read before anything else."""
        dut, config = self.dut, self.config
        numbers = np.random.default_rng(cocotb.RANDOM_SEED)
        self.memory = numbers.integers(0, 256, (config.scratchpad_words, config.word_bytes), np.uint8)
        self.unit = UnitDriver(dut, "control", stall=self.stall)
        ports = {"stall": self.stall, "latency": self.port_latency}
        self.a = ReadPortModel(dut, "a", self.memory, **ports)
        self.b = ReadPortModel(dut, "b", self.memory, **ports)
        self.read_addresses, self.read = StreamSource(dut, "read.address"), StreamSink(dut, "read.data")
        self.maxima_addresses, self.maxima = StreamSource(dut, "maxima.address"), StreamSink(dut, "maxima.data")
        self.model, self.masks = HdpModel(config, self.memory), []
        self.rng = await harness.start(dut)

    async def clear(self) -> None:
        """Write every row and statistics row that may be added to."""
        config = self.config
        stat_rows = config.accumulator.stat_rows
        base = {"k_tiles": 1, "n_tiles": 1, "accumulate": 0, "maxima": 1, "maxima_init": 1}
        for start in (*range(0, config.acc_rows - stat_rows, stat_rows), config.acc_rows - stat_rows):
            fields = random_matmul(self.rng, config, **base, m=stat_rows, stat_row=0, acc_address=start)
            self.issue((Opcode.MATMUL, fields))
        await self.finished()

    def issue(self, *steps: Step) -> int:
        """Issue instructions, and KEYS before those that need them; the rows they launch."""
        rows = 0
        for opcode, fields in self.model.prepared(*steps):
            rows += self.model.run(opcode, fields)
            self.masks.append(self.rng.getrandbits(isa.UNITS))
            self.unit.issue(instruction(opcode, signal=self.masks[-1], **fields))
        self.rows += rows
        return rows

    def forget(self) -> None:
        """Statuses count from here on."""
        self.rows = 0
        for status in self.unit.statuses:
            self.unit.statuses[status] = 0

    async def finished(self) -> None:
        """Wait for all instructions; their ends are told in order, and nothing is left."""
        assert await self.unit.finished(len(self.masks), timeout=20_000) == self.masks
        await self.unit.hub.cycles(3)
        if self.config.rate > 1 and self.unit.busy:
            # Keys that no DECIDE has waited for.
            await self.unit.hub.cycles(20 * self.hdp.keys * self.hdp.head_width // self.config.array.rows)
        assert not self.unit.busy
        assert self.unit.statuses[Status.BUSY] == self.rows

    async def compare(self) -> None:
        """Accumulator, maxima and lists."""
        config, before = self.config, len(self.read.values)
        addresses = sorted(self.model.written)
        self.read_addresses.send(addresses)
        values = (await self.read.received(before + len(addresses)))[before:]
        for address, value in zip(addresses, values, strict=True):
            row = np.frombuffer(value.to_bytes(4 * config.array.columns, "little"), "<i4")
            assert list(row) == list(self.model.acc.rows[address]), f"accumulator row {address}"
        before, stat_rows = len(self.maxima.values), config.accumulator.stat_rows
        self.maxima_addresses.send(range(stat_rows))
        maxima = (await self.maxima.received(before + stat_rows))[before:]
        assert [value - (value >> 31 << 32) for value in maxima] == list(self.model.acc.maxima)
        for number, keys in self.model.lists.items():
            assert await self.count(list=number) == len(keys), f"list {number}"
            for slot, kept in self.model.slots.items():
                assert await self.count(list=number, slot=slot, headed=1) == kept * len(keys)

    async def count(self, **fields: int) -> int:
        """Keys of a list, as POST asks for them."""
        for name in ("list", "headed", "slot"):
            getattr(self.dut, f"kept__{name}").value = fields.get(name, 0)
        self.dut.kept__en.value = 1
        await self.unit.hub.cycles(2)
        self.dut.kept__en.value = 0
        await self.unit.hub.cycles(2)
        return int(self.dut.kept__count.value)

    def head(self, rows: int, **fixed: int) -> list[Step]:
        """DECIDEs of a head of so many rows of blocks, of different lists."""
        assert self.config.hdp is not None
        decide = random_decide(self.rng, self.config)
        # Keys that are held stay the same ones.
        same = ("length", "half", "k_tiles", "b_address", "b_stride") if self.config.rate > 1 else ("length",)
        shared = random_rule(self.rng, self.config) | {name: decide[name] for name in same} | fixed
        lists = self.rng.sample(range(self.config.hdp.lists), rows)
        return [
            (Opcode.DECIDE, random_decide(self.rng, self.config, **shared, list=number, end_head=int(number == last)))
            for last in lists[-1:]
            for number in lists
        ]

    def held(self) -> list[Step]:
        """A DECIDE of what a half of the key store holds, if one holds anything."""
        halves = [(half, keys) for half, keys in enumerate(self.model.held) if keys is not None]
        if not halves:
            return []
        half, (length, k_tiles) = self.rng.choice(halves)
        fixed = {"half": half, "length": length, "k_tiles": k_tiles, "end_head": 1}
        return [(Opcode.DECIDE, random_decide(self.rng, self.config, **fixed))]


async def _random(dut, stall: float, port_latency) -> None:
    bench = Bench(dut, stall, port_latency)
    await bench.start()
    await bench.clear()
    rng = bench.rng
    for _ in range(CASES):
        made: list[Step] = []
        kind = rng.randrange(4)
        if kind == 0 or not bench.model.lists:
            made = bench.head(rng.randint(1, 4))
        elif kind == 1:
            made = [(Opcode.MATMUL, random_matmul(rng, bench.config))]
        elif kind == 2 and bench.config.rate > 1:
            made = [(Opcode.KEYS, random_keys(rng, bench.config)), *bench.held()]
        bench.issue(*made)
        for _ in range(rng.randint(1, 4)):
            bench.issue((Opcode.MATMUL, random_gather(rng, bench.model)))
    await bench.finished()
    await bench.compare()


@cocotb.test()
async def random_programs(dut) -> None:
    """Heads, gathers of what was just decided and of older lists, and matmuls between; memories compared."""
    await _random(dut, 0.0, 2)


@cocotb.test()
async def random_programs_stalled(dut) -> None:
    """The same with slow memories and a slow control."""
    await _random(dut, 0.4, (1, 9))


@cocotb.test()
async def lists_of_all_sizes(dut) -> None:
    """All keys, one, none (a pruned head), a length that is no multiple of the columns; scores and context of each."""
    bench = Bench(dut)
    await bench.start()
    await bench.clear()
    config, hdp = bench.config, bench.hdp
    rows, columns = config.array.rows, config.array.columns
    keep, prune = -(1 << 31), (1 << 31) - 1
    for length in (1, columns - 1, columns, columns + 1, hdp.keys - 1, hdp.keys):
        for rho, limit in ((-RHO_ONE, keep), (RHO_ONE, keep), (100, keep), (-RHO_ONE, prune)):
            fixed = {"rho": rho, "limit": limit, "length": length, "list": 1, "slot": 5, "end_head": 1}
            bench.issue((Opcode.DECIDE, random_decide(bench.rng, config, **fixed)))
            if rho == -RHO_ONE:
                assert len(bench.model.lists[1]) == length
            for transposed in (0, 1):
                fields = random_gather(bench.rng, bench.model, list=1, slot=5, headed=1, transposed=transposed, m=rows)
                assert (bench.model.count(fields) == 0) == (limit == prune)
                bench.issue((Opcode.MATMUL, fields))
        await bench.finished()
        await bench.compare()


def full_decide(config: Config, place: int, **fixed: int) -> Step:
    """A DECIDE of whole blocks of the longest row, with operands that do not meet in banks that matter."""
    hdp, rows, columns = config.hdp, config.array.rows, config.array.columns
    assert hdp is not None
    tiles = hdp.keys // columns
    fields = {
        "m": min(rows, columns) if hdp.rate > 1 else rows,
        "k_tiles": hdp.head_width // rows,
        "n_tiles": tiles,
        "length": hdp.keys,
        "a_address": 0,
        "a_stride": rows,
        "b_address": 0,
        "b_stride": hdp.keys,
        "acc_address": 0,
        "list": place,
        "peak_columns": 1,
        "peak_rows": 1,
        "absolute": 0,
        "wide": 0,
        "slot": 0,
        "end_head": 1,
        "limit": 0,
        "rho": 0,
        "fill": 0,
        "half": 0,
    }
    return Opcode.DECIDE, fields | fixed


def _illegal(config: Config) -> list[tuple[Opcode, Fields, tuple[Trap, int]]]:
    hdp, rows, columns = config.hdp, config.array.rows, config.array.columns
    assert hdp is not None
    words, acc_rows = config.scratchpad_words, config.acc_rows
    decide = full_decide(config, 0, length=columns, n_tiles=1, k_tiles=1)[1]
    gather = {"m": 1, "n_tiles": 1, "k_tiles": 1, "gather": 1, "list": 3, "transposed": 1}
    bad = (Trap.ILLEGAL_INSTRUCTION, 0)
    scratchpad, accumulator = Trap.SCRATCHPAD_RANGE, Trap.ACCUMULATOR_RANGE
    wide = hdp.widest.bit_length()
    changes: list[tuple[Fields, tuple[Trap, int]]] = [
        ({"m": 0}, bad),
        ({"m": rows + 1}, bad),
        ({"n_tiles": 0, "length": 0}, bad),
        ({"k_tiles": 0}, bad),
        ({"k_tiles": hdp.head_width // rows + 1}, bad),
        ({"length": hdp.keys + 1, "n_tiles": hdp.keys // columns + 1}, bad),
        ({"length": columns + 1}, bad),
        ({"n_tiles": 2}, bad),
        ({"wide": wide}, bad),
        ({"list": hdp.lists}, bad),
        *([] if hdp.fill else [({"fill": 1}, bad)]),
        ({"a_address": words - rows + 1}, (scratchpad, words)),
        ({"b_address": words - columns + 1}, (scratchpad, words)),
        ({"acc_address": acc_rows - rows + 1}, (accumulator, acc_rows)),
    ]
    # List 3 has one key: the last one.
    last = hdp.keys - 1
    gathers: list[tuple[Fields, tuple[Trap, int]]] = [
        ({"causal": 1}, bad),
        ({"list": hdp.lists}, bad),
        ({"b_address": words - last}, (scratchpad, words)),
        ({"transposed": 0, "b_address": words - last}, (scratchpad, words)),
        ({"a_address": words}, (scratchpad, words)),
    ]
    # Where keys stream: `array_hdp_keys`.
    decides = [(Opcode.DECIDE, decide | fields, want) for fields, want in changes if hdp.rate == 1]
    return decides + [(Opcode.MATMUL, gather | fields, want) for fields, want in gathers]


@cocotb.test()
async def faults(dut) -> None:
    """Bad instructions after a DECIDE: that one ends, they fault, nothing follows; after a reset the unit works."""
    bench = Bench(dut)
    await bench.start()
    config, hdp = bench.config, bench.hdp
    # Of the keys only the last is like the query.
    bench.memory[: hdp.keys] = 0
    bench.memory[hdp.keys - 1] = 112
    bench.memory[hdp.keys : hdp.keys + 8] = 112
    good = {"rho": RHO_ONE, "k_tiles": 1, "a_address": hdp.keys, "m": 1, "list": 3}
    for opcode, fields, want in _illegal(config):
        bench.masks.clear()
        bench.model.held = [None, None]
        done = len(bench.unit.done)
        bench.issue(full_decide(config, 3, **{name: value for name, value in good.items() if name != "list"}))
        assert list(bench.model.lists[3]) == [hdp.keys - 1]
        bench.unit.issue(instruction(opcode, **fields))
        assert await bench.unit.fault() == want, f"{opcode} {fields}"
        taken = len(bench.unit.issued)
        bench.unit.issue(instruction(Opcode.MATMUL, m=1, n_tiles=1, k_tiles=1))
        await bench.unit.hub.cycles(300)
        assert len(bench.unit.issued) == taken
        assert len(bench.unit.done) == done + len(bench.masks), f"{opcode} {fields}"
        await harness.reset(dut)


@cocotb.test()
async def works_after_a_reset_at_any_moment(dut) -> None:
    """A reset in the middle of decisions leaves nothing behind."""
    bench = Bench(dut, 0.1, (1, 4))
    await bench.start()
    for wait in (9, 30, 47, 80, 133):
        steps = bench.model.prepared(*bench.head(3))
        bench.unit.issue(*(instruction(opcode, **fields) for opcode, fields in steps))
        bench.unit.issue(instruction(Opcode.MATMUL, m=1, n_tiles=1, k_tiles=1, gather=1, list=0))
        await bench.unit.hub.cycles(wait)
        await harness.reset(dut)
        bench.model = HdpModel(bench.config, bench.memory)
        before = len(bench.unit.done)
        bench.masks = [mask for _, mask in bench.unit.done]
        bench.forget()
        await bench.clear()
        bench.issue(*bench.head(2))
        bench.issue(*((Opcode.MATMUL, random_gather(bench.rng, bench.model)) for _ in range(3)))
        await bench.finished()
        assert len(bench.unit.done) > before
        await bench.compare()
