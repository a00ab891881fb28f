"""How a worker that is busy learns that its parent is gone.

The parent keeps both ends of a pipe and writes nothing.  Each worker opens the reading end, and has
the kernel kill it when there is news: the end of file, when the parent, in whatever way it ended,
let go of the writing end.  That needs no thread and no handler, and reaches a task in C that holds
the GIL.

Assumed: Linux and its /proc.  Elsewhere a worker ends after the chunk it is at.  `PR_SET_PDEATHSIG`
would fire when the *thread* ends that started the worker.
"""

from __future__ import annotations

import os

from .._records.c_modules import signal
from .._records.machine import above_streams

_ends: list[int] = []  # of the pipe: for reading, for writing
_held: set[tuple[int | str, int]] = set()  # in a worker


def parent_pipe() -> tuple[int, int]:
    """Return what a worker needs for `die_with_parent`: our process id, and our end for reading."""
    # A pipe made before the program gave up its privileges could not be opened by a worker.
    if not _ends or os.fstat(_ends[0]).st_uid != os.geteuid():
        _ends[:0] = map(above_streams, os.pipe())
    return os.getpid(), _ends[0]


def die_with_parent(pid: int | str, fd: int) -> None:
    """Let this process be killed when process *pid* ends, if the system can do it.

    If that has ended already, so does this one.  *pid* is "self" if we have inherited *fd*.
    """
    if (pid, fd) in _held:
        return
    _held.add((pid, fd))
    try:
        import fcntl
        import select

        us = os.getpid()
        # With what its tasks have started, if it leads a group of its own; and itself, should a
        # task leave that group.
        for owner in (us, -us) if os.getpgrp() == us else (us,):
            line = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
            fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(line, fcntl.F_SETOWN, owner)
            fcntl.fcntl(line, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        poll = select.poll()
        poll.register(line, 0)  # for the end of file alone, which may have come before the request
        gone = bool(poll.poll(0))
    except FileNotFoundError:  # it is gone, unless there is no /proc
        gone = os.path.exists("/proc/self/fd")
    except (ImportError, AttributeError, OSError):
        gone = False
    if gone:
        os._exit(1)


def _forget() -> None:
    """In a forked child: an open end here would hide the parent's death."""
    for end in _ends:
        os.close(end)
    _ends.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
