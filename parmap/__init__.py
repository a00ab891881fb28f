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
                   process warm lease waker status parent_death exit child tasks cache
                   environment edited
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._choice.options import parallel_config as parallel_config
    from ._records.errors import ExecutorUnavailable as ExecutorUnavailable
    from ._records.errors import TaskTimeout as TaskTimeout
    from ._records.errors import WorkerCrashed as WorkerCrashed
    from ._records.failure import Failure as Failure
    from .api import delayed as delayed
    from .api import partition as partition
    from .api import pcall as pcall
    from .api import pimap as pimap
    from .api import pmap as pmap
    from .api import pstarmap as pstarmap
    from .api import shutdown as shutdown
    from .api import warm as warm
    from .decorator import parallel as parallel

__version__ = "0.1.0"

_HOMES = {
    "ExecutorUnavailable": "_records.errors",
    "Failure": "_records.failure",
    "TaskTimeout": "_records.errors",
    "WorkerCrashed": "_records.errors",
    "delayed": "api",
    "parallel": "decorator",
    "parallel_config": "_choice.options",
    "partition": "api",
    "pcall": "api",
    "pimap": "api",
    "pmap": "api",
    "pstarmap": "api",
    "shutdown": "api",
    "warm": "api",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a worker, for one, needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(__import__(f"{__name__}.{_HOMES[name]}", fromlist=[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
