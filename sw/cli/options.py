"""Options that several verbs share, and the configuration that they describe."""

import difflib
import enum
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from celosia.hw.config import Config, ConfigError, from_dict, override
from celosia.hw.coprocessor.config import OWN_SECTIONS, CoprocessorConfig
from celosia.hw.coprocessor.config import from_dict as coprocessor_from_dict
from celosia.hw.coprocessor.config import override as override_coprocessor
from celosia.hw.coprocessor.presets import COPROCESSORS
from celosia.hw.presets import PRESETS
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.output import read_text

DEFAULT_PRESET = "transformer"

PresetOption = Annotated[
    str | None,
    typer.Option("--preset", help=f"Named configuration: {', '.join(PRESETS)}.  [default: {DEFAULT_PRESET}]"),
]
AnyPresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help=f"Named configuration: {', '.join([*PRESETS, *COPROCESSORS])}.  [default: {DEFAULT_PRESET}]",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file with a configuration, instead of a preset.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a field of the configuration; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LatencyOption = Annotated[
    int, typer.Option(min=0, help="RTL: cycles of the memory from a request to its first data beat.")
]
StallsOption = Annotated[
    float, typer.Option(min=0.0, max=0.99, help="RTL: probability that a bus channel pauses in a cycle.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the random stalls.")]
CausalOption = Annotated[bool, typer.Option("--causal", help="Tokens attend only to those before them.")]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="Sentences to calibrate with instead of the built-in ones: one a line, or a .csv of sentence pairs.",
    ),
]


class DeviceKind(enum.StrEnum):
    """Where programs run."""

    RTL = "rtl"
    FUNCTIONAL = "functional"


DeviceOption = Annotated[
    DeviceKind, typer.Option("--device", help="The generated Verilog in simulation, or the golden models.")
]


@dataclass(frozen=True)
class Choice:
    """The configuration that the user asked for. `name`: of the preset or file. `settings`: changes to it."""

    config: Config
    name: str
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and changes, for people."""
        return " ".join([self.name, *self.settings])


def resolve(preset: str | None, file: Path | None, settings: list[str] | None, *, coprocessors: bool = False) -> Choice:
    """The configuration of the options. Errors: CliError, ConfigError.

    `coprocessors`: it may be that of a co-processor, which passes for a `Config` as far as such verbs look.
    """
    if preset is not None and file is not None:
        raise CliError("--preset and --config exclude one another: give one of them")
    if file is not None:
        base, name = _read_toml(file), file.stem
    else:
        name = preset or DEFAULT_PRESET
        known: dict[str, Config | CoprocessorConfig] = {**PRESETS, **COPROCESSORS}
        base = known[pick("preset", name, known if coprocessors or name in COPROCESSORS else PRESETS)]
    changes = settings or []
    if isinstance(base, Config):
        return Choice(override(base, changes), name, tuple(changes))
    if not coprocessors:
        raise CliError(
            f"{name} is a co-processor of attention alone, for config, generate, area and bench; any other preset "
            f"would do, such as {DEFAULT_PRESET}"
        )
    return Choice(cast(Config, override_coprocessor(base, changes)), name, tuple(changes))


def _read_toml(path: Path) -> Config | CoprocessorConfig:
    try:
        values = tomllib.loads(read_text(path))
        return coprocessor_from_dict(values) if set(OWN_SECTIONS) & set(values) else from_dict(values)
    except tomllib.TOMLDecodeError as error:
        raise CliError(f"{path} is not TOML: {error}") from None
    except ConfigError as error:
        raise CliError(f"{path}: {error}") from None


def pick(kind: str, name: str, legal: Collection[str]) -> str:
    """`name`, if it is one of `legal`. Errors: CliError that says what was meant, or what there is."""
    if name in legal:
        return name
    near = difflib.get_close_matches(name.lower(), legal, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(legal)}"
    raise CliError(f"no {kind} {name!r}; {hint}")
