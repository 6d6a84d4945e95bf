"""Which points are measured, in which order.

A strategy is a generator: it yields batches of points and is sent the batch's rows, by index. It decides by what it was
sent and by nothing else, so that a search that is started again with the same results takes the same way: to resume is
to repeat, with the finished points answered from the journal.
"""

import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.rows import Row
from celosia.synth.sweep.space import Point
from celosia.synth.sweep.spec import Spec

Batches = Generator[list[Point], Mapping[int, Row], None]

_MOST_DRAWS = 1_000_000
"""Indices that are drawn before a search gives up finding more points within the limits."""


def batches(spec: Spec) -> Batches:
    """The strategy that a sweep asks for. Errors: SweepError when there is no point at all."""
    if spec.search.strategy == "optuna":
        from celosia.synth.sweep.search_optuna import propose

        yield from propose(spec)
        return
    points = _grid(spec) if spec.search.strategy == "grid" else _random(spec)
    if not any(point.config for point in points):
        raise nothing(spec, points)
    yield points


def count(spec: Spec) -> int:
    """How many points a search measures; of Optuna's, how many at most. Errors: SweepError when there are none."""
    return spec.search.points if spec.search.strategy == "optuna" else len(next(batches(spec)))


def nothing(spec: Spec, points: Sequence[Point] = ()) -> SweepError:
    """The error for a space without points, or with none but illegal `points`."""
    if points:
        return SweepError(f"the space is empty: no configuration is legal; the first: {points[0].reason}")
    limits = " and ".join(limit.text for limit in spec.limits) or "the rules of configurations"
    return SweepError(f"the space is empty: none of its {spec.space.size:,} points meets {limits}")


def _grid(spec: Spec) -> list[Point]:
    """All points within the limits; illegal ones as well, which are told as such."""
    return [spec.space.point(index) for index in range(spec.space.size) if spec.allows(index)]


def _random(spec: Spec) -> list[Point]:
    """Different legal points, drawn with equal probability: as many as asked for, or all that there are."""
    found = (spec.space.point(index) for index in _draws(spec) if spec.allows(index))
    return list(islice((point for point in found if point.config is not None), spec.search.points))


def _draws(spec: Spec) -> Iterator[int]:
    """Different indices in random order; all of them, unless there are very many."""
    generator, size = random.Random(spec.search.seed), spec.space.size
    yield from generator.sample(range(size), min(size, _MOST_DRAWS))
