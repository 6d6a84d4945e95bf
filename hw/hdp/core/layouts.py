"""What travels inside a core."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.hdp.layouts import Setting, shape_of
from celosia.hw.hdp.widths import CODE_BITS
from celosia.hw.numerics import MULT_BITS, ROW_MULT_BITS, SHIFT_BITS

NIBBLE = FRACTION
OPERAND = NIBBLE + 1
"""Bits of an operand of a nibble multiplier: signed, and wide enough for a nibble that is not."""
SLOTS = 4
"""Nibble multipliers of a PE."""
ALIGNED = 4
"""A head begins at a multiple of so many rows of a local memory, at every rate."""


class Operand(enum.Enum, shape=2):
    """A local memory."""

    QUERY = 0
    KEY = 1
    VALUE = 2


class Write(data.StructLayout):
    """A word for a local memory: codes of row `row`, from channel `part * bus` on."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(
            {
                "operand": Operand,
                "row": ceil_log2(config.rows),
                "part": ceil_log2(config.parts),
                "codes": data.ArrayLayout(signed(CODE_BITS), config.bus),
            }
        )


class HeadJob(data.StructLayout):
    """A head. `length`: tokens, at least one. `query`, `key`, `value`: rows where it begins, multiples of 4.

    `causal`: no key after its query. `dense`: no integer pass, all blocks are kept. `approximate`: no product of
    fractions. `headed`: the head may be pruned (without `tau` in the configuration it never is). `absolute`,
    `peak_columns`, `peak_rows`, `rho`, `limit`: as in the engine's `Setting`. `score_mult`, `score_shift`: to an
    exponent with 8 fraction bits. `mant`, `mant_shift`: scale of the context, over the sum of the weights.
    """

    def __init__(self, config: CoreConfig) -> None:
        setting = Setting(config.engine)
        row = ceil_log2(config.rows)
        super().__init__(
            {
                "length": config.length.bit_length(),
                "query": row,
                "key": row,
                "value": row,
                "causal": 1,
                "dense": 1,
                "approximate": 1,
                "headed": 1,
                **{name: setting[name].shape for name in ("absolute", "peak_columns", "peak_rows", "rho", "limit")},
                "score_mult": MULT_BITS,
                "score_shift": SHIFT_BITS,
                "mant": MULT_BITS,
                "mant_shift": SHIFT_BITS,
            }
        )


class HeadSignature(wiring.Signature):
    """A unit's view of the heads, seen from the unit: `available`: `job` is the head that it has to do next; `over`: it
    has done it."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"available": In(1), "job": In(HeadJob(config)), "over": Out(1)})


class Kind(enum.Enum, shape=2):
    """What the PEs do in a cycle. INTEGER: scores of `rate` keys, integer parts. SCORE: of one key. PAIR: both cross
    products of both keys of a block. VALUE: weights by a row of V."""

    INTEGER = 0
    SCORE = 1
    PAIR = 2
    VALUE = 3


class Tag(data.StructLayout):
    """What is known of the sums of a cycle. `valid`: a bit a score, key by key, both queries of a key together.
    `first`, `last`: of a pair of queries; `end_head`: and of the head. `block`: of keys; `second`: its second key.
    `single`: its second key does not exist. `buffer`: where its integer scores are kept."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(
            {
                "valid": BLOCK * max(config.rate, BLOCK),
                "first": 1,
                "last": 1,
                "end_head": 1,
                "block": ceil_log2(config.pairs),
                "second": 1,
                "single": 1,
                "buffer": 2,
            }
        )


class Step(data.StructLayout):
    """A cycle of the PEs. `query`: pair of rows, read with `turn`. `row`: of K or V, read with `fetch`.
    `keep`: integer scores are kept. `weights`: of both queries (VALUE)."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(
            {
                "kind": Kind,
                "approximate": 1,
                "query": ceil_log2(config.rows // BLOCK),
                "turn": 1,
                "row": ceil_log2(config.rows),
                "fetch": 1,
                "keep": 1,
                "weights": data.ArrayLayout(unsigned(CODE_BITS), BLOCK),
                "tag": Tag(config),
            }
        )


class Sums(data.StructLayout):
    """Integer scores of `rate` keys, both queries of a key together."""

    def __init__(self, config: CoreConfig) -> None:
        score = data.ArrayLayout(shape_of(config.engine.score), BLOCK)
        super().__init__({"scores": data.ArrayLayout(score, config.rate), "tag": Tag(config)})


class Scores(data.StructLayout):
    """Scores of a key, or of both keys of a block (`pair`)."""

    def __init__(self, config: CoreConfig) -> None:
        score = data.ArrayLayout(shape_of(config.score), BLOCK)
        super().__init__({"scores": data.ArrayLayout(score, BLOCK), "pair": 1, "tag": Tag(config)})


class Listed(data.StructLayout):
    """A kept block of a row of blocks; `none`: the row keeps none, and this stands for it. `last`: of the row."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"block": ceil_log2(config.pairs), "none": 1, "last": 1})


class Group(data.StructLayout):
    """Masks of a group of keys: a bit a block; ends of a row of blocks, and of the head."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"keep": config.rate, "end_row": 1, "end_head": 1})


class ScoreRow(data.StructLayout):
    """Scores of a pair of queries, all there: the place of its last block, whether that has one key only, the greatest
    score of each query; `end_head`: the last of the head."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(
            {
                "last": ceil_log2(config.pairs),
                "single": 1,
                "end_head": 1,
                "maxima": data.ArrayLayout(shape_of(config.score), BLOCK),
            }
        )


class Weighted(data.StructLayout):
    """Weights of a key; `fetch`: one of them may be other than 0. `last`: of the pair; `end_head`."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(
            {
                "weights": data.ArrayLayout(unsigned(CODE_BITS), BLOCK),
                "key": ceil_log2(config.length),
                "fetch": 1,
                "last": 1,
                "end_head": 1,
            }
        )


class Totals(data.StructLayout):
    """Sums of the weights of a pair of queries; `end_head`."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"totals": data.ArrayLayout(unsigned(config.total.bits), BLOCK), "end_head": 1})


class Factor(data.Struct):
    """Multiplier and shift of a row of context."""

    mult: ROW_MULT_BITS
    shift: SHIFT_BITS


class Context(data.StructLayout):
    """Codes of a row of context, in channel order; `last` of the row; `end_head`: of the head."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({"codes": data.ArrayLayout(signed(CODE_BITS), config.lanes), "last": 1, "end_head": 1})


class Work(data.Struct):
    """What happens in a cycle, to be counted. `integer`, `score`, `value`: the PEs do it. `fractions`: rows of K whose
    fraction parts are read. `values`: a row of V is."""

    integer: 1
    score: 1
    value: 1
    fractions: 2
    values: 1


def step_stream(config: CoreConfig) -> stream.Signature:
    """Steps for the PEs."""
    return stream.Signature(Step(config))
