"""Parts of HDP on the array, each against its plain definition."""

import random

import numpy as np
from amaranth.sim import Simulator

from celosia.hw.config import override
from celosia.hw.hdp.scoreboard import Completion, Scoreboard
from celosia.hw.hdp.split import Split
from celosia.hw.hdp.walker import KeyWalker
from celosia.hw.presets import PRESETS
from celosia.sim.units import simulate
from celosia.sw.golden.hdp import split

CONFIG = override(PRESETS["tiny"], ["hdp.lists=8", "hdp.keys=64", "hdp.head_width=16"])


def test_every_code_is_split_as_the_golden_model_does() -> None:
    dut, codes = Split(4), np.arange(256, dtype=np.uint8).reshape(-1, 4)

    async def process(ctx) -> None:
        for word in codes:
            bits = int.from_bytes(word.tobytes(), "little")
            ctx.set(dut.i, bits)
            ctx.set(dut.on, 0)
            await ctx.delay(1e-9)
            assert ctx.get(dut.o) == bits
            ctx.set(dut.on, 1)
            await ctx.delay(1e-9)
            found = np.frombuffer(ctx.get(dut.o).to_bytes(4, "little"), np.int8)
            np.testing.assert_array_equal(found, split(word.view(np.int8))[0])

    simulator = Simulator(dut)
    simulator.add_testbench(process)
    simulator.run()


def _rows(rng: random.Random) -> list[tuple[dict, list[int]]]:
    """Records of rows of blocks and their masks: with all keys, with one, with none in a group."""
    columns, rows = CONFIG.array.columns, []
    for index in range(40):
        length = rng.choice([1, columns, 64, rng.randint(1, 64)])
        kind = rng.choice([0.0, 0.3, 1.0])
        masks = [sum((rng.random() < kind) << k for k in range(columns)) for _ in range(-(-length // columns))]
        record = {"list": index % 8, "tail": length % columns, "slot": index % 16, "end_head": rng.getrandbits(1)}
        rows.append((record | {"limit": rng.randint(-5, 5)}, masks))
    return rows


def test_masks_become_lists_a_key_a_cycle() -> None:
    """Keys beyond the length are left out although their block is kept; a group takes a cycle for each key, or one.

    Even keys have the even places, odd ones the odd places.
    """
    rng, columns = random.Random(1), CONFIG.array.columns
    rows, dut = _rows(rng), KeyWalker(CONFIG)
    importances = [rng.randint(-6, 6) for record, _ in rows if record["end_head"]]
    entries: list[tuple[int, int, int]] = []
    verdicts: list[tuple[int, tuple, int]] = []

    async def give(ctx) -> None:
        for record, masks in rows:
            for index, keep in enumerate(masks):
                ctx.set(dut.records.p, record)
                ctx.set(dut.records.valid, 1)
                end = {"end_row": index == len(masks) - 1}
                ctx.set(dut.masks.p, end | {"keep": keep, "exists": keep, "end_head": 0, "kept": 0})
                ctx.set(dut.masks.valid, 1)
                await ctx.tick().until(dut.masks.ready)
        ctx.set(dut.masks.valid, 0)

    async def heads(ctx) -> None:
        for value in importances:
            ctx.set(dut.importances.p, value)
            ctx.set(dut.importances.valid, 1)
            await ctx.tick().until(dut.importances.ready)

    async def listen(ctx) -> None:
        cycle = 0
        while len(verdicts) < len(rows):
            _, _, some, entry, over, verdict = await ctx.tick().sample(
                dut.entries.valid, dut.entries.p, dut.verdicts.valid, dut.verdicts.p
            )
            if some:
                entries.append((entry.list, entry.place, entry.key))
            if over:
                turns = (verdict.turns.pairs, verdict.turns.odd)
                fields = (verdict.list, verdict.count, *turns, verdict.end_head, verdict.slot)
                verdicts.append((cycle, fields, verdict.keep))
            cycle += 1
            assert cycle < 5000

    simulate(dut, give, heads, listen)
    left, want, ends, cycles = list(importances), [], [], 0
    for record, masks in rows:
        length = (len(masks) - 1) * columns + (record["tail"] or columns)
        keys = [k for k in range(length) if masks[k // columns] >> k % columns & 1]
        kinds = [[key for key in keys if key % 2 == parity] for parity in (0, 1)]
        want += [(record["list"], 2 * kinds[key % 2].index(key) + key % 2, key) for key in keys]
        even, odd = map(len, kinds)
        groups = [sum(key // columns == index for key in keys) for index in range(len(masks))]
        cycles += sum(max(1, size) for size in groups)
        keep = (left.pop(0) >= record["limit"]) if record["end_head"] else None
        counts = (len(keys), min(even, odd), odd > even)
        ends.append((cycles, (record["list"], *counts, record["end_head"], record["slot"]), keep))
    assert entries == want
    start = verdicts[0][0] - ends[0][0]
    for (cycle, found, kept), (when, fields, keep) in zip(verdicts, ends, strict=True):
        assert (cycle - start, found) == (when, fields)
        assert keep is None or kept == keep


def test_ends_are_told_in_order() -> None:
    """Rows of what follows a DECIDE are written long before its list: its end is told first all the same."""
    dut, told = Completion(4), []
    # (rows, list, mask) of each; then what happens, a cycle each.
    work = [(1, 1, 1), (1, 0, 2), (0, 0, 3), (1, 1, 4)]
    events = ["written", "", "written", "", "", "listed", "", "", "", "listed", "", "written", "", ""]

    async def process(ctx) -> None:
        for rows, list_, mask in work:
            ctx.set(dut.i.p, {"rows": rows, "list": list_, "mask": mask})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        for index, event in enumerate(events):
            ctx.set(dut.written, event == "written")
            ctx.set(dut.listed, event == "listed")
            _, _, valid, done = await ctx.tick().sample(dut.o.valid, dut.o.p)
            if valid:
                told.append((index, done["mask"]))

    simulate(dut, process)
    # Counted in the cycle after the event, told in the next one.
    assert told == [(7, 1), (8, 2), (9, 3), (13, 4)]


def test_what_is_pending_is_known() -> None:
    """A list, or the slot of a DECIDE that ends its head, from the next cycle until the DECIDE is done."""
    dut = Scoreboard(CONFIG, 4)

    async def ask(ctx, list_: int, headed: int, slot: int) -> int:
        ctx.set(dut.list, list_)
        ctx.set(dut.headed, headed)
        ctx.set(dut.slot, slot)
        await ctx.tick()
        return ctx.get(dut.pending)

    async def put(ctx, list_: int, head: int, slot: int) -> None:
        ctx.set(dut.put, 1)
        ctx.set(dut.put_list, list_)
        ctx.set(dut.put_head, head)
        ctx.set(dut.put_slot, slot)
        await ctx.tick()
        ctx.set(dut.put, 0)

    async def free(ctx) -> None:
        ctx.set(dut.free, 1)
        await ctx.tick()
        ctx.set(dut.free, 0)

    async def process(ctx) -> None:
        assert not await ask(ctx, 0, 1, 0)
        assert ctx.get(dut.idle)
        await put(ctx, 3, 0, 7)
        await put(ctx, 5, 1, 9)
        assert not ctx.get(dut.idle)
        assert await ask(ctx, 3, 0, 0)
        assert not await ask(ctx, 2, 1, 7)  # It does not end a head.
        assert await ask(ctx, 2, 1, 9)
        assert not await ask(ctx, 2, 0, 9)
        await put(ctx, 3, 0, 0)
        await put(ctx, 1, 0, 0)
        assert not ctx.get(dut.room)
        await free(ctx)
        assert ctx.get(dut.room)
        assert await ask(ctx, 3, 0, 0)  # The younger one of this list.
        for _ in range(3):
            await free(ctx)
        assert ctx.get(dut.idle)
        assert not await ask(ctx, 3, 1, 9)

    simulate(dut, process)
