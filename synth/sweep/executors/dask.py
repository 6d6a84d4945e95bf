"""Points on the workers of a Dask cluster."""

import asyncio
import concurrent.futures
from collections.abc import Iterator, Sequence
from typing import Any

from celosia.synth.sweep.errors import SweepError, one_line
from celosia.synth.sweep.evaluate import Outcome, Task, evaluate
from celosia.synth.sweep.executors import Executor, died

_PATIENCE = 15
"""Seconds to wait for a scheduler."""


class DaskExecutor(Executor):
    """The cluster whose scheduler is at `address` (`tcp://host:port`). Its workers need the same celosia and tools, and
    one thread each: flows are not made for several at a time in one process."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise SweepError("--dask needs Dask's scheduler: run `pip install celosia[dask]`") from None
        self._address = address
        try:
            self._client: Any = Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise SweepError(f"no Dask scheduler answers at {address}: {one_line(error)}") from None

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """See `Executor`."""
        from distributed import KilledWorker, as_completed

        suspects = []
        futures = {self._submit(task): task for task in tasks}
        for future in as_completed(futures, loop=self._client.loop, raise_errors=False):
            task = futures[future]
            try:
                yield self._outcome(future, task)
            except KilledWorker:
                suspects.append(task)
            future.release()
        # Workers hold tasks in advance: when one dies again and again, tasks that only waited there are blamed as well.
        # Alone, each shows whose fault it was.
        for task in suspects:
            try:
                yield self._outcome(self._submit(task), task)
            except KilledWorker:
                yield died(task, "killed, perhaps out of memory")

    def _submit(self, task: Task) -> Any:
        # Not pure: results of an earlier sweep that the scheduler remembers are not asked for.
        return self._client.submit(evaluate, task, pure=False)

    def _outcome(self, future: Any, task: Task) -> Outcome:
        """What came of a task. Errors: KilledWorker; SweepError when the scheduler is gone."""
        from distributed import KilledWorker

        try:
            # The status is not asked: when the worker died since, the task is run again and this waits for it.
            outcome: Outcome = future.result()
        except (asyncio.CancelledError, concurrent.futures.CancelledError):
            lost = f"the Dask scheduler at {self._address} is gone: --resume goes on with what is finished"
            raise SweepError(lost) from None
        except KilledWorker:
            raise
        except Exception as error:
            # Errors of measurements are outcomes: what is left are errors of the cluster.
            return died(task, one_line(error))
        return outcome

    def close(self) -> None:
        """See `Executor`. The cluster itself goes on."""
        self._client.close()
