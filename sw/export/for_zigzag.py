"""Files of ZigZag (`zigzag-dse` on PyPI): the accelerator as an array and its memories, matmuls as loops, a dataflow.

ZigZag knows operands I1 (activations), I2 (weights) and O (sums, or results), and for each memory and operand four
directions: from and to the higher memory (`fh`, `th`), from and to the lower one (`fl`, `tl`). Sizes and bandwidths are
in bits. Dimension D1 of the array has the outputs (K), D2 the reduction (C).

The memories, from the PEs outwards:

- `weights`: the present and the next weight of every PE;
- `accumulator`: sums of int32; a row is read and written in every cycle for the in-place addition, and POST takes
  `post.lanes` sums a cycle;
- `scratchpad`: int8; a word a cycle of activations and one of weights for the array, results from POST at `post.lanes`
  bytes a cycle, LOAD and STORE at the width of the bus, or a word if that is less;
- `memory`: what is behind the bus, which reads and writes `bus.bytes` a cycle at once.

Energies are those of `celosia.sw.performance.costs`, for a whole word or row; areas are left at 0.
"""

import json
from collections.abc import Sequence
from typing import Any

from celosia.hw.array.pe import WEIGHT_BITS
from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS
from celosia.sw.export.layers import Layer, matmuls_json
from celosia.sw.performance.actions import costs
from celosia.sw.technology import load

ACCELERATOR, WORKLOAD, MAPPING = "accelerator.yaml", "workload.yaml", "mapping.yaml"
WEIGHTS_HELD = 2
"""Of a PE: the present one, and the next one, which is loaded behind it. To ZigZag, room for two is a double buffer."""
_LINKS = {"O": "O", "W": "I2", "I": "I1"}
_EVERYWHERE = ["D1", "D2"]


def files(config: Config, layers: Sequence[Layer]) -> dict[str, bytes]:
    """Names and contents of all files of an export."""
    described = {ACCELERATOR: accelerator(config), WORKLOAD: workload(layers), MAPPING: mapping(config)}
    return {name: yaml(value).encode() for name, value in described.items()} | {"matmuls.json": matmuls_json(layers)}


def accelerator(config: Config) -> dict[str, Any]:
    """The accelerator: memories in the order in which ZigZag wants them, lowest first, and the array."""
    cost = {name: round(value, 6) for name, value in costs(config, load()).items()}
    word, row, bus = 8 * config.word_bytes, 8 * config.acc_row_bytes, 8 * config.bus.bytes
    lanes, transfer = config.post.lanes, min(word, bus)
    return {
        "name": f"celosia_{config.hash:08x}",
        "memories": {
            "weights": _memory(
                WEIGHTS_HELD * WEIGHT_BITS, 0.0, 0.0, [],
                _port("r_port_1", WEIGHT_BITS, "I2, tl"), _port("w_port_1", WEIGHT_BITS, "I2, fh"),
            ),
            "accumulator": _memory(
                8192 * config.accumulator.kib, cost["accumulator_read"], cost["accumulator_write"], _EVERYWHERE,
                _port("r_port_1", row, "O, tl"), _port("w_port_1", row, "O, fl"),
                _port("r_port_2", ACC_BITS * lanes, "O, th"), _port("w_port_2", ACC_BITS * lanes, "O, fh"),
            ),
            "scratchpad": _memory(
                8192 * config.scratchpad.kib, cost["scratchpad_read"], cost["scratchpad_write"], _EVERYWHERE,
                _port("r_port_1", word, "I1, tl"), _port("r_port_2", word, "I2, tl"),
                _port("w_port_1", transfer, "I1, fh", "I2, fh", "O, fh"), _port("r_port_3", transfer, "O, th"),
                _port("w_port_2", WEIGHT_BITS * lanes, "O, fl"), _port("r_port_4", WEIGHT_BITS * lanes, "O, tl"),
            ),
            "memory": _memory(
                8 << config.bus.address_bits, round(bus * cost["dram_read"], 6), round(bus * cost["dram_write"], 6),
                _EVERYWHERE,
                _port("r_port_1", bus, "I1, tl", "I2, tl", "O, tl"), _port("w_port_1", bus, "O, fl"),
            ),
        },
        "operational_array": {
            "unit_energy": cost["mac"],
            "unit_area": 0.0,
            "dimensions": _EVERYWHERE,
            "sizes": [config.array.columns, config.array.rows],
            "systolic_dimensions": _EVERYWHERE,
        },
    }  # fmt: skip


def workload(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Every matmul as loops D, C, K over O[d][k] += I[d][c] * W[c][k]; operands of none come from another."""
    return [
        {
            "id": index,
            "name": layer.identifier,
            "operator_type": "Gemm",
            "equation": "O[d][k]+=I[d][c]*W[c][k]",
            "dimension_relations": [],
            "loop_dims": ["D", "C", "K"],
            "loop_sizes": [layer.m, layer.k, layer.n],
            "operand_precision": {"O": ACC_BITS, "O_final": WEIGHT_BITS, "I": WEIGHT_BITS, "W": WEIGHT_BITS},
            "operand_source": {"I": index, "W": index},
        }
        for index, layer in enumerate(layers)
    ]


def mapping(config: Config) -> list[dict[str, Any]]:
    """The weight-stationary dataflow: outputs over the columns, the reduction over the rows. Loops are left open."""
    spatial = {"D1": [f"K, {config.array.columns}"], "D2": [f"C, {config.array.rows}"]}
    return [{"name": "default", "spatial_mapping": spatial, "memory_operand_links": _LINKS}]


def yaml(value: Any) -> str:
    """Dictionaries, and lists of them, in blocks; everything else as in JSON, which YAML includes."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = []
        for key, inner in value.items():
            if _plain(inner):
                found.append(f"{key}: {json.dumps(inner)}")
            else:
                found += [f"{key}:", *(f"  {line}" for line in _lines(inner))]
        return found
    return [f"{'  ' if index else '- '}{line}" for item in value for index, line in enumerate(_lines(item))]


def _plain(value: Any) -> bool:
    """Fits on a line: no dictionaries inside."""
    return not value or not (isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict)))


def _memory(size: int, read: float, write: float, served: list[str], *ports: dict[str, Any]) -> dict[str, Any]:
    """A memory of `size` bits; `read`, `write`: pJ. It has the operands that its ports name."""
    operands = {one.split(",")[0]: None for port in ports for one in port["allocation"]}
    return {
        "size": size,
        "r_cost": read,
        "w_cost": write,
        "area": 0.0,
        "latency": 1,
        "operands": list(operands),
        "ports": list(ports),
        "served_dimensions": served,
    }


def _port(name: str, bits: int, *allocation: str) -> dict[str, Any]:
    """A port that always moves `bits`; its name begins with r or w."""
    kind = "read" if name.startswith("r") else "write"
    return {"name": name, "type": kind, "bandwidth_min": bits, "bandwidth_max": bits, "allocation": list(allocation)}
