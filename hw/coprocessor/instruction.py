"""What ATTEND says beside its head (`celosia.hw.isa`)."""

from amaranth.hdl import signed
from amaranth.lib import data

from celosia.hw.hdp.widths import HEAD_BITS, RHO_BITS


class Attention(data.Struct):
    """Attention of one head by core `core`, pruned by docs/hdp.md in blocks of 2 x 2.

    Q, K and V of `length` tokens begin at rows `query`, `key` and `value`, multiples of 4, of the core's memories; the
    context goes to rows `context` ... of the core's context memory. `causal`: no key after its query. `dense`: nothing
    is pruned, and nothing decided. `approximate`: no products of fractions. `headed`: the head is pruned, with context
    0, if its importance is below `limit`. `absolute`, `peak_columns`, `peak_rows`: as in `Decide`. `rho`: threshold in
    256ths, from -256 to 256. `score_mult`, `score_shift`: from scores to exponents with 8 fraction bits. `mant`,
    `mant_shift`: of the context, over the sum of the weights.
    LOAD must leave these rows alone, up to the next multiple of 4, until it is done.
    Cores work side by side, each on its heads in order; done, in the order of instructions, when the context is
    written. Illegal if there is no such core, if the core cannot do it (its length, rules, heads), if a row is no
    multiple of 4, or rho beyond its range. SCRATCHPAD_RANGE: rows of Q, K or V beyond the memory, with LOAD's address
    of the first of them; ACCUMULATOR_RANGE: rows of context beyond it, with STORE's address.
    """

    core: 8
    causal: 1
    dense: 1
    approximate: 1
    headed: 1
    absolute: 1
    peak_columns: 1
    peak_rows: 1
    reserved0: 1
    length: 16
    query: 16
    key: 16
    value: 16
    context: 16
    rho: signed(RHO_BITS)
    reserved1: 6
    limit: signed(HEAD_BITS)
    score_mult: 16
    score_shift: 6
    reserved2: 2
    mant: 16
    mant_shift: 6
    reserved3: 50
