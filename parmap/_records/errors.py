"""The exceptions of parmap, by what one can do about them.

::

    RuntimeError
     +-- WorkerCrashed         a task took its worker process down: look at that task
     +-- ExecutorUnavailable   tasks cannot run there on this machine: choose another executor
    TimeoutError
     +-- TaskTimeout           a task took longer than `timeout`, or the call than its `deadline`

What a task itself raises keeps its own type.  Standard library only, and light to import.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class WorkerCrashed(RuntimeError):
    """A worker process died while it ran a task; the message says how, and where the task stood.

    The place is known when a signal like SIGSEGV or SIGABRT killed it, not after SIGKILL and
    `os._exit`, which leave no time to say it.

    Example:
        >>> import os
        >>> from parmap import pmap
        >>> (failure,) = pmap(os._exit, [3], on_error="return")
        >>> failure.kind, failure.exception
        ('crash', WorkerCrashed(...))
    """

    __module__ = "parmap"


class TaskTimeout(TimeoutError):
    """A task took longer than `timeout` and was killed, or the `deadline` of the call was over.

    The message says which, and where the task stood if it was killed.

    Example:
        >>> import time
        >>> from parmap import pmap
        >>> quick, slow = pmap(time.sleep, [0, 60], timeout=0.2, on_error="return")
        >>> slow.kind, slow.exception
        ('timeout', TaskTimeout(...))
    """

    __module__ = "parmap"


class ExecutorUnavailable(RuntimeError):
    """The executor asked for cannot run tasks here; the message says why and what to do.

    It is raised by the call, before any task runs: on a platform without POSIX, in a program that
    has no interpreter to start, too deep in workers of workers.  Whoever waits for a task of a
    `Pool` that is terminated gets it, too.

    Example:
        >>> from parmap import ExecutorUnavailable, pmap
        >>> try:
        ...     pmap(abs, [-1, 2], executor="processes")
        ... except ExecutorUnavailable:
        ...     pmap(abs, [-1, 2], executor="threads")
        [1, 2]
    """

    __module__ = "parmap"


class RemoteTraceback(Exception):
    """The traceback of an exception raised in another process, as text: the cause it is given."""

    __module__ = "parmap"

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'

    def __reduce__(self) -> tuple[Any, ...]:  # under its public name nobody finds it
        return _remote, self.args


def _remote(text: str) -> RemoteTraceback:
    return RemoteTraceback(text)


def short_repr(value: object) -> str:
    """Return a short repr of *value*, whatever its `__repr__` does."""
    from reprlib import Repr

    short = Repr()
    short.maxstring = short.maxother = 200
    # Cut before their repr is made, as `str` is.
    vars(short).update(repr_bytes=short.repr_str, repr_bytearray=short.repr_str)
    try:
        return short.repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<{type(value).__qualname__} whose repr raises {type(error).__name__}>"
