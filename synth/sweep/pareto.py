"""Which points are not beaten in everything by another one."""

from collections.abc import Mapping, Sequence

from celosia.synth.sweep.spec import Objective


def pareto(rows: Sequence[Mapping[str, float]], objectives: Sequence[Objective]) -> list[bool]:
    """For each row, whether no other is at least as good in every objective and better in one.

    Rows with equal figures are on the front together, or not at all. Without objectives there is no front.
    """
    if not objectives:
        return [False] * len(rows)
    costs = [tuple(-row[o.figure] if o.maximise else row[o.figure] for o in objectives) for row in rows]
    front: list[tuple[float, ...]] = []
    # In this order nothing that comes later can beat what came before, so the front only grows;
    # what beats a point is mostly close to it.
    for cost in sorted(set(costs)):
        if not any(all(a <= b for a, b in zip(better, cost, strict=True)) for better in reversed(front)):
            front.append(cost)
    members = set(front)
    return [cost in members for cost in costs]
