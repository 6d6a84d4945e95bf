"""The data of the survey's figures 4 to 6: FLOPs, MOPs and intensity over the sequence length."""

from collections.abc import Sequence
from dataclasses import dataclass

from celosia.sw.analysis.models import MODELS
from celosia.sw.analysis.operations import Total, total

NAMES = ("bert-base", "bert-large-3584", "gpt2")
LENGTHS = (128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Series:
    """Totals of a network, one for each length."""

    name: str
    tokens: Sequence[int]
    totals: Sequence[Total]


def series() -> list[Series]:
    """The lines of figures 4 to 6."""
    return [Series(name, LENGTHS, [total(MODELS[name].operations(tokens)) for tokens in LENGTHS]) for name in NAMES]
