"""Instructions of ARRAY in front of its sequencers: those that gather learn how much there is to do."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.array.columns import WeightJob
from celosia.hw.array.rows import RowJob
from celosia.hw.config import Config
from celosia.hw.hdp.config import engine_config
from celosia.hw.hdp.kept import Record
from celosia.hw.hdp.layouts import Setting
from celosia.hw.hdp.scoreboard import Ending
from celosia.hw.interfaces import KeptSignature


def groups_bits(config: Config) -> int:
    """Width of the number of groups of keys of a DECIDE."""
    return engine_config(config).groups.bit_length()


class Rule(data.StructLayout):
    """What blocks are pruned by: a `Setting` without the limit of heads."""

    def __init__(self, config: Config) -> None:
        super().__init__({name: field.shape for name, field in Setting(engine_config(config)) if name != "limit"})


class Work(data.StructLayout):
    """A MATMUL or a DECIDE (`rows.decide`): jobs for rows and weights; what else a DECIDE says; and, with
    `weights.gather`, whose keys are kept. At nibble rates above 1, `keys`: a KEYS; `groups` of keys of a DECIDE."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                **({"keys": 1, "groups": groups_bits(config)} if config.rate > 1 else {}),
                "rows": RowJob(config),
                "weights": WeightJob(config),
                "rule": Rule(config),
                "record": Record(config),
                "headed": 1,
            }
        )


class _Step(enum.Enum, shape=2):
    """Where the resolver is with an instruction: count, and whether it is pending, are looked up; known; the count is
    used; it goes."""

    LOOK = 0
    KNOW = 1
    USE = 2
    GO = 3


class Resolver(wiring.Component):
    """Passes instructions on, in order. A gather waits until its list and slot are written, and gets its count: of
    keys, and of the tiles that they need. A DECIDE under another rule than the one before waits for that one's end.

    Ports: `i`: instructions. `rows`, `weights`: jobs, given together, or neither for a gather without keys. `begins`:
    with them, for the order of ends. `decides`: with them, what becomes of a DECIDE's masks. `kept`: counts.
    `headed`: with the list and the slot of `kept`, to the scoreboard, which answers by `pending` a cycle later; `idle`:
    nothing is under way there. `rule`: of the DECIDEs under way. `waits`: an instruction is here.
    `more`: ports of a subclass.
    Throughput: a MATMUL a cycle, a DECIDE every three cycles, a gather every four: as many as a tile takes at least.
    """

    def __init__(self, config: Config, **more: wiring.Member) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(Work(config))),
                "rows": Out(stream.Signature(RowJob(config))),
                "weights": Out(stream.Signature(WeightJob(config))),
                "begins": Out(stream.Signature(Ending)),
                "decides": Out(stream.Signature(Record(config))),
                "kept": Out(KeptSignature(config, turns=True)),
                "pending": In(1),
                "idle": In(1),
                "rule": Out(Rule(config)),
                "waits": Out(1),
                **more,
            }
        )
        self.work = Signal(Work(config), reset_less=True)
        self.step = Signal(_Step)
        self.nothing = Signal(reset_less=True)
        self.count = Signal.like(self.kept.count, reset_less=True)
        self.turns = Signal.like(self.kept.turns, reset_less=True)

    def elaborate(self, platform) -> Module:
        m = Module()
        work, rows, weights = self.work, self.work.rows, self.work.weights
        ready, go, goes = Signal(), Signal(), Signal()
        m.d.comb += [
            ready.eq(self._ready()),
            goes.eq(self.waits & (self.step == _Step.GO)),
            go.eq(goes & ready),
            self.i.ready.eq(~self.waits | go),
            self.rows.valid.eq(go & ~self.nothing),
            self.rows.p.eq(rows),
            self.weights.valid.eq(go & ~self.nothing),
            self.weights.p.eq(weights),
            self.begins.valid.eq(go),
            self.begins.p.rows.eq(~self.nothing),
            self.begins.p.list.eq(rows.decide),
            self.begins.p.mask.eq(rows.mask),
            self.decides.valid.eq(go & rows.decide),
            self.decides.p.eq(work.record),
            self.kept.en.eq(1),
            self.kept.list.eq(weights.list),
            self.kept.headed.eq(work.headed),
            self.kept.slot.eq(work.record.slot),
        ]
        self._steps(m)
        self._pass(m, go)
        with m.If(self.i.ready):
            next_rows, next_weights = self.i.p.rows, self.i.p.weights
            m.d.sync += [
                work.eq(self.i.p),
                self.waits.eq(self.i.valid),
                self.nothing.eq(self._empty()),
                self.step.eq(Mux(next_rows.decide | next_weights.gather, _Step.LOOK, _Step.GO)),
            ]
        return m

    def _ready(self):
        """Whether all that take a part of the instruction are ready for it."""
        return self.rows.ready & self.weights.ready & self.begins.ready & (self.decides.ready | ~self.work.rows.decide)

    def _empty(self):
        """Whether what comes in has no jobs."""
        return 0

    def _pass(self, m: Module, go: Signal) -> None:
        """What else goes out in the cycle `go`."""

    def _steps(self, m: Module) -> None:
        same = Signal(reset_less=True)
        # A count is asked for again and again; when nothing was pending in that cycle, it is the right one.
        m.d.sync += [
            same.eq(self.work.rule.as_value() == self.rule.as_value()),
            self.count.eq(self.kept.count),
            self.turns.eq(self.kept.turns),
        ]
        with m.Switch(self.step):
            with m.Case(_Step.LOOK):
                m.d.sync += self.step.eq(_Step.KNOW)
            with m.Case(_Step.KNOW):
                with m.If(self.work.rows.decide), m.If(same | self.idle):
                    m.d.sync += [self.rule.eq(self.work.rule), self.step.eq(_Step.GO)]
                with m.Elif(~self.pending):
                    m.d.sync += self.step.eq(_Step.USE)
            with m.Case(_Step.USE):
                self._resolve(m)
                m.d.sync += self.step.eq(_Step.GO)

    def _resolve(self, m: Module) -> None:
        """The count in place of the length, and of the number of tiles."""
        rows, weights, count = self.work.rows, self.work.weights, self.count
        m.d.sync += [
            self.nothing.eq(count == 0),
            weights.count.eq(count),
            weights.turns.eq(self.turns),
            rows.length.eq(count),
        ]
        for name, step in (("n_tiles", self.config.array.columns), ("k_tiles", self.config.array.rows)):
            tiles, bits = Signal(len(count) + 1, name=name), ceil_log2(step)
            m.d.comb += tiles.eq((count + (step - 1))[bits:])
            with m.If((weights.transposed if name == "n_tiles" else ~weights.transposed) & (tiles < rows[name])):
                m.d.sync += [rows[name].eq(tiles), weights[name].eq(tiles)]
