"""How far a cut can be lowered before whole tiles overflow (docs/hdp.md, "Fill")."""

from itertools import zip_longest

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.common.buffers import exceeds
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import Group, Setting, spread_over

DIGIT = 2
"""Bits of the cut that a pass finds."""
TRIALS = (1 << DIGIT) - 1
"""Cuts that a pass tries."""
LEVELS = 2
"""Levels of the tree over a group's keys between two registers."""


def digits(config: EngineConfig) -> int:
    """Digits of a cut."""
    return -(-config.theta.bits // DIGIT)


def count_latency(config: EngineConfig) -> int:
    """Cycles from a group to where its keys are in the counts: comparison, tree, sum."""
    return 1 + -(-ceil_log2(config.columns) // LEVELS) + 1


def pass_cycles(config: EngineConfig, groups: int) -> int:
    """Cycles of a pass over a row of `groups` groups that nobody disturbs: begin, read, count, judge."""
    return 1 + groups + count_latency(config) + 1


def most_passes(config: EngineConfig) -> int:
    """Passes over a row at most: one for how many keys it keeps, and one a digit."""
    return 1 + digits(config)


class Trials(data.StructLayout):
    """Cuts of which the keys are to be counted. With `all` the last one is 0."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"cuts": data.ArrayLayout(DIGIT * digits(config), TRIALS), "all": 1})


class Counts(data.ArrayLayout):
    """Keys in the blocks of a row that are not below a cut, for each trial."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__((config.groups * config.columns).bit_length(), TRIALS)


class KeyCounts(wiring.Component):
    """Keys of a row of blocks that are not below each of some cuts.

    Ports: `i`: groups of a row, up to the one with `end_row`. `trials`: the same all the while. `setting`. `o`: the
    counts, for a cycle, `count_latency` cycles after that group. Throughput: a group a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "setting": In(Setting(config)),
                "trials": In(Trials(config)),
                "i": In(stream.Signature(Group(config), always_ready=True)),
                "o": Out(stream.Signature(Counts(config), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, group = self.config, self.i.p
        keys, ends = Signal(config.columns, reset_less=True), Signal(count_latency(config) - 1)
        valid = Signal(count_latency(config) - 1)
        m.d.sync += [
            keys.eq(group.keys),
            valid.eq(Cat(self.i.valid, valid)),
            ends.eq(Cat(group.end_row, ends)),
        ]
        first = Signal(init=1)
        with m.If(valid[-1]):
            m.d.sync += first.eq(ends[-1])
        m.d.sync += self.o.valid.eq(valid[-1] & ends[-1])
        for trial in range(TRIALS):
            some = self._some(m, trial, keys)
            with m.If(valid[-1]):
                m.d.sync += self.o.p[trial].eq(some + Mux(first, 0, self.o.p[trial]))
        return m

    def _some(self, m: Module, trial: int, keys: Signal):
        """Keys of a group that are not below a cut: a register behind the comparison, and two levels each."""
        config, group = self.config, self.i.p
        above = Signal(config.lanes, name=f"above{trial}", reset_less=True)
        everything = self.trials.all if trial == TRIALS - 1 else Const(0)
        m.d.sync += above.eq(Cat(everything | (group.theta[k] >= self.trials.cuts[trial]) for k in range(config.lanes)))
        blocks = spread_over(config, self.setting.wide, above)
        level = [blocks[k // config.narrowest] & keys[k] for k in range(config.columns)]
        for stage in range(count_latency(config) - 2):
            for _ in range(LEVELS):
                level = [a if b is None else a + b for a, b in zip_longest(level[::2], level[1::2])]
            held = [Signal(len(x), name=f"sum{trial}_{stage}", reset_less=True) for x in level]
            m.d.sync += [new.eq(x) for new, x in zip(held, level, strict=True)]
            level = held
        return level[0]


class _Step(enum.Enum, shape=2):
    """A cut is taken; a pass begins; counts are waited for; a cut is given."""

    TAKE = 0
    BEGIN = 1
    COUNT = 2
    GIVE = 3


class Search(wiring.Component):
    """The least cut at which no more keys are kept than whole tiles of `config.fill` keys have room for.

    Digit by digit from the top: three cuts are tried in a pass. A cut at which the tiles are full ends the search: it
    keeps the same blocks as the least. The first pass ends it where the threshold leaves full tiles, or all keys fit.
    Ports: `i`: cuts of the threshold. `on`: lower them; else they are given as they are, without a pass. `begin`: a
    pass begins. `trials`: of the pass. `counts`: its end. `o`: cuts.
    Throughput: two cycles a row, and `pass_cycles` for each of its passes, of which there are `most_passes` at most.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.bits = config.theta.bits
        super().__init__(
            {
                "on": In(1),
                "i": In(stream.Signature(self.bits)),
                "begin": Out(1),
                "trials": Out(Trials(config)),
                "counts": In(stream.Signature(Counts(config), always_ready=True)),
                "o": Out(stream.Signature(self.bits)),
            }
        )
        self.step = Signal(_Step)
        # What keeps too much, whatever the digits to come; what is known to keep no more than there is room for.
        self.base = Signal(DIGIT * digits(config), reset_less=True)
        self.cut = Signal.like(self.base, reset_less=True)
        self.place = Signal(digits(config), reset_less=True)  # of the digit that is tried, one hot; in the first pass 0
        self.tiles = Signal(len(self.counts.p[0]) - ceil_log2(config.fill) + 1, reset_less=True)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += [
            self.i.ready.eq(self.step == _Step.TAKE),
            self.begin.eq(self.step == _Step.BEGIN),
            self.o.valid.eq(self.step == _Step.GIVE),
            self.o.p.eq(self.cut),
            self.trials.all.eq(~self.place.any()),
        ]
        for trial, cut in enumerate(self.trials.cuts, 1):
            digit = [trial >> bit & 1 for bit in range(DIGIT)]
            m.d.comb += cut.eq(self.base | Cat(here & bit for here in self.place for bit in digit))
        with m.Switch(self.step):
            with m.Case(_Step.TAKE):
                m.d.sync += [self.base.eq(self.i.p), self.cut.eq(self.i.p), self.place.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += self.step.eq(Mux(self.on, _Step.BEGIN, _Step.GIVE))
            with m.Case(_Step.BEGIN):
                m.d.sync += self.step.eq(_Step.COUNT)
            with m.Case(_Step.COUNT), m.If(self.counts.valid):
                with m.If(self.trials.all):
                    self._room(m)
                with m.Else():
                    self._narrow(m)
            with m.Case(_Step.GIVE), m.If(self.o.ready):
                m.d.sync += self.step.eq(_Step.TAKE)
        return m

    def _room(self, m: Module) -> None:
        """The first pass: keys that the threshold keeps, and all that there are."""
        fill, bits = self.config.fill, ceil_log2(self.config.fill)
        kept, every = self.counts.p[0], self.counts.p[TRIALS - 1]
        tiles = Signal.like(self.tiles)
        m.d.comb += tiles.eq((kept + (fill - 1))[bits:])
        m.d.sync += [self.tiles.eq(tiles), self.step.eq(_Step.GIVE)]
        with m.If(kept[:bits].any()):
            with m.If(exceeds(every, Cat(Const(0, bits), tiles))):
                m.d.sync += [self.base.eq(0), self.place.eq(1 << len(self.place) - 1), self.step.eq(_Step.BEGIN)]
            with m.Else():
                m.d.sync += self.cut.eq(0)

    def _narrow(self, m: Module) -> None:
        """A digit of the cut. Counts fall from one trial to the next."""
        limit = Cat(Const(0, ceil_log2(self.config.fill)), self.tiles)
        cuts, too_many, full = self.trials.cuts, Signal(TRIALS), Signal(TRIALS)
        m.d.comb += [
            too_many.eq(Cat(exceeds(count, limit) for count in self.counts.p)),
            full.eq(Cat(count == limit for count in self.counts.p)),
        ]
        for trial in range(TRIALS):
            with m.If(too_many[trial]):
                m.d.sync += self.base.eq(cuts[trial])
        for trial in reversed(range(TRIALS)):
            with m.If(~too_many[trial]):
                m.d.sync += self.cut.eq(cuts[trial])
        m.d.sync += [
            self.place.eq(self.place >> 1),
            self.step.eq(Mux(full.any() | self.place[0], _Step.GIVE, _Step.BEGIN)),
        ]
