"""Parallel map: `[f(x) for x in xs]` becomes `pmap(f, xs)`.

The house, from the roof down; a module imports only from below its own floor:

    doors     parmap, api, decorator
    engine    scheduler
    plan      plan; auto, the executor that plans again while it runs
    rooms     options, chunking, policy, progress, executors/*
    tools     tasks, source, worker, environment, shared, pickling, transport, note, lifeline
    ground    callables, events, errors, outcome, machine    (standard library only)

Importing this package is light: what is heavy is imported where it is used.
"""

from __future__ import annotations

from ._choice.options import parallel_config
from ._records.errors import ExecutorUnavailable, TaskTimeout, WorkerCrashed
from .api import delayed, partition, pcall, pimap, pmap, pstarmap, shutdown, warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._records.failure import Failure as Failure
    from .decorator import parallel as parallel

__version__ = "0.1.0"

__all__ = [
    "ExecutorUnavailable",
    "Failure",
    "TaskTimeout",
    "WorkerCrashed",
    "delayed",
    "parallel",
    "parallel_config",
    "partition",
    "pcall",
    "pimap",
    "pmap",
    "pstarmap",
    "shutdown",
    "warm",
]

for _function in (delayed, partition, pcall, pimap, pmap, pstarmap, shutdown, warm):
    _function.__module__ = __name__  # in tracebacks and pickles, the public name
del _function


def __getattr__(name: str) -> Any:
    """Import the names whose modules cost milliseconds (typing, dataclasses) when first used."""
    if name == "parallel":
        from .decorator import parallel as found
    elif name == "Failure":
        from ._records import failure

        found = failure.Failure
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
