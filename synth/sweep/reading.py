"""Reads the file of a sweep (its format: `celosia.synth.sweep`) and refuses what could not be run, in one line."""

import random
import sys
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from celosia.hw.config import Config, ConfigError, from_dict
from celosia.hw.presets import PRESETS
from celosia.synth.sweep.errors import SweepError, listed, unknown
from celosia.synth.sweep.evaluators import load
from celosia.synth.sweep.expressions import Expression
from celosia.synth.sweep.objectives import KINDS, Option
from celosia.synth.sweep.space import Axis, Space, axis, flatten
from celosia.synth.sweep.spec import DIRECTIONS, SAMPLERS, STRATEGIES, Measure, Objective, Search, Spec

_SECTIONS = ("base", "set", "space", "constraints", "measures", "derived", "objectives", "search")
_MOST = 1_000_000
"""Combinations that a grid may have before its constraints are looked at."""
_LARGEST = 10**15
"""Combinations that any space may have."""
_TRIES = 2000
"""Points that are tried for one value before it is said that it is never legal."""

_SEARCH: dict[str, Option] = {
    "strategy": Option(default="grid", legal=lambda: STRATEGIES),
    "points": Option(type=int, default=0, low=1),
    "seed": Option(type=int, default=0, low=0),
    "sampler": Option(default="nsga2", legal=lambda: SAMPLERS),
    "batch": Option(type=int, default=8, low=1),
    "population": Option(type=int, default=16, low=2),
}
_USED_BY = {
    "grid": (),
    "random": ("points", "seed"),
    "optuna": ("points", "seed", "sampler", "batch", "population"),
}


def read(path: Path) -> Spec:
    """The sweep in a file. Errors: SweepError that starts with the file's name."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SweepError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SweepError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from None
    try:
        return parse(tomllib.loads(text), path.stem, path.absolute().parent)
    except tomllib.TOMLDecodeError as error:
        raise SweepError(f"{path} is not TOML: {error}") from None
    except (SweepError, ConfigError) as error:
        raise SweepError(f"{path}: {error}") from None


def parse(document: dict[str, Any], name: str, folder: Path) -> Spec:
    """The same from a parsed document; `folder`: where its files are. Errors: SweepError, ConfigError."""
    for section in document:
        if section not in _SECTIONS:
            raise unknown("section", section, _SECTIONS)
    base_name, base = _base(document, folder)
    space = _space(document, base)
    fields = tuple(flatten(base.to_dict()))
    measures = tuple(_measures(_table(document, "measures"), base, folder))
    derived, units = _derived(_table(document, "derived"), fields, measures)
    limits, constraints = _constraints(document.get("constraints", []), fields, measures, derived)
    spec = Spec(
        name=name,
        base=base_name,
        space=space,
        limits=tuple(limits),
        constraints=tuple(constraints),
        measures=measures,
        derived=derived,
        units=units,
        objectives=tuple(_objectives(_table(document, "objectives"), measures, derived)),
        search=_search(_table(document, "search")),
        folder=folder,
    )
    _check_search(spec)
    _check_values(spec)
    return spec


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise SweepError(f"{name} must be a table, not {value!r}")
    return value


def _base(document: dict[str, Any], folder: Path) -> tuple[str, Config]:
    name = document.get("base", "transformer")
    if not isinstance(name, str):
        raise SweepError(f"base must be a preset or the name of a TOML file, not {name!r}")
    if name in PRESETS:
        base = PRESETS[name]
    elif name.endswith(".toml"):
        try:
            base = from_dict(tomllib.loads((folder / name).read_text(encoding="utf-8")))
        except OSError as error:
            raise SweepError(f"base: cannot read {name}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SweepError(f"base: {name} is not TOML: {error}") from None
        except ConfigError as error:
            raise SweepError(f"base: {name}: {error}") from None
    else:
        raise SweepError(f"base: {unknown('preset', name, PRESETS)}")
    return name, from_dict(_table(document, "set"), base)


def _space(document: dict[str, Any], base: Config) -> Space:
    axes: list[Axis] = []
    fields = base.to_dict()
    for section, definitions in _table(document, "space").items():
        if section not in fields:
            raise SweepError(f"space: {unknown('section', section, fields)}")
        if not isinstance(definitions, dict):
            raise SweepError(f"space.{section} must name a field: one of {listed(fields[section])}")
        for field, definition in definitions.items():
            if field not in fields[section]:
                legal = [f"{section}.{name}" for name in fields[section]]
                raise SweepError(f"space: {unknown('field', f'{section}.{field}', legal)}")
            axes.append(axis(f"{section}.{field}", definition))
    if not axes:
        raise SweepError("the space is empty: [space] must name at least one field and its values")
    return Space(base, tuple(axes))


def _measures(table: dict[str, Any], base: Config, folder: Path) -> Iterable[Measure]:
    if not table:
        raise SweepError(f"[measures] must name something to measure; kinds are {listed(KINDS)}")
    for name, definition in table.items():
        place = f"measures.{name}"
        if not name.isidentifier() or name in base.to_dict():
            raise SweepError(f"{place}: a measure needs a name of letters and digits that no section has")
        if not isinstance(definition, dict) or not isinstance(definition.get("kind"), str):
            raise SweepError(f"{place} must be a table with a kind, one of {listed(KINDS)}")
        options = dict(definition)
        kind = options.pop("kind")
        if kind not in KINDS:
            raise SweepError(f"{place}: {unknown('kind', kind, KINDS)}")
        options = KINDS[kind].check(place, options)
        files = {o: folder / options[o] for o, option in KINDS[kind].options.items() if option.file and o in options}
        measure = Measure(name, kind, options, files)
        if kind == "python":
            make_importable(folder)
            load(options["function"])
        stamped = measure.stamp()
        stamped.check_files()
        yield stamped


def make_importable(folder: Path) -> None:
    """Let functions of the user's be found beside the file of the sweep."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _derived(
    table: dict[str, Any], fields: Collection[str], measures: tuple[Measure, ...]
) -> tuple[dict[str, Expression], dict[str, str]]:
    derived: dict[str, Expression] = {}
    units: dict[str, str] = {}
    for name, definition in table.items():
        place = f"derived.{name}"
        if not name.isidentifier() or any(name == measure.name for measure in measures):
            raise SweepError(f"{place}: a derived value needs a name of letters and digits that no measure has")
        if isinstance(definition, dict) and set(definition) <= {"value", "unit"}:
            units[name] = str(definition.get("unit", ""))
            definition = definition.get("value")
        derived[name] = _expression(place, definition, fields, measures, derived)
    return derived, units


def _constraints(
    texts: Any, fields: Collection[str], measures: tuple[Measure, ...], derived: dict[str, Expression]
) -> tuple[list[Expression], list[Expression]]:
    """Constraints over fields alone, and the others."""
    if not isinstance(texts, list):
        raise SweepError(f"constraints must be a list of expressions, not {texts!r}")
    limits: list[Expression] = []
    constraints: list[Expression] = []
    for text in texts:
        expression = _expression("constraints", text, fields, measures, derived)
        (limits if set(expression.names) <= set(fields) else constraints).append(expression)
    return limits, constraints


def _expression(
    place: str, text: Any, fields: Collection[str], measures: tuple[Measure, ...], derived: dict[str, Expression]
) -> Expression:
    if not isinstance(text, str):
        raise SweepError(f'{place} must hold an expression in quotes, as "scratchpad.kib <= 128", not {text!r}')
    try:
        expression = Expression(text)
        for name in expression.names:
            if name not in fields:
                _check_figure(name, measures, derived, fields)
    except SweepError as error:
        raise SweepError(f"{place}: {error}") from None
    return expression


def _check_figure(
    name: str, measures: tuple[Measure, ...], derived: dict[str, Expression], fields: Collection[str] = ()
) -> None:
    """Errors: SweepError unless a figure of that name will be there, as far as that is known before measuring."""
    if name in derived:
        return
    owner, _, figure = name.partition(".")
    kinds = {measure.name: measure.definition for measure in measures}
    known = {measure.name: measure.definition.known(measure.options) for measure in measures}
    all_known = [f"{measure}.{f}" for measure, names in known.items() for f in names]
    if not figure or owner not in kinds:
        legal = [*fields, *all_known, *derived, *(f"{measure}.FIGURE" for measure, kind in kinds.items() if kind.open)]
        raise unknown("field or figure" if fields else "figure", name, legal)
    if figure not in known[owner] and not kinds[owner].open:
        raise unknown("figure", name, [one for one in all_known if one.startswith(f"{owner}.")])


def _objectives(
    table: dict[str, Any], measures: tuple[Measure, ...], derived: dict[str, Expression]
) -> Iterable[Objective]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= {f"{name}.{figure}": one for figure, one in value.items()} if isinstance(value, dict) else {name: value}
    for figure, direction in flat.items():
        _check_figure(figure, measures, derived)
        if direction not in DIRECTIONS:
            raise SweepError(f"objectives.{figure} must be one of {listed(DIRECTIONS)}, not {direction!r}")
        yield Objective(figure, direction)


def _search(table: dict[str, Any]) -> Search:
    for name in table:
        if name not in _SEARCH:
            raise SweepError(f"search: {unknown('option', name, _SEARCH)}")
    values = {name: _SEARCH[name].check(f"search.{name}", value) for name, value in table.items()}
    search = Search(**values)
    for name in values:
        if name != "strategy" and name not in _USED_BY[search.strategy]:
            raise SweepError(f"search.{name} means nothing to the strategy {search.strategy}: leave it out")
    if search.strategy != "grid" and not search.points:
        raise SweepError(f"search.points must tell how many points the strategy {search.strategy} takes")
    return search


def _check_search(spec: Spec) -> None:
    if spec.space.size > _LARGEST:
        raise SweepError(f"the space has more than {_LARGEST:,} points: take fewer values")
    if spec.search.strategy == "grid" and spec.space.size > _MOST:
        raise SweepError(
            f"the grid has {spec.space.size:,} points, more than {_MOST:,}: take fewer values, or "
            'search = { strategy = "random", points = 1000 }'
        )
    if spec.search.strategy == "optuna" and not spec.objectives:
        raise SweepError("the strategy optuna needs [objectives]")


def _check_values(spec: Spec) -> None:
    """Errors: SweepError for a value that no configuration of the space can have."""
    for one in spec.space.axes:
        for value in one.values:
            alone = Space(spec.config, (Axis(one.field, (value,)),)).point(0)
            if alone.config is None and not _ever_legal(spec.space, one, value):
                raise SweepError(f"space.{one.field}: {alone.reason}")


def _ever_legal(space: Space, fixed: Axis, value: Any) -> bool:
    axes = (Axis(one.field, (value,)) if one is fixed else one for one in space.axes)
    part = Space(space.base, tuple(axes))
    indices: Iterable[int] = range(part.size)
    if part.size > _TRIES:
        indices = random.Random(0).sample(range(part.size), _TRIES)
    return any(part.point(index).config is not None for index in indices)
