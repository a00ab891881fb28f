"""From options and input to decisions: which executor, with how many workers.

The only room that knows all executors.
"""

from __future__ import annotations

import os
import sys

from .auto import Auto
from .chunking import ALONE, budget
from .errors import ExecutorUnavailable, short_repr
from .executors.serial import Serial
from .machine import usable_cpus
from .options import OWN_WORKERS
from .tasks import nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .events import Call, Executor
    from .policy import Where
    from .source import Source


def choose(call: Call, source: Source, options: dict[str, Any], *, asked: bool) -> Executor:
    """Return the executor for *call*; *asked* says that the call itself named one.

    Raises ExecutorUnavailable if it cannot run here, ValueError or TypeError if the options do not
    fit it, PicklingError if the function cannot be sent to it.
    """
    name, workers = options["executor"], options["workers"]
    own = [option for option in OWN_WORKERS if options[option] is not None]
    if nested.get() and not asked:
        if own:  # one task at a time, as in the worker itself, but in a worker that can be killed
            return _lanes(call, 1, source, options)
        return Serial(call, ALONE)
    if not isinstance(name, str):
        return _borrowed(call, name)
    if name == "serial":
        return Serial(call, ALONE)
    if name == "threads":
        return _threads(call, workers)
    if name in ("multiprocessing", "futures", "joblib"):
        from .executors.start import starting

        with starting(name):
            return _pool(call, name, workers)
    workers = count(workers, usable_cpus())
    if name == "processes" or own:
        return _lanes(call, workers, source, options)

    def make(where: Where, waits: bool) -> Executor:
        if where == "processes":
            return _processes(call, workers, source, options)
        return _threads(call, options["workers"] if waits else workers)

    if careful(options) or call.initializer is not None:
        # Asked to contain failures, or to prepare workers: no task runs in the caller.
        return _processes_or_threads(call, workers, source, options)
    return Auto(call, source, workers, make)


def _threads(call: Call, workers: int | None) -> Executor:
    """Return threads for one call; None: as many as are of use to tasks that wait."""
    from .executors.threads import Threads

    workers = count(workers, min(32, usable_cpus() + 4))
    return Threads(call, workers, budget(workers))


def _pool(call: Call, name: str, workers: int | None) -> Executor:
    """Return a pool of another library's, for one call."""
    if name == "joblib":
        from .executors.joblib import Joblib, parallel

        return Joblib(call, budget, parallel(workers), borrowed=False)
    workers = count(workers, usable_cpus())
    if name == "multiprocessing":
        from .executors.pool import Pool

        return Pool(call, budget(workers), workers)
    from .executors.futures import Futures

    return Futures(call, budget(workers), workers)


def careful(options: dict[str, Any]) -> bool:
    """Tell whether a call is to contain failures, where they can be contained."""
    asked = options["on_error"] != "raise" or options["retries"] or options["timeout"] is not None
    return bool(asked) and options["executor"] in ("auto", "processes")


def count(workers: int | None, default: int) -> int:
    """Return the number of workers that the option means."""
    if workers is None:
        return default
    return int(workers) if workers > 0 else max(1, usable_cpus() + 1 + int(workers))


def _lanes(call: Call, workers: int, source: Source, options: dict[str, Any]) -> Executor:
    if os.name == "nt":
        raise ExecutorUnavailable(
            "executor='processes' needs a POSIX system; executor='futures' runs on Windows too"
        )
    from .executors.lanes import Lanes

    known, timeout = source.remaining, options["timeout"]
    return Lanes(
        call,
        workers,
        budget(workers, careful=careful(options)),
        timeout=None if timeout is None else float(timeout),
        most=options["max_tasks_per_worker"],
        at_once=0 if known is None else min(known, workers),
    )


def _processes(call: Call, workers: int, source: Source, options: dict[str, Any]) -> Executor:
    """Return what stands for processes where nobody asked for an executor by name."""
    if os.name != "nt":
        return _lanes(call, workers, source, options)
    return _pool(call, "futures", workers)


def _processes_or_threads(
    call: Call, workers: int, source: Source, options: dict[str, Any]
) -> Executor:
    from pickle import PicklingError

    try:
        return _processes(call, workers, source, options)
    except PicklingError:
        return _threads(call, workers)


def _borrowed(call: Call, instance: Any) -> Executor:
    """Return the adapter for an executor of the caller's, looked up only where it can come from."""
    # An instance of a class implies that its module was imported: nothing is imported to look.
    if (futures := sys.modules.get("concurrent.futures")) and isinstance(
        instance, futures.Executor
    ):
        from .executors.futures import Futures

        workers = _its_workers(instance)
        return Futures(call, budget(workers), workers, instance)
    if (pool := sys.modules.get("multiprocessing.pool")) and isinstance(instance, pool.Pool):
        from .executors.pool import Pool

        return Pool(call, budget(instance._processes), instance._processes, instance)
    if (joblib := sys.modules.get("joblib")) and isinstance(instance, joblib.Parallel):
        from .executors.joblib import Joblib

        return Joblib(call, budget, instance, borrowed=True)
    raise TypeError(
        "executor must be a name or an instance of concurrent.futures.Executor, "
        f"multiprocessing.pool.Pool or joblib.Parallel, got {short_repr(instance)}"
    )


def _its_workers(instance: Any) -> int:
    """Return how many workers an Executor has; there is no public way to ask."""
    workers = getattr(instance, "_max_workers", None) or getattr(instance, "num_workers", None)
    return workers if isinstance(workers, int) and workers > 0 else usable_cpus()
