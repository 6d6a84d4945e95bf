"""Cycles that the parts of a co-processor's core take, beside those of `timings`.

What the hardware defines as a number is taken from there. The stage counts below it are those of its docstrings.
"""

from dataclasses import dataclass
from functools import cache

from celosia.hw.hdp.core.config import CoreConfig
from celosia.hw.hdp.core.datapath import datapath_latency
from celosia.hw.hdp.core.softmax import SOFTMAX, Exponents, exponents_latency
from celosia.hw.hdp.engine import engine_latency, head_latency
from celosia.hw.numerics import DEN_BITS
from celosia.hw.post.serial import normaliser_steps
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

    `decided`: from the last step of a pair's integer pass to its first masks; `verdict`: from a head's last step to its
    verdict being there. `scored`: from the last step of a pair's scores to its row of scores. `weights`: from a score
    read to its weights being there; `totals`: to the pair's sums being there for the factors, of its last score.
    `normaliser`, `divider`: from a value taken to its result. `codes`: from a word drained to its codes. `pieces`:
    words of the bus in it, at least 1. `depth`: weights under way.
    """

    core: CoreConfig
    decided: int
    verdict: int
    scored: int
    weights: int
    totals: int
    normaliser: int
    divider: int
    codes: int
    pieces: int
    depth: int


@cache
def core_timings(core: CoreConfig) -> CoreTimings:
    """The timings of a core."""
    datapath, decided = datapath_latency(core), engine_latency(core.engine)
    beats, weights = datapath + BEATS, exponents_latency(core)
    return CoreTimings(
        core=core,
        decided=beats + decided,
        verdict=beats + head_latency(core.engine) + QUEUE,
        scored=datapath + STORED,
        weights=weights + QUEUE,
        totals=weights + TOTALS + QUEUE,
        # An engine works its steps, and hands over in one cycle more (`post.serial`).
        normaliser=normaliser_steps(DEN_BITS) + 1,
        divider=SOFTMAX[core.softmax][1].STEPS + 1,
        codes=1 + STAGES,
        pieces=max(1, core.lanes // core.bus),
        depth=Exponents.DEPTH,
    )
