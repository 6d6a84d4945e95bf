"""Cycles that the hardware's parts take: the only place where the performance model knows about pipelines.

What the hardware defines as a number is taken from there. The stage counts below it are those of its docstrings; a
change of a pipeline changes them here and nowhere else, and `celosia analyze correlate` tells.
"""

from dataclasses import dataclass
from functools import cache

from amaranth.utils import ceil_log2

from celosia.hw.array.systolic import latency as array_latency
from celosia.hw.config import Config
from celosia.hw.control.requests import BURST_INSTRUCTIONS
from celosia.hw.control.run import SETTLE_CYCLES
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.engine import engine_latency, ring_depth
from celosia.hw.hdp.gather import GatherSequencer
from celosia.hw.hdp.search import near_digits, pass_cycles
from celosia.hw.hdp.widths import RHO_ONE
from celosia.hw.isa import INSTRUCTION_BYTES
from celosia.hw.memory.maxima import tree_latency
from celosia.hw.numerics import ROW_MULT_BITS, SD_BITS
from celosia.hw.post.layouts import TABLE_BYTES
from celosia.hw.post.rows import SOFTMAX_WALK, moment_bits, softmax_engines
from celosia.hw.post.serial import BITS_PER_STEP
from celosia.hw.post.timeline import Timeline

# Control. Cycle 0 is the first one that CYCLES counts.
FETCH_START = 5
"""First request of a program on the bus."""
FETCH_REQUEST = 5
"""From room for a burst of instructions to its request on the bus."""
FETCH_BURSTS = 2
"""Bursts of instructions that fetch's queue holds (`control.fetch`)."""
FETCH_PERIOD = 4
"""Between two requests of instructions (`control.requests.Requests`)."""
FETCH_HEADER = 4
"""From the header's last beat on the bus to its length being known."""
DISPATCH = 3
"""From an instruction's last beat on the bus to its dispatch: read arbiter, queue, buffer."""
FETCH_AHEAD = 2
"""Instructions that have left fetch's queue and are not dispatched."""
ISSUE = 2
"""From an instruction's dispatch to its being offered to its unit."""
ISSUE_HOLDS = 1
"""Instructions of a unit that have left its queue and are not taken (`control.issue`)."""
ISSUE_PERIOD = 2
"""Between two instructions that a unit takes."""
TRANSFER_PERIOD = 3
"""The same for LOAD and STORE."""
END = SETTLE_CYCLES - 1
"""From the last unit's end to the end of the run."""

# Scratchpad.
WORD = 3
"""From a granted address to its word in the reader's port (`memory.scratchpad`)."""

# LOAD and STORE. Beats are counted where they pass the accelerator's ports.
REQUEST = 7
"""From an instruction taken to its first read request on the bus: planner, read arbiter."""
REQUEST_AGAIN = 4
"""From a burst's last beat to the request that waited for its place."""
FETCH_WAITING = 2
"""Cycles by which fetch's next request may be ahead when the last one is held up (`dma.readarbiter`)."""
REQUESTS_WAITING = 3
"""Requests that wait between LOAD and the bus (`dma.readmaster`, `dma.readarbiter`)."""
LOADED = 4
"""From the last beat of a LOAD to its token, for a word a beat."""
PLANNED = 4
"""Instructions of LOAD or STORE between their queue and the bus: decoder, segments, bursts."""
STORE_REQUEST = 6
"""From an instruction taken to its first write request on the bus."""
STORE_DATA = 13
"""From an instruction taken to its first beat on the bus: planner, scratchpad, write master."""
STORE_READ = 6
"""From a word's read to its beat on the bus."""
STORED = 2
"""From an acknowledgement to its token."""
STORE_AGAIN = 2
"""From an acknowledgement to the request that waited for its place."""

# ARRAY.
ARRAY_FETCH = 8
"""From an instruction taken to its first word of weights entering the array."""
ARRAY_JOBS = 3
"""Instructions under way or waiting inside ARRAY's sequencer (`array.sequencer`)."""
ARRAY_AHEAD = 2
"""Cycles before an instruction's last row at which the next one takes its place in the sequencer."""
ADDED = 4
"""From sums to a row that is visible in the accumulator."""
ARRAY_SKIP = 8
"""From an instruction taken to its token, of a matmul that gathers no keys."""
LIST_WRITE = 4
"""From the last mask of a row of blocks to its list being there for matmuls that wait."""
FILL_DIGITS = 0.7
"""Share of the near digits that a search of fill finds before tiles are full, on average: it depends on the data."""
RESOLVE = 1
"""Cycles by which instructions are later in an array with HDP (`hdp.resolver`)."""
RESOLVE_KEPT = 3
"""More, for a DECIDE or a gather, which looks its list up."""
COMPLETE = 2
"""Cycles by which tokens are later there: they are given in order (`hdp.scoreboard`)."""
FILL_START = 3
"""From a KEYS that goes to its first word being asked for."""
FILL_WRITE = 8
"""From a KEYS' last word being asked for to DECIDEs that may use it."""
EXP_KEYS = 3
"""Cycles that an EXP which gathers takes to learn how many keys there are (`post.decode`)."""

# POST.
POST_JOBS = 2
"""Instructions between POST's decoder and its entry (`post.unit.JOBS_AHEAD`)."""
POST_OPERAND = 8
"""From an instruction taken to its first slot entering the lanes, when it needs the accumulator alone."""
POST_ASK = 2
"""From an instruction taken to the first request for its parameters."""
POST_RECORDS = 7
"""From the request for a group's last word of parameters to its first slot entering the lanes."""
RECORDS_BACK = 2
"""From a group's last slot to its records being free for others; `Timings.records_back` for NORM."""
RESIDUAL_AHEAD = 5
"""Cycles before a slot enters the lanes at which its residuals are asked for."""
POST_WRITE = 3
"""From a result to its token: writer, semaphore."""
SUM_CYCLES, MOMENT_CYCLES = 3, 13
"""From the row unit's start to the sum of a row of EXP, and to the moments of one of RESIDUAL (`post.rows.Moments`)."""
MOMENT_PERIOD = 11
"""From the moments of a row to those of the next."""
ROW_START = 3
"""From a row's last sum to the row unit's start."""
ROW_TAKEN = 2
"""From an instruction's first slot to its rows being taken by the row unit, where jobs wait."""


@dataclass(frozen=True)
class Timings:
    """Cycles that depend on the configuration.

    `array`: from a row entering the array to its token; `maximum`: more, when its maximum counts. `lanes`: from a
    slot entering to its result; `records_back`: to its records being free, for NORM; `sums`: to its sums.
    `softmax_row`, `norm_row`: first factor of the row unit; `softmax_period`, `norm_period`: each further one;
    `divider`: of that its last engine.
    `table`: loading the table. `fetch`: from an instruction of ARRAY taken to its first word of weights entering the
    array. `complete`: from its last row, or its list, being written to its token. `decide`: from a DECIDE's last sums
    to the first masks; 0 without HDP. `waiting`: groups of masks that may wait, where keys stream.
    """

    config: Config
    array: int
    maximum: int
    lanes: int
    records_back: int
    sums: int
    softmax_row: int
    norm_row: int
    softmax_period: float
    norm_period: int
    divider: int
    table: int
    fetch: int
    complete: int
    decide: int
    waiting: int


def fetch_depth(config: Config) -> int:
    """Beats that fetch's queue holds."""
    return FETCH_BURSTS * BURST_INSTRUCTIONS * INSTRUCTION_BYTES // config.bus.bytes


@cache
def timings(config: Config) -> Timings:
    """The timings of a configuration."""
    line = Timeline(config)
    # An engine of the row unit works its steps, and hands over in one cycle more (`post.serial`).
    normaliser = ceil_log2(moment_bits(config)) + 1
    root, divider = SD_BITS // BITS_PER_STEP + 1, -(-ROW_MULT_BITS // BITS_PER_STEP) + 1
    return Timings(
        config=config,
        array=array_latency(config) + ADDED + 1,
        maximum=tree_latency(config) + 2,
        lanes=line.RESULT,
        records_back=line.SECOND,
        sums=line.SUMS,
        softmax_row=SUM_CYCLES + normaliser + divider,
        norm_row=MOMENT_CYCLES + normaliser + root + divider,
        softmax_period=max(SOFTMAX_WALK, divider / softmax_engines(config)),
        norm_period=max(MOMENT_PERIOD, root, divider),
        divider=divider,
        fetch=ARRAY_FETCH + (RESOLVE + GatherSequencer.AHEAD if config.hdp else 0),
        complete=COMPLETE if config.hdp else 0,
        decide=engine_latency(engine_config(config)) if config.hdp else 0,
        waiting=ring_depth(engine_config(config)) - 1 if config.rate > 1 else 0,
        table=(1 << config.post.table_bits) // TABLE_BYTES,
    )


def fill_cycles(config: Config, groups: int, wide: int, rho: int) -> float:
    """Cycles that fill takes to lower the cut of a row of blocks, on average; of rows without pruning exactly."""
    engine = engine_config(config)
    # Tiles are full already by chance.
    some = 0.0 if rho == -RHO_ONE else 1 - min(1.0, (1 << wide) / engine.fill)
    return pass_cycles(engine, groups) * (1 + some * FILL_DIGITS * near_digits(engine))
