"""The instruction set: the one definition that hardware, compiler, disassembler and documentation share.

A program is a 32-byte header and 32-byte little-endian instructions. Every instruction starts with `Head`: its opcode,
the units whose token it takes before it starts (`wait`) and those that it gives a token to when it is done (`signal`).
There is one counting semaphore for each ordered pair of units; an instruction takes or gives at most one token of each.

All on-chip tensors are *blocked*: channels in blocks of `array.rows`, `[block][row][channel of the block]`, so that one
scratchpad word is one row of one block; a stride is the distance in words between blocks. int16 tensors take two words
per row and block (channels low, channels high), so that their row r is at `2 * r`. A memory image has the same layout.
In co-processors a block has as many channels as the bus has bytes.
"""

import enum as pyenum

from amaranth.hdl import signed
from amaranth.lib import data, enum

from celosia.hw.coprocessor.instruction import Attention
from celosia.hw.hdp.widths import HEAD_BITS, RHO_BITS

VERSION = 1
MAGIC = 0x41534C43  # "CLSA"
INSTRUCTION_BYTES = 32
INSTRUCTION_BITS = 8 * INSTRUCTION_BYTES
WINDOWS = 4
SCRATCHPAD_ADDRESS_BITS = 24
ACC_ADDRESS_BITS = 16
LIST_BITS = 12
HEAD_SLOT_BITS = 4
HEAD_SLOTS = 1 << HEAD_SLOT_BITS


class Unit(pyenum.IntEnum):
    """The units, in the order of the bits of `wait` and `signal`. The upper half of an opcode is its unit plus one."""

    LOAD = 0
    ARRAY = 1
    POST = 2
    STORE = 3


UNITS = len(Unit)


class Opcode(enum.Enum, shape=8):
    """Operations. Zero, and everything that is not listed, is illegal."""

    END = 0x01
    LOAD = 0x10
    MATMUL = 0x20
    DECIDE = 0x21
    KEYS = 0x22
    ATTEND = 0x23
    REQUANT = 0x30
    EXP = 0x31
    RESIDUAL = 0x32
    NORM = 0x33
    TABLE = 0x34
    STORE = 0x40

    @property
    def unit(self) -> Unit | None:
        """The unit that executes it; None for control."""
        return Unit((self.value >> 4) - 1) if self.value >> 4 else None


class Activation(enum.Enum, shape=2):
    """What follows the requantisation of REQUANT. TABLE looks up the activation table (or runs the I-BERT GELU)."""

    NONE = 0
    RELU = 1
    TABLE = 2


class Head(data.Struct):
    """First 16 bits of every instruction."""

    opcode: Opcode
    wait: 4
    signal: 4


class Control(data.Struct):
    """END: wait until every unit is idle and every write is acknowledged, then raise done."""

    head: Head
    reserved: 240


class Transfer(data.Struct):
    """LOAD and STORE: `segments` segments of `words` scratchpad words each.

    Segment i is at `offset + i * stride` bytes of memory window `window` and at `address + i * sp_stride` words of the
    scratchpad. Offset, stride and length are multiples of the larger of bus and word.
    """

    head: Head
    window: 8
    reserved0: 8
    offset: 32
    stride: 32
    words: 16
    segments: 16
    address: 24
    sp_stride: 16
    reserved1: 88


class Matmul(data.Struct):
    """MATMUL: acc[n][m] (+)= sum over k of A[k][m] . B[k][n], whole on chip, `k_tiles` x `n_tiles` tiles of the array,
    n outermost.

    A is blocked, m rows, `a_stride` words between its blocks; tile k is block k. `unsigned_a`: A is u8.
    B: with `transposed`, B is stored N x K, as weights [out, in] and K of attention are: tile (k, n) is rows n *
    columns ... of block k, `b_stride` words between blocks. Without, B is stored K x N, as V of attention is: tile (k,
    n) is rows k * rows ... of the block(s) that hold channels n * columns ...
    Result row m of tile n goes to accumulator row `acc_address + n * acc_stride + m`; `accumulate` adds to what is
    there in the first k tile already.
    `maxima`: while the last k tile is written, row m's maximum over the valid columns goes to statistics row
    `stat_row + m`; `maxima_init` starts it afresh at n tile 0, without it the maximum continues. Column c of row m is
    valid iff c < length and, with `causal`, c <= m + diagonal; c counts from n tile 0.
    `gather` (with HDP): only kept keys, those of list `list` (`Decide`); none if `headed` and head slot `slot` says
    pruned. `length` is their number. With `transposed` column c of n tile n is kept key n * columns + c, the word at
    `b_address` + k * `b_stride` + key; there are as many n tiles as the keys need, and `n_tiles` at most. Without, row
    r of k tile k of B is kept key k * rows + r, and `k_tiles` is the most. The rest of the last tile is zeros, and is
    not fetched. Without keys nothing is computed and nothing written. It waits for its list, which a DECIDE before it
    writes. With `causal` it is illegal.
    """

    head: Head
    unsigned_a: 1
    transposed: 1
    accumulate: 1
    maxima: 1
    maxima_init: 1
    causal: 1
    a_address: 24
    a_stride: 16
    b_address: 24
    b_stride: 16
    acc_address: 16
    acc_stride: 16
    m: 16
    n_tiles: 12
    k_tiles: 12
    length: 16
    diagonal: signed(17)
    stat_row: 12
    reserved0: 3
    list: LIST_BITS
    slot: HEAD_SLOT_BITS
    headed: 1
    gather: 1
    reserved1: 16


class Decide(data.Struct):
    """DECIDE (with HDP): which keys a row of blocks of a head keeps, by hybrid dynamic pruning (docs/hdp.md).

    A (`m` queries, a row of blocks) and B (keys, of which `length` exist) are as those of a transposed MATMUL, in int8;
    their integer parts at 4 fraction bits are multiplied, A . B^T. The sums of tile n pass through accumulator rows
    `acc_address` ..., which hold those of the last tile in the end. The importance of blocks of `m` queries by
    2^`wide` keys is the sum of absolute values (`absolute`) or of values, or the largest of a row (`peak_columns`), and
    of the rows (`peak_rows`) too. `rho`: threshold in 256ths. `fill` (with `hdp.fill`, else illegal): the next most
    important keys are kept too, as far as the last tile of columns has room. Kept keys go to list `list`: an even and
    an odd one by turns, each ascending, then those that are left of one kind. With `end_head` the head ends: its
    importance since the last such end decides against `limit` whether it is kept, and head slot `slot` holds that. All
    rows of blocks of a head have the same setting.
    `n_tiles` is `length` / columns, rounded up. Done when list and slot are written.
    At a nibble rate above 1, B is half `half` of the key store, which the last KEYS of that half filled with as many
    keys and k tiles (`b_address` and `b_stride` mean nothing), and `m` is at most the smaller of rows and columns. The
    keys stream, the queries are the weights, and a *pass* multiplies as many k tiles as the rate. If there are several,
    accumulator row `acc_address` + n holds A of key n and query c in column c in the end (0 beyond `m`); else the
    accumulator is not touched, and `acc_address` means nothing.
    """

    # What it shares with MATMUL is where it is there.
    head: Head
    absolute: 1
    peak_columns: 1
    peak_rows: 1
    wide: 3
    a_address: 24
    a_stride: 16
    b_address: 24
    b_stride: 16
    acc_address: 16
    rho: signed(RHO_BITS)
    end_head: 1
    half: 1
    fill: 1
    reserved0: 3
    m: 8
    reserved1: 8
    n_tiles: 12
    k_tiles: 12
    length: 16
    limit: signed(HEAD_BITS)
    list: LIST_BITS
    slot: HEAD_SLOT_BITS
    reserved2: 18


class Keys(data.Struct):
    """KEYS (with HDP, at a nibble rate above 1): the integer parts of `length` keys of `k_tiles` k tiles go to half
    `half` of the key store, for the DECIDEs that follow; k tile t of key n is the word at `b_address` + t * `b_stride`
    + n.

    A half holds half of the words of the store (`hw.hdp.store`). Keys that need more take both halves, and `half` is 0.
    It takes the place of what was in the half, or in both. It waits for the DECIDEs before it that use the half, and
    for a KEYS before it.
    The keys are fetched behind what follows, in cycles in which ARRAY fetches no left operand; a DECIDE of the half
    waits for the last of them. KEYS itself is done as soon as it has begun: the keys in the scratchpad may be
    overwritten when the first DECIDE of the half behind it is done, or when a KEYS behind it is.
    """

    # What it shares with DECIDE is where it is there.
    head: Head
    reserved0: 46
    b_address: 24
    b_stride: 16
    reserved1: 27
    half: 1
    reserved2: 32
    k_tiles: 12
    length: 16
    reserved3: 66


class Attend(data.Struct):
    """ATTEND (co-processors): attention of one head."""

    head: Head
    body: Attention


class PostHead(data.Struct):
    """What the POST operations that read the accumulator share: `groups` groups of `lanes` channels, `m` rows each.

    Channel group g, row i is lanes g * lanes ... of the channels; channel c of row i is column c % columns of
    accumulator row `acc_address + (c // columns) * acc_stride + i`. `stat_row`: statistics row of row 0.
    """

    acc_address: 16
    acc_stride: 16
    m: 16
    groups: 12
    stat_row: 12


class Requant(data.Struct):
    """REQUANT: int8 (blocked, at `out_address`, `out_stride`) = activation(requantise(acc)).

    By `row_factor` with the row factors of the statistics rows and no bias; else with the records at `parameters`.
    """

    head: Head
    post: PostHead
    row_factor: 1
    activation: Activation
    reserved0: 5
    parameters: 24
    out_address: 24
    out_stride: 16
    constants: 96


class Exp(data.Struct):
    """EXP: softmax weights u8 from scores and their row maxima; then row factors `mant * 2^-mant_shift / sum`.

    `first` starts the rows' sums afresh; `last` computes the row factors when all weights are summed. A row may so be
    spread over several instructions. Valid columns as in `Matmul`, c counts from this instruction's group 0; groups
    beyond them still write their zero weights.
    `gather` (with HDP): columns are the kept keys of `list`, none if `headed` and `slot` says pruned: `length` is their
    number, and `groups` is the most; there are as many as whole words of `array.rows` weights take. Without keys
    nothing is read or written but, with `last`, the row factors: 0 where the sum is. The list is written when it
    starts: a token says so.
    """

    head: Head
    post: PostHead
    causal: 1
    first: 1
    last: 1
    reserved0: 5
    out_address: 24
    out_stride: 16
    mult: 16
    shift: 6
    length: 16
    diagonal: signed(17)
    mant: 16
    mant_shift: 6
    gather: 1
    list: LIST_BITS
    headed: 1
    slot: HEAD_SLOT_BITS
    reserved1: 25


class Residual(data.Struct):
    """RESIDUAL: x = sat16(sat16(requantise(acc)) + residual), back into the accumulator, and LayerNorm statistics of
    the rows.

    `first` starts the rows' sums afresh; `last` computes mean and row factor; a row may be spread over several
    instructions. `no_acc`: x is the residual alone. The residual is int16, blocked. `channels`, `inverse`,
    `inverse_shift`, `eps`: constants of the statistics (docs/numerics.md).
    """

    head: Head
    post: PostHead
    no_acc: 1
    first: 1
    last: 1
    reserved0: 5
    parameters: 24
    residual_address: 24
    residual_stride: 16
    channels: 15
    inverse: 24
    inverse_shift: 6
    eps: 48
    reserved1: 3


class Norm(data.Struct):
    """NORM: normalises int16 rows in the accumulator; up to two affine outputs: int8 at `out8_*`, int16 at
    `out16_*`."""

    head: Head
    post: PostHead
    out8: 1
    out16: 1
    reserved0: 6
    parameters: 24
    out8_address: 24
    out8_stride: 16
    out16_address: 24
    out16_stride: 16
    shift8: 6
    shift16: 6
    reserved1: 44


class Table(data.Struct):
    """TABLE: loads the activation table, 2^table_bits bytes, from the scratchpad."""

    head: Head
    reserved0: 80
    parameters: 24
    reserved1: 136


class Header(data.Struct):
    """First 32 bytes of a program. `instructions` counts END."""

    magic: 32
    version: 16
    reserved0: 16
    config_hash: 32
    instructions: 32
    reserved1: 128


LAYOUTS: dict[Opcode, type[data.Struct]] = {
    Opcode.END: Control,
    Opcode.LOAD: Transfer,
    Opcode.MATMUL: Matmul,
    Opcode.DECIDE: Decide,
    Opcode.KEYS: Keys,
    Opcode.ATTEND: Attend,
    Opcode.REQUANT: Requant,
    Opcode.EXP: Exp,
    Opcode.RESIDUAL: Residual,
    Opcode.NORM: Norm,
    Opcode.TABLE: Table,
    Opcode.STORE: Transfer,
}


HDP_FIELDS = ("gather", "list", "headed", "slot")
"""Fields that MATMUL and EXP have with HDP: reserved in others."""


class Trap(enum.Enum, shape=4):
    """Why the accelerator stopped."""

    NONE = 0
    BAD_HEADER = 1
    ILLEGAL_INSTRUCTION = 2
    MEMORY_WINDOW = 3
    MISALIGNED = 4
    SCRATCHPAD_RANGE = 5
    ACCUMULATOR_RANGE = 6
    BUS_ERROR = 7
    WATCHDOG = 8
    SEMAPHORE_OVERFLOW = 9
