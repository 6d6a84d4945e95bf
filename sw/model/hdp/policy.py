"""What is pruned, and how: the settings of HDP for a whole encoder, and the file that holds them."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from celosia.sw.golden.hdp import RHO_ONE, BlockShape, Importance, Pruned, check_fill, check_rho, largest_code
from celosia.sw.model.errors import ModelError


class Selection(StrEnum):
    """How blocks of a row are chosen."""

    THRESHOLD = "threshold"
    """By rho: those that reach the threshold."""
    TOP_K = "top-k"
    """Comparator: as many as there are to keep; `rho` is the share to prune, 0 to 1."""


class Softmax(StrEnum):
    """Which exponential and reciprocal."""

    MODEL = "model"
    """Those of the quantised model."""
    PUBLISHED = "published"
    """HDP's: an exponential of second order, a reciprocal by a line."""


_PUBLISHED_BLOCK = BlockShape(2, 2)


@dataclass(frozen=True, kw_only=True)
class HdpPolicy:
    """HDP for an encoder of `len(rho)` layers. Errors: ModelError for a field out of its range.

    `rho`: of each layer in 256ths; -256 prunes nothing. `tau`: of each layer in 256ths of a unit of the integer scores,
    per score; None prunes no head. `block`, `importance`: of all layers. `pruned`: what the softmax sees of a pruned
    score. `approximate`: scores of kept blocks leave out the product of fractions. `fraction`: bits of a fraction.
    `selection`: Top-K instead of the threshold. `cascade`: comparator, SpAtten's heads: how many are pruned in each
    layer, by what earlier layers accumulated; not together with tau. `fill`: a row of blocks keeps the next most
    important keys too, up to a multiple of so many; 0: it does not.
    """

    rho: tuple[int, ...]
    tau: tuple[int | None, ...] = ()
    block: BlockShape = _PUBLISHED_BLOCK
    importance: Importance = Importance.MAX
    pruned: Pruned = Pruned.EXCLUDED
    approximate: bool = True
    fraction: int = 4
    softmax: Softmax = Softmax.MODEL
    selection: Selection = Selection.THRESHOLD
    cascade: tuple[int, ...] = ()
    fill: int = 0

    def __post_init__(self) -> None:
        try:
            largest_code(self.fraction)
            check_fill(self.fill)
            for rho in self.rho:
                check_rho(rho)
        except ValueError as error:
            raise ModelError(str(error)) from None
        for name in ("tau", "cascade"):
            given = getattr(self, name)
            if given and len(given) != len(self.rho):
                raise ModelError(f"{name} must have one value for each of {len(self.rho)} layers, not {len(given)}")
        if self.selection is Selection.TOP_K and min(self.rho, default=0) < 0:
            raise ModelError("rho is the share to prune for top-k: it must be from 0 to 1")
        if self.selection is Selection.TOP_K and self.fill:
            raise ModelError(f"fill goes with a threshold: for top-k it must be 0, not {self.fill}")
        if self.cascade and self.tau:
            raise ModelError("tau and cascade exclude one another: heads are pruned by one rule")
        if any(pruned < 0 for pruned in self.cascade):
            raise ModelError("cascade must hold numbers of heads, 0 or more")

    @classmethod
    def dense(cls, layers: int, **settings: Any) -> "HdpPolicy":
        """A policy that prunes nothing in any of `layers` layers."""
        return cls(rho=(-RHO_ONE,) * layers, **settings)

    def with_rho(self, rho: tuple[int, ...]) -> "HdpPolicy":
        """The same with another rho for each layer."""
        return replace(self, rho=rho)

    def without_heads(self) -> "HdpPolicy":
        """The same without any pruning of heads."""
        return replace(self, tau=(), cascade=())


def to_toml(policy: HdpPolicy, comment: str = "") -> str:
    """The policy as TOML; `comment`: lines to put above it."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [
        f"rho = {_reals(policy.rho)}",
        *([f"tau = {_reals(policy.tau)}"] if policy.tau else []),
        f"block = [{policy.block.height}, {policy.block.width}]",
        *(f'{name} = "{getattr(policy, name)}"' for name in _NAMES),
        f"approximate = {str(policy.approximate).lower()}",
        f"fraction = {policy.fraction}",
        *([f"cascade = {list(policy.cascade)}"] if policy.cascade else []),
        *([f"fill = {policy.fill}"] if policy.fill else []),
    ]
    return "\n".join(lines) + "\n"


def from_toml(text: str, source: str = "policy") -> HdpPolicy:
    """The policy of a TOML text. Errors: ModelError that names `source` and what is wrong with it."""
    try:
        document = tomllib.loads(text)
        return _policy(document)
    except (tomllib.TOMLDecodeError, ModelError) as error:
        raise ModelError(f"{source}: {error}") from None


_NAMES: dict[str, type[StrEnum]] = {
    "importance": Importance,
    "pruned": Pruned,
    "softmax": Softmax,
    "selection": Selection,
}


def _policy(document: Mapping[str, Any]) -> HdpPolicy:
    legal = [field.name for field in fields(HdpPolicy)]
    if unknown := [name for name in document if name not in legal]:
        raise ModelError(f"no field {unknown[0]!r}; there are {', '.join(legal)}")
    if "rho" not in document:
        raise ModelError("rho is missing: one number for each layer")
    values: dict[str, Any] = {"rho": tuple(_steps("rho", x) for x in _numbers(document, "rho"))}
    if "tau" in document:
        values["tau"] = tuple(None if x == -math.inf else _steps("tau", x) for x in _numbers(document, "tau"))
    if "cascade" in document:
        values["cascade"] = tuple(_whole("cascade", x) for x in _numbers(document, "cascade"))
    if "block" in document:
        values["block"] = _block(_numbers(document, "block"))
    for name, kind in _NAMES.items():
        if name in document:
            values[name] = _named(name, kind, document[name])
    if "approximate" in document:
        values["approximate"] = document["approximate"]
        if type(values["approximate"]) is not bool:
            raise ModelError(f"approximate must be true or false, not {values['approximate']!r}")
    for name in ("fraction", "fill"):
        if name in document:
            values[name] = _whole(name, document[name])
    return HdpPolicy(**values)


def _numbers(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document[name]
    if not isinstance(value, list) or any(type(x) not in (int, float) for x in value):
        raise ModelError(f"{name} must be a list of numbers, not {value!r}")
    return value


def _steps(name: str, value: float) -> int:
    """A number as 256ths, rounded half up."""
    if not math.isfinite(value):
        raise ModelError(f"{name} must be finite, not {value!r}")
    return math.floor(value * RHO_ONE + 0.5)


def _reals(steps: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("-inf" if x is None else repr(x / RHO_ONE) for x in steps) + "]"


def _whole(name: str, value: Any) -> int:
    if type(value) is not int:
        raise ModelError(f"{name} must be an integer, not {value!r}")
    return value


def _block(sides: list[Any]) -> BlockShape:
    if len(sides) != 2:
        raise ModelError(f"block must be [height, width], not {sides!r}")
    return block_shape(*sides)


def block_shape(height: Any, width: Any) -> BlockShape:
    """A block shape. Errors: ModelError unless both sides are positive integers."""
    try:
        return BlockShape(height, width)
    except ValueError as error:
        raise ModelError(str(error)) from None


def parse_block(text: str) -> BlockShape:
    """A block shape such as `16x2`. Errors: ModelError."""
    height, _, width = text.partition("x")
    try:
        sides = int(height), int(width)
    except ValueError:
        raise ModelError(f"a block must read HEIGHTxWIDTH, such as 16x2, not {text!r}") from None
    return block_shape(*sides)


def _named(name: str, kind: type[StrEnum], value: Any) -> StrEnum:
    if value not in list(kind):
        raise ModelError(f"{name} must be one of {', '.join(kind)}, not {value!r}")
    return kind(value)
