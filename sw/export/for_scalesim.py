"""Files of SCALE-Sim (`scalesim` on PyPI, version 3): a configuration, and matmuls as a topology of GEMMs.

SCALE-Sim has three memories, one for each operand, each in two halves and each with a port of its own to the memory
outside; sizes are in KiB of elements, since an element is a byte to it. So:

- activations (ifmap) and weights (filter) have half of the scratchpad each;
- sums (ofmap) have as many elements as the accumulator has sums of four bytes;
- each of the three ports moves `bus.bytes` elements a cycle. Ours shares the read channel between activations and
  weights.

With the bandwidth of the user, version 3 takes that of the two read ports from the section `layout`, where it is called
that of a bank, and only that of the write port from `Bandwidth`. It will not start without a layout file, which
without custom layouts it does not look into.
"""

import configparser
import io
from collections.abc import Sequence

from celosia.hw.config import Config
from celosia.hw.numerics import ACC_BITS
from celosia.sw.export.layers import ExportError, Layer, matmuls_json

CONFIG, TOPOLOGY, LAYOUT = "scale.cfg", "topology.csv", "layout.csv"
RUN = "celosia"
"""Name of the folder that SCALE-Sim makes for its reports."""
_SUM_BYTES = ACC_BITS // 8
_APART = 10_000_000
"""Elements between the addresses of operands: SCALE-Sim's own choice, and more than any operand has here."""


def files(config: Config, layers: Sequence[Layer]) -> dict[str, bytes]:
    """Names and contents of all files of an export.

    Errors: ExportError when a memory is smaller than SCALE-Sim can be told, or an operand larger.
    """
    for layer in layers:
        if max(layer.m * layer.k, layer.k * layer.n, layer.m * layer.n) > _APART:
            raise ExportError(f"SCALE-Sim has room for operands of {_APART:,} elements, and {layer.name} has more")
    return {
        CONFIG: configuration(config).encode(),
        TOPOLOGY: topology(layers).encode(),
        LAYOUT: b"Layer name,\n",
        "matmuls.json": matmuls_json(layers),
    }


def configuration(config: Config) -> str:
    """The configuration file. Errors: ExportError when a memory is smaller than SCALE-Sim can be told."""
    operand, sums = config.scratchpad.kib // 2, config.accumulator.kib // _SUM_BYTES
    if not operand or not sums:
        raise ExportError(
            "SCALE-Sim needs scratchpad.kib of at least 2 and accumulator.kib of at least 4, "
            f"not {config.scratchpad.kib} and {config.accumulator.kib}"
        )
    bus = config.bus.bytes
    bank = {f"{kind}SRAMBank{what}": value for kind in ("Ifmap", "Filter") for what, value in
            (("Bandwidth", bus), ("Num", 1), ("Port", 2))}  # fmt: skip
    sections: dict[str, dict[str, object]] = {
        "general": {"run_name": RUN},
        "architecture_presets": {
            "ArrayHeight": config.array.rows,
            "ArrayWidth": config.array.columns,
            "IfmapSramSzkB": operand,
            "FilterSramSzkB": operand,
            "OfmapSramSzkB": sums,
            "IfmapOffset": 0,
            "FilterOffset": _APART,
            "OfmapOffset": 2 * _APART,
            "Bandwidth": bus,
            "Dataflow": "ws",
            "ReadRequestBuffer": config.bus.outstanding,
            "WriteRequestBuffer": config.bus.outstanding,
        },
        "layout": {"IfmapCustomLayout": False, "FilterCustomLayout": False, **bank},
        "sparsity": {"SparsitySupport": False},
        "run_presets": {"InterfaceBandwidth": "USER", "UseRamulatorTrace": False},
    }
    written = configparser.ConfigParser()
    written.optionxform = str  # type: ignore[assignment,method-assign]  # names as SCALE-Sim writes them
    written.read_dict(sections)
    text = io.StringIO()
    written.write(text)
    return text.getvalue()


def topology(layers: Sequence[Layer]) -> str:
    """The GEMMs, M, N, K; SCALE-Sim drops what follows the last comma of a line, and it skips the first line."""
    lines = ["Layer,M,N,K,", *(f"{layer.identifier},{layer.m},{layer.n},{layer.k}," for layer in layers)]
    return "\n".join(lines) + "\n"
