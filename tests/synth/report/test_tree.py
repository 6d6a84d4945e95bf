"""Trees of modules: nothing is counted twice, nothing is missing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_sweep import MODULES

from celosia.synth.report.document import Areas, Module
from celosia.synth.report.tree import figures, functions, tree, units


def areas(rows) -> Areas:
    return Areas(0, "area", tuple(Module(r["name"], r["path"], r["depth"], r["count"], r["own"]) for r in rows))


def test_by_hand() -> None:
    nodes = tree(areas(MODULES))
    names = [(node.name, node.parent, node.leaf, node.figures["area_um2"]) for node in nodes]
    assert names == [
        ("celosia", None, False, 152),
        ("own logic", 0, True, 1),
        ("core", 0, False, 151),
        ("array", 2, False, 36),
        ("own logic", 3, True, 4),
        ("pe_0_0..", 3, True, 32),  # 16 of 2
        ("scratchpad", 2, False, 103),
        ("own logic", 6, True, 3),
        ("memories", 6, True, 100),
        ("post", 2, False, 12),
        ("own logic", 9, True, 5),
        ("rows/divider", 9, True, 7),
    ]
    assert nodes[7].figures == {"ge": 3, "logic_um2": 3, "memory_um2": 0, "area_um2": 3}
    assert nodes[8].figures == {"ge": 0, "logic_um2": 0, "memory_um2": 100, "area_um2": 100}
    assert units(nodes, "area_um2") == {"scratchpad": 103, "array": 36, "post": 12, "top": 1}
    assert units(nodes, "memory_um2") == {"scratchpad": 100, "array": 0, "post": 0, "top": 0}
    assert functions(nodes, "area_um2") == {"softmax": 7}  # the divider serves softmax alone
    assert figures(nodes) == ["area_um2", "ge", "logic_um2", "memory_um2"]


def test_a_single_module() -> None:
    (only,) = tree(areas(MODULES[:1]))
    assert (only.leaf, only.unit, only.figures["ge"]) == (True, "top", 1)


@st.composite
def designs(draw) -> list[dict]:
    """Rows of modules in depth-first order, with logic and memory."""
    rows, depth = [], 0
    for number in range(draw(st.integers(1, 14))):
        depth = draw(st.integers(1, depth + 1)) if number else 0
        ge, memory = draw(st.integers(0, 9)), draw(st.sampled_from([0, 0, 0.5, 33.3]))
        own = {"ge": ge, "logic_um2": 1.25 * ge, "memory_um2": memory, "area_um2": 1.25 * ge + memory}
        path = f"core/m{number}" if number > 1 else "core" * number
        rows.append({"name": f"m{number}", "path": path, "depth": depth, "count": draw(st.integers(1, 4)), "own": own})
    return rows


@settings(suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
@given(designs())
def test_leaves_are_the_whole(rows) -> None:
    nodes = tree(areas(rows))
    assert [node.place for node in nodes] == list(range(len(nodes)))
    for figure in ("ge", "area_um2", "memory_um2"):
        whole = sum(row["count"] * row["own"][figure] for row in rows)
        assert sum(node.figures[figure] for node in nodes if node.leaf) == pytest.approx(whole, abs=1e-4)
        assert nodes[0].figures.get(figure, 0) == pytest.approx(whole, abs=1e-4)
        assert sum(units(nodes, figure).values()) == pytest.approx(whole, abs=1e-4)
        for node in nodes:
            below = [one.figures.get(figure, 0) for one in nodes if one.parent == node.place]
            assert not (below and node.leaf)
            if below:
                assert node.figures[figure] == pytest.approx(sum(below), abs=1e-4)
