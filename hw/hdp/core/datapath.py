"""From steps to scores: memories, operands, elements."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from celosia.hw.common.sram import Sram
from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.core.config import BLOCK, ROWS_AHEAD, CoreConfig
from celosia.hw.hdp.core.layouts import NIBBLE, Kind, Scores, Step, Sums, Tag, Write
from celosia.hw.hdp.core.memories import Memories, Planes
from celosia.hw.hdp.core.pe import Elements, Operands, elements_latency
from celosia.hw.hdp.layouts import shape_of
from celosia.hw.hdp.widths import CODE_BITS

USED = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3)}
"""Multipliers of an element in the integer pass, by the rate."""


class Select(wiring.Component):
    """What was read, as operands of the nibble multipliers.

    INTEGER: the query's integer parts by those of `rate` keys. SCORE: both parts by both parts, exact (the integer part
    is not saturated, the fraction part that of the lower nibble) or approximate (both saturated, and fraction by
    fraction left out). PAIR: fraction by integer part and the other way round, of two keys. VALUE: nibbles of the
    weights by those of V.

    Ports: `step`: of what was read; memories' outputs; `o`: a lane a channel. Combinational.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        planes = Planes(config.width)
        super().__init__(
            {
                "step": In(Step(config)),
                "query": In(data.ArrayLayout(planes, BLOCK)),
                "wholes": In(data.ArrayLayout(config.width * NIBBLE, config.rate)),
                "key": In(data.ArrayLayout(planes, config.fraction_banks)),
                "value": In(config.width * CODE_BITS),
                "o": Out(data.ArrayLayout(Operands(), config.width)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        kind = self.step.kind
        integer, value = kind == Kind.INTEGER, kind == Kind.VALUE
        exact = (kind == Kind.SCORE) & ~self.step.approximate
        for lane in range(self.config.width):
            operands = self.o[lane]
            for q in range(BLOCK):
                whole, part = self._parts(self.query[q], lane, exact)
                weight = self.step.weights[q]
                low = Mux(integer, whole, part)
                m.d.comb += [
                    operands.low[q].eq(Mux(value, Cat(weight[:NIBBLE], Const(0, 1)).as_signed(), low)),
                    operands.high[q].eq(Mux(value, Cat(weight[NIBBLE:], Const(0, 1)).as_signed(), whole)),
                ]
            code = self.value.word_select(lane, CODE_BITS)
            values = (Cat(code[:NIBBLE], Const(0, 1)).as_signed(), code[NIBBLE:].as_signed())
            for slot, right in enumerate(self._right(lane, exact)):
                m.d.comb += operands.right[slot].eq(Mux(value, values[slot >> 1], right))
        return m

    def _right(self, lane: int, exact) -> list:
        """Operands from the side of the keys, but for VALUE."""
        integer, pair = self.step.kind == Kind.INTEGER, self.step.kind == Kind.PAIR
        parts = [self._parts(key, lane, exact) for key in self.key]
        # Of fraction by fraction nothing is left in approximate scores.
        single = (Mux(exact, parts[0][1], 0), parts[0][1], parts[0][0], parts[0][0])
        double = (parts[0][0], parts[0][1], parts[-1][0], parts[-1][1])
        found = []
        for slot in range(len(single)):
            right = Mux(pair, double[slot], single[slot]) if self.config.reuse else single[slot]
            bank = USED[self.config.rate]
            whole = self.wholes[bank.index(slot)].word_select(lane, NIBBLE).as_signed() if slot in bank else Const(0)
            found.append(Mux(integer, whole, right))
        return found

    def _parts(self, planes, lane: int, exact) -> tuple:
        """Integer and fraction part, exact or saturated."""
        whole, low = planes.whole.word_select(lane, NIBBLE), planes.low.word_select(lane, NIBBLE)
        clipped = planes.clipped[lane]
        one_more, top = clipped & exact, clipped & ~exact
        # Saturated parts are 7 and 7; the integer part that is one more is 8.
        count = NIBBLE - 1
        integer = Cat(whole[:count] & ~one_more.replicate(count), whole[count] | one_more, whole[count])
        fraction = Cat(low[:count] | top.replicate(count), low[count] & ~top)
        return integer.as_signed(), fraction.as_signed()


class Stage(data.StructLayout):
    """A step on its way through the elements."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"valid": 1, "kind": Kind, "keep": 1, "tag": Tag(config)})


def datapath_latency(config: CoreConfig) -> int:
    """Cycles from a step to the sums of its scores: read, operands, sums over the channels."""
    return 2 + elements_latency(config)


class Datapath(wiring.Component):
    """Does steps: reads, multiplies, adds up.

    Ports: `write`: to the local memories. `step`: one in any cycle, always taken. `integer`: sums of INTEGER, `scores`:
    of SCORE and PAIR, `latency` and one more cycles later; PAIR adds the integer scores that INTEGER steps with `keep`
    left in the tag's `buffer`, at the tag's block. `full`: the last VALUE of a pair is in the sums. `shift`, `front`:
    see `Elements`.
    Throughput: a step a cycle, of any kind.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.elements = Elements(config)
        self.latency = datapath_latency(config)
        super().__init__(
            {
                "write": In(stream.Signature(Write(config), always_ready=True)),
                "step": In(stream.Signature(Step(config), always_ready=True)),
                "integer": Out(stream.Signature(Sums(config), always_ready=True)),
                "scores": Out(stream.Signature(Scores(config), always_ready=True)),
                "full": Out(1),
                "shift": In(1),
                "front": Out(self.elements.front.shape()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memories = memories = Memories(self.config)
        m.submodules.select = select = Select(self.config)
        m.submodules.elements = elements = self.elements
        connect(m, flipped(self.write), memories.write)
        m.d.comb += [memories.step.valid.eq(self.step.valid), memories.step.p.eq(self.step.p)]
        m.d.comb += [
            select.query.eq(memories.query),
            select.wholes.eq(memories.wholes),
            select.key.eq(memories.key),
            select.value.eq(memories.value),
        ]
        stages = self._stages(m)
        with m.If(stages[1].valid):
            m.d.sync += elements.operands.eq(select.o)
        m.d.comb += [
            select.step.eq(self.read),
            elements.score.eq(stages[2].valid & (stages[2].kind != Kind.VALUE)),
            elements.apart.eq(stages[2].kind == Kind.PAIR),
            elements.value.eq(stages[2].valid & (stages[2].kind == Kind.VALUE)),
            elements.first.eq(stages[3].tag.first),
            elements.shift.eq(self.shift),
            self.front.eq(elements.front),
        ]
        m.d.sync += self.full.eq(stages[3].valid & (stages[3].kind == Kind.VALUE) & stages[3].tag.last)
        self._integers(m, stages[self.latency])
        self._scores(m, stages[self.latency - 1], stages[self.latency])
        return m

    def _stages(self, m: Module) -> list:
        """What is in each stage: of stage 0 what is being read, of stage 1 what was."""
        layout = Stage(self.config)
        stages = [Signal(layout, name="stage0")]
        m.d.comb += [stages[0].valid.eq(self.step.valid)]
        m.d.comb += [stages[0][name].eq(self.step.p[name]) for name in ("kind", "keep", "tag")]
        self.read = Signal(Step(self.config), reset_less=True)
        with m.If(self.step.valid):
            m.d.sync += self.read.eq(self.step.p)
        for k in range(1, max(self.latency, 3) + 1):
            stages.append(Signal(layout, name=f"stage{k}"))
            m.d.sync += stages[k].eq(stages[k - 1])
        return stages

    def _integers(self, m: Module, stage) -> None:
        """Sums of the integer pass; they are kept for pairs."""
        config, totals = self.config, self.elements.totals
        out = self.integer.p
        m.d.comb += [self.integer.valid.eq(stage.valid & (stage.kind == Kind.INTEGER)), out.tag.eq(stage.tag)]
        for key in range(config.rate):
            m.d.comb += [out.scores[key][q].eq(totals[q][key]) for q in range(BLOCK)]
        if not config.reuse:
            return
        blocks = config.rate // BLOCK
        self.low = ceil_log2(blocks)
        words = 1 << len(stage.tag.block) - self.low
        m.submodules.kept = self.kept = kept = Sram(ROWS_AHEAD * words, len(Value.cast(out.scores)))
        m.d.comb += [
            kept.write_en.eq(self.integer.valid & stage.keep & stage.tag.valid.any()),
            kept.write_address.eq(Cat(stage.tag.block[self.low :], stage.tag.buffer)),
            kept.write_data.eq(out.scores),
        ]

    def _scores(self, m: Module, before, stage) -> None:
        """Terms to scores, by their weights."""
        config, totals, out = self.config, self.elements.totals, self.scores.p
        pair = stage.kind == Kind.PAIR
        m.d.sync += [
            self.scores.valid.eq(stage.valid & ((stage.kind == Kind.SCORE) | pair)),
            out.pair.eq(pair),
            out.tag.eq(stage.tag),
        ]
        if config.reuse:
            m.d.comb += [
                self.kept.read_en.eq(before.valid & (before.kind == Kind.PAIR)),
                self.kept.read_address.eq(Cat(before.tag.block[self.low :], before.tag.buffer)),
            ]
            size = len(self.kept.read_data) * BLOCK // config.rate
            score = data.ArrayLayout(shape_of(config.engine.score), BLOCK)
            word = self.kept.read_data.word_select(stage.tag.block[: self.low], size)
            integers = data.View(data.ArrayLayout(score, BLOCK), word)
        for q in range(BLOCK):
            terms = [totals[q][k] for k in range(config.rate)]
            single = Signal(shape_of(config.score), name=f"single{q}")
            m.d.comb += single.eq(self._single(terms))
            for key in range(BLOCK):
                value = single
                if config.reuse:
                    half = len(terms) // BLOCK
                    cross = sum(terms[half * key + 1 : half * (key + 1)], terms[half * key])
                    value = Mux(pair, (integers[key][q] << 2 * FRACTION) + (cross << FRACTION), single)
                m.d.sync += out.scores[key][q].eq(value)

    def _single(self, terms: list):
        """The score of a key."""
        if len(terms) == 4:
            return terms[0] + (terms[1] + terms[2] << NIBBLE) + (terms[3] << 2 * NIBBLE)
        return terms[0] + (terms[1] << NIBBLE) if len(terms) == 2 else terms[0]
