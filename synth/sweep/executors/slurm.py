"""Points as jobs of Slurm, through submitit; or of submitit's executor for one machine, which needs no Slurm."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from celosia.synth.sweep.errors import SweepError, one_line
from celosia.synth.sweep.evaluate import Outcome, Task, evaluate
from celosia.synth.sweep.executors import Executor, died

_ARRAY = 1000
"""Jobs that are submitted at a time: what Slurm takes as one array unless it is told otherwise."""


class SlurmExecutor(Executor):
    """Jobs with the folder `folder` for their pickles and logs; it must be one that the nodes see as well.

    `jobs`: how many run at a time. `settings`: of sbatch, by submitit's names (`partition`, `time` in minutes, `mem`,
    `cpus_per_task`, `account`, `qos` ...). `cluster`: `slurm`, or `local` for processes of this machine.
    """

    def __init__(self, folder: Path, jobs: int, settings: Mapping[str, str], cluster: str = "slurm") -> None:
        try:
            import submitit
        except ModuleNotFoundError:
            raise SweepError("--slurm needs submitit: run `pip install celosia[slurm]`") from None
        self._folder, self._cluster = folder, cluster
        self._chunk, self._poll = (_ARRAY, 5.0) if cluster == "slurm" else (jobs, 0.1)
        self._under_way: list[Any] = []
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster)
            parameters: dict[str, Any] = {f"slurm_{name}": _number(value) for name, value in settings.items()}
            parameters |= {"slurm_array_parallelism": jobs} if cluster == "slurm" else {}
            self._executor.update_parameters(name="celosia-sweep", **parameters)
        except (RuntimeError, ValueError, NameError, TypeError, OSError) as error:
            raise SweepError(f"Slurm cannot be used: {one_line(error)[:300]}") from None

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """See `Executor`."""
        from submitit.helpers import as_completed

        for start in range(0, len(tasks), self._chunk):
            chunk = tasks[start : start + self._chunk]
            jobs = self._submit(chunk)
            owner = {id(job): task for job, task in zip(jobs, chunk, strict=True)}
            for job in as_completed(jobs, poll_frequency=self._poll):
                yield _outcome(job, owner[id(job)])
            self._under_way = []
            # Pickles and logs of points that ended in order; a worker that died is told by its reason.
            shutil.rmtree(self._folder, ignore_errors=True)

    def _submit(self, tasks: Sequence[Task]) -> list[Any]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            self._under_way = self._executor.map_array(evaluate, tasks)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise SweepError(f"Slurm does not take the jobs: {one_line(error)[:300]}") from None
        return self._under_way

    def close(self) -> None:
        """See `Executor`."""
        for job in self._under_way:
            if not job.done():
                with suppress(OSError, RuntimeError):
                    job.cancel(check=False)
        self._under_way = []


def _outcome(job: Any, task: Task) -> Outcome:
    try:
        outcome: Outcome = job.result()
    except Exception as error:
        # Errors of measurements are outcomes: what is left are those of the job.
        lost = died(task, f"its job ended as {job.state}")
        lost.traceback = str(error)
        return lost
    return outcome


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text
