"""The space of a sweep: configurations that differ in some fields, numbered."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from celosia.hw.config import Config, ConfigError, from_dict
from celosia.synth.sweep.errors import SweepError

Value = int | float | str | bool

_LONGEST_AXIS = 10_000


@dataclass(frozen=True)
class Axis:
    """One field, `section.name`, and the values that it takes, in order."""

    field: str
    values: tuple[Value, ...]

    @property
    def ordered(self) -> bool:
        """Whether neighbours are alike: numbers that only grow, or only shrink."""
        if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values):
            return False
        return list(self.values) in (sorted(self.values), sorted(self.values, reverse=True))


@dataclass(frozen=True)
class Point:
    """One place in a space. `index`: its number. `config`: None where the values do not go together: `reason`."""

    index: int
    values: dict[str, Value]
    config: Config | None
    reason: str | None = None


@dataclass(frozen=True)
class Space:
    """All combinations of the values of `axes` over `base`; the last axis changes fastest from index to index."""

    base: Config
    axes: tuple[Axis, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Fields of the axes."""
        return tuple(axis.field for axis in self.axes)

    @cached_property
    def size(self) -> int:
        """Number of combinations."""
        return prod(len(axis.values) for axis in self.axes)

    @cached_property
    def _fixed(self) -> dict[str, Value]:
        return flatten(self.base.to_dict())

    def values(self, index: int) -> dict[str, Value]:
        """Values of the axes' fields at an index from 0 to size - 1."""
        result: dict[str, Value] = {}
        for axis in reversed(self.axes):
            index, choice = divmod(index, len(axis.values))
            result[axis.field] = axis.values[choice]
        return {name: result[name] for name in self.names}

    def index(self, choices: dict[str, int]) -> int:
        """The index of a choice (number of the value) on each axis, by field."""
        result = 0
        for axis in self.axes:
            result = result * len(axis.values) + choices[axis.field]
        return result

    def point(self, index: int) -> Point:
        """The point at an index."""
        values = self.values(index)
        try:
            return Point(index, values, configure(self.base, values))
        except ConfigError as error:
            return Point(index, values, None, str(error))

    def fields(self, index: int) -> dict[str, Value]:
        """All fields of the configuration at an index, legal or not."""
        return self._fixed | self.values(index)


def flatten(values: dict[str, Any]) -> dict[str, Any]:
    """Nested tables as `section.name` keys."""
    return {f"{section}.{name}": value for section, fields in values.items() for name, value in fields.items()}


def configure(base: Config, values: dict[str, Value]) -> Config:
    """`base` with some fields changed. Errors: ConfigError."""
    nested: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    return from_dict(nested, base)


def axis(name: str, definition: Any) -> Axis:
    """An axis from what the file says: a list, one value, or `{low, high, step | factor}`. Errors: SweepError."""
    if isinstance(definition, dict):
        values = list(_range(name, definition))
    else:
        values = list(definition) if isinstance(definition, list) else [definition]
    if not values:
        raise SweepError(f"space.{name} is empty: give it at least one value")
    for value in values:
        if not isinstance(value, (int, float, str)):
            raise SweepError(f"space.{name}: a value must be a number or a text, not {value!r}")
        if values.count(value) > 1:
            raise SweepError(f"space.{name} holds {value!r} twice")
    return Axis(name, tuple(values))


def _range(name: str, table: dict[str, Any]) -> Iterator[int]:
    form = "{ low = 16, high = 64, step = 16 } or { low = 16, high = 512, factor = 2 }"
    for key, value in table.items():
        if key not in ("low", "high", "step", "factor"):
            raise SweepError(f"space.{name}: no {key!r} in a range; write {form}")
        if not isinstance(value, int) or isinstance(value, bool):
            raise SweepError(f"space.{name}: {key} must be a whole number, not {value!r}")
    if "low" not in table or "high" not in table or ("step" in table and "factor" in table):
        raise SweepError(f"space.{name}: a range must have low, high, and either step or factor; write {form}")
    low, high, step, factor = table["low"], table["high"], table.get("step", 1), table.get("factor")
    if step < 1:
        raise SweepError(f"space.{name}: step must be at least 1, not {step}")
    if factor is not None and (factor < 2 or low < 1):
        raise SweepError(f"space.{name}: factor must be at least 2 and low at least 1, not {factor} and {low}")
    if low > high:
        raise SweepError(f"space.{name} is empty: low is {low}, above high, {high}")
    if factor is None and (high - low) // step >= _LONGEST_AXIS:
        raise SweepError(f"space.{name} has more than {_LONGEST_AXIS} values; take a larger step")
    while low <= high:
        yield low
        low = low + step if factor is None else low * factor
