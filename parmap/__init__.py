"""Parallel map: `[f(x) for x in xs]` becomes `pmap(f, xs)`.

The house, from the roof down; a module imports from its own folder and from those below:

    parmap/        the doors: each public function shapes its input and hands over
                   api decorator lazy pool aio tracing __main__
    _choice/       from options and input to an executor; the only folder that knows all executors
                   options arguments awaiting launch background plan auto auto_facts auto_pool
                   auto_thread refusals comparison serial_or_parallel history
    _executors/    one place to run tasks each, and what adapters of other pools share
                   serial threads coroutines processes queued futures multiprocessing joblib
                   cluster dask dask_client ray ray_connection contained deaths
                   marshalling pool_workers start_method report_queue last_words
    _workers/      the life of a worker process, and what tasks find around them
                   process program warm lease loading waker timeout status_block parent_death
                   program_exit child tasks random_numbers inherited capture hooks
                   function_cache environment edited_modules
    _wire/         how objects travel between processes
                   channel messages pickling unpickling refusal by_value importable
                   plain_functions cloud_pickler reducers memmap generators shared_memory
                   locks_and_queues
    _engine/       the one loop, what it draws from, and what consumes it
                   scheduler interfaces retries deadline clocked source slices inbox submitted
                   pump chunking results async_result driver
    _views/        what a trace shows
                   report page svg png chrome shapes drawing verdict figures words
    _observers/    who watches a call
                   dispatch progress relay timeline lanes details
    _records/      what travels between the folders; standard library only
                   work events failure errors portable_exceptions callables stack_frames machine gil
                   c_modules written

Importing this package is light: what is heavy is imported where it is used.
"""

from __future__ import annotations

from ._workers import inherited as _inherited  # noqa: F401 - notes what a fork has, from now on

TYPE_CHECKING = False
if TYPE_CHECKING:  # for what reads the names without running this
    from ._choice.options import parallel_config
    from ._records.errors import ExecutorUnavailable, TaskTimeout, WorkerCrashed
    from ._records.failure import Failure
    from ._workers.random_numbers import rng
    from .api import delayed, partition, pcall, pimap, pmap, pstarmap, shutdown, warm
    from .decorator import parallel
    from .lazy import picall, pistarmap
    from .pool import Pool
    from .tracing import trace

__version__ = "0.1.0"

_HOMES = {
    "_choice.options": ("parallel_config",),
    "_records.errors": ("ExecutorUnavailable", "TaskTimeout", "WorkerCrashed"),
    "_records.failure": ("Failure",),
    "_workers.random_numbers": ("rng",),
    "api": ("delayed", "partition", "pcall", "pimap", "pmap", "pstarmap", "shutdown", "warm"),
    "decorator": ("parallel",),
    "lazy": ("picall", "pistarmap"),
    "pool": ("Pool",),
    "tracing": ("trace",),
}

__all__ = [
    "ExecutorUnavailable",
    "Failure",
    "Pool",
    "TaskTimeout",
    "WorkerCrashed",
    "delayed",
    "parallel",
    "parallel_config",
    "partition",
    "pcall",
    "picall",
    "pimap",
    "pistarmap",
    "pmap",
    "pstarmap",
    "rng",
    "shutdown",
    "trace",
    "warm",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: a worker, for one, needs none of them."""
    for home, names in _HOMES.items():
        if name in names:
            found: object = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
