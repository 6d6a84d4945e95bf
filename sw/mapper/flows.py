"""Orders, residency, buffering and fusion apart from sizes, and which of them can be best."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from celosia.sw.mapper.nest import Nest
from celosia.sw.mapper.operators import Padded
from celosia.sw.mapper.rules import FUSABLE, has_room
from celosia.sw.mapper.space import TENSORS, Bools, Ints, Mappings, Space


@dataclass(frozen=True)
class Flows:
    """Everything of `Mappings` but sizes."""

    outer: Ints
    inner: Ints
    resident: Bools
    double: Bools
    fused: Bools

    def __getitem__(self, which: npt.NDArray) -> "Flows":
        return Flows(*(getattr(self, field.name)[..., which] for field in fields(self)))

    @property
    def kept(self) -> Ints:
        """A number for what is resident and whether it is fused."""
        return (np.vstack([self.resident, self.fused]) * (1 << np.arange(len(TENSORS) + 1))[:, None]).sum(0)

    def with_sizes(self, tile: Ints, block: Ints) -> Mappings:
        """Each of the sizes [4, n] with each of the flows: all flows of the first sizes first."""
        count, sizes = len(self.outer), tile.shape[1]

        def again(flags: npt.NDArray) -> npt.NDArray:
            shape = (*flags.shape[:-1], sizes, count)
            return np.broadcast_to(flags[..., None, :], shape).reshape(*flags.shape[:-1], -1)

        flows = {each.name: again(getattr(self, each.name)) for each in fields(self)}
        return Mappings(np.repeat(tile, count, axis=1), np.repeat(block, count, axis=1), **flows)


def all_flows(space: Space, double: bool | None = None) -> Flows:
    """Every flow of a space; with `double`, only those with all tensors so."""
    flags = list(product((False, True), repeat=len(TENSORS)))
    doubles = flags if double is None else [(double,) * len(TENSORS)]
    rows = list(product(space.orders, space.orders, flags, doubles, FUSABLE[space.padded.operator.after]))
    outer, inner, resident, buffered, fused = zip(*rows, strict=True)
    return Flows(np.array(outer), np.array(inner), np.array(resident).T, np.array(buffered).T, np.array(fused))


@dataclass
class BestFlows:
    """The flows that can be best for given sizes.

    Orders change nothing but how often operands come again. So of those that leave sums where they are, and keep the
    same tensors, only those count that no other one beats in one operand without being worse in the other; and which
    these are depends on nothing but which loops there are at all. That the array works on what is there while the
    next part comes is never worse than waiting, if there is room: flows here are all double-buffered.
    """

    space: Space

    def __post_init__(self) -> None:
        self._all = all_flows(self.space, double=True)
        self._known = _found(self.space.orders, FUSABLE[self.space.padded.operator.after])

    def groups(self, tile: Ints, block: Ints) -> Iterator[tuple[Ints, Flows]]:
        """Which of the sizes [4, n], by index, have which flows: of those that have room, buffered once."""
        whole = np.array(self.space.padded.sizes)[:, None]
        loops = np.concatenate([block > tile, whole > block])
        patterns = (loops * (1 << np.arange(len(loops)))[:, None]).sum(0)
        kinds, some = self._kinds
        least = some.with_sizes(tile, block).buffered((False,) * len(TENSORS))
        room = has_room(Nest(self.space.padded, least)).reshape(-1, len(kinds))
        for index, kind in enumerate(kinds):
            fits = np.flatnonzero(room[:, index])
            for pattern in np.unique(patterns[fits]).tolist():
                which = fits[patterns[fits] == pattern]
                flows = self._of(pattern, tile[:, which[:1]], block[:, which[:1]])
                if kind in flows:
                    yield which, flows[kind]

    @cached_property
    def _kinds(self) -> tuple[list[int], Flows]:
        """Numbers of all that keep the same tensors, and are fused alike (see `Flows.kept`), and a flow of each."""
        kinds, first = np.unique(self._all.kept, return_index=True)
        return kinds.tolist(), self._all[first]

    def _of(self, pattern: int, tile: Ints, block: Ints) -> dict[int, Flows]:
        """The flows for a pattern of loops, by kind; a tile and a block size [4, 1] are an example of it."""
        if pattern not in self._known:
            mappings = self._all.with_sizes(tile, block)
            flows = self._all[_undominated(self.space.padded, mappings)]
            kept = flows.kept
            self._known[pattern] = {kind: flows[kept == kind] for kind in np.unique(kept).tolist()}
        return self._known[pattern]


@cache
def _found(orders: tuple[int, ...], fusable: tuple[bool, ...]) -> dict[int, dict[int, Flows]]:
    """What `BestFlows` has found so far for operators with these orders and fusion, by pattern and kind."""
    return {}


def _undominated(padded: Padded, mappings: Mappings) -> Ints:
    """Indices of flows of one size: of those that keep the same tensors, no other brings both operands less often."""
    repeats = Nest(padded, mappings).repeats
    kept: dict[tuple[bool, ...], dict[tuple[int, int], int]] = {}
    for index, (activations, weights, results) in enumerate(repeats.T.tolist()):
        if results == 1:
            key = (*mappings.resident[:, index].tolist(), bool(mappings.fused[index]))
            kept.setdefault(key, {}).setdefault((activations, weights), index)
    found = []
    for options in kept.values():
        for (a, w), index in options.items():
            if not any((b <= a and v <= w) and (b, v) != (a, w) for b, v in options):
                found.append(index)
    return np.array(sorted(found), np.int64)
