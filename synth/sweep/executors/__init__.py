"""Where points are measured: processes of this machine, a Dask cluster, or Slurm. None of them schedules on its own."""

import abc
from collections.abc import Iterator, Sequence
from typing import Self

from celosia.synth.sweep.evaluate import Outcome, Task


class Executor(abc.ABC):
    """Runs tasks somewhere. A context manager: on leaving it, whatever still runs is ended."""

    @abc.abstractmethod
    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Submit tasks and yield their outcomes as they finish, in any order; one for each task.

        A worker that dies gives an outcome with a reason. Errors: SweepError when no worker can be reached.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """End everything that still runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def died(task: Task, why: str) -> Outcome:
    """The outcome of a task whose worker did not live to tell."""
    return Outcome(task.index, reason=f"the worker died: {why}")
