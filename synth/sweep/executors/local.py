"""Points on processes of this machine."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait as wait_for

from celosia.synth.sweep.errors import SweepError
from celosia.synth.sweep.evaluate import Outcome, Task, evaluate
from celosia.synth.sweep.executors import Executor, died

_STARTING = 30
"""Seconds that a process may take to start."""


class LocalExecutor(Executor):
    """`jobs` processes, each in a pool of its own: when one dies it is known which point it was at, and no other point
    is lost."""

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise SweepError(f"the number of jobs must be at least 1, not {jobs}")
        self._lanes = [_Lane() for _ in range(jobs)]

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """See `Executor`."""
        waiting, free = deque(tasks), list(self._lanes)
        running: dict[Future[Outcome], tuple[_Lane, Task]] = {}
        while waiting or running:
            while waiting and free:
                lane, task = free.pop(), waiting.popleft()
                running[lane.submit(task)] = lane, task
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                lane, task = running.pop(future)
                outcome = lane.outcome(future, task)
                free.append(lane)
                yield outcome

    def close(self) -> None:
        """See `Executor`."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    """One process at a time, started when there is something to do."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._leader: Future[int] | None = None

    def submit(self, task: Task) -> Future[Outcome]:
        if self._pool is None:
            # Spawned, not forked: a fork would inherit the locks of the threads of this process.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
            self._leader = self._pool.submit(os.getpid)
        return self._pool.submit(evaluate, task)

    def outcome(self, future: Future[Outcome], task: Task) -> Outcome:
        try:
            return future.result()
        except BrokenProcessPool:
            self.close()
            return died(task, "killed, perhaps out of memory")

    def close(self) -> None:
        if self._pool is None or self._leader is None:
            return
        # A process that is just starting tells its number in a moment, and cannot be told to stop before.
        with suppress(BrokenProcessPool, TimeoutError, ProcessLookupError):
            os.killpg(self._leader.result(timeout=_STARTING), signal.SIGKILL)
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._leader = None


def _begin() -> None:
    """Set up a worker: a process group of its own that ends with the process that started it, and no words.

    Its own group: Ctrl-C is for the parent, which decides, and tools that the worker started end together with it.
    """
    os.setpgrp()
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    # Standard output belongs to the results of the command, standard error to its progress.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _follow(parent: int) -> None:
    wait_for([parent])
    os.killpg(0, signal.SIGKILL)
