"""How the workers of other libraries' pools start and end, where the pool is ours."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from math import inf
from queue import Empty
from threading import Thread, current_thread, get_ident, main_thread
from time import monotonic, sleep
from weakref import WeakSet

from ..environment import Place, enter
from ..errors import ExecutorUnavailable
from ..lifeline import hold
from ..machine import usable_cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from queue import SimpleQueue
    from typing import Any, TypeVar

    Done = TypeVar("Done")

ROUND = 0.5  # seconds an executor has to notice that a worker died
PATIENCE = 1.0  # seconds for what is being started at the end of the program


def fresh_interpreters(executor: str) -> Any:
    """Return loky's multiprocessing context: new interpreters that do not import `__main__`.

    Of the standard start methods, fork copies a parent that may have threads, and the others run
    the caller's script again.  Raises ExecutorUnavailable if loky is missing or processes may not
    be started here.
    """
    import multiprocessing

    try:
        import loky  # noqa: F401 - registers the context
        from loky.backend import resource_tracker
    except ImportError as error:
        raise ExecutorUnavailable(
            f"executor={executor!r} needs the package loky: python -m pip install loky"
        ) from error
    except RuntimeError as error:  # it registers what it does at the end of the program
        raise ExecutorUnavailable(f"executor={executor!r} cannot begin here: {error}") from error
    if multiprocessing.current_process().daemon:
        raise ExecutorUnavailable(
            f"executor={executor!r} cannot start workers in a daemonic process; "
            "executor='processes' can"
        )
    start_trackers(resource_tracker)
    return multiprocessing.get_context("loky")


def start_trackers(lokys: Any) -> None:
    """Start what tracks resources, for Python and for loky, whose module is *lokys*.

    If that came later, it would end what `starting` does to Ctrl-C.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    lokys.ensure_running()


def prepare(parent: int, line: int, state: bytes) -> None:
    """Leave Ctrl-C to the parent, end with it, enter *state*: the initializer of every worker."""
    import multiprocessing
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    hold(parent, line)
    # loky's method, which is this worker's default, is not known to what a task starts.
    multiprocessing.set_start_method(None, force=True)
    enter(state)


def surroundings(workers: int) -> bytes:
    """Return the state that *workers* workers enter when they start."""
    return Place(max(1, usable_cpus() // workers)).state


_callers: WeakSet[Thread] = WeakSet()  # the threads that have started workers
_starting: set[int] = set()  # the threads that do it at this moment
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_starting.clear)
_over = False  # the program has come to its end


@contextmanager
def starting(executor: str) -> Iterator[None]:
    """While workers are started: spare them Ctrl-C until `prepare`, and say what prevents them."""
    import signal

    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if masks else ()
    _callers.add(current_thread())
    _starting.add(get_ident())
    try:
        halt_daemon()
        yield
    except (BrokenExecutor, ExecutorUnavailable):
        raise
    # loky raises UnboundLocalError when descriptors run out.
    except (OSError, RuntimeError, AttributeError, UnboundLocalError) as error:
        raise ExecutorUnavailable(
            f"executor={executor!r} cannot start workers here: {type(error).__name__}: {error}; "
            "executor='processes' may"
        ) from error
    finally:
        _starting.discard(get_ident())
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_hooks: set[tuple[Callable[[], None], int]] = set()


def first_at_exit(hook: Callable[[], None]) -> None:
    """Have *hook* called at the end of the program before a library waits there for its tasks.

    The hook registered last runs first: so call this when that library was imported.  In a fork of
    this process it does nothing: what it ends is not there.
    """
    here = os.getpid()
    if (hook, here) not in _hooks:
        _hooks.add((hook, here))
        register = getattr(threading, "_register_atexit", atexit.register)
        with suppress(RuntimeError):  # the program is ending already
            register(lambda: hook() if os.getpid() == here else None)


def finish_threads() -> None:
    """At the end of the program, wait for the threads with calls that Python waits for later.

    Then the libraries take no more tasks.  From here on daemon threads halt in `halt_daemon`.
    """
    global _over
    # Those of a ThreadPoolExecutor wait to be told.
    pooled = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ())
    for thread in list(_callers):
        if not (thread.daemon or thread is main_thread() or thread in pooled):
            thread.join()
    _over = True
    end = monotonic() + PATIENCE
    while _starting and monotonic() < end:
        sleep(0.01)


def halt_daemon() -> None:
    """Go no further in a daemon thread at the end of the program: what it did would be left."""
    while _over and current_thread().daemon:
        _starting.discard(get_ident())
        sleep(60)


def at_the_end() -> bool:
    """Tell whether the program has come to what it registered for its end."""
    return _over or not main_thread().is_alive()


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
    end = getattr(getattr(executor, "_result_queue", None), "_writer", None)
    handle = getattr(end, "_handle", None)
    if end is not None and handle is not None:
        end._handle = None  # that thread closes it, too, when it wakes up: it shall find it closed
    processes = workers_of(executor)
    if processes and hasattr(executor, "terminate_workers"):  # from Python 3.14 on
        executor.terminate_workers()  # `kill_workers` needs what loky's processes have not got
    for process in processes:  # SIGTERM may not be heeded
        kill(process)
    if end is not None and handle is not None:
        with suppress(OSError):  # it was in the middle of closing it
            type(end)(handle, readable=False).close()


def take(done: SimpleQueue[Done], executor: Any, seconds: float | None, *, ours: bool) -> Done:
    """Return the next of *done*, which *executor* fills; raise Empty if it takes too long.

    One whose worker died in the middle of a result does not notice: it waits for the rest.  If it
    is *ours*, its workers are killed; another's is not touched: raise BrokenExecutor.
    """
    dead: set[Any] = set()
    end = inf if seconds is None else monotonic() + seconds
    try:
        while True:
            left = end - monotonic()
            try:
                return done.get(timeout=min(ROUND, max(0.0, left)))
            except Empty:
                if left <= 0:
                    raise
            before, dead = dead, {process for process in workers_of(executor) if process.exitcode}
            if before & dead and not ours:
                raise BrokenExecutor(
                    "it died in the middle of a result, and the executor waits for the rest of it"
                )
            if before & dead:
                kill_workers(executor)
    except KeyboardInterrupt as interrupt:
        raise interrupt from None  # it may have come upon an Empty, which is nobody's matter


def kill(process: Any) -> None:
    """Kill a multiprocessing *process*; those of loky's context have no `kill` of their own."""
    import signal

    if process.is_alive():
        with suppress(ProcessLookupError):  # somebody else may reap it at this moment
            os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
