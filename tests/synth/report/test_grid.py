"""Grids and lines, found in made-up sweeps."""

from itertools import product

from report_sweep import make

from celosia.synth.report.grid import find_grid, find_lines
from celosia.synth.report.reading import read


def sweep(write, fields):
    """A sweep of ok points with these fields; the area of each is its index."""
    return read(write(make([(*one, index, 1.0, "ok", False, None) for index, one in enumerate(fields)]), {}))


def indices(panel):
    return [[point and point.index for point in row] for row in panel.cells]


def test_a_grid(write) -> None:
    document = sweep(write, list(product((16, 32, 64), (8, 16), ["base2"])))
    grid = find_grid(document)
    assert (grid.x, grid.y, grid.xs, grid.ys) == ("scratchpad.kib", "accumulator.kib", (16, 32, 64), (8, 16))
    # The accumulator changes fastest: along a row are every second point.
    assert [(panel.title, indices(panel)) for panel in grid.panels] == [("", [[0, 2, 4], [1, 3, 5]])]


def test_gaps(document) -> None:
    """5 of 6 places are measured: 64 / 16 failed. 64 / 64 is illegal, and makes no row."""
    grid = find_grid(document)
    assert [(panel.title, indices(panel)) for panel in grid.panels] == [("", [[0, 2, None], [1, 3, 5]])]


def test_panels(write) -> None:
    document = sweep(write, list(product((16, 32), (8, 16), ["base2", "ibert"])))
    panels = find_grid(document).panels
    assert [panel.title for panel in panels] == ["post.softmax base2", "post.softmax ibert"]
    assert indices(panels[1]) == [[1, 5], [3, 7]]


def test_no_grid(write) -> None:
    equal_total = [(16, 48, "base2"), (32, 32, "base2"), (48, 16, "base2")]
    assert find_grid(sweep(write, equal_total)) is None  # a third of the places
    assert find_grid(sweep(write, [(16, 8, "base2"), (32, 8, "ibert")])) is None  # one numeric field
    many = [f"kind{number}" for number in range(7)]
    assert find_grid(sweep(write, list(product((16, 32), (8, 16), many)))) is None


def test_lines(write) -> None:
    document = sweep(write, list(product((16, 64, 32), (8, 16), ["base2"])))
    lines = find_lines(document)
    assert lines.x == "scratchpad.kib"
    assert [(line.title, [point.index for point in line.points]) for line in lines.lines] == [
        ("accumulator.kib 8", [0, 4, 2]),
        ("accumulator.kib 16", [1, 5, 3]),
    ]


def test_fields_that_follow_make_no_lines(write) -> None:
    equal_total = [(16, 48, "base2"), (32, 32, "base2"), (48, 16, "base2")]
    (line,) = find_lines(sweep(write, equal_total)).lines
    assert (line.title, [point.index for point in line.points]) == ("", [0, 1, 2])


def test_no_lines(write) -> None:
    assert find_lines(sweep(write, [(16, 8, "base2")])) is None
    assert find_lines(sweep(write, list(product((16, 32), range(9), ["base2"])))).x == "accumulator.kib"
    assert find_lines(sweep(write, list(product((16, 32), (8,), [f"kind{n}" for n in range(9)])))) is None
