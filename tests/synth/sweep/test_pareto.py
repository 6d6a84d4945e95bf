"""The front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from celosia.synth.sweep.pareto import pareto
from celosia.synth.sweep.spec import Objective

SMALL, LARGE = Objective("x", "minimise"), Objective("y", "maximise")
_rows = st.lists(st.fixed_dictionaries({"x": st.integers(0, 6), "y": st.integers(0, 6), "z": st.integers(0, 3)}))


@given(_rows)
def test_front_is_what_nothing_beats(rows: list[dict[str, float]]) -> None:
    objectives = [SMALL, LARGE, Objective("z", "minimise")]

    def beats(a: dict[str, float], b: dict[str, float]) -> bool:
        no_worse = a["x"] <= b["x"] and a["y"] >= b["y"] and a["z"] <= b["z"]
        return no_worse and (a["x"] < b["x"] or a["y"] > b["y"] or a["z"] < b["z"])

    assert pareto(rows, objectives) == [not any(beats(other, row) for other in rows) for row in rows]


def test_by_hand() -> None:
    rows = [{"x": 1, "y": 1}, {"x": 2, "y": 5}, {"x": 2, "y": 5}, {"x": 2, "y": 4}, {"x": 3, "y": 5}]
    assert pareto(rows, [SMALL, LARGE]) == [True, True, True, False, False]
    assert pareto(rows, [SMALL]) == [True, False, False, False, False]


def test_no_objectives_no_front() -> None:
    assert pareto([{"x": 1}], []) == [False]


def test_many_points() -> None:
    rows = [{"x": i, "y": i % 1000} for i in range(20_000)]
    # Only the first climb of y is not beaten by an earlier, smaller x.
    assert [i for i, best in enumerate(pareto(rows, [SMALL, LARGE])) if best] == list(range(1000))
