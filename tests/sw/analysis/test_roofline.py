"""Rooflines by hand and by their properties, and the plots."""

import sys
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.hw.presets import PRESETS
from celosia.sw.analysis import plots
from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.models import MODELS
from celosia.sw.analysis.operations import Elementwise, Matmul
from celosia.sw.analysis.roofline import Limit, points, roof
from celosia.sw.analysis.series import series


def test_roof_of_a_preset():
    """32 x 32 PEs of two FLOPs, 32 lanes, 32 bytes a cycle."""
    above = roof(PRESETS["server"])
    assert (above.flops, above.lanes, above.bus, above.ridge) == (2048, 32, 32, 64.0)


def test_points_by_hand():
    """On 16 x 16 PEs, 16 lanes and 16 bytes a cycle."""
    operations = [
        Matmul(name="far", group="", m=100, k=100, n=100, bias=True),
        Matmul(name="near", group="", m=1, k=100, n=100, bias=True),
        Elementwise(name="between", group="", elements=160, flops=1600, mops=320, bytes=0),
        Matmul(name="near", group="", m=1, k=100, n=100, bias=True),
        Elementwise(name="light", group="", elements=160, flops=160, mops=16, bytes=0),
    ]
    far, near, between, light = points(operations, PRESETS["transformer"])
    assert (far.attainable, far.limit, far.cycles) == (512, Limit.COMPUTE, 2_000_000 / 512)
    # Two vectors by matrices: 40,000 FLOPs, 20,400 bytes.
    assert (near.flops, near.mops, near.limit) == (40_000, 20_400, Limit.BUS)
    assert near.cycles == pytest.approx(20_400 / 16)
    # 10 FLOPs an element on 16 lanes, but 5 a byte.
    assert (between.ceiling, between.attainable, between.limit) == (160, 80, Limit.BUS)
    assert (light.ceiling, light.attainable, light.limit, light.cycles) == (16, 16, Limit.COMPUTE, 10)


@given(preset=st.sampled_from(sorted(PRESETS)), name=st.sampled_from(sorted(MODELS)), tokens=st.integers(1, 40))
def test_no_point_is_above_the_roof(preset, name, tokens):
    config = PRESETS[preset]
    operations = MODELS[name].operations(1 if name.startswith("resnet") else tokens)
    found = points(operations, config)
    assert sum(point.flops for point in found) == sum(operation.flops for operation in operations)
    for point in found:
        assert point.attainable <= point.ceiling
        assert point.cycles >= point.mops / config.bus.bytes * (1 - 1e-9)
        both = point.flops / point.ceiling, point.mops / config.bus.bytes
        assert point.cycles == pytest.approx(max(both))
        assert point.limit is (Limit.BUS if both[1] > both[0] * (1 + 1e-9) else Limit.COMPUTE)


def drawn(preset, name, tokens):
    operations, config = MODELS[name].operations(tokens), PRESETS[preset]
    return plots.roofline(f"{name} on {preset}", roof(config), points(operations, config))


@pytest.mark.parametrize(("preset", "name", "tokens"), [("tiny", "gpt2", 3), ("server", "resnet50", 1)])
def test_plot(preset, name, tokens):
    text = drawn(preset, name, tokens)
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert text == drawn(preset, name, tokens)


def test_plot_of_lengths():
    assert ET.fromstring(plots.lengths(series())).tag == "{http://www.w3.org/2000/svg}svg"


def test_plots_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AnalysisError, match=r"plots need matplotlib: run `pip install celosia\[report\]`"):
        drawn("tiny", "minilm", 4)
