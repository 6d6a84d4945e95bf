"""Strategies: which points they choose, and that a search takes the same way again."""

import pytest

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.run import Sweep
from celosia.synth.sweep.search import batches, count

WIDE = {
    "scratchpad": {"kib": {"low": 16, "high": 256, "step": 16}},
    "accumulator": {"kib": {"low": 16, "high": 256, "step": 16}},
    "post": {"softmax": ["base2", "ibert"]},
}


def indices(found) -> list[int]:
    return [row["index"] for row in found["rows"]]


def test_random_points_are_different_legal_and_repeatable(make) -> None:
    def draw(seed: int, points: int = 40) -> list[int]:
        spec = make(
            space=WIDE,
            constraints=["scratchpad.kib >= accumulator.kib"],
            search={"strategy": "random", "points": points, "seed": seed},
        )
        found = next(batches(spec))
        assert all(point.config.scratchpad.kib >= point.config.accumulator.kib for point in found)
        return [point.index for point in found]

    first = draw(1)
    assert len(set(first)) == 40
    assert draw(1) == first
    assert set(draw(2)) != set(first)
    # More than there are: 16 + 15 + ... + 1 pairs, twice.
    assert len(set(draw(1, 10_000))) == 272


def test_a_grid_counts_illegal_points_and_a_random_search_passes_over_them(make) -> None:
    space = {"array": {"rows": [8, 16]}, "post": {"lanes": [8, 16]}}
    assert count(make(space=space)) == 4
    assert count(make(space=space, search={"strategy": "random", "points": 10})) == 3


@pytest.mark.parametrize(("sampler", "points", "stop", "times"), [("nsga2", 40, 3, 10), ("tpe", 16, 5, 2)])
def test_optuna_repeats_itself_and_resumes(
    make, folder, inline, measured, monkeypatch, sampler, points, stop, times
) -> None:
    def sweep(name: str, stop: int | None = None, resume: bool = False) -> Sweep:
        monkeypatch.setenv("CELOSIA_CACHE", str(folder / f"cache of {name} {stop}"))
        search = {"strategy": "optuna", "points": points, "seed": 3, "sampler": sampler, "batch": 4, "population": 10}
        spec = make(space=WIDE, constraints=["m.area <= 300", "scratchpad.kib >= 32"], search=search)
        return Sweep(spec, folder / name, lambda: inline(stop), resume=resume)

    whole = sweep("whole").run()
    assert len(set(indices(whole))) == points
    assert all(row["scratchpad.kib"] >= 32 for row in whole["rows"])
    # In the middle of a batch, or between two: it is always the same search.
    measured()
    for _ in range(times):
        with pytest.raises(KeyboardInterrupt):
            sweep("parts", stop=stop, resume=True).run()
    assert sweep("parts", resume=True).run() == whole
    assert len(measured()) == points


def test_optuna_searches(make, folder, inline) -> None:
    """It spends its points near the best one, of which a random search knows nothing; constraints keep it away."""
    near = "abs(scratchpad.kib - 96) + abs(accumulator.kib - 176) + 0 * m.area"

    def distance(constraints: list[str], **search) -> float:
        spec = make(
            space=WIDE,
            derived={"near": near},
            objectives={"near": "minimise"},
            constraints=constraints,
            search=search | {"points": 100, "seed": 5},
        )
        rows = Sweep(spec, folder / f"{len(list(folder.iterdir()))}", inline).run()["rows"]
        assert len(rows) == 100
        return sum(row["near"] for row in rows) / 100

    free = distance([], strategy="optuna")
    assert free < 0.8 * distance([], strategy="random")
    assert distance(["near >= 128"], strategy="optuna") > 1.1 * free


def test_optuna_ends_when_nothing_is_left(make, folder, inline) -> None:
    search = {"strategy": "optuna", "points": 100, "batch": 4}
    found = Sweep(make(space={"scratchpad": {"kib": [16, 32, 64]}}, search=search), folder / "o", inline).run()
    assert indices(found) == [0, 1, 2]
    with pytest.raises(SweepError, match="the space is empty"):
        Sweep(make(constraints=["scratchpad.kib < 3"], search=search), folder / "p", inline).run()


def test_optuna_lives_with_failures(make, folder, inline) -> None:
    spec = make(
        derived={"x": "1 / (scratchpad.kib - 16) + m.area"},
        objectives={"x": "minimise", "m": {"cycles": "minimise"}},
        search={"strategy": "optuna", "points": 16},
    )
    rows = Sweep(spec, folder / "o", inline).run()["rows"]
    assert {row["status"] for row in rows if row["scratchpad.kib"] == 16} == {"failed"}
    assert {row["status"] for row in rows if row["scratchpad.kib"] != 16} == {"ok"}


def test_a_missing_optuna_is_told(make, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    spec = make(search={"strategy": "optuna", "points": 3})
    with pytest.raises(SweepError, match=r"run `pip install celosia\[sweep\]`"):
        Sweep(spec, None, None).run()
