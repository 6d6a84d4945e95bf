"""What the survey prints beside what our accounting gives."""

import enum
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from celosia.sw.analysis.latency import total_cycles
from celosia.sw.analysis.models import MODELS, SURVEY_RESNET, Network
from celosia.sw.analysis.operations import Operation, Total, by_group, by_name, total
from celosia.sw.analysis.resnet import CONVOLUTION, NORMALISATION, RELU, ResNet50
from celosia.sw.analysis.transformer import Transformer

REFERENCE_TOKENS = 128
"""Figure 32 is normalised to BERT-Base at this length."""


class Verdict(enum.StrEnum):
    """How an entry compares."""

    SAME = "same"
    CLOSE = "close"
    FAULT = "misprint"
    APART = "apart"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A printed entry; see `printed.toml`."""

    source: str
    model: str
    caption: str
    row: str
    tokens: int
    figure: str
    printed: str
    tolerance: float | None = None
    fault: str = ""
    gap: str = ""

    @property
    def value(self) -> float:
        """The printed number; a share as it is printed, in percent."""
        return float(self.printed.removesuffix(" %"))


@dataclass(frozen=True)
class Comparison:
    """`ours`: not rounded."""

    entry: Entry
    ours: float

    @property
    def text(self) -> str:
        """Ours with the decimals of the printed one; with two more where only a tolerance holds."""
        number, unit = self.entry.printed.removesuffix(" %"), " %" if self.entry.printed.endswith(" %") else ""
        decimals = len(number.partition(".")[2]) + (2 if self.entry.tolerance and "." not in number else 0)
        return f"{self.ours:.{decimals}f}{unit}"

    @property
    def deviation(self) -> float:
        """Of ours from the printed one, relative."""
        return self.ours / self.entry.value - 1

    @property
    def verdict(self) -> Verdict:
        """Same digits, within the tolerance, or apart: for the printed entry's fault, or for ours."""
        decimals = len(self.entry.printed.removesuffix(" %").partition(".")[2])
        if f"{self.ours:.{decimals}f}" == self.entry.printed.removesuffix(" %"):
            return Verdict.SAME
        if self.entry.tolerance and abs(self.deviation) <= self.entry.tolerance:
            return Verdict.CLOSE
        return Verdict.FAULT if self.entry.fault else Verdict.APART

    @property
    def remark(self) -> str:
        """Why an entry is not the same, in words."""
        if self.verdict is Verdict.SAME:
            return ""
        if self.verdict is Verdict.FAULT:
            return f"misprint: {self.entry.fault}"
        return f"{self.deviation:+.1%}" + (f": {self.entry.gap}" if self.entry.gap else "")


def entries() -> list[Entry]:
    """All printed entries, in the order of the survey."""
    text = files("celosia.sw.analysis").joinpath("printed.toml").read_text(encoding="utf-8")
    return [
        Entry(source=source["name"], model=source["model"], caption=source["caption"], **fields)
        for source in tomllib.loads(text)["source"]
        for fields in source["entries"]
    ]


def compare(sources: tuple[str, ...] = ()) -> list[Comparison]:
    """Entries of these sources, or of all, beside ours."""
    return [Comparison(entry, _ours(entry)) for entry in entries() if not sources or entry.source in sources]


def network(name: str) -> Network:
    """A network of `printed.toml`."""
    return SURVEY_RESNET if name == SURVEY_RESNET.name else MODELS[name]


def _ours(entry: Entry) -> float:
    net = network(entry.model)
    if entry.figure in ("latency", "speed-up"):
        ratio = total_cycles(net, entry.tokens) / _reference()
        return ratio if entry.figure == "latency" else 1 / ratio
    return _FIGURES[entry.figure](_row(net, entry), _all(net, entry.tokens))


_FIGURES: dict[str, Callable[[Total, Total], float]] = {
    "GFLOPs": lambda row, whole: row.flops / 1e9,
    "GMOPs": lambda row, whole: row.mops / 1e9,
    "intensity": lambda row, whole: row.intensity,
    "tiled intensity": lambda row, whole: row.tiled_intensity,
    "share of FLOPs": lambda row, whole: 100 * row.flops / whole.flops,
}


def _row(net: Network, entry: Entry) -> Total:
    if isinstance(net, ResNet50):
        return resnet_row(net, entry.row)
    if entry.row == "total":
        return _all(net, entry.tokens)
    operations = _operations(net, entry.tokens)
    return (by_group(operations) | by_name(operations))[entry.row]


def resnet_row(net: ResNet50, row: str) -> Total:
    """A row of tables 4 and 12: convolutions alone; `unfused`, all operations; `fused`, all but normalisations and
    ReLUs, which a fused convolution does itself."""
    left_out = (NORMALISATION, RELU) if row == "fused" else ()
    listed = net.convolutions() if row == CONVOLUTION else net.operations()
    return total(operation for operation in listed if operation.group not in left_out)


@cache
def _operations(net: Transformer, tokens: int) -> tuple[Operation, ...]:
    return tuple(net.operations(tokens))


def _all(net: Network, tokens: int) -> Total:
    return total(_operations(net, tokens) if isinstance(net, Transformer) else net.operations(tokens))


@cache
def _reference() -> float:
    return total_cycles(MODELS["bert-base"], REFERENCE_TOKENS)


def left_out_bytes(network: ResNet50, unfused: float, fused: float) -> float:
    """Bytes for each element of normalisations and ReLUs that fusing leaves out, by two printed intensities.

    M is F over the intensity, with F and without what is left out; the difference is what those operations move. Each
    reads and writes its elements: at a byte and once, as in tables 3 and 4, that is 2, whatever else is counted.
    """
    groups = by_group(network.operations())
    elements = sum(groups[name].mops for name in (NORMALISATION, RELU)) / 2
    whole, rest = (resnet_row(network, row).flops for row in ("unfused", "fused"))
    return (whole / unfused - rest / fused) / elements
