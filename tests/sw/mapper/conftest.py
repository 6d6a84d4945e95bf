"""A mapping executed loop by loop: what is moved is counted where it moves. Nothing here is from the mapper."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest


def _pieces(start: int, stop: int, step: int) -> list[tuple[int, int]]:
    return [(at, min(at + step, stop)) for at in range(start, stop, step)]


def _nest(box: list[tuple[int, int]], steps: tuple[int, ...], order: tuple[int, ...]):
    """Boxes in the order of the loops: the last axis of `order` moves fastest."""
    for chosen in product(*(_pieces(*box[axis], steps[axis]) for axis in order)):
        yield [chosen[order.index(axis)] for axis in range(4)]


def run(config: Any, operator: Any, mapping: Any) -> dict[str, Any]:
    """Bytes of activations, weights and results over the bus, array cycles, and whether sums were ever split.

    On-chip memory holds, of each tensor, one box: of the block where it is resident, else of the tile.
    """
    side = max(config.array.rows, config.array.columns)
    up = lambda size, step: -(-size // step) * step  # noqa: E731
    beat = max(config.bus.bytes, config.word_bytes) // config.word_bytes
    outputs, channels = up(operator.outputs, max(side, beat)), up(operator.channels, side)
    whole = [(0, operator.rows), (0, outputs), (0, channels), (0, operator.kernel)]
    pitch = operator.width + operator.kernel_width - 1
    moved = {"activations": 0, "weights": 0, "results": 0}
    held: dict[str, Any] = {}
    finished, split, cycles = set(), False, 0
    for block in _nest(whole, mapping.block, mapping.outer):
        for tile in _nest(block, mapping.tile, mapping.inner):
            size = [stop - start for start, stop in tile]
            for name, axes, resident in zip(moved, ((0, 2, 3), (1, 2, 3), (0, 1)), mapping.resident, strict=True):
                box = block if resident else tile
                part = tuple(box[axis] for axis in axes)
                if held.get(name) == part:
                    continue
                held[name] = part
                spans = [stop - start for start, stop in box]
                if name == "activations":
                    moved[name] += up((spans[0] + spans[3] - 1) * pitch, beat) * spans[2]
                elif name == "weights":
                    moved[name] += spans[1] * spans[2] * spans[3] * operator.kernel_width
                    if operator.parameters and box[2][1] == channels and box[3][1] == operator.kernel:
                        moved[name] += spans[1] // config.post.lanes * config.record_words * config.word_bytes
                else:
                    split = split or part in finished
                    finished.add(part)
            rows = (size[0] - 1) * pitch + operator.width
            if tile[2][0] == 0 and tile[3][0] == 0:
                moved["results"] += up(rows, beat) * size[1]
            for _ in range(size[3] * operator.kernel_width):
                cycles += 2
                for _ in product(range(0, size[1], config.array.columns), range(0, size[2], config.array.rows)):
                    cycles += max(rows, side)
    return {"moved": moved, "array": cycles, "split": split}


@pytest.fixture
def run_loops() -> Callable[[Any, Any, Any], dict[str, Any]]:
    """See `run`."""
    return run
