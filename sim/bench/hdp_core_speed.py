"""Cycles of the core of the HDP co-processor: heads back to back, at a wanted share of pruned blocks."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import cocotb
import numpy as np

from celosia.hw.hdp.widths import RHO_ONE, Importance
from celosia.sim.bench import harness
from celosia.sim.bench.hdp_core import Bench
from celosia.sim.bench.hdp_core_model import CoreHead
from celosia.sw.attention import AttentionWorkload
from celosia.sw.golden.rounding import scale

BAR = 1.10
"""Cycles over ideal cycles, at most."""


@cache
def workload(tokens: int, width: int, count: int) -> tuple[CoreHead, ...]:
    """Heads of the named workloads, dense."""
    query, key, value = AttentionWorkload(tokens, width, 0, count).codes
    score = scale(3.0 * 256 / float((query @ key.swapaxes(1, 2)).std()))
    heads = zip(query, key, value, strict=True)
    return tuple(CoreHead(*codes, rule=Importance.MAX, dense=True, score=score, context=scale(1.0)) for codes in heads)


def share(heads: tuple[CoreHead, ...]) -> float:
    """Of blocks that are pruned."""
    return 1 - float(np.mean([head.blocks.mean() for head in heads]))


def pruned(heads: tuple[CoreHead, ...], percent: int, **fields) -> tuple[CoreHead, ...]:
    """The same with the rho that prunes the share nearest to what is asked for; one rho for all of them."""
    low, high = -RHO_ONE, RHO_ONE

    def at(rho: int) -> tuple[CoreHead, ...]:
        return tuple(replace(head, dense=False, rho=rho, **fields) for head in heads)

    while percent and low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if share(at(middle)) < percent / 100 else (low, middle)
    return min((at(low), at(max(low - 1, -RHO_ONE))), key=lambda found: abs(share(found) - percent / 100))


async def measure(bench: Bench, heads: tuple[CoreHead, ...]) -> dict:
    """Runs heads, compares everything, and says what it took."""
    cycles = await bench.run(*heads)
    bench.check(*heads)
    ideal = sum(head.ideal(bench.config) for head in heads)
    return {"pruned": share(heads), "ideal": ideal, "cycles": cycles, "over": cycles / ideal, **bench.counters.counts}


@cocotb.test()
async def speed(dut) -> None:
    """Heads at shares of pruned blocks, exact and approximate, within the bar; and against the same core run dense."""
    wanted = harness.parameters()["speed"]
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    heads = workload(config.length, config.width, wanted["heads"])
    dense = await measure(bench, heads)
    lines = [{"scores": "dense", **dense}]
    for approximate in wanted["approximate"]:
        for percent in wanted["percents"]:
            found = await measure(bench, pruned(heads, percent, approximate=approximate))
            scores = "approximate" if approximate else "exact"
            speedup = dense["cycles"] / found["cycles"]
            lines.append({"scores": scores, "wanted": percent, **found, "speedup": speedup})
    if wanted.get("out"):
        where = {"tokens": config.length, "channels": config.width, "rate": config.rate, "heads": wanted["heads"]}
        Path(wanted["out"]).write_text(json.dumps([{**where, **line} for line in lines], indent=1))
    for line in lines:
        assert line["over"] <= BAR, f"{line} takes more than {BAR} times its ideal cycles"
    for line in lines[1:]:
        assert abs(100 * line["pruned"] - line["wanted"]) < 1, f"no rho prunes {line['wanted']} %"
        least = wanted["speedups"].get(str(line["wanted"]), 0)
        assert line["speedup"] >= least, f"{line} is less than {least} times as fast as dense"
