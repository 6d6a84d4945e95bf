"""What is known of a point before it is measured, what is left to measure, and the journal's entry when it is done."""

from dataclasses import dataclass, field

from celosia.synth.sweep import store
from celosia.synth.sweep.evaluate import Job, Outcome, Task
from celosia.synth.sweep.journal import Entry
from celosia.synth.sweep.objectives import Measured
from celosia.synth.sweep.space import Point
from celosia.synth.sweep.spec import Measure, Spec


@dataclass
class Pending:
    """A point without an entry. `keys`: of its results, by measure. `known`: results from the cache, by key."""

    point: Point
    config: dict[str, dict[str, object]]
    keys: dict[Measure, str]
    known: dict[str, Measured] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to measure."""
        return all(key in self.known for key in self.keys.values())

    def task(self, spec: Spec) -> Task:
        """What is left to measure."""
        jobs = (Job(measure, key) for measure, key in self.keys.items() if key not in self.known)
        return Task(self.point.index, self.config, tuple(jobs), spec.folder)

    def entry(self, outcome: Outcome | None = None) -> Entry:
        """The journal's entry, of what was known and what came of the task."""
        results = self.known | (outcome.results if outcome else {})
        assert self.point.config is not None
        return Entry(
            index=self.point.index,
            config_hash=f"{self.point.config.hash:08x}",
            keys={measure.name: key for measure, key in self.keys.items()},
            measured={measure.name: results[key] for measure, key in self.keys.items() if key in results},
            reason=outcome.reason if outcome else None,
            traceback=outcome.traceback if outcome else None,
        )


def look_up(spec: Spec, point: Point) -> Pending:
    """A legal point with what the cache knows of it."""
    assert point.config is not None
    config = point.config.to_dict()
    keys = {measure: measure.key(config) for measure in spec.measures}
    found = {key: measured for key in keys.values() if (measured := store.recall(key)) is not None}
    return Pending(point, config, keys, found)


def is_current(spec: Spec, point: Point, entry: Entry) -> bool:
    """Whether an entry of the journal was made with the sources and tools of now."""
    assert point.config is not None
    config = point.config.to_dict()
    return entry.keys == {measure.name: measure.key(config) for measure in spec.measures}
