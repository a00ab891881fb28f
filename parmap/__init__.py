"""Parallel map: `[f(x) for x in xs]` becomes `pmap(f, xs)`.

The house, from the roof down; a module imports from its own folder and from those below:

    parmap/        the doors: each public function shapes its input and hands over
                   api decorator
    _choice/       from options and input to an executor; the only folder that knows all executors
                   options arguments plan auto companion policy known
    _executors/    one place to run tasks each, and what adapters of other pools share
                   serial threads processes queued futures multiprocessing joblib
                   marshalling pool_workers start_method
    _workers/      the life of a worker process, and what tasks find around them
                   process warm status parent_death exit child tasks cache environment edited
    _wire/         how objects travel between processes
                   channel messages pickling refusal by_value importable loading cloud
                   reducers memmap shared_memory shared_objects
    _engine/       the one loop, what it draws from, and what consumes it
                   scheduler executor source items chunking inbox results
    _observers/    who watches a call
                   progress
    _records/      what travels between the folders; standard library only
                   work events failure errors exceptions callables frames machine

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
