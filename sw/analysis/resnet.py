"""ResNet-50 on 224 x 224 pixels: every convolution, and what stands between them."""

from dataclasses import dataclass

from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.operations import Convolution, Elementwise, Matmul, Operation
from celosia.sw.analysis.transformer import OTHER

CONVOLUTION, CLASSIFIER = "convolutions", "classifier"
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Bottleneck blocks of each stage, and channels of their 3 x 3 convolutions."""
EXPANSION = 4
"""Channels that leave a bottleneck, in multiples of those of its 3 x 3 convolution."""
CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class ResNet50:
    """ResNet-50. `late_stride`: a stage halves its image in its first 3 x 3 convolution, as in the weights that are
    distributed today (v1.5), not in the 1 x 1 before it as first published. `blocks`: of each stage.
    """

    name: str = "resnet50"
    late_stride: bool = True
    blocks: tuple[int, ...] = tuple(count for count, _ in STAGES)

    def convolutions(self) -> list[Convolution]:
        """All convolutions in order: 53 of them in the published network, projections of shortcuts included."""
        listed = [_conv("conv1", 7, 3, 64, 112, 224)]
        channels, size = 64, 56
        for stage, (count, width) in enumerate(zip(self.blocks, (width for _, width in STAGES), strict=True), 2):
            for block in range(count):
                out = size // 2 if stage > 2 and block == 0 else size
                inner = size if self.late_stride else out
                name = f"conv{stage}_{block + 1}"
                listed.append(_conv(f"{name} 1x1 in", 1, channels, width, inner, size))
                listed.append(_conv(f"{name} 3x3", 3, width, width, out, inner))
                listed.append(_conv(f"{name} 1x1 out", 1, width, EXPANSION * width, out, out))
                if block == 0:
                    listed.append(_conv(f"{name} shortcut", 1, channels, EXPANSION * width, out, size))
                channels, size = EXPANSION * width, out
        return listed

    def operations(self, tokens: int = 1) -> list[Operation]:
        """All operations on `tokens` images: batch normalisation, ReLU, residual additions, pooling and the classifier
        each on their own, none fused into another. Errors: AnalysisError for other than one image.
        """
        if tokens != 1:
            raise AnalysisError(f"resnet50 is analysed one image at a time: tokens must be 1, not {tokens}")
        listed: list[Operation] = []
        for conv in self.convolutions():
            listed.append(conv)
            listed.append(_between(f"{conv.name} norm", conv.results, flops=2, reads=1, wide_reads=1, wide=True))
            if conv.name == "conv1":
                listed += [_relu("conv1", conv.results), _pooling("max pooling", conv.results, conv.results // 4, 9)]
        return [*_with_additions(listed), *_head()]


def _conv(name: str, kernel: int, inputs: int, outputs: int, size: int, source: int) -> Convolution:
    return Convolution(
        name=name, group=CONVOLUTION, kernel=kernel, inputs=inputs, outputs=outputs, size=size, source=source
    )


def _with_additions(listed: list[Operation]) -> list[Operation]:
    """The operations of all convolutions and normalisations, with ReLUs and residual additions in their places."""
    placed: list[Operation] = []
    for index, operation in enumerate(listed):
        placed.append(operation)
        if not operation.name.endswith(" norm") or operation.name == "conv1 norm":
            continue
        assert isinstance(operation, Elementwise)
        conv = operation.name.removesuffix(" norm")
        block = conv.split(" ")[0]
        if conv.endswith((" 1x1 in", " 3x3")):
            placed.append(_relu(conv, operation.elements))
            continue
        projected = index + 1 < len(listed) and listed[index + 1].name == f"{block} shortcut"
        if projected:
            continue
        # An identity brings back the eight bits of a ReLU; a projection the unrounded result of its normalisation.
        wide = 2 if conv.endswith(" shortcut") else 1
        placed.append(_between(f"{block} addition", operation.elements, flops=1, reads=2, wide_reads=wide, wide=True))
        placed.append(_relu(block, operation.elements))
    return placed


def _between(name: str, elements: int, *, flops: int, reads: int, wide_reads: int, wide: bool) -> Elementwise:
    """An operation that reads `reads` operands for each element, `wide_reads` of them at four bytes, and writes one."""
    return Elementwise(
        name=name, group=OTHER, elements=elements, flops=flops * elements, mops=(reads + 1) * elements,
        bytes=(reads + 3 * wide_reads + (4 if wide else 1)) * elements,
    )  # fmt: skip


def _relu(name: str, elements: int) -> Elementwise:
    return _between(f"{name} ReLU", elements, flops=1, reads=1, wide_reads=1, wide=False)


def _pooling(name: str, read: int, written: int, window: int) -> Elementwise:
    return Elementwise(
        name=name, group=OTHER, elements=read, flops=window * written, mops=read + written, bytes=read + written
    )


def _head() -> list[Operation]:
    width = EXPANSION * STAGES[-1][1]
    return [
        _pooling("average pooling", 49 * width, width, 49),
        Matmul(name="classifier", group=CLASSIFIER, m=1, k=width, n=CLASSES, bias=True),
    ]
