"""Multi-objective search by Optuna: seeded, in batches of a fixed size, told in order, so that it can be repeated."""

from typing import Any

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.rows import Row, Status
from celosia.synth.sweep.search import Batches, nothing
from celosia.synth.sweep.space import Point, Space
from celosia.synth.sweep.spec import Search, Spec

_PATIENCE = 50
"""Proposals in a row that bring no new point, for each point of a batch, before the search ends."""


def propose(spec: Spec) -> Batches:
    """Batches of new points until there are as many as asked for, or nothing new comes. Errors: SweepError."""
    study = _study(spec)
    rows: dict[int, Row] = {}
    while (wanted := min(spec.search.batch, spec.search.points - len(rows))) > 0:
        trials, points = _ask(spec, study, rows, wanted)
        if not points:
            break
        rows |= yield list(points.values())
        for trial, index in trials:
            _tell(spec, study, trial, rows[index])
    if not rows:
        raise nothing(spec)


def _ask(spec: Spec, study: Any, rows: dict[int, Row], wanted: int) -> tuple[list[tuple[Any, int]], dict[int, Point]]:
    """Trials with the indices of their points, and the new points among them."""
    from optuna.trial import TrialState

    trials: list[tuple[Any, int]] = []
    points: dict[int, Point] = {}
    idle = 0
    while len(points) < wanted and idle < _PATIENCE * wanted:
        trial = study.ask()
        index = _suggest(spec.space, trial)
        point = spec.space.point(index) if spec.allows(index) else None
        idle += 1
        if point is None or point.config is None:
            study.tell(trial, state=TrialState.FAIL)
        elif index in rows:
            _tell(spec, study, trial, rows[index])
        else:
            trials.append((trial, index))  # a second proposal of a point in one batch is told with the first
            if index not in points:
                points[index], idle = point, 0
    return trials, points


def _suggest(space: Space, trial: Any) -> int:
    """The index of the point that a trial proposes."""
    choices: dict[str, int] = {}
    for axis in space.axes:
        last = len(axis.values) - 1
        # By number: steps of a size that grows, as powers of two, are neighbours all the same.
        choices[axis.field] = (
            trial.suggest_int(axis.field, 0, last)
            if axis.ordered
            else trial.suggest_categorical(axis.field, range(last + 1))
        )
    return space.index(choices)


def _tell(spec: Spec, study: Any, trial: Any, row: Row) -> None:
    from optuna.trial import TrialState

    if row.status not in (Status.OK, Status.INFEASIBLE):
        study.tell(trial, state=TrialState.FAIL)
        return
    for constraint, violation in zip(spec.constraints, row.violations, strict=True):
        trial.set_constraint(constraint.text, violation)
    study.tell(trial, [row.figures[objective.figure] for objective in spec.objectives])


def _study(spec: Spec) -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise SweepError("the strategy optuna needs Optuna: run `pip install celosia[sweep]`") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    better = optuna.study.StudyDirection
    directions = [better.MAXIMIZE if objective.maximise else better.MINIMIZE for objective in spec.objectives]
    return optuna.create_study(directions=directions, sampler=_sampler(spec.search))


def _sampler(search: Search) -> Any:
    from optuna.samplers import NSGAIISampler, TPESampler

    if search.sampler == "tpe":
        return TPESampler(seed=search.seed)
    return NSGAIISampler(seed=search.seed, population_size=search.population)
