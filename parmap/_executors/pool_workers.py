"""The worker processes of executors like ProcessPoolExecutor: counted, found, killed."""

from __future__ import annotations

import os
from contextlib import suppress

from .._records.machine import usable_cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def max_workers(pool: Any) -> int:
    """Return how many workers a pool of any library has; there is no public way to ask."""
    for name in ("_max_workers", "_processes", "num_workers"):
        with suppress(Exception):  # of an attribute that it may make up
            workers = getattr(pool, name)
            if isinstance(workers, int) and workers > 0:
                return workers
    return usable_cpus()


def workers_of(executor: Any) -> list[Any]:
    """Return the processes of a ProcessPoolExecutor or of loky's; no public way tells.

    In a fork of this process it has none.
    """
    processes = getattr(executor, "_processes", None)
    every = list(processes.values()) if isinstance(processes, dict) else []
    return [process for process in every if getattr(process, "_parent_pid", 0) == os.getpid()]


def kill_workers(executor: Any) -> None:
    """Kill the workers of *executor*, which is ours, and stop what runs there."""
    # One of them may be in the middle of a result: unless we close our own end of that pipe, too,
    # the executor's thread waits for the rest of it for ever.
    end: Any = getattr(getattr(executor, "_result_queue", None), "_writer", None)
    handle = getattr(end, "_handle", None)
    if handle is not None:
        end._handle = None  # that thread closes it, too, when it wakes up: it shall find it closed
    processes = workers_of(executor)
    if processes and hasattr(executor, "terminate_workers"):  # from Python 3.14 on
        executor.terminate_workers()  # `kill_workers` needs what loky's processes have not got
    for process in processes:  # SIGTERM may not be heeded
        kill(process)
    if handle is not None:
        with suppress(OSError):  # it was in the middle of closing it
            type(end)(handle, readable=False).close()


def kill(process: Any) -> None:
    """Kill a multiprocessing *process*; those of loky's context have no `kill` of their own."""
    import signal

    if process.is_alive():
        with suppress(ProcessLookupError):  # somebody else may reap it at this moment
            os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
