"""From options and input to decisions: which executor, with how many workers.

The only room that knows all executors.
"""

from __future__ import annotations

import os
from sys import maxsize
from threading import current_thread, main_thread
from time import perf_counter

from .._engine.chunking import FAR, SOLO, Sizes, budget
from .._executors.serial import Serial
from .._records.errors import ExecutorUnavailable, short_repr
from .._records.machine import imported, interpreter, usable_cpus
from .._workers import warm
from .._workers.tasks import loading, nested
from .auto import Auto
from .auto_facts import can_start
from .history import keep_sizes, last_sizes
from .options import CLUSTERS, OWN_WORKERS, is_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._engine.interfaces import Executor, Feed
    from .._executors.queued import Queued
    from .._records.work import Call
    from .auto_facts import Tell
    from .serial_or_parallel import Choice


def choose(
    call: Call,
    source: Feed,
    options: dict[str, Any],
    *,
    asked: bool,
    tell: Tell | None = None,
    loop: Any = None,
) -> Executor:
    """Return the executor for *call*; *asked* says that the call itself named one.

    *tell* is given each choice as an event.  *loop* runs coroutine functions, if there is one that
    the call is awaited on.  Raises ExecutorUnavailable if the executor cannot run
    here, ValueError or TypeError if the options do not fit it, PicklingError if the function cannot
    be sent to it.
    """
    if call.awaited:
        from .awaiting import coroutines

        serial = options["executor"] == "serial"
        workers = 1 if serial else count(options["workers"], WAITING_THREADS)
        executor: Executor = coroutines(call, workers, options, loop)
        why = "asked for by a coroutine function"
    else:
        executor, why = _choose(call, source, options, asked, tell)
    if tell is not None and why:
        from .._records.events import Chosen

        where = type(executor).__module__.rpartition(".")[2]  # the names of the modules are theirs
        try:
            tell(Chosen(perf_counter(), where, why, {"workers": executor.workers}))
        except BaseException:
            executor.close()
            raise
    return executor


def _choose(
    call: Call, source: Feed, options: dict[str, Any], asked: bool, tell: Tell | None
) -> tuple[Executor, str]:
    """Return the executor and why: the first of these situations that is given decides."""
    name, workers, why = options["executor"], options["workers"], "asked for by executor="
    own = [option for option in OWN_WORKERS if options[option] is not None]
    if loading.get():  # workers of a worker that is not there yet would load the same, without end
        return Serial(call, SOLO), "a worker is loading"
    if nested.get() and not asked:
        if own or (options["deadline"] is not None and name == "auto"):
            # one task at a time, as in the worker itself, but in a worker that can be killed
            return _own_processes(call, 1, source, options), "nested in a worker"
        return Serial(call, SOLO), "nested in a worker"
    if not isinstance(name, str):
        return _borrowed(call, name, options), why
    if name == "serial":
        if call.seed is not None and current_thread().name.startswith("parmap-"):
            from .._executors.marshalling import SHARED

            raise ValueError(SHARED.format(seed=call.seed))  # it would be beside the caller
        return Serial(call, SOLO), why
    if name == "threads":
        return _threads(call, workers), why
    if name in ("multiprocessing", "futures", "joblib"):
        from .._executors.start_method import starting

        _check_depth(name)
        with starting(name):
            return _pool(call, name, workers), why
    if name in CLUSTERS:
        return _cluster(call, name, options), why
    workers = count(workers, usable_cpus())
    if name == "processes":
        return _own_processes(call, workers, source, options), why
    if own:
        return _own_processes(call, workers, source, options), f"asked for by {own[0]}="
    if (contained := contain_failures(options)) or call.initializer is not None:
        # No task runs in the caller.
        why = "failures are to be contained" if contained else "workers are to be initialized"
        return _elsewhere(call, workers, source, options), why
    if call.seed is not None and current_thread() is not main_thread():
        why = "tasks with a seed are to have a process without other threads"
        return _elsewhere(call, workers, source, options), why

    def make(choice: Choice) -> Executor:
        if choice.where == "processes":
            return _processes(call, workers, source, options, choice)
        if choice.waits:
            return _threads(call, count(options["workers"], WAITING_THREADS))
        from .._executors.threads import Threads

        return Threads(call, workers, BRIEF)  # soon it is seen whether they are faster

    return Auto(call, source, workers, make, tell), ""  # it tells the reasons itself


def sizes(call: Call, options: dict[str, Any]) -> Sizes:
    """Return what sizes the chunks of *call*: it begins with what the last one has learnt."""
    size, last = options["chunksize"], last_sizes(call.fn)
    if size == "auto" and call.awaited:
        size = 1  # each may wait for long, and starting it costs little
    learning = Sizes(
        None if size == "auto" else min(int(size), maxsize),
        last.cost if last else None,
        contain_failures=contain_failures(options),
        most=options["max_tasks_per_worker"],
        far=FAR if is_cluster(options["executor"]) else 1.0,
    )
    keep_sizes(call.fn, learning)
    return learning


WAITING_THREADS = 32
"""Threads for tasks that were measured to wait, unless the call says how many, whatever the cores:
what they wait for is elsewhere.  More would be faster still, but a server may take it ill: a
hundred connections at once look like an attack."""


BRIEF = 0.005
"""Seconds of work in a chunk for a thread that computes: a handover costs some 50 us."""


def _threads(call: Call, workers: int | None) -> Executor:
    """Return threads for one call; None: as many as are of use to tasks that wait."""
    from .._executors.threads import Threads

    workers = count(workers, min(32, usable_cpus() + 4))
    return Threads(call, workers, budget(workers))


def _pool(call: Call, name: str, workers: int | None) -> Executor:
    """Return a pool of another library's, for one call."""
    if name != "joblib":  # which counts as it is configured
        interpreter()
        workers = count(workers, usable_cpus())
    return _adapter(name)(call, workers)


def prestart(workers: int | None) -> None:
    """Have so many workers of our own wait for a call; as the option says it."""
    from .._executors import processes

    processes.prestart(count(workers, usable_cpus()))


def contain_failures(options: dict[str, Any]) -> bool:
    """Tell whether a call is to contain failures, where they can be contained."""
    asked = options["on_error"] != "raise" or options["retries"]
    asked = asked or options["timeout"] is not None or options["deadline"] is not None
    return bool(asked) and options["executor"] in ("auto", "processes")


def count(workers: int | None, default: int) -> int:
    """Return the number of workers that the option means."""
    if workers is None:
        return default
    return int(workers) if workers > 0 else max(1, usable_cpus() + 1 + int(workers))


DEEPEST = 3
"""Levels of workers in workers.  More would allow deeper programs; but what starts workers in its
tasks without meaning to, or without end, has started a product of processes by then."""


def _check_depth(name: str) -> None:
    """Raise ExecutorUnavailable if workers of workers would be nested too deep."""
    if nested.get() >= DEEPEST:
        raise ExecutorUnavailable(
            f"executor={name!r}: workers are nested at most {DEEPEST} deep, and this call is made "
            "in a task of the last; without executor= and timeout= it runs serially there"
        )


def _own_processes(
    call: Call,
    workers: int,
    source: Feed,
    options: dict[str, Any],
    choice: Choice | None = None,
) -> Executor:
    if os.name == "nt":
        raise ExecutorUnavailable(
            "executor='processes' needs a POSIX system; executor='futures' runs on Windows too"
        )
    interpreter()
    _check_depth("processes")
    from .._executors.processes import Processes

    timeout = options["timeout"]
    return Processes(
        call,
        workers,
        budget(workers, contain_failures=contain_failures(options)),
        timeout=None if timeout is None else float(timeout),
        most=options["max_tasks_per_worker"],
        at_once=not warm.idle if choice else min(source.remaining or 0, workers),
        packing=choice.packing if choice else None,
        modules=choice.modules if choice else frozenset(),
    )


def _processes(
    call: Call,
    workers: int,
    source: Feed,
    options: dict[str, Any],
    choice: Choice | None = None,
) -> Executor:
    """Return what stands for processes where nobody asked for an executor by name.

    With the *choice* of "auto", the caller computes until workers have the function.
    """
    if os.name != "nt":
        return _own_processes(call, workers, source, options, choice)
    return _pool(call, "futures", workers)


def _elsewhere(call: Call, workers: int, source: Feed, options: dict[str, Any]) -> Executor:
    """Return processes, or else threads, where no task may run in the caller.

    Tasks with a seed cannot share this process with each other: it is the caller then, after all.
    """
    from pickle import PicklingError

    if not can_start():
        return Serial(call, SOLO) if call.seed is not None else _threads(call, options["workers"])
    try:
        return _processes(call, workers, source, options)
    except PicklingError:
        return Serial(call, SOLO) if call.seed is not None else _threads(call, workers)


def _cluster(call: Call, name: str, options: dict[str, Any], lent: Any = None) -> Executor:
    """Return the adapter for a cluster, which counts its workers itself."""
    _check_depth(name)
    workers, timeout = options["workers"], options["timeout"]
    adapter: Any = _adapter(name)  # it takes what a cluster can do besides
    made: Executor = adapter(
        call,
        workers=None if workers is None else count(workers, 1),
        lent=lent,
        timeout=None if timeout is None else float(timeout),
    )
    return made


LENDERS = {
    "concurrent.futures": "futures",
    "multiprocessing.pool": "multiprocessing",
    "joblib": "joblib",
    "distributed": "dask",
}
"""By the module that an executor of the caller's comes from, its adapter."""

ADAPTERS = {
    "futures": "Futures",
    "multiprocessing": "Pool",
    "joblib": "Joblib",
    "dask": "Dask",
    "ray": "Ray",
}
"""By the name of an executor, which is that of its module in `_executors`, the class in there."""


def _borrowed(call: Call, instance: Any, options: dict[str, Any]) -> Executor:
    """Return the adapter for an executor of the caller's, looked up only where it can come from."""
    for library, name in LENDERS.items():
        if imported(library) is not None:
            try:
                adapter = _adapter(name)
            except ImportError:  # this thread is in the middle of importing the library
                continue
            if adapter.accepts(instance):
                if name in CLUSTERS:
                    return _cluster(call, name, options, instance)
                return adapter(call, lent=instance)
    if type(instance).__module__.startswith("ray."):
        raise TypeError(
            f"executor: {short_repr(instance)} cannot be lent; executor='ray' runs tasks in the "
            "cluster that Ray is connected to, the same"
        )
    raise TypeError(
        "executor must be a name or an instance of concurrent.futures.Executor, "
        "multiprocessing.pool.Pool, joblib.Parallel or distributed.Client, got "
        f"{short_repr(instance)}"
    )


def _adapter(name: str) -> type[Queued]:
    """Return the class in the module of that name in `_executors`."""
    from importlib import import_module

    found: type[Queued] = getattr(import_module(f"parmap._executors.{name}"), ADAPTERS[name])
    return found
