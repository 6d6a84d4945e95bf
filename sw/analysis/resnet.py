"""ResNet-50 on 224 x 224 pixels: every convolution, and what stands between them."""

from collections.abc import Iterator
from dataclasses import dataclass

from celosia.sw.analysis.errors import AnalysisError
from celosia.sw.analysis.operations import WIDE_BYTES, Convolution, Elementwise, Matmul, Operation

CONVOLUTION, NORMALISATION, RELU, ADDITION = "convolutions", "normalisations", "ReLUs", "additions"
POOLING, CLASSIFIER = "pooling", "classifier"
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
        listed = [_FIRST]
        for block in self._bottlenecks():
            listed += [*block.main, *([block.shortcut] if block.shortcut else [])]
        return listed

    def operations(self, tokens: int = 1) -> list[Operation]:
        """All operations on `tokens` images: batch normalisation, ReLU, residual additions, pooling and the classifier
        each on their own, none fused into another. Errors: AnalysisError for other than one image.
        """
        if tokens != 1:
            raise AnalysisError(f"{self.name} is analysed one image at a time: tokens must be 1, not {tokens}")
        results = _FIRST.results
        listed: list[Operation] = [*_normalised(_FIRST), _relu(_FIRST.name, results)]
        listed.append(_pooling("max pooling", results, results // 4, 9))
        for block in self._bottlenecks():
            listed += block.operations()
        width = EXPANSION * STAGES[-1][1]
        listed.append(_pooling("average pooling", 49 * width, width, 49))
        listed.append(Matmul(name="classifier", group=CLASSIFIER, m=1, k=width, n=CLASSES, bias=True))
        return listed

    def _bottlenecks(self) -> Iterator["_Bottleneck"]:
        channels, size = _FIRST.outputs, _FIRST.size // 2
        for stage, (count, (_, width)) in enumerate(zip(self.blocks, STAGES, strict=True), 2):
            for block in range(count):
                out = size // 2 if stage > 2 and block == 0 else size
                inner = size if self.late_stride else out
                name = f"conv{stage}_{block + 1}"
                main = (
                    _conv(f"{name} 1x1 in", 1, channels, width, inner, size),
                    _conv(f"{name} 3x3", 3, width, width, out, inner),
                    _conv(f"{name} 1x1 out", 1, width, EXPANSION * width, out, out),
                )
                shortcut = _conv(f"{name} shortcut", 1, channels, EXPANSION * width, out, size)
                yield _Bottleneck(name, main, None if block else shortcut)
                channels, size = EXPANSION * width, out


@dataclass(frozen=True)
class _Bottleneck:
    """Three convolutions, and one that projects the shortcut where image or channels change."""

    name: str
    main: tuple[Convolution, Convolution, Convolution]
    shortcut: Convolution | None

    def operations(self) -> list[Operation]:
        *inner, last = self.main
        listed: list[Operation] = []
        for conv in inner:
            listed += [*_normalised(conv), _relu(conv.name, conv.results)]
        listed += _normalised(last)
        if self.shortcut:
            listed += _normalised(self.shortcut)
        # An identity brings back the eight bits of a ReLU; a projection the unrounded result of its normalisation.
        wide = 2 if self.shortcut else 1
        listed.append(_between(f"{self.name} addition", ADDITION, last.results, reads=2, wide_reads=wide, flops=1))
        listed.append(_relu(self.name, last.results))
        return listed


def _conv(name: str, kernel: int, inputs: int, outputs: int, size: int, source: int) -> Convolution:
    return Convolution(
        name=name, group=CONVOLUTION, kernel=kernel, inputs=inputs, outputs=outputs, size=size, source=source
    )


_FIRST = _conv("conv1", 7, 3, 64, 112, 224)


def _normalised(conv: Convolution) -> list[Operation]:
    """A convolution and its batch normalisation: a multiplication and an addition for each element."""
    return [conv, _between(f"{conv.name} norm", NORMALISATION, conv.results, flops=2)]


def _relu(name: str, elements: int) -> Elementwise:
    return _between(f"{name} ReLU", RELU, elements, flops=1, result_bytes=1)


def _between(
    name: str, group: str, elements: int, *, flops: int, reads: int = 1, wide_reads: int = 1, result_bytes: int = 4
) -> Elementwise:
    """An operation with `reads` operands for each element, `wide_reads` of them at four bytes, and one result."""
    return Elementwise(
        name=name, group=group, elements=elements, flops=flops * elements, mops=(reads + 1) * elements,
        bytes=(reads + (WIDE_BYTES - 1) * wide_reads + result_bytes) * elements,
    )  # fmt: skip


def _pooling(name: str, read: int, written: int, window: int) -> Elementwise:
    return Elementwise(
        name=name, group=POOLING, elements=read, flops=window * written, mops=read + written, bytes=read + written
    )
