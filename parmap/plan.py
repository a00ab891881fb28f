"""From options and input to decisions: which executor, with how many workers.

The only room that knows all executors.  `auto` lives here: it starts as the loop it replaces and
moves to worker processes when what it measured says that the rest is worth them.
"""

from __future__ import annotations

import sys

from .chunking import BUDGET
from .executors.serial import Serial
from .machine import usable_cpus
from .tasks import nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .events import Call, Chunk, Executor, Report
    from .source import Source

COLD_START = 0.1
"""Seconds until worker processes that have to be started have earned their start: 30 ms for an
interpreter and our import, as much for what the function imports, times two cores to share."""

WARM_START = 0.002
"""Seconds until workers that wait for a call have earned the sending of function and tasks."""


def choose(call: Call, source: Source, options: dict[str, Any], *, asked: bool) -> Executor:
    """Return the executor for *call*; *asked* says that the call itself named one.

    Raises ExecutorUnavailable if it cannot run here, ValueError or TypeError if the options do not
    fit it, PicklingError if the function cannot be sent to it.
    """
    name, workers = options["executor"], options["workers"]
    if nested.get() and not asked:
        return Serial(call, BUDGET)
    if not isinstance(name, str):
        return _borrowed(call, name)
    if name == "serial":
        return Serial(call, BUDGET)
    if name == "threads":
        from .executors.threads import Threads

        return Threads(call, count(workers, min(32, usable_cpus() + 4)), BUDGET)
    if name == "joblib":
        from .executors.joblib import Joblib, parallel

        return Joblib(call, BUDGET, parallel(workers), borrowed=False)
    workers = count(workers, usable_cpus())
    if name == "multiprocessing":
        from .executors.pool import Pool

        return Pool(call, BUDGET, workers)
    if name == "futures":
        from .executors.futures import Futures

        return Futures(call, BUDGET, workers)
    if name == "processes":
        return _lanes(call, workers)
    if options["on_error"] != "raise" or options["retries"] or call.initializer is not None:
        # Asked to contain failures, or to prepare workers: no task runs in the caller.
        return _lanes_or_threads(call, workers)
    return Auto(call, source, workers)


def count(workers: int | None, default: int) -> int:
    """Return the number of workers that the option means."""
    if workers is None:
        return default
    return int(workers) if workers > 0 else max(1, usable_cpus() + 1 + int(workers))


def _lanes(call: Call, workers: int) -> Executor:
    if sys.platform == "win32":
        from .outcome import ExecutorUnavailable

        raise ExecutorUnavailable(
            "executor='processes' needs a POSIX system; executor='futures' runs on Windows too"
        )
    from .executors.lanes import Lanes

    return Lanes(call, workers, BUDGET)


def _lanes_or_threads(call: Call, workers: int) -> Executor:
    from pickle import PicklingError

    try:
        return _lanes(call, workers)
    except PicklingError:
        from .executors.threads import Threads

        return Threads(call, workers, BUDGET)


def _borrowed(call: Call, instance: Any) -> Executor:
    """Return the adapter for an executor of the caller's, looked up only where it can come from."""
    # An instance of a class implies that its module was imported: nothing is imported to look.
    if (futures := sys.modules.get("concurrent.futures")) and isinstance(
        instance, futures.Executor
    ):
        from .executors.futures import Futures

        return Futures(call, BUDGET, _its_workers(instance), instance)
    if (pool := sys.modules.get("multiprocessing.pool")) and isinstance(instance, pool.Pool):
        from .executors.pool import Pool

        return Pool(call, BUDGET, instance._processes, instance)
    if (joblib := sys.modules.get("joblib")) and isinstance(instance, joblib.Parallel):
        from .executors.joblib import Joblib

        return Joblib(call, BUDGET, instance, borrowed=True)
    raise TypeError(
        "executor must be a name or an instance of concurrent.futures.Executor, "
        f"multiprocessing.pool.Pool or joblib.Parallel, got {instance!r}"
    )


def _its_workers(instance: Any) -> int:
    """Return how many workers an Executor has; there is no public way to ask."""
    workers = getattr(instance, "_max_workers", None) or getattr(instance, "num_workers", None)
    return workers if isinstance(workers, int) and workers > 0 else usable_cpus()


class Auto:
    """Serial until the tasks measured so far say that the rest is worth worker processes.

    Whatever cannot be sent to a worker (the function, an item, a result like those seen) runs in
    the caller, as it would in the loop.
    """

    def __init__(self, call: Call, source: Source, workers: int) -> None:
        self.workers = 1
        self.window = 1
        self._call = call
        self._source = source
        self._available = workers
        self._serial = Serial(call, BUDGET)
        self._lanes: Executor | None = None
        self._local = 0  # chunks given to `_serial`
        self._tasks = 0
        self._seconds = 0.0
        self._settled = workers == 1 or sys.platform == "win32"

    def submit(self, chunk: Chunk) -> None:
        if not self._settled and self._tasks:
            self._decide(len(chunk))
        if self._lanes is not None:
            from .events import Unsendable

            try:
                self._lanes.submit(chunk)
            except Unsendable:
                if len(chunk) > 1:
                    raise  # it comes again in halves, and only what cannot be sent stays here
            else:
                return
        self._local += 1
        self._serial.submit(chunk)

    def wait(self, block: bool) -> list[Report]:
        if not self._local:
            assert self._lanes is not None
            return self._lanes.wait(block)
        reports = self._serial.wait(block)
        self._local -= len(reports)
        for report in reports:
            self._tasks += len(report.values)
            self._seconds += report.seconds
            if report.values and not self._settled:
                self._sample = report.values[0]
        return reports

    def close(self) -> None:
        if self._lanes is not None:
            self._lanes.close()

    def _decide(self, at_hand: int) -> None:
        """Go over to processes if that ends the call earlier."""
        remaining = self._source.remaining
        if remaining is None:
            rest = self._seconds  # an input of unknown length goes on for as long as it did
        else:
            rest = (remaining + at_hand) * self._seconds / self._tasks
        if rest * (1 - 1 / self._available) < WARM_START:
            return
        from pickle import PicklingError

        from .executors import lanes
        from .transport import crosses

        start = WARM_START if lanes.idle() else COLD_START
        if rest * (1 - 1 / self._available) < start:
            return
        self._settled = True
        try:
            if crosses(self._sample):
                self._lanes = lanes.Lanes(self._call, self._available, BUDGET)
        except PicklingError:
            return
        if self._lanes is not None:
            self.workers, self.window = self._lanes.workers, self._lanes.window
