"""What a host takes for the work that the survey's baseline leaves to it: a documented, replaceable model.

The numbers are in `host.toml` beside this module, or in a file of the same form.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from celosia.sw.workloads import Geometry

OPERATIONS = ("softmax", "gelu", "layernorm", "residual", "dequantise", "quantise", "requantise")
PRINTED_SHARE, PRINTED_UTILISATION = 0.96, 0.74
"""Of the survey's baseline: time outside matmuls; utilisation in them."""
_RESULT_BYTES, _OPERAND_BYTES = 4, 1


class HostError(ValueError):
    """A file that is no host model, in one line."""


@dataclass(frozen=True)
class Host:
    """Cycles an element of each of `OPERATIONS`, cycles a byte to and from memory, and a factor for all of them."""

    name: str
    per_element: dict[str, float]
    per_byte: float
    scale: float

    def cycles(self, shape: Geometry, tokens: int) -> float:
        """For a layer of an encoder of `tokens` rows."""
        work = sum(self.per_element[name] * count for name, count in elements(shape, tokens).items())
        return self.scale * (work + self.per_byte * moved_bytes(shape, tokens))


def elements(shape: Geometry, tokens: int) -> dict[str, int]:
    """Elements of each operation in a layer.

    Scores, and the results of W_out, W_1 and W_2, are dequantised before what follows them, and as many elements are
    quantised after it. Q, K, V and context are requantised.
    """
    scores, inner, stream = shape.heads * tokens**2, tokens * shape.ffn, tokens * shape.hidden
    return {
        "softmax": scores,
        "gelu": inner,
        "layernorm": 2 * stream,
        "residual": 2 * stream,
        "dequantise": scores + inner + 2 * stream,
        "quantise": scores + inner + 2 * stream,
        "requantise": 4 * stream,
    }


def moved_bytes(shape: Geometry, tokens: int) -> int:
    """Bytes that the host reads and writes: each result of a matmul at 32 bits, each operand made of it at 8."""
    counts = elements(shape, tokens)
    return (_RESULT_BYTES + _OPERAND_BYTES) * (counts["dequantise"] + counts["requantise"])


def load(path: Path | None = None) -> Host:
    """The model of a file, or the built-in one. Errors: HostError; OSError when it cannot be read."""
    if path is None:
        return _from_text(files("celosia.sw.performance").joinpath("host.toml").read_bytes(), "host.toml")
    return _from_text(path.read_bytes(), str(path))


def _from_text(raw: bytes, origin: str) -> Host:
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HostError(f"{origin} is not TOML: {error}") from None
    numbers = {f"cycles_per_element.{name}": 0.0 for name in OPERATIONS}
    numbers |= {"memory.cycles_per_byte": 0.0, "calibration.scale": 0.0}
    for key in numbers:
        numbers[key] = _number(values, key, origin)
    known = {name: set(table) for name, table in values.items() if isinstance(table, dict)}
    extra = [f"{table}.{key}" for table, keys in known.items() for key in keys if f"{table}.{key}" not in numbers]
    if extra:
        raise HostError(f"{origin}: there is no {extra[0]}; there are {', '.join(numbers)}")
    per_element = {name: numbers[f"cycles_per_element.{name}"] for name in OPERATIONS}
    name = str(values.get("name", origin))
    return Host(name, per_element, numbers["memory.cycles_per_byte"], numbers["calibration.scale"])


def _number(values: dict[str, Any], key: str, origin: str) -> float:
    table, name = key.split(".")
    found = values.get(table)
    value = found.get(name) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise HostError(f"{origin}: {key} must be a number of at least 0, not {value!r}")
    return float(value)
