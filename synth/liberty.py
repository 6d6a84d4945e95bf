"""Liberty files, as much of them as an area needs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from celosia.synth.errors import SynthError

_CELL = re.compile(r"\bcell\s*\(\s*\"?([\w$.]+)\"?\s*\)\s*\{")
_AREA = re.compile(r"\barea\s*:\s*\"?([0-9.eE+-]+)\"?\s*;")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


class LibertyError(SynthError):
    """A Liberty file that cannot be used; the message is one line."""


@dataclass(frozen=True)
class Liberty:
    """A library. `areas`: of its cells, in um2. `flops`: names of its flip-flops."""

    text: str
    areas: dict[str, float]
    flops: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> "Liberty":
        """The library of a file. Errors: LibertyError when it cannot be read, or logic cannot be mapped to it."""
        try:
            text = path.read_text()
        except OSError as error:
            raise LibertyError(f"cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise LibertyError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from None
        bodies = _cells(_COMMENT.sub(" ", text))
        if not bodies:
            raise LibertyError(f"{path} is not a Liberty file: it has no cell (NAME) {{ ... }}")
        areas = {name: float(found[1]) for name, body in bodies.items() if (found := _AREA.search(body))}
        if without := sorted(set(bodies) - set(areas)):
            raise LibertyError(f"{path}: the cell {without[0]} has no area")
        flops = frozenset(name for name, body in bodies.items() if re.search(r"\bff\s*\(", body))
        if not flops:
            raise LibertyError(f"{path} has no flip-flop (a cell with an ff group): logic cannot be mapped to it")
        return cls(text, areas, flops)

    @property
    def gate_um2(self) -> float | None:
        """Area of its smallest two-input NAND, the unit of gate equivalents; None if it has none by that name."""
        nands = [area for name, area in self.areas.items() if re.search(r"nand_?2|nand2|nd2", name, re.IGNORECASE)]
        return min(nands, default=None)

    def count(self, cells: Mapping[str, int]) -> dict[str, float]:
        """Gates, flip-flops and area of mapped cells. Errors: LibertyError on a cell that is not of the library."""
        cells = {kind: number for kind, number in cells.items() if kind != "$scopeinfo"}
        for kind in cells:
            if kind not in self.areas:
                raise LibertyError(f"the Liberty file has nothing that {kind} could be mapped to")
        ff = sum(number for kind, number in cells.items() if kind in self.flops)
        return {
            "gates": float(sum(cells.values()) - ff),
            "ff": float(ff),
            "logic_um2": sum(number * self.areas[kind] for kind, number in cells.items()),
        }


def _cells(text: str) -> dict[str, str]:
    """Bodies of the cell groups, by balanced braces."""
    found = {}
    for match in _CELL.finditer(text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found[match[1]] = text[match.end() : end]
    return found
