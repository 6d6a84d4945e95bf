"""The modules of a cleaned design, and the units that it is synthesised in."""

import functools
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_CHILD = re.compile(r"^  cell \\(\S+) \\?(\S+)$", re.MULTILINE)
_PORT = re.compile(r"^  wire (?:width (\d+) )?(?:input|output|inout) \d+ .*\n", re.MULTILINE)
_CELL = re.compile(r"^  cell ", re.MULTILINE)
_REPORTED_DEPTH = 3
"""The top, what is in it, and the units in that are always reported on their own."""
_SMALLEST = 6
"""Cells of a repeated module from which synthesising it once pays for the border that is not optimised across."""


@dataclass(frozen=True)
class Module:
    """A module: its text between `module` and `end`, and its instances as (name, module) in order."""

    name: str
    body: str
    children: tuple[tuple[str, str], ...]

    @property
    def cells(self) -> int:
        """Cells and instances in it."""
        return len(_CELL.findall(self.body))

    @cached_property
    def outline(self) -> str:
        """Its ports alone, as a black box that no pass removes."""
        ports = "".join(match[0] for match in _PORT.finditer(self.body))
        return f"attribute \\blackbox 1\nattribute \\keep 1\nmodule \\{self.name}\n{ports}end\n"


class Netlist:
    """A design: text that `celosia.hw.emit.rtlil.rtlil` wrote, the top module first.

    `units`: the modules that are synthesised and reported on their own: the upper levels, what is instantiated more
    often than its parent (synthesised once), and what `wanted` names by its path; the rest is flattened into them.
    """

    def __init__(self, text: str, wanted: tuple[str, ...] = ()) -> None:
        found = {match[1]: match[2] for match in _MODULE.finditer(text)}
        self.modules = {
            name: Module(name, body, tuple((i, c) for c, i in _CHILD.findall(body) if c in found))
            for name, body in found.items()
        }
        self.top = next(iter(found))
        self.wanted = tuple(re.compile(pattern) for pattern in wanted)
        self.units = self._units()

    @functools.cache  # noqa: B019 - a netlist lives as long as its report
    def count(self, name: str) -> int:
        """Instances of a module in the whole design."""
        return 1 if name == self.top else sum(self.count(parent) * n for parent, n in self._parents[name].items())

    @cached_property
    def _parents(self) -> dict[str, Counter[str]]:
        parents: dict[str, Counter[str]] = {name: Counter() for name in self.modules}
        for module in self.modules.values():
            for _, child in module.children:
                parents[child][module.name] += 1
        return parents

    def _units(self) -> set[str]:
        units: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> None:
            text = "/".join(path)
            repeated = any(self.count(name) > self.count(parent) for parent in self._parents[name])
            large = self.modules[name].cells >= _SMALLEST
            if len(path) <= _REPORTED_DEPTH or (repeated and large) or any(p.fullmatch(text) for p in self.wanted):
                units.add(name)
            for instance, child in self.modules[name].children:
                visit(child, (*path, instance))

        visit(self.top, ())
        return units

    def inside(self, unit: str) -> list[str]:
        """The unit and the modules that are flattened into it, each once."""
        names = [unit]
        for name in names:
            names += [c for _, c in self.modules[name].children if c not in self.units and c not in names]
        return names

    def instances(self, unit: str) -> list[tuple[str, str]]:
        """Units right below a unit, as (path from it, unit), through what is flattened."""
        found = []
        for instance, child in self.modules[unit].children:
            if child in self.units:
                found.append((instance, child))
            else:
                found += [(f"{instance}/{path}", below) for path, below in self.instances(child)]
        return found

    def digest(self, unit: str) -> str:
        """Hash of all that its synthesis depends on: own text, what is flattened, ports of the units below."""
        names = self.inside(unit)
        texts = [self.modules[name].body for name in names]
        texts += [self.modules[below].outline for _, below in self.instances(unit)]
        return hashlib.sha256("\0".join([*names, *texts]).encode()).hexdigest()

    def extract(self, units: list[str], top: str) -> str:
        """A design of some units side by side under the module `top`; units below them are black boxes."""
        inner = dict.fromkeys(name for unit in units for name in self.inside(unit))
        boxes = dict.fromkeys(below for unit in units for _, below in self.instances(unit))
        cells = "".join(f"  cell \\{unit} \\u{i}\n  end\n" for i, unit in enumerate(units))
        parts = [f"attribute \\keep 1\nmodule \\{name}\n{self.modules[name].body}end\n" for name in inner]
        parts += [self.modules[name].outline for name in boxes if name not in inner]
        return f"module \\{top}\n{cells}end\n" + "".join(parts)
