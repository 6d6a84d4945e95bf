"""The host of the survey's baseline: by hand, and against what the survey prints."""

import re

import pytest

from celosia.sw.performance.fusion import BERT_BASE
from celosia.sw.performance.host import PRINTED_SHARE, PRINTED_UTILISATION, Host, HostError, elements, load, moved_bytes
from celosia.sw.workloads import Geometry

SMALL = Geometry(hidden=8, heads=2, ffn=32)
FORM = """
name = "mine"
[cycles_per_element]
softmax = 1
gelu = 2
layernorm = 3
residual = 4
dequantise = 5
quantise = 6
requantise = 7
[memory]
cycles_per_byte = 0.5
[calibration]
scale = 2
"""


def test_elements_by_hand():
    """Three tokens: 2 heads of 3 x 3 scores, 3 x 32 in the FFN, 3 x 8 in the stream."""
    assert elements(SMALL, 3) == {
        "softmax": 18, "gelu": 96, "layernorm": 48, "residual": 48,
        "dequantise": 18 + 96 + 48, "quantise": 18 + 96 + 48, "requantise": 96,
    }  # fmt: skip
    # Results: Q, K, V, scores, context, W_out, W_1, W_2, at 4 bytes; as many operands at one.
    assert moved_bytes(SMALL, 3) == 5 * (3 * 24 + 18 + 24 + 24 + 96 + 24)


def test_cycles_by_hand(tmp_path):
    file = tmp_path / "host.toml"
    file.write_text(FORM)
    work = 18 + 2 * 96 + 3 * 48 + 4 * 48 + 5 * 162 + 6 * 162 + 7 * 96
    assert load(file).cycles(SMALL, 3) == 2 * (work + 0.5 * 5 * 258)
    assert load(file).name == "mine"


def test_one_operation_alone():
    none = dict.fromkeys(elements(SMALL, 1), 0.0)
    assert Host("", none | {"softmax": 10.0}, 0, 1).cycles(SMALL, 5) == 10 * 2 * 25
    assert Host("", none, 1, 3).cycles(SMALL, 1) == 3 * 5 * (8 * 4 + 2 + 8 + 32 + 8)


def test_calibration():
    """At 512 tokens: 96 % of the time outside matmuls that use 74 % of 256 PEs."""
    macs = 512 * (4 * 768**2 + 2 * 768 * 3072 + 2 * 512 * 768)
    matmuls, host = macs / 256 / PRINTED_UTILISATION, load().cycles(BERT_BASE, 512)
    assert host / (host + matmuls) == pytest.approx(PRINTED_SHARE, abs=2e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("gelu = 2", ""), "cycles_per_element.gelu must be a number of at least 0, not None"),
        (("gelu = 2", "gelu = -2"), "must be a number of at least 0, not -2"),
        (("gelu = 2", "gelu = true"), "not True"),
        (("scale = 2", "scale = inf"), "calibration.scale must be a number of at least 0, not inf"),
        (("gelu = 2", "gelu = 2\nrelu = 3"), "there is no cycles_per_element.relu"),
        (("[memory]", "[memory"), "is not TOML"),
    ],
)
def test_bad_files(tmp_path, change, expected):
    file = tmp_path / "host.toml"
    file.write_text(FORM.replace(*change))
    with pytest.raises(HostError, match=re.escape(expected)) as caught:
        load(file)
    assert "\n" not in str(caught.value)
