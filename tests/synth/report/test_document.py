"""Fronts of some objectives, and the balanced point."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celosia.synth.report.document import Point, balanced, front_of
from celosia.synth.sweep.rows import Status
from celosia.synth.sweep.spec import Objective


def points(figures: list[tuple[float, float]]) -> list[Point]:
    return [Point(index, None, Status.OK, None, False, {"a": a, "b": b}) for index, (a, b) in enumerate(figures)]


def test_balanced_by_hand(document) -> None:
    # Over the front areas reach from 40 to 64 and speeds from 10 to 30. From the ideal (40, 30) the first point is as
    # far as the speeds reach, 1, and so is the last; of the middle one it is (10/24)^2 + (4.5/20)^2, less.
    chosen = balanced(document.best, document.objectives)
    assert chosen is not None
    assert chosen.index == 5
    assert balanced([], document.objectives) is None
    assert balanced(document.best, []) is None


def test_objectives_count_alike_whatever_their_numbers() -> None:
    # Half as far from the ideal in one and a tenth in the other; not scaled, the first would be nearest by far.
    one = points([(0, 1), (500, 0.1), (1000, 0)])
    assert balanced(one, [Objective("a", "minimise"), Objective("b", "minimise")]) is one[1]


def test_balanced_of_equals() -> None:
    one = points([(3, 3), (3, 3)])
    assert balanced(one, [Objective("a", "minimise")]) is one[0]


figure = st.integers(-3, 3)
direction = st.sampled_from(["minimise", "maximise"])


@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
@given(st.lists(st.tuples(figure, figure), min_size=1, max_size=12), direction, direction)
def test_front_of_two(figures, first, second) -> None:
    """Against the definition: on the front is what nothing else beats."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        signs = [1 if way == "minimise" else -1 for way in (first, second)]
        gains = [sign * (b - a) for sign, a, b in zip(signs, one, other, strict=True)]
        return min(gains) >= 0 and max(gains) > 0

    expected = {i for i, one in enumerate(figures) if not any(beats(other, one) for other in figures)}
    found = front_of(points(figures), [Objective("a", first), Objective("b", second)])
    assert {point.index for point in found} == expected
    assert [point.values["a"] for point in found] == sorted(point.values["a"] for point in found)
