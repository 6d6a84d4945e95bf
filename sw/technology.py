"""Energy and area of what hardware does and is made of, from one documented table that a user may replace.

The table is `technology.toml` beside this module, or a file of the same form. Nothing here knows an accelerator:
counts of actions come from `celosia.sw.performance`, memories and gates from the netlist.
"""

import dataclasses
import difflib
import itertools
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from celosia.hw.config import ConfigError

_NUMBER, _TEXT, _POINTS = "a positive number", "a text", "a list of at least two pairs of positive, rising numbers"
CELLS = (
    *("not", "nand", "nor", "and", "or", "andnot", "ornot", "xor", "xnor"),
    *("mux", "nmux", "aoi3", "oai3", "aoi4", "oai4", "dff"),
)
"""Kinds of cells that logic is mapped to; the names are those of Yosys's gates."""
_FORM: dict[str, Any] = {
    "name": _TEXT,
    "gate": {"area_um2": _NUMBER, "source": _TEXT},
    "cells": {**dict.fromkeys(CELLS, _NUMBER), "source": _TEXT},
    "add": {"pj_by_bits": _POINTS, "source": _TEXT},
    "multiply": {"pj_by_bits": _POINTS, "source": _TEXT},
    "sram": {
        "read_pj_by_kib": _POINTS,
        "read_bits": _NUMBER,
        "read_source": _TEXT,
        "write_over_read": _NUMBER,
        "write_source": _TEXT,
        "bit_um2": _NUMBER,
        "bit_source": _TEXT,
        "port_area": _NUMBER,
        "port_source": _TEXT,
        "efficiency": _NUMBER,
        "efficiency_source": _TEXT,
    },
    "dram": {"pj_per_bit": _NUMBER, "source": _TEXT},
}
"""Every table and key of the file, and what its value must be."""


class TechnologyError(ConfigError):
    """A technology file that cannot be used; the message names the file, the key and what it must be."""


@dataclass(frozen=True)
class Macro:
    """A memory macro. `area_um2`: of all of it. `read_pj`, `write_pj`: of one access to one word."""

    area_um2: float
    read_pj: float
    write_pj: float


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A process. Names and units are those of the file; `sources`: table.key to where the number is from."""

    name: str
    gate_um2: float
    cells: dict[str, float]
    add_pj_by_bits: tuple[tuple[float, float], ...]
    multiply_pj_by_bits: tuple[tuple[float, float], ...]
    read_pj_by_kib: tuple[tuple[float, float], ...]
    read_bits: float
    write_over_read: float
    bit_um2: float
    port_area: float
    efficiency: float
    dram_pj_per_bit: float
    sources: dict[str, str] = dataclasses.field(default_factory=dict)

    def add_pj(self, bits: int) -> float:
        """Energy of one addition of `bits` bits, in pJ."""
        return _power_law(self.add_pj_by_bits, bits)

    def multiply_pj(self, left: int, right: int | None = None) -> float:
        """Energy of one multiplication of `left` by `right` bits (by default as wide), in pJ."""
        return _power_law(self.multiply_pj_by_bits, math.sqrt(left * (right or left)))

    def sram(self, depth: int, width: int, read_ports: int = 1, write_ports: int = 1) -> Macro:
        """A memory of `depth` words of `width` bits. A single port for both is 1 and 0.

        Energy of an access grows with the width and, by the table, with the capacity; area with the bits and ports.
        Errors: ValueError when a size is not positive, or there is no port.
        """
        if depth < 1 or width < 1:
            raise ValueError(f"a memory must have words and bits, not {depth} x {width}")
        if min(read_ports, write_ports) < 0 or read_ports + write_ports < 1:
            raise ValueError(f"a memory must have a port, not {read_ports} and {write_ports}")
        bits = depth * width
        read = _power_law(self.read_pj_by_kib, bits / 8192) * width / self.read_bits
        cell = self.bit_um2 * (1 + self.port_area * (read_ports + write_ports - 1))
        return Macro(bits * cell / self.efficiency, read, read * self.write_over_read)


def load(path: Path | None = None) -> Technology:
    """The technology of a file, or the built-in one.

    Errors: TechnologyError, one line, on a file that is not of this form; OSError when it cannot be read.
    """
    return _built_in() if path is None else _from_text(path.read_bytes(), str(path))


@cache
def _built_in() -> Technology:
    return _from_text(files("celosia.sw").joinpath("technology.toml").read_bytes(), "technology.toml")


def _from_text(text: bytes, origin: str) -> Technology:
    try:
        values = tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TechnologyError(f"{origin} is not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise TechnologyError(f"{origin} is not TOML: {error}") from None
    _check(values, _FORM, "", origin)
    sram = values["sram"]
    if sram["efficiency"] > 1:
        _refuse(origin, "sram.efficiency", "at most 1", sram["efficiency"])
    return Technology(
        name=values["name"],
        gate_um2=values["gate"]["area_um2"],
        cells={kind: values["cells"][kind] for kind in CELLS},
        add_pj_by_bits=_pairs(values["add"]["pj_by_bits"]),
        multiply_pj_by_bits=_pairs(values["multiply"]["pj_by_bits"]),
        read_pj_by_kib=_pairs(sram["read_pj_by_kib"]),
        **{key: sram[key] for key in ("read_bits", "write_over_read", "bit_um2", "port_area", "efficiency")},
        dram_pj_per_bit=values["dram"]["pj_per_bit"],
        sources={
            f"{table}.{key}": text
            for table, keys in values.items()
            if isinstance(keys, dict)
            for key, text in keys.items()
            if key.endswith("source")
        },
    )


def _pairs(points: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _check(values: dict[str, Any], form: dict[str, Any], table: str, origin: str) -> None:
    """Errors: TechnologyError unless `values` has just the keys of `form`, each of its kind."""
    for key in values:
        if key not in form:
            near = difflib.get_close_matches(key, form, 1, 0.5)
            hint = f"did you mean {table}{near[0]}?" if near else f"there are {', '.join(form)}"
            raise TechnologyError(f"{origin}: no {table}{key} in a technology; {hint}")
    for key, kind in form.items():
        if key not in values:
            raise TechnologyError(f"{origin}: {table}{key} is missing{'' if isinstance(kind, dict) else f': {kind}'}")
        if isinstance(kind, dict):
            if not isinstance(values[key], dict):
                _refuse(origin, key, "a table", values[key])
            _check(values[key], kind, f"{key}.", origin)
        elif not _is(kind, values[key]):
            _refuse(origin, table + key, kind, values[key])


def _refuse(origin: str, key: str, kind: str, value: Any) -> NoReturn:
    raise TechnologyError(f"{origin}: {key} must be {kind}, not {value!r}")


def _is(kind: str, value: Any) -> bool:
    if kind == _TEXT:
        return isinstance(value, str) and bool(value.strip())
    if kind == _NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
    if not isinstance(value, list) or len(value) < 2:
        return False
    pairs = all(isinstance(pair, list) and len(pair) == 2 and all(_is(_NUMBER, x) for x in pair) for pair in value)
    return pairs and all(a[0] < b[0] and a[1] <= b[1] for a, b in itertools.pairwise(value))


def _power_law(points: tuple[tuple[float, float], ...], x: float) -> float:
    """Straight lines between `points` on logarithmic axes; the first and the last one go on beyond them."""
    last = len(points) - 2
    i = next((i for i in range(last) if x <= points[i + 1][0]), last)
    (x0, y0), (x1, y1) = points[i], points[i + 1]
    return y0 * (x / x0) ** (math.log(y1 / y0) / math.log(x1 / x0))
