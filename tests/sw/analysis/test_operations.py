"""FLOPs, MOPs and traffic against loops that do the work and count it, and against the survey's formulas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.models import MODELS
from celosia.sw.analysis.operations import Convolution, Elementwise, Matmul, by_group, by_name, total
from celosia.sw.analysis.transformer import ATTENTION, FFN, OTHER, PROJECTIONS, Transformer

small = st.integers(1, 7)


def counted_matmul(m, k, n, bias):
    """FLOPs of the textbook's loop, and the operands and results that it touches."""
    flops, touched = 0, set()
    for i in range(m):
        for j in range(n):
            for p in range(k):
                flops += 1 if p == 0 else 2  # a multiplication; an addition to what is there
                touched |= {("a", i, p), ("b", p, j)}
            flops += bias
            touched.add(("c", i, j))
    return flops, len(touched)


def loaded(m, k, n, tile):
    """Elements that a cache of tiles loads for every tile of the result: its rows of the left, its columns of the
    right operand.
    """
    count = 0
    for i in range(0, m, tile):
        for j in range(0, n, tile):
            for p in range(0, k, tile):
                rows, columns, depth = (min(tile, size - at) for size, at in ((m, i), (n, j), (k, p)))
                count += rows * depth + depth * columns
    return count


@given(m=small, k=small, n=small, count=st.integers(1, 3), bias=st.booleans())
def test_matmul(m, k, n, count, bias):
    flops, touched = counted_matmul(m, k, n, bias)
    matmul = Matmul(name="", group="", m=m, k=k, n=n, count=count, bias=bias)
    assert matmul.flops == count * flops
    assert matmul.mops == count * touched


@given(m=small, k=small, n=small, tile=st.integers(1, 4), bias=st.booleans(), wide=st.booleans())
def test_matmul_traffic(m, k, n, tile, bias, wide):
    matmul = Matmul(name="", group="", m=m, k=k, n=n, count=2, bias=bias, wide=wide)
    assert matmul.operand_bytes(tile) == 2 * loaded(m, k, n, tile)
    assert matmul.traffic(tile) == 2 * (loaded(m, k, n, tile) + m * n * ((4 if wide else 1) + bias))


@given(kernel=st.sampled_from([1, 3]), inputs=st.integers(1, 3), outputs=st.integers(1, 3), size=st.integers(1, 4))
def test_convolution(kernel, inputs, outputs, size):
    macs, weights, results = 0, set(), set()
    for y in range(size):
        for x in range(size):
            for o in range(outputs):
                results.add((y, x, o))
                for i in range(inputs):
                    for v in range(kernel):
                        for u in range(kernel):
                            macs += 1
                            weights.add((o, i, v, u))
    conv = Convolution(
        name="", group="", kernel=kernel, inputs=inputs, outputs=outputs, size=size, source=size, count=2
    )
    assert conv.flops == 2 * 2 * macs
    assert (conv.weights, conv.results) == (len(weights), 2 * len(results))
    assert conv.mops == 2 * (inputs * size**2 + len(results) + len(weights))
    assert conv.traffic(1000) == 2 * (inputs * size**2 + 4 * len(results) + len(weights))


def test_traffic_of_a_convolution_in_tiles():
    """2 x 2 tiles: 9 pixels are 5 blocks of rows, 3 channels 2 of columns."""
    conv = Convolution(name="", group="", kernel=1, inputs=2, outputs=3, size=3, source=6, wide=False)
    assert conv.traffic(2) == 2 * 36 * 2 + 6 * 5 + 27


@given(layers=st.integers(1, 4), heads=st.integers(1, 5), head=st.integers(1, 9), ratio=st.integers(1, 5), l=small)
def test_rows_of_table_3(layers, heads, head, ratio, l):  # noqa: E741
    """The survey's formulas, with its letters."""
    h, d, d_ffn = heads, heads * head, heads * head * ratio
    rows = by_group(Transformer(name="", layers=layers, hidden=d, heads=h, ffn=d_ffn).operations(l))
    expected = {
        PROJECTIONS: (8 * l * d**2, 4 * d**2 + 8 * l * d),
        ATTENTION: (h * l**2 * (2 * d // h - 1) + l * d * (2 * l - 1), 4 * l * d + 2 * h * l**2),
        FFN: (4 * l * d * d_ffn, 2 * d * d_ffn + 2 * (l * d + l * d_ffn)),
    }
    for name, (flops, mops) in expected.items():
        assert (rows[name].flops, rows[name].mops) == (layers * flops, layers * mops)
    if ratio == 4:
        assert rows[OTHER].flops == layers * (4 * h * l**2 + 58 * l * d)
        assert rows[OTHER].mops == layers * (2 * h * l**2 + 17 * l * d + 4 * d)
        assert rows[OTHER].traffic == layers * (5 * h * l**2 + 36 * l * d + 16 * d)


@given(tokens=st.integers(1, 9), heads=st.integers(1, 3))
def test_a_decoder_is_the_sum_of_its_steps(tokens, heads):
    net = Transformer(name="", layers=3, hidden=6 * heads, heads=heads, ffn=7, decoder=True)
    one_by_one = [operation for step in net.steps(tokens) for operation in step]
    for name, row in by_name(net.operations(tokens)).items():
        steps = total(operation for operation in one_by_one if operation.name == name)
        assert (row.flops, row.mops, row.traffic) == (3 * steps.flops, 3 * steps.mops, 3 * steps.traffic)


def test_a_decoder_step_by_hand():
    """Token 3 of a net with d = 4, two heads and d_ffn = 6."""
    *_, third = Transformer(name="", layers=1, hidden=4, heads=2, ffn=6, decoder=True).steps(3)
    rows = by_name(third)
    assert (rows["W_Q"].flops, rows["W_Q"].mops) == (2 * 4 * 4, 4 + 16 + 4)
    # For each head: 3 keys of 2 channels, and as many values.
    assert (rows["Q x K"].flops, rows["Q x K"].mops) == (2 * 3 * 3, 2 * (2 + 6 + 3))
    assert (rows["P x V"].flops, rows["P x V"].mops) == (2 * 2 * 5, 2 * (3 + 6 + 2))
    assert (rows["softmax"].mops, rows["GELU"].mops) == (2 * 2 * 3, 2 * 6)


def test_the_first_token_of_a_decoder_is_an_encoder_of_one():
    net = MODELS["gpt2"]
    assert isinstance(net, Transformer)
    assert total(net.operations(1)) == total(MODELS["bert-base"].operations(1))


def test_totals():
    parts = [
        Matmul(name="a", group="x", m=1, k=2, n=3),
        Elementwise(name="b", group="y", elements=5, flops=10, mops=7, bytes=14),
        Matmul(name="a", group="y", m=1, k=1, n=1),
    ]
    # (2 * 2 - 1) * 3 = 9 and 2 + 6 + 3 = 11; 1 and 3.
    assert (total(parts).flops, total(parts).mops, total(parts).traffic) == (20, 21, 28)
    assert {name: row.flops for name, row in by_group(parts).items()} == {"x": 9, "y": 11}
    assert {name: row.mops for name, row in by_name(parts).items()} == {"a": 14, "b": 7}
    assert (total(parts).intensity, total(parts).tiled_intensity) == (20 / 21, 20 / 28)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"heads": 5}, "heads must divide hidden = 12, not 5; the nearest legal value is 4"),
        ({"heads": 13}, "the nearest legal value is 12"),
        ({"layers": 0}, "layers must be from 1 to 16777216, not 0"),
        ({"ffn": -4}, "ffn must be from 1"),
        ({"hidden": 1 << 30}, "hidden must be from 1"),
    ],
)
def test_networks_that_there_cannot_be(change, expected):
    with pytest.raises(AnalysisError, match=expected):
        Transformer(**({"name": "", "layers": 1, "hidden": 12, "heads": 3, "ffn": 8} | change))


@pytest.mark.parametrize("name", ["bert-base", "gpt2"])
@pytest.mark.parametrize("tokens", [0, -1])
def test_lengths_that_there_cannot_be(name, tokens):
    with pytest.raises(AnalysisError, match=f"tokens must be at least 1, not {tokens}"):
        MODELS[name].operations(tokens)


def test_a_decoder_has_a_longest_length():
    with pytest.raises(AnalysisError, match="tokens of a decoder must be at most 16384, not 16385"):
        MODELS["gpt2"].operations(16385)
