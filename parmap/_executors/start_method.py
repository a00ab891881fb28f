"""How the workers of other libraries' pools start, where the pool is ours."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from .._records.errors import ExecutorUnavailable
from .._workers.environment import TaskEnvironment, enter
from .._workers.parent_death import die_with_parent, parent_pipe
from .._workers.program_exit import begin_start, end_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


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
    die_with_parent(parent, line)
    # loky's method, which is this worker's default, is not known to what a task starts.
    multiprocessing.set_start_method(None, force=True)
    enter(state)


def initialization(workers: int) -> dict[str, Any]:
    """Return the options of a pool with which *workers* workers `prepare` themselves."""
    state = TaskEnvironment(workers).state
    return {"initializer": prepare, "initargs": (*parent_pipe(), state)}


@contextmanager
def starting(executor: str) -> Iterator[None]:
    """While workers are started: spare them Ctrl-C until `prepare`, and say what prevents them."""
    import signal

    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if masks else ()
    try:
        begin_start()
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
        end_start()
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
