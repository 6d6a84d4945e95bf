"""Cycles that the parts of a co-processor's core take, beside those of `timings`.

What the hardware defines as a number is taken from there. The stage counts below it are those of its docstrings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.context import Drain
from celosia.hw.hdp.core.datapath import Datapath
from celosia.hw.hdp.core.softmax import SOFTMAX, Exponents
from celosia.hw.hdp.engine import SparsityEngine
from celosia.hw.numerics import DEN_BITS
from celosia.hw.post.serial import Engine, Normaliser
from celosia.hw.post.shift import STAGES

QUEUE = 1
"""From a word going into a `Queue` to its coming out."""
LISTED = 3
"""The same of a `SramQueue`."""
LISTED_AHEAD = 3
"""Words that have left its memory, and are not taken (`hdp.core.queue`)."""
LISTED_AGAIN = 2
"""From a word taken of a full `SramQueue` to the word that takes its place."""
BEATS = 2
"""From the last sums of a pair of queries to its last beat (`hdp.core.decide.Beats`)."""
STORED = 3
"""From the last sums of a pair's scores to its row of scores: weighed, and two cycles (`core.softmax.ScoreStore`)."""
TOTALS = 1
"""From a pair's last weights to their sums."""
FULL = 5
"""From the last step of a pair's context to the first word that is drained: read, operands, product, sum, known."""
ATTEND_PERIOD = 3
"""Between two instructions that ATTEND takes: the states of its machine (`coprocessor.attend`)."""
ATTEND_GIVE = 2
"""From an instruction taken to its core being given the head."""
ENDED = 1
"""From the last word of a context to the worker's `ended`, and from that to ATTEND's `done`."""


@dataclass(frozen=True)
class CoreTimings:
    """Cycles that depend on the configuration.

    `masks`: from the last step of a pair's integer pass to its first masks leaving their queue; `decided`: to their
    going in; `verdict`: from a head's last step to its verdict being there. `scored`: from the last step of a pair's
    scores to its row of scores. `weights`: from a score read to its weights being there; `totals`: to the pair's sums
    being there for the factors, of its last score. `normaliser`, `divider`: from a value taken to its result.
    `words`: of a row of context; `codes`: from a word drained to its codes. `pieces`: words of the bus in it, at
    least 1. `depth`: weights under way.
    """

    core: CoreConfig
    decided: int
    masks: int
    verdict: int
    scored: int
    weights: int
    totals: int
    normaliser: int
    divider: int
    words: int
    codes: int
    pieces: int
    depth: int


@cache
def core_timings(core: CoreConfig) -> CoreTimings:
    """The timings of a core."""
    datapath, engine = Datapath(core).latency, SparsityEngine(core.engine)
    beats, weights = datapath + BEATS, Exponents(core).latency
    divider = cast(Callable[[int], Engine], SOFTMAX[core.softmax][1])
    return CoreTimings(
        core=core,
        decided=beats + engine.latency,
        masks=beats + engine.latency + LISTED,
        verdict=beats + engine.head_latency + QUEUE,
        scored=datapath + STORED,
        weights=weights + QUEUE,
        totals=weights + TOTALS + QUEUE,
        normaliser=_result(Normaliser(1, DEN_BITS)),
        divider=_result(divider(1)),
        words=Drain(core).words,
        codes=1 + STAGES,
        pieces=max(1, core.lanes // core.bus),
        depth=Exponents.DEPTH,
    )


def _result(engine: Engine) -> int:
    """An engine works its steps, and hands over in one cycle more (`post.serial`)."""
    return engine.steps + 1
