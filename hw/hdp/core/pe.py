"""A processing element, and the rows of them."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.hdp.core.layouts import NIBBLE, OPERAND, SLOTS
from celosia.hw.hdp.layouts import shape_of
from celosia.hw.post.statistics import AdderTree
from celosia.hw.post.timeline import tree_latency

PRODUCT_BITS = 16
"""Of a weight or a code by a code."""
TERM_BITS = {4: 2 * NIBBLE, 2: 3 * NIBBLE, 1: PRODUCT_BITS}
"""Of what a PE adds to a score, by the rate: a nibble product; two of them, one at 16 times its weight; all four."""


class Element(wiring.Component):
    """Four nibble multipliers: a product of bytes, or `rate` of nibbles; and a sum that stays here.

    `low`, `high`: operands from the side of the query; multiplier k takes `right[k]` and `low` (k even) or `high`.
    As bytes, the products weigh 1, 16, 16 and 256.

    Ports: operands, signed. `apart`: products 0 and 1, 2 and 3 weigh the same (pairs at rate 2). `terms`: what goes to
    the sums of scores, combinational: the products one by one (rate 4), 0 and 1, 2 and 3 (rate 2), all (rate 1).
    `multiply`: the product of bytes is kept; `add` in the next cycle: it goes to the sum, which begins with `first`.
    `shift`, not with `add`: the sum is what is `above`. `sum`.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        total = shape_of(config.context)
        super().__init__(
            {
                "low": In(signed(OPERAND)),
                "high": In(signed(OPERAND)),
                "right": In(data.ArrayLayout(signed(OPERAND), SLOTS)),
                "apart": In(1),
                "terms": Out(data.ArrayLayout(signed(TERM_BITS[config.rate]), config.rate)),
                "multiply": In(1),
                "add": In(1),
                "first": In(1),
                "shift": In(1),
                "above": In(total),
                "sum": Out(total),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        left = (self.low, self.high) * 2
        # 15 by 15 is the greatest product and -15 by 8 the least: nine bits.
        parts = [Signal(signed(2 * NIBBLE + 1), name=f"part{k}") for k in range(SLOTS)]
        m.d.comb += [part.eq(a * self.right[k]) for k, (part, a) in enumerate(zip(parts, left, strict=True))]
        halves = [Signal(signed(3 * NIBBLE + 2), name=f"half{k}") for k in range(2)]
        for half, low, high in zip(halves, parts[::2], parts[1::2], strict=True):
            weighed = high << NIBBLE
            m.d.comb += half.eq(low + (Mux(self.apart, high, weighed) if self.config.rate == 2 else weighed))
        whole, product = Signal(signed(PRODUCT_BITS)), Signal(signed(PRODUCT_BITS), reset_less=True)
        m.d.comb += whole.eq(halves[0] + (halves[1] << NIBBLE))
        terms = {4: parts, 2: halves, 1: [whole]}[self.config.rate]
        m.d.comb += [self.terms[k].eq(term) for k, term in enumerate(terms)]
        with m.If(self.multiply):
            m.d.sync += product.eq(whole)
        with m.If(self.add):
            m.d.sync += self.sum.eq(product + Mux(self.first, 0, self.sum))
        with m.Elif(self.shift):
            m.d.sync += self.sum.eq(self.above)
        return m


class Operands(data.StructLayout):
    """What the elements of a lane, one a query, take in a cycle."""

    def __init__(self) -> None:
        nibble = signed(OPERAND)
        super().__init__(
            {
                "low": data.ArrayLayout(nibble, BLOCK),
                "high": data.ArrayLayout(nibble, BLOCK),
                "right": data.ArrayLayout(nibble, SLOTS),
            }
        )


def elements_latency(config: CoreConfig) -> int:
    """Cycles from operands to their sums over the channels."""
    return tree_latency(config.width)


class Elements(wiring.Component):
    """`BLOCK * width` elements: sums over the channels, for scores, and sums that stay, for the context.

    Ports: `operands`, a lane a channel. `score`: they are for scores; `apart`. `totals`: sums over the channels by
    query and term, `latency` cycles later. `value`: they are weights and V; a cycle later `first`: of a pair.
    `shift`, not until two cycles after a `value`: the sums move by `lanes`; `front`: the sums of the first `lanes`
    channels, of the first query to begin with, then those of the next.
    Throughput: operands in every cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.latency = elements_latency(config)
        bits = TERM_BITS[config.rate]
        self.trees = [[AdderTree(config.width, bits) for _ in range(config.rate)] for _ in range(BLOCK)]
        total = data.ArrayLayout(signed(len(self.trees[0][0].o)), config.rate)
        super().__init__(
            {
                "operands": In(data.ArrayLayout(Operands(), config.width)),
                "score": In(1),
                "apart": In(1),
                "totals": Out(data.ArrayLayout(total, BLOCK)),
                "value": In(1),
                "first": In(1),
                "shift": In(1),
                "front": Out(data.ArrayLayout(shape_of(config.context), config.lanes)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        adding = Signal()
        m.d.sync += adding.eq(self.value)
        elements = [Element(config) for _ in range(BLOCK * config.width)]
        for index, element in enumerate(elements):
            query, lane = divmod(index, config.width)
            m.submodules[f"element{query}_{lane}"] = element
            operands, above = self.operands[lane], index + config.lanes
            m.d.comb += [
                element.low.eq(operands.low[query]),
                element.high.eq(operands.high[query]),
                element.right.eq(operands.right),
                element.apart.eq(self.apart),
                element.multiply.eq(self.value),
                element.add.eq(adding),
                element.first.eq(self.first),
                element.shift.eq(self.shift),
                element.above.eq(elements[above].sum if above < len(elements) else 0),
            ]
        m.d.comb += [self.front[k].eq(elements[k].sum) for k in range(config.lanes)]
        self._sum(m, elements)
        return m

    def _sum(self, m: Module, elements: list[Element]) -> None:
        under_way = Signal(self.latency)
        m.d.sync += under_way.eq(Cat(self.score, under_way))
        for query, trees in enumerate(self.trees):
            lanes = elements[query * self.config.width : (query + 1) * self.config.width]
            for term, tree in enumerate(trees):
                m.submodules[f"tree{query}_{term}"] = tree
                m.d.comb += [
                    *(tree.i[lane].eq(element.terms[term]) for lane, element in enumerate(lanes)),
                    tree.advance.eq(Cat(self.score, under_way)),
                    self.totals[query][term].eq(tree.o),
                ]
