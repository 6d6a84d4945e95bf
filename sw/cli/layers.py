"""Heads of layers of a network, for `celosia bench`: what attention-L-DH names together with --model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celosia.sw.cli import output
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.pruning import lines_of, read_policy

if TYPE_CHECKING:
    from celosia.hw.config import Config
    from celosia.sw.attention import LayerWorkload
    from celosia.sw.cli.network import Network


def shape_of(name: str) -> tuple[int, int] | None:
    """Tokens and channels of the workload `attention-TOKENS-HEAD`; None for any other name."""
    found = re.fullmatch(r"attention-(\d+)-(\d+)", name)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True)
class Subject:
    """A network, by the options of `bench`: `model`, `policy` that prunes it, `layers` of it (all, if none is named),
    `long` text that it reads, `calibration` of its numbers."""

    model: str | None = None
    policy: Path | None = None
    layers: Sequence[int] | None = None
    long: Path | None = None
    calibration: Path | None = None

    def check(self, names: Sequence[str]) -> None:
        """Errors: CliError when the options do not belong together, or to workloads of these names."""
        wanted = [name for name in names if shape_of(name)]
        if self.model is None:
            if wanted:
                raise CliError(
                    f"{wanted[0]} is of a network: give --model and --hdp, or a share to prune, as in {wanted[0]}-75"
                )
            others = {"--hdp": self.policy, "--layer": self.layers, "--long": self.long}
            for option, given in (others | {"--calibration": self.calibration}).items():
                if given:
                    raise CliError(f"{option} is of a network: give --model and --workload attention-L-DH as well")
        elif not wanted:
            raise CliError("--model is for workloads attention-L-DH: give one, such as --workload attention-128-32")
        elif self.policy is None:
            raise CliError("--model needs a policy: give --hdp as well")

    def workloads(self, name: str, config: "Config") -> "list[LayerWorkload]":
        """The heads of a workload's layers. Errors: CliError, ModelError."""
        from celosia.sw.attention import layer_workloads
        from celosia.sw.cli.network import prepare
        from celosia.sw.model.folder import load_model

        shape = shape_of(name)
        assert shape is not None
        assert self.model is not None
        assert self.policy is not None
        tokens, head = shape
        policy = read_policy(self.policy)
        network = prepare(config, load_model(self.model), self.calibration)
        width = network.encoder.hidden // network.encoder.heads
        if head != width:
            raise CliError(
                f"heads of {self.model} have {width} channels, not {head}: attention-{tokens}-{width} would do"
            )
        count = len(network.encoder.layers)
        layers = self.layers or range(count)
        if (most := max(layers)) >= count:
            raise CliError(f"{self.model} has layers 0 to {count - 1}, not {most}")
        with output.step(f"{self.model}, {tokens} tokens, by the golden model"):
            found = layer_workloads(network.encoder, network.input(self._ids(network, tokens)), policy)
        return [found[index] for index in layers]

    def _ids(self, network: "Network", tokens: int) -> list[int]:
        """One sequence. Errors: CliError, ModelError."""
        from celosia.sw.model.hdp.probe import pack
        from celosia.sw.workloads import text_ids

        if self.long is None:
            return text_ids(network.model, tokens)
        return pack(network.model, lines_of(self.long), tokens, 1)[0]
