"""The matmuls that are handed over: each shape once, since a tool takes minutes for what it has seen already."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from celosia.hw.config import Config
from celosia.sw.analysis.operations import Convolution, Matmul, Operation, ceil_div

MOST_SHAPES = 1000
"""Of one export: a decoder has other matmuls for every token."""


class ExportError(ValueError):
    """What cannot be told to another tool; one line."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """`count` matmuls of `m` x `k` by `k` x `n`, int8 each. `name`: of all that have this shape."""

    name: str
    m: int
    k: int
    n: int
    count: int

    @property
    def identifier(self) -> str:
        """The name, in letters, digits and underscores."""
        return re.sub(r"\W+", "_", self.name)

    def ideal_cycles(self, config: Config) -> int:
        """Cycles of one of them in which the array multiplies: a row of activations a cycle, weights by weights."""
        return self.m * ceil_div(self.k, config.array.rows) * ceil_div(self.n, config.array.columns)


def distinct(operations: Iterable[Operation]) -> list[Layer]:
    """Every shape of a network's matmuls once, in the order of their first ones; what is no matmul is left out.

    Errors: ExportError when there are convolutions, no matmuls, or more than `MOST_SHAPES` shapes.
    """
    names: dict[tuple[int, int, int], dict[str, None]] = {}
    counts: dict[tuple[int, int, int], int] = {}
    for operation in operations:
        if isinstance(operation, Convolution):
            raise ExportError("only networks of matmuls can be exported, and this one has convolutions")
        if isinstance(operation, Matmul):
            shape = (operation.m, operation.k, operation.n)
            names.setdefault(shape, {})[operation.name] = None
            counts[shape] = counts.get(shape, 0) + operation.count
    if not 1 <= len(counts) <= MOST_SHAPES:
        raise ExportError(f"from 1 to {MOST_SHAPES} shapes of matmuls can be exported, not {len(counts)}")
    titles = _titles({shape: ", ".join(of) for shape, of in names.items()})
    return [Layer(name=titles[shape], m=shape[0], k=shape[1], n=shape[2], count=counts[shape]) for shape in counts]


def matmuls_json(layers: Iterable[Layer]) -> bytes:
    """The list itself, with how often each shape occurs: neither tool's files have a place for it."""
    return (json.dumps([asdict(layer) for layer in layers], indent=2) + "\n").encode()


def _titles(names: dict[tuple[int, int, int], str]) -> dict[tuple[int, int, int], str]:
    """Names that differ: where several shapes share one, the shape is added."""
    listed = list(names.values())
    return {s: name if listed.count(name) == 1 else f"{name} {s[0]}x{s[1]}x{s[2]}" for s, name in names.items()}
