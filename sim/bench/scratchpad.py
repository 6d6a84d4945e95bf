"""Tests of the scratchpad: six ports at once against an array of bytes; and its throughput."""

from itertools import pairwise

import cocotb
import numpy as np
from amaranth.utils import ceil_log2

from celosia.hw.interfaces import write_layout
from celosia.hw.memory.scratchpad import READERS, WRITERS
from celosia.sim.bench import harness
from celosia.sim.bench.ports import word_of
from celosia.sim.bench.streams import StreamSink, StreamSource, hub_of

ROUNDS = 6
BURST = 300


class Reader:
    """A reader: asks, and collects."""

    def __init__(self, dut, name: str, stall: float) -> None:
        self.address = StreamSource(dut, f"{name}.address", stall=stall)
        self.data = StreamSink(dut, f"{name}.data", stall=stall)
        self.expected: list[int] = []

    def ask(self, memory: np.ndarray, addresses: list[int]) -> None:
        """Ask for words that nobody is writing."""
        self.address.send(addresses)
        self.expected += [word_of(memory[address]) for address in addresses]

    async def check(self) -> None:
        """Wait for all of them, in order."""
        assert await self.data.received(len(self.expected), 2000) == self.expected


class Bench:
    """A scratchpad, its readers and writers, and what it should hold."""

    def __init__(self, dut, stall: float = 0.0) -> None:
        self.dut, self.stall, self.config = dut, stall, harness.parameters()["config"]

    async def start(self) -> None:
        """Reset, and fill the memory."""
        config = self.config
        self.words, width = config.scratchpad_words, config.word_bytes
        layout = write_layout(ceil_log2(self.words), 8 * width, width)
        self.readers = [Reader(self.dut, name, self.stall) for name in READERS]
        self.writers = [StreamSource(self.dut, f"{name}.write", layout, stall=self.stall) for name in WRITERS]
        self.rng = await harness.start(self.dut)
        self.memory = np.zeros((self.words, width), np.uint8)
        half = self.words // 2
        self.write(0, range(half), full=True)
        self.write(1, range(half, self.words), full=True)
        await self.drained()

    def write(self, writer: int, addresses, *, full: bool = False) -> None:
        """Write random words, by random masks or in full."""
        width = self.config.word_bytes
        for address in addresses:
            data = self.rng.randbytes(width)
            mask = (1 << width) - 1 if full else self.rng.getrandbits(width)
            self.writers[writer].send([{"address": address, "data": int.from_bytes(data, "little"), "mask": mask}])
            for byte in range(width):
                if mask >> byte & 1:
                    self.memory[address, byte] = data[byte]

    async def drained(self) -> None:
        """Wait until everything is written."""
        for writer in self.writers:
            await writer.drained()


@cocotb.test()
async def random_traffic(dut) -> None:
    """All ports at once, at random addresses: writers in one half of the memory, readers in the other; then changed."""
    bench = Bench(dut, 0.3)
    await bench.start()
    half, rng = bench.words // 2, bench.rng
    for round_ in range(ROUNDS):
        low, high = (0, half) if round_ % 2 else (half, 0)
        for writer in range(2):
            # Neither writer's words are the other's, nor a reader's.
            chosen = [rng.randrange(half // 2) * 2 + writer for _ in range(BURST)]
            bench.write(writer, [low + min(address, half - 2 + writer) for address in chosen])
        # What a reader asks for was written in an earlier round: it is visible.
        for reader in bench.readers:
            reader.ask(bench.memory, [high + rng.randrange(half) for _ in range(BURST)])
        for reader in bench.readers:
            await reader.check()
        await bench.drained()


@cocotb.test()
async def written_is_visible(dut) -> None:
    """A word asked for in the cycle after its write was taken is the new one."""
    bench = Bench(dut)
    await bench.start()
    hub = hub_of(dut)
    for address in [bench.rng.randrange(bench.words) for _ in range(40)]:
        writer = bench.rng.randrange(2)
        taken = len(bench.writers[writer].times)
        bench.write(writer, [address])
        while len(bench.writers[writer].times) == taken:
            await hub.cycles(1)
        for reader in bench.readers:
            reader.ask(bench.memory, [address])
        for reader in bench.readers:
            await reader.check()


@cocotb.test()
async def full_rate(dut) -> None:
    """As many sequential streams as there are banks, all starting in the same one: full rate for all."""
    bench = Bench(dut)
    await bench.start()
    banks = bench.config.scratchpad.banks
    half = bench.words // 2 // banks * banks
    readers = bench.readers[:banks]
    count = min(half, 200)
    start = hub_of(dut).cycle
    for reader in readers:
        reader.ask(bench.memory, list(range(half, half + count)))
    for writer in range(2):
        bench.write(writer, range(writer * banks, writer * banks + count // 2), full=True)
    await bench.drained()
    for reader in readers:
        await reader.check()
        # They all began in one bank: each waits for those before it, once.
        spent = reader.data.times[-1] - start
        assert spent <= count + 2 + 2 * banks, f"{reader.data.port}: {spent} cycles for {count} words"
    for writer in bench.writers:
        spent = writer.times[-1] - start
        assert spent <= count // 2 + 4, f"{writer.port}: {spent} cycles for {count // 2} words"


@cocotb.test()
async def fair(dut) -> None:
    """Everybody on one bank: the first reader is never held up, POST and STORE share, and so do the writers."""
    bench = Bench(dut)
    await bench.start()
    banks = bench.config.scratchpad.banks
    a, b, post, store = bench.readers
    count = 60
    same = [bench.rng.randrange(bench.words // 2 // banks) * banks for _ in range(count)]
    start = hub_of(dut).cycle
    # The second half of the memory is read, the first half written.
    reads = [address + bench.words // 2 // banks * banks for address in same]
    for reader in (a, post, store):
        reader.ask(bench.memory, reads)
    for writer in range(2):
        bench.write(writer, same, full=True)
    await a.check()
    assert a.data.times[-1] - start <= count + 4
    assert not post.data.times
    await post.check()
    await store.check()
    assert store.data.times[-1] - post.data.times[0] <= 2 * count
    _in_turns(post.data.times, store.data.times)
    _in_turns(*(writer.times[-count:] for writer in bench.writers))
    b.ask(bench.memory, reads)
    await b.check()


def _in_turns(one: list[int], other: list[int]) -> None:
    """Two ports that want the same bank all the time are served alternately, each in every other cycle."""
    assert {after - before for before, after in pairwise(one)} == {2}
    assert {after - before for before, after in pairwise(other)} == {2}
    assert abs(one[0] - other[0]) == 1
