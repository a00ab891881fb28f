"""How the workers of other libraries' pools start and end, where the pool is ours."""

from __future__ import annotations

from ..errors import ExecutorUnavailable
from ..lifeline import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    except ImportError as error:
        raise ExecutorUnavailable(
            f"executor={executor!r} needs the package loky: python -m pip install loky"
        ) from error
    if multiprocessing.current_process().daemon:
        raise ExecutorUnavailable(
            f"executor={executor!r} cannot start workers in a daemonic process; "
            "executor='processes' can"
        )
    return multiprocessing.get_context("loky")


def prepare(parent: int, line: int) -> None:
    """Leave Ctrl-C to the parent, and end with it: the initializer of every worker."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hold(parent, line)


def kill(process: Any) -> None:
    """Kill a multiprocessing *process*; those of loky's context have no `kill` of their own."""
    import os
    import signal

    if process.is_alive():
        os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
