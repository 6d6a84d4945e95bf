"""Importance of blocks from rows of scores."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.common.buffers import exceeds
from celosia.hw.hdp.config import EngineConfig
from celosia.hw.hdp.layouts import RULES, Beat, Group, Setting, Terms, shape_of


def chosen(config: EngineConfig, setting, name: str) -> Value:
    """A flag of the rule; a constant where all rules that the engine was built for agree."""
    values = {RULES[rule][name] for rule in config.rules}
    return Const(values.pop(), 1) if len(values) == 1 else setting[name]


class RowTerms(wiring.Component):
    """Scores of a row to each block's share of them: their sum, or the largest.

    Ports: `i`: `Beat`. `setting`. `o`: `Terms`, a cycle later. Throughput: a beat a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(Beat(config), always_ready=True)),
                "o": Out(stream.Signature(Terms(config), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, beat, terms = self.config, self.i.p, self.o.p
        absolute = chosen(config, self.setting, "absolute")
        blocks = []
        for column in range(config.columns):
            value = Signal(shape_of(config.term), name=f"value{column}")
            score, valid = beat.scores[column], beat.valid[column]
            m.d.comb += value.eq(Mux(valid, Mux(absolute, abs(score), score), 0))
            blocks.append((value, valid))
        width = 1
        while width < config.narrowest:
            blocks, width = self._pairs(m, blocks, width), 2 * width
        lanes = blocks
        for step in range(1, config.steps):
            blocks = self._pairs(m, blocks, width << step - 1)
            wide = self.setting.wide == step
            lanes = [
                (Mux(wide, blocks[k >> step][0], value), Mux(wide, blocks[k >> step][1], there))
                if k % (1 << step) == 0
                else (value, there & ~wide)
                for k, (value, there) in enumerate(lanes)
            ]
        m.d.sync += [
            self.o.valid.eq(self.i.valid),
            terms.last.eq(beat.last),
            terms.end_row.eq(beat.end_row),
            terms.end_head.eq(beat.end_head),
            terms.exists.eq(Cat(there for _, there in lanes)),
            *(terms.terms[k].eq(value) for k, (value, _) in enumerate(lanes)),
            *([terms.keys.eq(beat.valid)] if config.fill else []),
        ]
        return m

    def _pairs(self, m: Module, blocks: list, width: int) -> list:
        """Blocks of twice the width; what is in a block without a valid score is 0."""
        peak = chosen(self.config, self.setting, "peak_columns")
        joined = []
        for k, ((left, some), (right, more)) in enumerate(zip(blocks[::2], blocks[1::2], strict=True)):
            value = Signal(shape_of(self.config.term), name=f"pair{width}_{k}")
            larger = Mux(some & (~more | exceeds(left, right)), left, right)
            m.d.comb += value.eq(Mux(peak, larger, left + right))
            joined.append((value, some | more))
        return joined


class Gather(wiring.Component):
    """Terms of a block height of rows to thetas.

    Ports: `i`: `Terms`. `setting`. `o`: `Group`, a cycle after its last terms. Throughput: terms in every cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "setting": In(Setting(config)),
                "i": In(stream.Signature(Terms(config), always_ready=True)),
                "o": Out(stream.Signature(Group(config), always_ready=True)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        first = Signal(init=1)
        m.d.sync += [
            self.o.valid.eq(self.i.valid & self.i.p.last),
            self.o.p.end_row.eq(self.i.p.end_row),
            self.o.p.end_head.eq(self.i.p.end_head),
        ]
        with m.If(self.i.valid):
            m.d.sync += first.eq(self.i.p.last)
        for lane in range(self.config.lanes):
            self._lane(m, lane, first)
        if self.config.fill:
            keys = Signal(self.config.columns, reset_less=True)
            m.d.comb += self.o.p.keys.eq(keys)
            with m.If(self.i.valid):
                m.d.sync += keys.eq(self.i.p.keys | Mux(first, 0, keys))
        return m

    def _lane(self, m: Module, lane: int, first: Signal) -> None:
        bits, signed = self.config.theta.bits, self.config.theta.signed
        peak = chosen(self.config, self.setting, "peak_rows")
        theta = Signal(shape_of(self.config.theta), name=f"theta{lane}", reset_less=True)
        there = Signal(name=f"there{lane}", reset_less=True)
        term, more = self.i.p.terms[lane], self.i.p.exists[lane]
        old, new, total = (Signal(Shape(bits + 1, True), name=f"{name}{lane}") for name in ("old", "new", "total"))
        larger = peak & more & (~there | total[-1])
        m.d.comb += [
            old.eq(theta),
            new.eq(term),
            # One adder for both: old + new, or old - new.
            total.eq((Cat(1, old) + Cat(peak, new ^ peak.replicate(bits + 1)))[1:]),
            self.o.p.exists[lane].eq(there),
            self.o.p.theta[lane].eq(Cat(theta[:-1], theta[-1] ^ int(signed)) & there.replicate(bits)),
        ]
        with m.If(self.i.valid):
            m.d.sync += there.eq(more | (there & ~first))
            with m.If(first | larger):
                m.d.sync += theta.eq(new)
            with m.Elif(~peak):
                m.d.sync += theta.eq(total)
