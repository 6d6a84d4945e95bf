"""Evaluators of the performance model and the RTL, against figures that were measured elsewhere."""

import pytest

from celosia.hw.config import override
from celosia.hw.presets import PRESETS
from celosia.synth.sweep import evaluators
from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.objectives import KINDS

MEMORY = {"latency": 20, "bandwidth": 1.0, "outstanding": 16}


def test_modelled_cycles_are_those_of_the_rtl() -> None:
    """README.md: 704,092 cycles, of which 668,160 ideal."""
    measured = evaluators.cycles(PRESETS["transformer"], workload="minilm-16", device="model", **MEMORY)
    assert measured.figures["ideal"] == 668_160
    assert measured.figures["cycles"] == pytest.approx(704_092, rel=0.02)
    assert measured.figures["error"] >= 0.02 * 0.5
    assert set(measured.figures) == set(KINDS["cycles"].figures)


def test_energy_is_the_sum_of_its_actions() -> None:
    figures = evaluators.energy(PRESETS["transformer"], workload="minilm-16", **MEMORY).figures
    actions = [value for name, value in figures.items() if name.endswith("_pj") and name != "total_pj"]
    assert len(actions) > 5
    assert figures["total_pj"] == pytest.approx(sum(actions))
    assert figures["edp"] / figures["total_pj"] == pytest.approx(704_092, rel=0.02)


def test_area_tells_post_and_its_functions() -> None:
    measured = evaluators.area(PRESETS["tiny"], target="ecp5")
    figures = measured.figures
    assert set(figures) == set(KINDS["area"].known({"target": "ecp5"}))
    post = next(row for row in measured.modules if row["path"] == "core/post")
    assert figures["post_lut"] == post["total"]["lut"] * post["count"]
    functions = [figures[f"{name}_lut"] for name in ("softmax", "layernorm", "gelu")]
    assert min(functions) > 0
    assert sum(functions) < figures["post_lut"] < figures["lut"]


def test_what_does_not_fit_is_told() -> None:
    """A row of BERT-Base has 768 channels."""
    narrow = override(PRESETS["transformer"], ["post.max_channels=512"])
    with pytest.raises(ValueError, match="512"):
        evaluators.cycles(narrow, workload="bert-base-layer-128", device="model", **MEMORY)


@pytest.mark.parametrize("function", ["math", "math:", "math:pi", "gone.deep:f"])
def test_functions_that_are_none(function: str) -> None:
    with pytest.raises(SweepError, match=r"function '"):
        evaluators.load(function)


def test_every_kind_has_an_evaluator() -> None:
    for name, kind in KINDS.items():
        module, _, function = kind.evaluator.partition(":")
        assert module == evaluators.__name__
        assert callable(getattr(evaluators, function)), name
