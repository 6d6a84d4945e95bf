"""Which matmuls are handed over, by hand."""

import json

import pytest

from celosia.hw.config import ArrayConfig, Config, PostConfig
from celosia.sw.analysis.models import MODELS
from celosia.sw.analysis.operations import Matmul
from celosia.sw.analysis.transformer import layer
from celosia.sw.export import ExportError, distinct, layers, matmuls_json


def matmul(name, m, k, n, count=1):
    return Matmul(name=name, group="", m=m, k=k, n=n, count=count)


def test_a_layer_of_bert_base():
    """Four projections 768 to 768, twelve heads of 64 channels, and an FFN of 3072."""
    found = distinct(layer(MODELS["bert-base"], 128, 128))
    assert [(one.identifier, one.m, one.k, one.n, one.count) for one in found] == [
        ("W_Q_W_K_W_V_W_out", 128, 768, 768, 4),
        ("Q_x_K", 128, 64, 128, 12),
        ("P_x_V", 128, 128, 64, 12),
        ("W_1", 128, 768, 3072, 1),
        ("W_2", 128, 3072, 768, 1),
    ]


def test_counts_of_all_layers():
    found = distinct(MODELS["minilm"].operations(16))
    # Six layers of four projections, twelve heads of two matmuls, and two matmuls of the FFN.
    assert sum(one.count for one in found) == 6 * (4 + 24 + 2)


def test_shapes_that_share_a_name_get_another_one():
    found = distinct([matmul("a", 1, 2, 3), matmul("a", 4, 5, 6, 7), matmul("b", 8, 8, 8), matmul("b", 8, 8, 8)])
    assert [(one.name, one.count) for one in found] == [("a 1x2x3", 1), ("a 4x5x6", 7), ("b", 2)]
    assert len({one.identifier for one in found}) == 3


def test_ideal_cycles_with_padding():
    """5 rows of 8 and 2 columns of 16 cover 33 x 17: 7 rows of activations through each of 5 x 2 blocks of weights."""
    config = Config(array=ArrayConfig(rows=8, columns=16), post=PostConfig(lanes=8))
    (one,) = distinct([matmul("a", 7, 33, 17)])
    assert one.ideal_cycles(config) == 7 * 5 * 2


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        (MODELS["resnet50"].operations(1), "this one has convolutions"),
        ([], "from 1 to 1000 shapes of matmuls can be exported, not 0"),
        (MODELS["gpt2"].operations(501), "not 1004"),  # two of each token, which at 64 are one, and three
    ],
)
def test_what_cannot_be_exported(operations, said):
    with pytest.raises(ExportError, match=said) as error:
        distinct(operations)
    assert "\n" not in str(error.value)


def test_list():
    data = json.loads(matmuls_json([layers.Layer(name="a b", m=1, k=2, n=3, count=4)]))
    assert data == [{"name": "a b", "m": 1, "k": 2, "n": 3, "count": 4}]
