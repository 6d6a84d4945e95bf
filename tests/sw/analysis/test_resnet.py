"""ResNet-50 against what is published of it."""

import pytest

from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.operations import by_group, total
from celosia.sw.analysis.resnet import ADDITION, CLASSIFIER, CONVOLUTION, NORMALISATION, POOLING, RELU, ResNet50


def test_parameters():
    """25,557,032 in torchvision: weights of 53 convolutions, two for each channel that is normalised, classifier."""
    convolutions = ResNet50().convolutions()
    assert len(convolutions) == 53
    channels = sum(conv.outputs for conv in convolutions)
    assert sum(conv.weights for conv in convolutions) + 2 * channels + 2048 * 1000 + 1000 == 25_557_032


def test_macs():
    """4.089 * 10^9 with the strides in use (torchvision), 3.8 * 10^9 with those of the paper (its table 1)."""
    macs = {late: total(ResNet50(late_stride=late).convolutions()).flops / 2 for late in (True, False)}
    assert round((macs[True] + 2048 * 1000) / 1e9, 3) == 4.089
    assert 3.8 <= macs[False] / 1e9 < 3.9


@pytest.mark.parametrize("late", [True, False])
def test_images_fit_together(late):
    """Every convolution reads an image as large as the one before left, in as many channels."""
    size, channels = 56, 64
    convolutions = ResNet50(late_stride=late).convolutions()
    entry = (size, channels)
    for conv in convolutions[1:]:
        if conv.name.endswith("1x1 in"):
            entry = (size, channels)
        came = entry if conv.name.endswith("shortcut") else (size, channels)
        assert (conv.source, conv.inputs) == came
        assert conv.source in (conv.size, 2 * conv.size)
        size, channels = conv.size, conv.outputs
    assert (size, channels) == (7, 2048)
    halved = [conv.name for conv in convolutions[1:] if conv.size < conv.source and not conv.name.endswith("shortcut")]
    place = "3x3" if late else "1x1 in"
    assert halved == [f"conv{stage}_1 {place}" for stage in (3, 4, 5)]


def test_what_stands_between():
    operations = ResNet50().operations()
    counts = {name: sum(o.group == name for o in operations) for name in by_group(operations)}
    # One addition a block; a ReLU after the first convolution, and three in a block.
    assert counts == {CONVOLUTION: 53, NORMALISATION: 53, RELU: 49, ADDITION: 16, POOLING: 2, CLASSIFIER: 1}
    # 3 + 4 + 6 + 3 blocks, with results of 802,816 elements that halve from stage to stage.
    added = 802_816 * 3 + 401_408 * 4 + 200_704 * 6 + 100_352 * 3
    groups = by_group(operations)
    assert groups[ADDITION].flops == added
    assert groups[ADDITION].mops == 3 * added
    # 32 bits in and out; four shortcuts come at 32 bits, twelve at 8.
    assert groups[ADDITION].traffic == 9 * added + 3 * (802_816 + 401_408 + 200_704 + 100_352)
    assert len({operation.name for operation in operations}) == len(operations)


def test_one_image_at_a_time():
    with pytest.raises(AnalysisError, match="resnet50 is analysed one image at a time: tokens must be 1, not 2"):
        ResNet50().operations(2)
