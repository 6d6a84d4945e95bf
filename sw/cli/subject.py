"""Options of `celosia analyze` that say what is analysed: a network by name or by its sizes, and a length."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import pick

if TYPE_CHECKING:
    from celosia.sw.analysis.models import Network

DEFAULT_MODEL = "bert-base"
DEFAULT_TOKENS = 512

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="minilm, bert-base, bert-large, bert-large-3584, gpt2, resnet50 or resnet50-v1.  "
        f"[default: {DEFAULT_MODEL}]",
    ),
]
WorkloadOption = Annotated[
    str | None, typer.Option("--workload", help="One of `celosia bench`, instead of a model and a length.")
]
LayersOption = Annotated[int | None, typer.Option("--layers", help="Layers, instead of the model's.")]
HiddenOption = Annotated[int | None, typer.Option("--hidden", help="Channels, instead of the model's.")]
HeadsOption = Annotated[int | None, typer.Option("--heads", help="Heads of the attention, instead of the model's.")]
FfnOption = Annotated[int | None, typer.Option("--ffn", help="Channels inside the FFN, instead of the model's.")]
TokensOption = Annotated[
    int | None,
    typer.Option("--tokens", help=f"Length of the sequence; of a decoder, tokens to write.  [{DEFAULT_TOKENS}]"),
]
DecoderOption = Annotated[bool, typer.Option("--decoder", help="Generate one token at a time, with a key-value cache.")]


@dataclass(frozen=True)
class Subject:
    """What is analysed. `tokens`: of an image network, 1."""

    network: "Network"
    tokens: int

    @property
    def label(self) -> str:
        """For people: the network, its sizes and the length."""
        from celosia.sw.analysis.transformer import Transformer

        net = self.network
        if not isinstance(net, Transformer):
            return f"{net.name}, one image"
        kind = "tokens generated one at a time" if net.decoder else "tokens"
        return (
            f"{net.name} ({net.layers} layers, {net.hidden} channels, {net.heads} heads, {net.ffn} in the FFN), "
            f"{self.tokens} {kind}"
        )


def subject(
    model: str | None,
    workload: str | None,
    sizes: dict[str, int | None],
    tokens: int | None,
    decoder: bool,
) -> Subject:
    """What the options say. `sizes`: layers, hidden, heads and ffn, None where not given.

    Errors: CliError, AnalysisError.
    """
    from celosia.sw.analysis.models import MODELS
    from celosia.sw.analysis.transformer import Transformer

    given = {name: value for name, value in sizes.items() if value is not None}
    if workload is not None:
        if model is not None or given or tokens is not None or decoder:
            raise CliError("--workload says it all: it excludes --model, --tokens, --decoder and sizes")
        return _of_workload(workload)
    net = MODELS[pick("model", model or DEFAULT_MODEL, MODELS)]
    if not isinstance(net, Transformer):
        if given or decoder:
            option = next(iter(given), "decoder")
            raise CliError(f"--{option} is for transformers, and {net.name} is none")
        return Subject(net, 1 if tokens is None else tokens)
    if given:
        shape = {"layers": net.layers, "hidden": net.hidden, "heads": net.heads, "ffn": net.ffn} | given
        net = Transformer(name=f"like {net.name}", decoder=net.decoder, **shape)
    if decoder:
        net = replace(net, decoder=True)
    return Subject(net, DEFAULT_TOKENS if tokens is None else tokens)


def _of_workload(name: str) -> Subject:
    from celosia.sw.analysis.models import MODELS
    from celosia.sw.analysis.transformer import Transformer
    from celosia.sw.workloads import WORKLOADS

    work = WORKLOADS[pick("workload", name, WORKLOADS)]
    if isinstance(work.network, str):
        return Subject(MODELS[work.network], work.tokens)
    shape = work.network
    net = Transformer(name=work.name, layers=1, hidden=shape.hidden, heads=shape.heads, ffn=shape.ffn)
    return Subject(net, work.tokens)
