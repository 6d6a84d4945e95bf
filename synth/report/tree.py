"""Modules of a design as a tree of areas in which nothing is counted twice and nothing is missing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from celosia.synth.area.functions import function_of
from celosia.synth.report.document import Areas

LOGIC, MEMORIES = "own logic", "memories"
"""Names of the leaves that stand for what a module holds beside its parts."""
TOP = "top"
"""The part of the accelerator that holds what connects the others."""
_OF_MEMORY = ("memory_bits", "memory_um2")
_FIRST = ("area_um2", "lut", "ge", "logic_um2", "memory_um2")


@dataclass(frozen=True)
class Node:
    """A module, or what it holds itself. `place`: its number; `parent`: of the module that it is in, None at the top.
    `figures`: of all its instances with everything below. `unit`: the part of the accelerator that it belongs to."""

    place: int
    parent: int | None
    name: str
    path: str
    count: int
    unit: str
    leaf: bool
    figures: Mapping[str, float]


def tree(areas: Areas) -> list[Node]:
    """Nodes in depth-first order. The figures of a node are the sum of those below it; leaves add up to the whole."""
    nodes: list[Node] = []
    above: list[int] = []  # nodes that the current module is in
    trunk = _trunk(areas)
    following = [module.depth for module in areas.modules[1:]] + [0]
    for module, next_depth in zip(areas.modules, following, strict=True):
        del above[module.depth :]
        whole = Node(
            place=len(nodes),
            parent=above[-1] if above else None,
            name=module.name,
            path=module.path,
            count=module.count,
            unit=_unit(module.path, trunk),
            leaf=False,
            figures={key: value * module.count for key, value in module.own.items()},
        )
        own = _own(whole)
        if next_depth <= module.depth and len(own) < 2:
            nodes.append(replace(whole, leaf=True))
        else:
            nodes += [whole, *own]
            above.append(whole.place)
    return _add_up(nodes)


def _own(node: Node) -> list[Node]:
    """What a module holds itself as leaves: logic, and the memories that are macros; those that are not empty."""
    memories = {name: value if name in _OF_MEMORY else 0.0 for name, value in node.figures.items()}
    memories |= {whole: node.figures[part] for whole, part in (("area_um2", "memory_um2"),) if part in node.figures}
    # Rounded: what is nothing but memory must not be told as logic of 1e-11.
    logic = {name: round(value - memories[name], 6) for name, value in node.figures.items()}
    leaves = [(name, values) for name, values in ((LOGIC, logic), (MEMORIES, memories)) if any(values.values())]
    return [
        replace(node, place=node.place + number, parent=node.place, name=name,
                path=f"{node.path}/{name}".lstrip("/"), leaf=True, figures=values)
        for number, (name, values) in enumerate(leaves, 1)
    ]  # fmt: skip


def units(nodes: list[Node], figure: str) -> dict[str, float]:
    """A figure of each part of the accelerator, the largest first."""
    sums: dict[str, float] = {}
    for node in nodes:
        if node.leaf:
            sums[node.unit] = sums.get(node.unit, 0.0) + node.figures.get(figure, 0.0)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def functions(nodes: list[Node], figure: str) -> dict[str, float]:
    """A figure of the units that only one nonlinear function needs, by function."""
    sums: dict[str, float] = {}
    for node in nodes:
        name = function_of(node.path)
        if node.leaf and name:
            sums[name] = sums.get(name, 0.0) + node.figures.get(figure, 0.0)
    return sums


def figures(nodes: list[Node]) -> list[str]:
    """Figures that are not zero everywhere, those that say most first."""
    names = [name for name, value in nodes[0].figures.items() if value]
    return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def _trunk(areas: Areas) -> str:
    """Path of the module whose parts are the parts of the accelerator: the first with more than one part."""
    for module in areas.modules:
        below = [one for one in areas.modules if one.depth == module.depth + 1]
        if len(below) != 1:
            return module.path
    return ""


def _unit(path: str, trunk: str) -> str:
    """The part of the accelerator that a path is in: below the trunk, the first name."""
    above, _, rest = path.partition(f"{trunk}/") if trunk else ("", "", path)
    return rest.partition("/")[0] if rest and not above else TOP


def _add_up(nodes: list[Node]) -> list[Node]:
    totals = [dict(node.figures) if node.leaf else {} for node in nodes]
    for node in reversed(nodes):
        if node.parent is not None:
            mine = totals[node.parent]
            for key, value in totals[node.place].items():
                mine[key] = mine.get(key, 0.0) + value
    return [replace(node, figures=totals[node.place]) for node in nodes]
