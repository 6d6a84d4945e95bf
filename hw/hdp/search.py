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


def near_digits(config: EngineConfig) -> int:
    """Digits that are sought where the cut is not lowered by more: thetas of a row lie close together."""
    return -(-digits(config) // 2)


def pass_cycles(config: EngineConfig, groups: int) -> int:
    """Cycles of a pass over a row of `groups` groups that nobody disturbs: begin, read, count."""
    return 1 + groups + count_latency(config)


def most_passes(config: EngineConfig) -> int:
    """Passes over a row at most: one for how many keys it keeps, and one a digit."""
    return 1 + digits(config)


class Trials(data.StructLayout):
    """Cuts of which the keys are to be counted; `every`: all keys instead, for each cut."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"cuts": data.ArrayLayout(config.theta.bits, TRIALS), "every": TRIALS})


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
        every = self.trials.every[trial]
        m.d.sync += above.eq(Cat(every | (group.theta[k] >= self.trials.cuts[trial]) for k in range(config.lanes)))
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
    """A cut is taken; a pass begins, and what it tries is made; counts are waited for; a cut is given."""

    TAKE = 0
    BEGIN = 1
    COUNT = 2
    GIVE = 3


_NEAR, _EVERY = 1, 2
"""Trials of the first pass, beside the cut of the threshold."""


class Search(wiring.Component):
    """The least cut at which no more keys are kept than whole tiles of `config.fill` keys have room for.

    By how much the cut can be lowered is found digit by digit from the top: three cuts are tried in a pass. A cut at
    which the tiles are full ends the search: it keeps the same blocks as the least. So does the first pass where the
    threshold leaves full tiles, or all keys fit; else it tells whether digits above the `near_digits` are needed.
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
        # The threshold's cut; by how much it is lowered so far, and the cut by then, which has room.
        self.start, self.cut = Signal(self.bits, reset_less=True), Signal(self.bits, reset_less=True)
        self.lowered = Signal(DIGIT * digits(config), reset_less=True)
        self.place = Signal(digits(config), reset_less=True)  # of the digit that is tried, one hot; in the first pass 0
        self.tiles = Signal(len(self.counts.p[0]) - ceil_log2(config.fill) + 1, reset_less=True)
        self.again = Signal()  # after these counts another pass follows

    def elaborate(self, platform) -> Module:
        m = Module()
        judges = (self.step == _Step.COUNT) & self.counts.valid
        m.d.comb += [
            self.i.ready.eq(self.step == _Step.TAKE),
            self.begin.eq((self.i.ready & self.i.valid & self.on) | (judges & self.again)),
            self.o.valid.eq(self.step == _Step.GIVE),
            self.o.p.eq(self.cut),
        ]
        with m.Switch(self.step):
            with m.Case(_Step.TAKE):
                m.d.sync += [self.start.eq(self.i.p), self.cut.eq(self.i.p), self.lowered.eq(0), self.place.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += self.step.eq(Mux(self.on, _Step.BEGIN, _Step.GIVE))
            with m.Case(_Step.BEGIN):
                m.d.sync += self.step.eq(_Step.COUNT)
            with m.Case(_Step.COUNT), m.If(self.counts.valid):
                m.d.sync += self.step.eq(Mux(self.again, _Step.BEGIN, _Step.GIVE))
            with m.Case(_Step.GIVE), m.If(self.o.ready):
                m.d.sync += self.step.eq(_Step.TAKE)
        tried = self._try(m)
        with m.If(self.place.any()):
            self._narrow(m, judges, tried)
        with m.Else():
            self._room(m, judges)
        return m

    def _try(self, m: Module) -> list[Signal]:
        """What the cut is lowered by in each trial, and the trials. A cut below 0 keeps every key: too many."""
        first, found = ~self.place.any(), []
        for trial in range(TRIALS):
            digit = [trial + 1 >> bit & 1 for bit in range(DIGIT)]
            lowered = Signal.like(self.lowered, name=f"lowered{trial}")
            difference = Signal(len(lowered) + 1, name=f"difference{trial}")
            near = first << DIGIT * near_digits(self.config) if trial == _NEAR else 0
            m.d.comb += [
                lowered.eq(self.lowered | Cat(here & bit for here in self.place for bit in digit) | near),
                difference.eq(self.start - lowered),
            ]
            with m.If(self.step == _Step.BEGIN):
                m.d.sync += [
                    self.trials.cuts[trial].eq(difference),
                    self.trials.every[trial].eq(difference[-1] | (first if trial == _EVERY else 0)),
                ]
            found.append(lowered)
        return found

    def _room(self, m: Module, judges) -> None:
        """The first pass: keys that the threshold keeps, those of a near cut, and all that there are."""
        fill, bits = self.config.fill, ceil_log2(self.config.fill)
        kept, near, every = self.counts.p
        tiles = Signal.like(self.tiles)
        limit = Cat(Const(0, bits), tiles)
        fits, far = ~exceeds(every, limit), ~exceeds(near, limit)
        m.d.comb += [tiles.eq((kept + (fill - 1))[bits:]), self.again.eq(kept[:bits].any() & ~fits)]
        with m.If(judges):
            top, middle = 1 << len(self.place) - 1, 1 << near_digits(self.config) - 1
            m.d.sync += [self.tiles.eq(tiles), self.place.eq(Mux(far, top, middle))]
            with m.If(kept[:bits].any() & fits):
                m.d.sync += self.cut.eq(0)

    def _narrow(self, m: Module, judges, tried: list[Signal]) -> None:
        """A digit. Counts rise from one trial to the next: the last one that has room is taken."""
        limit, full = Cat(Const(0, ceil_log2(self.config.fill)), self.tiles), Signal(TRIALS)
        m.d.comb += [
            full.eq(Cat(count == limit for count in self.counts.p)),
            self.again.eq(~full.any() & ~self.place[0]),
        ]
        with m.If(judges):
            m.d.sync += self.place.eq(self.place >> 1)
            for count, lowered, cut in zip(self.counts.p, tried, self.trials.cuts, strict=True):
                with m.If(~exceeds(count, limit)):
                    m.d.sync += [self.lowered.eq(lowered), self.cut.eq(cut)]
