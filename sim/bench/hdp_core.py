"""Tests of the core of the HDP co-processor against the golden model of HDP."""

from dataclasses import replace

import cocotb
import numpy as np

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.layouts import ALIGNED, Context, HeadJob, Work, Write
from celosia.hw.hdp.layouts import Head
from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.hw.presets import PRESETS
from celosia.sim.bench import harness
from celosia.sim.bench.hdp_core_model import CoreHead, fitted, random_codes, random_head
from celosia.sim.bench.streams import StreamSink, StreamSource, fields_of, hub_of, reader
from celosia.sw.attention import AttentionWorkload
from celosia.sw.compiler.corejobs import core_job
from celosia.sw.model.hdp.attention import HdpRun
from celosia.sw.model.hdp.policy import HdpPolicy, Softmax

_TIMEOUT = 20_000


class Counters:
    """Counts the cycles of `work` in which something happens."""

    BITS = ("integer", "score", "value", "values")

    def __init__(self, dut) -> None:
        self.read, self.fields = reader(dut.work), fields_of(Work, *self.BITS, "fractions")
        self.counts = dict.fromkeys((*self.BITS, "keys"), 0)
        hub_of(dut).agents.append(self)

    def step(self) -> None:
        """See `Agent`."""
        if bits := self.read():
            *happens, fractions = self.fields(bits)
            for name, one in zip(self.BITS, happens, strict=True):
                self.counts[name] += one
            self.counts["keys"] += (fractions & 1) + (fractions & 2)

    def reset(self) -> None:
        """See `Agent`."""


class Bench:
    """A core, its streams, and the heads it is given."""

    def __init__(self, dut) -> None:
        self.dut = dut
        fields = harness.parameters()["config"]
        self.config = CoreConfig(**{**fields, "rules": tuple(Importance(rule) for rule in fields["rules"])})

    async def start(self, gaps: float = 0.0, stall: float = 0.0) -> None:
        """Reset."""
        config, dut = self.config, self.dut
        self.write = StreamSource(dut, "write", Write(config), stall=gaps)
        self.jobs = StreamSource(dut, "jobs", HeadJob(config), stall=gaps)
        self.context = StreamSink(dut, "context", Context(config), stall=stall)
        self.verdicts = StreamSink(dut, "verdict", Head())
        self.counters = Counters(dut)
        self.rng = await harness.start(dut)

    def forget(self) -> None:
        """The results so far."""
        for received in (self.context, self.verdicts):
            received.values.clear()
            received.times.clear()
        for name in self.counters.counts:
            self.counters.counts[name] = 0

    async def run(self, *heads: CoreHead) -> int:
        """Heads one after another; a head is loaded when the one before the last is out. Cycles from the first job."""
        config = self.config
        stride = -(-config.length // ALIGNED) * ALIGNED
        slots = min(2, max(1, config.rows // stride))
        self.forget()
        ends, total, start = [], 0, None
        for index, head in enumerate(heads):
            total += len(head.words(config))
            ends.append(total)
            if index >= slots:
                await self.context.received(ends[index - slots], timeout=_TIMEOUT)
            base = index % slots * stride
            self.write.send(head.writes(config, base))
            await self.write.drained()
            start = start or hub_of(self.dut).cycle
            self.jobs.send([head.job(base)])
        await self.context.received(total, timeout=_TIMEOUT)
        return self.context.times[-1] - start

    def check(self, *heads: CoreHead) -> None:
        """All that came, against the golden model."""
        got = [(tuple(word.codes), bool(word.last), bool(word.end_head)) for word in self.context.consts()]
        place = 0
        for index, head in enumerate(heads):
            want = head.words(self.config)
            for offset, wanted in enumerate(want):
                assert got[place + offset] == wanted, (
                    f"head {index} of {len(heads)}, word {offset} of {len(want)}: {got[place + offset]}, not {wanted}; "
                    f"length {head.length}, {describe(head)}"
                )
            place += len(want)
        assert len(got) == place
        decided = [head for head in heads if not head.dense]
        found = [(verdict.importance, bool(verdict.keep)) for verdict in self.verdicts.consts()]
        assert found == [(head.importance, head.kept) for head in decided]
        counts = self.counters.counts
        assert counts["values"] == sum(head.keys_scored for head in heads), "rows of V of blocks that are not kept"
        assert counts["keys"] == sum(head.fractions_read(self.config) for head in heads), "rows of K likewise"

    async def both(self, *heads: CoreHead) -> None:
        """Run and check."""
        await self.run(*heads)
        self.check(*heads)

    def plain(self, length: int, codes: int | None = None, **fields) -> CoreHead:
        """A head of random codes, or of equal ones."""
        seed = np.random.default_rng(self.rng.getrandbits(32))
        shape = (length, self.config.width)
        operands = [
            random_codes(seed, *shape, 3) if codes is None else np.full(shape, codes, dtype=np.int64) for _ in range(3)
        ]
        return fitted(CoreHead(*operands, published=self.config.softmax == "published", **fields))


def describe(head: CoreHead) -> str:
    """How a head was to be done."""
    names = ("rule", "rho", "limit", "causal", "dense", "approximate", "score", "context")
    return ", ".join(f"{name} {getattr(head, name)}" for name in names)


@cocotb.test()
async def one_head(dut) -> None:
    """A head of each kind alone."""
    bench = Bench(dut)
    await bench.start()
    size = bench.config.length
    for fields in ({"dense": True}, {"rho": -RHO_ONE}, {"rho": 20}, {"rho": 20, "approximate": True}):
        await bench.both(bench.plain(size, **fields))


async def _random(dut, gaps: float, stall: float, rounds: int) -> None:
    bench = Bench(dut)
    await bench.start(gaps, stall)
    for _ in range(rounds):
        await bench.both(*(random_head(bench.config, bench.rng) for _ in range(5)))


@cocotb.test()
async def random_heads(dut) -> None:
    """Heads of every kind and length back to back."""
    await _random(dut, 0.0, 0.0, 8)


@cocotb.test()
async def random_heads_stalled(dut) -> None:
    """The same with pauses in what comes and in what is taken."""
    await _random(dut, 0.4, 0.6, 6)


@cocotb.test()
async def extremes(dut) -> None:
    """All codes equal, at either end and beyond saturation; one block kept; nothing pruned; ties."""
    bench = Bench(dut)
    await bench.start()
    size = min(bench.config.length, 10)
    for approximate in (False, True):
        for rho in (-RHO_ONE, 0, RHO_ONE):
            fields = {"rho": rho, "approximate": approximate}
            heads = [bench.plain(size, codes, **fields) for codes in (-128, -1, 0, 119, 120, 127)]
            await bench.both(*heads, bench.plain(size, **fields))
    assert all(head.blocks.all() for head in heads)
    mixed = bench.plain(size)
    large = replace(mixed, query=np.where(mixed.query < 0, -128, 127), key=np.where(mixed.key < 0, -128, 127))
    wide = replace(large, value=np.where(mixed.value < 0, -128, 127))
    for context in ((1 << 15, 0), ((1 << 16) - 1, 0), (1 << 15, 50)):
        await bench.both(replace(wide, context=context), replace(wide, context=context, rho=-RHO_ONE))


@cocotb.test()
async def lengths(dut) -> None:
    """Every length up to a few groups, causal or not."""
    bench = Bench(dut)
    await bench.start()
    top = min(bench.config.length, 3 * bench.config.group + 1)
    for causal in (False, True):
        for fields in ({"rho": 0}, {"dense": True}, {"rho": 100, "approximate": True}):
            await bench.both(*(bench.plain(size, causal=causal, **fields) for size in range(1, top + 1)))


@cocotb.test()
async def heads_at_the_limit(dut) -> None:
    """A head of exactly the limit is kept; one below it is pruned, reads nothing of V and has context 0."""
    bench = Bench(dut)
    await bench.start()
    if not bench.config.tau:
        return
    for rule in bench.config.rules:
        head = bench.plain(bench.config.length, rule=rule)
        heads = [replace(head, limit=head.importance + more) for more in (0, 1, -1, 1, 1, 0)]
        await bench.both(*heads)
        assert [head.codes.any() for head in heads] == [True, False, True, False, False, True]


@cocotb.test()
async def policies(dut) -> None:
    """Layers under policies, by the jobs that the compiler makes of them: as the model computes them."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    work = AttentionWorkload(config.length, config.width, 0, heads=2)
    encoder, mask = work.encoder(PRESETS["tiny"]), np.ones((config.length, config.length), dtype=bool)
    layer = encoder.layers[0]
    softmax = Softmax.PUBLISHED if config.softmax == "published" else Softmax.MODEL
    for rho, tau, approximate in ((-RHO_ONE, None, False), (30, None, True), (0, 100 if config.tau else None, False)):
        fields = {"rho": (rho,), "tau": (tau,), "approximate": approximate, "softmax": softmax}
        policy = HdpPolicy(**fields, importance=config.rules[-1])
        want = HdpRun(policy, encoder).attend(0, layer, *work.codes, mask)
        job = core_job(config, policy, encoder, 0, config.length)
        for codes, context in zip(zip(*work.codes, strict=True), want, strict=True):
            bench.forget()
            bench.write.send(CoreHead(*codes).writes(config, 0))
            await bench.write.drained()
            bench.jobs.send([job])
            words = await bench.context.received(context.size // config.lanes, timeout=_TIMEOUT)
            found = [code for word in words for code in bench.context.codec.decode(word).codes]
            np.testing.assert_array_equal(np.reshape(found, context.shape), context)


@cocotb.test()
async def reset_in_mid_head(dut) -> None:
    """After a reset at any point the next head is as if there had been none before."""
    bench = Bench(dut)
    await bench.start()
    for _ in range(8):
        head = random_head(bench.config, bench.rng)
        bench.write.send(head.writes(bench.config, 0))
        await bench.write.drained()
        bench.jobs.send([head.job(0)])
        await hub_of(dut).cycles(bench.rng.randint(1, 20 + int(head.ideal(bench.config))))
        await harness.reset(dut)
        await bench.both(*(random_head(bench.config, bench.rng, rng_length(bench)) for _ in range(2)))


def rng_length(bench: Bench) -> int:
    """A length that is soon done."""
    return bench.rng.randint(1, min(bench.config.length, 14))
