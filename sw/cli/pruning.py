"""What the verbs of HDP share: options, texts and probes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celosia.sw.cli.output import read_text

if TYPE_CHECKING:
    from celosia.sw.cli.network import Network
    from celosia.sw.model.hdp import HdpPolicy
    from celosia.sw.model.hdp.probe import Probe

TokensOption = Annotated[int, typer.Option(min=3, help="Tokens of each sequence of long text.")]
SequencesOption = Annotated[int, typer.Option(min=1, help="Sequences of long text, at most.")]
CalibrationSizeOption = Annotated[int, typer.Option("--sentences", min=1, help="Sentences to calibrate on, at most.")]
LongOption = Annotated[Path | None, typer.Option("--long", help="Text file for fidelity on long sequences.")]


def read_policy(path: Path) -> "HdpPolicy":
    """The policy of a file. Errors: CliError, ModelError."""
    from celosia.sw.model.hdp import from_toml

    return from_toml(read_text(path), str(path))


def lines_of(path: Path) -> list[str]:
    """Lines of a text file that are not empty; of a .csv of sentence pairs, its sentences. Errors: CliError."""
    from celosia.sw.cli.network import sentences_of

    return sentences_of(path)


def long_probe(network: "Network", texts: list[str], tokens: int, sequences: int) -> "Probe":
    """A probe of sequences of `tokens` tokens that the texts fill. Errors: ModelError."""
    from celosia.sw.model.hdp.probe import Probe, pack

    return Probe(network.model, network.encoder, pack(network.model, texts, tokens, sequences))


def short_probe(network: "Network", texts: list[str], limit: int) -> "Probe":
    """A probe of at most `limit` of the texts."""
    from celosia.sw.model.hdp.probe import Probe, spread_out

    return Probe(network.model, network.encoder, spread_out(network.model.tokenize(texts), limit))
