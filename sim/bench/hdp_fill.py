"""Fill in the sparsity engine: how many cycles it takes, what waits for it, and rows that are hard to fill."""

import cocotb
import numpy as np

from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.search import DIGIT, digits, most_passes, near_digits, pass_cycles
from celosia.hw.hdp.widths import RHO_ONE
from celosia.sim.bench.hdp import Bench
from celosia.sim.bench.hdp_model import Choice, Masked, random_scores
from celosia.sim.bench.streams import hub_of
from celosia.sw.golden.hdp import BlockShape, block_keys, keep_blocks, row_of_blocks


def passes_of(config: EngineConfig, choice: Choice, head: Masked) -> list[int]:
    """Passes over each row of blocks, by the rule of the search and plain counts."""
    theta, exists = head.theta(choice)
    keys, kept = block_keys(head.mask, choice.shape), keep_blocks(theta, exists, choice.rho)
    low = -(1 << config.theta.bits - 1) if config.theta.signed else 0
    row, weight = row_of_blocks(theta, exists), abs(choice.rho)
    extreme = row.low if choice.rho < 0 else row.high
    threshold = weight * row.count * extreme + (RHO_ONE - weight) * row.total
    # The least theta, of any that there could be, that is not below it.
    starts = -(-threshold // np.maximum(row.count * RHO_ONE, 1)) - low
    found = []
    for values, there, sizes, before, start in zip(theta - low, exists, keys, kept, starts.tolist(), strict=True):

        def count(cut: int, values=values, there=there, sizes=sizes) -> int:
            return int(sizes[there & (values >= cut)].sum())

        now = int(sizes[before].sum())
        room, passes = -(-now // config.fill) * config.fill, 1
        if now < room < count(0):
            near, lowered = DIGIT * near_digits(config), 0
            place = near if count(start - (1 << near)) > room else DIGIT * digits(config)
            while place:
                place, passes = place - DIGIT, passes + 1
                counts = {n: count(start - lowered - (n << place)) for n in range(1, 1 << DIGIT)}
                if room in counts.values():
                    break
                lowered += max((n for n, c in counts.items() if c <= room), default=0) << place
        found.append(passes)
    return found


@cocotb.test()
async def cycles_of_a_row(dut) -> None:
    """A row alone takes exactly the cycles of its passes; without fill none."""
    bench = Bench(dut)
    await bench.start()
    config, rng, engine, hub = bench.config, bench.rng, bench.engine, hub_of(dut)
    seen = set()
    for shape in bench.shapes():
        for rule in config.rules:
            for _ in range(6):
                size = rng.choice([config.length, rng.randint(1, config.length)])
                head = random_scores(config, rng, shape.height, size)
                for fill in (False, True):
                    choice = Choice(shape, rule, rng.choice([RHO_ONE, 200, rng.randint(-RHO_ONE, RHO_ONE)]), 0, fill)
                    bench.restart(choice)
                    bench.send(head)
                    await bench.check(head)
                    (passes,) = passes_of(config, choice, head) if fill else (0,)
                    seen.add(passes)
                    groups = -(-size // config.columns)
                    wait = engine.latency + passes * pass_cycles(config, groups)
                    assert bench.masks.times == [bench.beats.times[-1] + wait + 2 * k for k in range(groups)]
                    await hub.cycles(rng.randrange(4))
    assert {0, 1} < seen
    assert max(seen) <= most_passes(config)


@cocotb.test()
async def rows_that_pile_up(dut) -> None:
    """Row behind row, as many as there is room for: the search is never idle, and nothing is lost or overtaken."""
    bench = Bench(dut)
    await bench.start()
    config, rng = bench.config, bench.rng
    shape = bench.shapes()[0]
    for size in (config.length, config.columns):
        choice = Choice(shape, config.rules[-1], 100, 0, True)
        groups, rows = -(-size // config.columns), 24
        head = random_scores(config, rng, rows * shape.height, size)
        bench.restart(choice)
        bench.send(head)
        await bench.check(head)
        passes = passes_of(config, choice, head)
        # Groups that come out take a cycle of a pass at most; a row, three cycles beside its passes.
        busy = sum(passes) * pass_cycles(config, groups) + rows * (groups + 3)
        cycles = bench.masks.times[-1] - bench.beats.times[0]
        sent = rows * shape.height * groups
        assert cycles <= busy + sent / rows + bench.engine.latency + 2 * groups + 4, f"{cycles} cycles for {busy}"


@cocotb.test()
async def room_for_whole_rows(dut) -> None:
    """`depth - 1` groups wait while masks are not taken, with passes under way, and are not lost; more overflow."""
    bench = Bench(dut)
    await bench.start()
    config, rng = bench.config, bench.rng
    choice = Choice(BlockShape(1, config.narrowest), config.rules[0], 0, 0, True)
    for more, overflow in ((-1, 0), (3, 1), (-1, 0)):
        heads = [random_scores(config, rng, 1, config.columns) for _ in range(bench.engine.depth + more)]
        bench.restart(choice)
        bench.masks.blocked = True
        bench.pacer.room = bench.engine.depth + more
        bench.send(*heads)
        await hub_of(dut).cycles(bench.engine.depth)
        await bench.beats.drained()
        await hub_of(dut).cycles(bench.engine.latency + 4 * most_passes(config) * pass_cycles(config, 1))
        # Some are out of the ring, and wait where masks are made.
        await bench.resume(overflow, *heads)


@cocotb.test()
async def rows_that_are_hard_to_fill(dut) -> None:
    """Thetas that differ by one, ties around the edge of a tile, all equal but one, the ends of the range."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    size, score = config.length, config.score
    keys = np.arange(size)
    patterns = [
        keys % 2,
        keys // config.fill,
        keys,
        -keys,
        np.where(keys == size // 2, score.high, score.low),
        np.where(keys < config.fill + 1, score.high, score.high - 1),
        np.where(keys < config.fill - 1, score.high, score.low),
        np.where(keys == 0, 1, np.where(keys < config.fill + 1, 0, -1)),
    ]
    for shape in bench.shapes():
        for rule in config.rules:
            heads = [bench.full(np.tile(np.clip(row, score.low, score.high), (shape.height, 1))) for row in patterns]
            for rho in (RHO_ONE, 0, -RHO_ONE // 2):
                await bench.run(Choice(shape, rule, rho), *heads)


@cocotb.test()
async def settings_change_between_heads(dut) -> None:
    """Fill on and off from head to head: a pass begins at the right row."""
    bench = Bench(dut)
    await bench.start()
    config, rng = bench.config, bench.rng
    for _ in range(25):
        size = rng.randint(1, config.length)
        head = random_scores(config, rng, rng.randint(1, 5), size)
        choice = Choice(bench.shapes()[0], config.rules[0], rng.randint(0, RHO_ONE), 0, rng.random() < 0.5)
        bench.restart(choice)
        bench.send(head)
        await bench.check(head)
