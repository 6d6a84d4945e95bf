"""The analytical latency model: by hand on small operations, and figure 32."""

import pytest

from celosia.sw.analysis.latency import ALTERNATIVES, Latency, Machine, by_operation, latency, total_cycles, whole
from celosia.sw.analysis.models import MODELS
from celosia.sw.analysis.operations import Convolution, Elementwise, Matmul

FIGURE_32 = {
    "bert-base": (1, 2, 5, 11, 28, 80),
    "bert-large-3584": (3, 7, 14, 33, 82, 229),
    "gpt2": (18, 37, 75, 159, 352, 840),
}
LENGTHS = (128, 256, 512, 1024, 2048, 4096)


@pytest.fixture(scope="module")
def reference():
    return total_cycles(MODELS["bert-base"], 128)


@pytest.mark.parametrize("name", FIGURE_32)
def test_figure_32(name, reference):
    ours = [total_cycles(MODELS[name], tokens) / reference for tokens in LENGTHS]
    assert ours == pytest.approx(FIGURE_32[name], rel=0.1)
    if name != "gpt2":
        assert [round(value) for value in ours] == list(FIGURE_32[name])


def test_resnet_against_bert(reference):
    assert reference / total_cycles(MODELS["resnet50"], 1) == pytest.approx(1.28, rel=0.1)


def test_a_matmul_that_computes():
    """64 rows pass through 3 x 2 blocks of weights; 17 columns take a second block, 33 a third one."""
    found = latency(Matmul(name="", group="", m=60, k=33, n=17, count=5))
    moved = 60 * 33 + 33 * 17 + 60 * 17
    assert found.compute == 5 * 64 * 3 * 2
    assert found.memory == pytest.approx(5 * moved * (1 / 64 + 1 / 16))
    assert found.cycles == found.compute > found.memory


def test_a_matmul_that_waits():
    """One row by 512 x 512 weights, 20 cycles for each block of 256 bytes; 32 bits leave, in two tiles of columns."""
    found = latency(Matmul(name="", group="", m=1, k=512, n=512, bias=True, wide=True))
    assert found.compute == 16 * 32 * 32
    weights, result = 512 * 512, 4 * 512
    assert found.memory == pytest.approx((512 + weights + result) / 64 + (2 * 512 + weights + result) / 16)
    assert found.cycles == found.memory


def test_a_convolution():
    """Three channels fill a block of 16 for each of 49 places; 10 x 10 pixels are 112 rows."""
    found = latency(Convolution(name="", group="", kernel=7, inputs=3, outputs=20, size=10, source=20))
    assert found.compute == 112 * 49 * 2
    moved = 3 * 400 + 49 * 3 * 20 + 4 * 20 * 100
    assert found.memory == pytest.approx(moved * (1 / 64 + 1 / 16))


def test_an_elementwise_operation():
    operation = Elementwise(name="", group="", elements=64, flops=1, mops=1, bytes=320)
    assert latency(operation) == Latency(4.0, 25.0, 25.0)
    # A wider bus: the special-function unit is what it waits for.
    assert latency(operation, Machine(dram_bytes=1000, l2_bytes=1000)).cycles == 4.0


def test_the_chosen_reading_is_the_best():
    """No alternative has as many values that round to the printed ones."""
    equal = {}
    for name, machine in ALTERNATIVES.items():
        first = total_cycles(MODELS["bert-base"], 128, machine)
        equal[name] = sum(
            round(total_cycles(MODELS[model], tokens, machine) / first) == value
            for model, values in FIGURE_32.items()
            for tokens, value in zip(LENGTHS, values, strict=True)
        )
    chosen = equal.pop("as chosen")
    assert chosen == 14
    assert max(equal.values()) < chosen


def test_an_exposed_latency():
    """16 cycles more for each of 3 x 2 blocks."""
    matmul = Matmul(name="", group="", m=60, k=33, n=17)
    assert latency(matmul, Machine(exposed=16)).compute == (64 + 16) * 3 * 2


def test_operations_add_up():
    rows = by_operation(MODELS["bert-base"], 128)
    assert len(rows) == 11
    assert whole(rows).cycles == total_cycles(MODELS["bert-base"], 128)
    # Twelve layers of 128 x 768 x 768 MACs on 256 PEs.
    assert rows["W_Q"].cycles == 12 * 128 * 768 * 768 / 256


def test_a_decoder_is_the_sum_of_its_tokens():
    """What the third token adds to the first two is one layer at a time on three cached tokens."""
    net = MODELS["gpt2"]
    *_, third = net.steps(3)
    added = total_cycles(net, 3) - total_cycles(net, 2)
    assert added == pytest.approx(12 * sum(latency(operation).cycles for operation in third))
