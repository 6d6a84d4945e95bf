"""What a program does to each memory and unit, counted from its instructions, and what that costs in energy.

Counted: multiply-adds of the array (padding included: the PEs work on it), accesses to scratchpad and accumulator,
bytes on the memory bus, elements through POST. Not counted: registers and wires between PEs, clock tree, leakage,
control, row factors (one a row). Energies are those of `celosia.sw.technology`.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from celosia.hw.array.pe import ACTIVATION_BITS, WEIGHT_BITS, sum_bits
from celosia.hw.config import COPROCESSOR, Config
from celosia.hw.hdp.store import StoreShape
from celosia.hw.isa import Activation, Opcode
from celosia.hw.numerics import ACC_BITS, MULT_BITS
from celosia.hw.post.layouts import RAW_BITS
from celosia.sw.compiler.program import Program
from celosia.sw.performance import counts
from celosia.sw.performance.columns import Columns
from celosia.sw.performance.prediction import Prediction
from celosia.sw.performance.works import Gathered
from celosia.sw.technology import Technology, load


@dataclass(frozen=True)
class Actions:
    """How often a program does what. `counts`: by name of action. `bits`: moved to and from each level of memory.

    Actions: `mac`, `accumulate` (a sum added into the accumulator); `scratchpad_read`, `scratchpad_write` (words),
    `accumulator_read`, `accumulator_write` (rows); `store_read`, `store_write` (words, and slots, of the key store);
    `dram_read`, `dram_write` (bits, instructions included); `requant`, `table` (activations looked up), `exp`,
    `residual`, `norm` (elements of POST).
    """

    counts: dict[str, int]
    bits: dict[str, int]


@dataclass(frozen=True)
class Energy:
    """Energy of a program. `by_action`: in pJ, adds up to `total_pj`. `edp`: energy-delay product, in pJ times cycles.

    `bits`: as of `Actions`.
    """

    total_pj: float
    edp: float
    by_action: dict[str, float]
    bits: dict[str, int]

    def to_dict(self) -> dict[str, float]:
        """All figures, flat: `total_pj`, `edp`, `<action>_pj`, `<level>_bits`."""
        actions = {f"{name}_pj": value for name, value in self.by_action.items()}
        levels = {f"{name}_bits": float(value) for name, value in self.bits.items()}
        return {"total_pj": self.total_pj, "edp": self.edp} | actions | levels


def energy(prediction: Prediction, technology: Technology | None = None) -> Energy:
    """Energy of a predicted program. `technology`: by default the built-in one. Errors: as `count_actions`."""
    technology = technology or load()
    actions = count_actions(prediction.program, prediction)
    cost = costs(prediction.program.config, technology)
    spent = {name: count * cost[name] for name, count in actions.counts.items()}
    total = sum(spent.values())
    return Energy(total, total * prediction.cycles, spent, actions.bits)


def costs(config: Config, technology: Technology) -> dict[str, float]:
    """Energy of one of each action on `config`, in pJ.

    Element operations of POST are the multiplications and additions of docs/numerics.md, at their widths.
    """
    word, row = 8 * config.word_bytes, 8 * config.acc_row_bytes
    scratchpad = technology.sram(config.scratchpad_words // config.scratchpad.banks, word)
    accumulator = technology.sram(config.acc_rows // config.accumulator.banks, row)
    table = technology.sram(1 << config.post.table_bits, 8)
    wide, narrow = technology.add_pj(ACC_BITS), technology.add_pj(RAW_BITS)
    square = technology.multiply_pj(RAW_BITS)
    scale = wide + technology.multiply_pj(ACC_BITS, MULT_BITS) + wide  # bias or offset, product, rounding
    return {
        "mac": technology.multiply_pj(ACTIVATION_BITS, WEIGHT_BITS) + technology.add_pj(sum_bits(config.array.rows)),
        "accumulate": wide,
        "scratchpad_read": scratchpad.read_pj,
        "scratchpad_write": scratchpad.write_pj,
        "accumulator_read": accumulator.read_pj,
        "accumulator_write": accumulator.write_pj,
        **_store_costs(config, technology),
        "dram_read": technology.dram_pj_per_bit,
        "dram_write": technology.dram_pj_per_bit,
        "requant": scale,
        "table": table.read_pj,
        "exp": scale + square + wide,  # the segment's slope or square; the row's sum
        "residual": scale + narrow + square + 2 * wide,  # the residual; the row's sums of values and of squares
        "norm": scale + square + 2 * wide,  # mean and row factor; gamma, beta and rounding
    }


def _store_costs(config: Config, technology: Technology) -> dict[str, float]:
    """Of the key store: a word that streams, and a k tile of a key that is filled in."""
    if config.rate <= 1:
        return {}
    shape = StoreShape(config)
    whole, slot = technology.sram(shape.depth, shape.width), technology.sram(shape.depth, shape.slot_bits)
    return {"store_read": whole.read_pj, "store_write": slot.write_pj}


def count_actions(program: Program, prediction: Prediction) -> Actions:
    """Actions of a program. `prediction`: its own, for the traffic. Errors: ValueError for a co-processor's."""
    config, columns = program.config, Columns(program)
    if config.rate == COPROCESSOR:
        raise ValueError("actions and energy of co-processors are not modelled; their cycles and traffic are")
    counted: Counter[str] = Counter()
    for opcode in columns.opcodes:
        if opcode in _COUNTERS:
            counted.update(_COUNTERS[opcode](config, columns, opcode, prediction.gathered))
    counted["dram_read"] = 8 * (prediction.bytes_read + prediction.bytes_fetched)
    counted["dram_write"] = 8 * prediction.bytes_written
    word, row = 8 * config.word_bytes, 8 * config.acc_row_bytes
    bits = {
        "dram": counted["dram_read"] + counted["dram_write"],
        "scratchpad": word * (counted["scratchpad_read"] + counted["scratchpad_write"]),
        "accumulator": row * (counted["accumulator_read"] + counted["accumulator_write"]),
    }
    return Actions(dict(counted), bits)


def _transfers(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    words = int((columns.field(opcode, "words") * columns.field(opcode, "segments")).sum())
    return {"scratchpad_write" if opcode is Opcode.LOAD else "scratchpad_read": words}


def _whole(counted: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: int(count.sum()) for name, count in counted.items()}


def _products(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    rows, across = config.array.rows, config.array.columns
    names = ("m", "n_tiles", "k_tiles", "accumulate", "transposed")
    m, n, k, adds, transposed = (columns.field(opcode, name) for name in names)
    unread = 0  # words of tiles that are not full
    for index, keys in enumerate(_keys(columns, opcode, gathered)):
        if keys is None:
            continue
        if transposed[index]:
            n[index] = min(n[index], -(-keys // across))
            unread += k[index] * max(0, n[index] * across - keys)
        else:
            k[index] = min(k[index], -(-keys // rows))
            unread += n[index] * max(1, across // rows) * max(0, k[index] * rows - keys)
        if not keys:
            n[index] = k[index] = 0
    found = _whole(counts.products(config, m, n, k, adds, transposed))
    return found | {"scratchpad_read": found["scratchpad_read"] - int(unread)}


def _keys(columns: Columns, opcode: Opcode, gathered: Gathered) -> list[int | None]:
    """How many keys each instruction gathers; None where it does not, or where that is not known."""
    places = columns.places(opcode).tolist()
    return [len(gathered[place]) if place in gathered else None for place in places]


def _decisions(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    """The integer pass alone; its operands have four bits, and count as whole ones."""
    m, n, k, length = (columns.field(opcode, name) for name in ("m", "n_tiles", "k_tiles", "length"))
    return _whole(counts.products(config, m, n, k, 0, 1) if config.rate == 1 else counts.streams(config, m, k, length))


def _keys_copied(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    k, length = (columns.field(opcode, name) for name in ("k_tiles", "length"))
    return {"scratchpad_read": int((k * length).sum()), "store_write": int((k * length).sum())}


def _requants(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    m, groups, by_row = (columns.field(opcode, name) for name in ("m", "groups", "row_factor"))
    looked = columns.field(opcode, "activation") == Activation.TABLE.value
    return _whole(counts.requants(config, m, groups, looked, by_row))


def _exps(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    m, groups = (columns.field(opcode, name) for name in ("m", "groups"))
    for index, keys in enumerate(_keys(columns, opcode, gathered)):
        if keys is not None:
            words = -(-keys // config.array.rows)
            groups[index] = min(groups[index], words * config.array.rows // config.post.lanes)
    return _whole(counts.exps(config, m, groups))


def _residuals(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    return _whole(counts.residuals(config, *(columns.field(opcode, name) for name in ("m", "groups", "no_acc"))))


def _norms(config: Config, columns: Columns, opcode: Opcode, gathered: Gathered) -> dict[str, int]:
    return _whole(counts.norms(config, *(columns.field(opcode, name) for name in ("m", "groups", "out8", "out16"))))


_COUNTERS = {
    Opcode.LOAD: _transfers,
    Opcode.STORE: _transfers,
    Opcode.MATMUL: _products,
    Opcode.DECIDE: _decisions,
    Opcode.KEYS: _keys_copied,
    Opcode.REQUANT: _requants,
    Opcode.EXP: _exps,
    Opcode.RESIDUAL: _residuals,
    Opcode.NORM: _norms,
}
