"""A program that is started, and its end: what we need of `subprocess`.

To import that, and what it imports, costs the first call 5 ms, beside the caller's task several
times as much.

Assumed: nobody else waits for children by their ids; who does, takes the exit code.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from contextlib import suppress
from itertools import chain, starmap
from time import monotonic, sleep

from .._records.c_modules import signal
from .._records.machine import above_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


NEWEST = 3, 15  # Python of which it is known how its private function starts a program
# By their names in `sys.flags`; those with values are for `subprocess`.
OPTIONS = {
    "debug": "d",
    "optimize": "O",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "verbose": "v",
    "quiet": "q",
    "isolated": "I",
    "ignore_environment": "E",
    "no_user_site": "s",
}


_left: list[Program] = []  # those that nobody waits for any more
_telling: set[int] = set()  # ends of pipes on which children tell that they have not begun


class Program:
    """A program of ours that runs in a session of its own.

    Attributes:
        pid: its process id.
        returncode: its exit code, or the negative number of the signal; None while it runs.
    """

    returncode: int | None = 0  # there is none yet

    def __init__(
        self, words: Sequence[str], fds: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        """Start it; raise OSError if that cannot be.  It has no more than *fds* and the streams."""
        _left[:] = [program for program in _left if program.poll() is None]
        self._lock = allocate_lock()  # while it is held, the process is waited for
        started: list[int] = []
        here: list[int] = []
        try:
            try:
                _start(words, fds, environment, started, here)
            finally:
                try:
                    _close(here)
                finally:  # it was interrupted before it began
                    _close(here)
            (self.pid,) = started
            self.returncode = None
        except BaseException:  # it has not begun, or nobody will know of it
            self.returncode = 0
            for pid in started:
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            raise

    def __del__(self) -> None:
        if self.returncode is None:
            _left.append(self)

    def poll(self) -> int | None:
        """Return the exit code; None if it still runs, or another thread waits for it."""
        if self.returncode is None and self._lock.acquire(False):
            try:
                self._wait(os.WNOHANG)
            finally:
                self._lock.release()
        return self.returncode

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end, *seconds* at most; tell whether it has come."""
        if seconds is None:
            with self._lock:
                self._wait(0)
            return True
        end, pause = monotonic() + seconds, 0.0005
        while self.poll() is None and monotonic() < end:
            pause = min(2 * pause, 0.05)
            sleep(pause)
        return self.returncode is not None

    def _wait(self, options: int) -> None:
        if self.returncode is not None:
            return
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:  # somebody else was told, or the system was told not to tell
            self.returncode = 0
        else:
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)


def options() -> list[str]:
    """Return the options of this interpreter, for another."""
    if sys.warnoptions or sys._xoptions or sys.flags.bytes_warning or sys.flags.dev_mode:
        import subprocess

        return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]
    flags = {letter: getattr(sys.flags, name) for name, letter in OPTIONS.items()}
    return [f"-{letter * times}" for letter, times in flags.items() if times]


def _stream(fd: int, nothing: int) -> int:
    """Return what stands for the standard stream *fd*: ours (-1), or *nothing*."""
    try:
        os.fstat(fd)
    except OSError:
        return nothing
    return -1


def _close(fds: list[int], count: int | None = None) -> None:
    """Close *count* of *fds*, or all, from its end on: in C, where nothing interrupts."""
    _telling.difference_update(fds)
    list(map(os.close, map(list.pop, [fds] * (len(fds) if count is None else count))))


def _forget() -> None:
    """In a child that another thread has forked: with the end open here, ours would be awaited."""
    for fd in _telling:
        os.close(fd)
    _telling.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _start(
    words: Sequence[str],
    fds: Sequence[int],
    environment: Mapping[str, str],
    started: list[int],
    here: list[int],
) -> None:
    """Put the process id into *started*, and into *here* the descriptors that are to be closed.

    In C, as an interrupt may come between any two steps of Python: the first is that after a fork.
    """
    # A session: a group, see `WorkerProcess.kill`; and no terminal, where a task that asked would
    # be stopped.
    here += starmap(os.open, [(os.devnull, os.O_RDWR | os.O_CLOEXEC)])
    here[:] = map(above_streams, here)
    (nothing,) = here
    output, errors = _stream(1, nothing), _stream(2, nothing)
    program = words[0]
    if sys.version_info[:2] > NEWEST or sys.implementation.name != "cpython":
        import subprocess

        process = subprocess.Popen(
            words,
            pass_fds=fds,
            start_new_session=True,
            stdin=nothing,
            stdout=None if output < 0 else output,
            stderr=None if errors < 0 else errors,
            env=environment,
        )
        started.append(process.pid)
        process.returncode = 0  # what becomes of it is for `Program` to learn
        return
    import _posixsubprocess

    sys.audit("subprocess.Popen", program, words, None, environment)
    names = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    places = [""] if os.path.dirname(program) else os.get_exec_path(environment)
    paths = tuple(os.fsencode(os.path.join(place, program)) for place in places)
    here += chain.from_iterable(starmap(os.pipe, [()]))
    here[:] = map(above_streams, here)
    _, failure, told = here
    _telling.add(told)
    fork_exec: Any = _posixsubprocess.fork_exec  # of many arguments in a row
    arguments = (
        *(list(words), paths, True, tuple(sorted((*fds, told))), None, names),
        *(nothing, -1, -1, output, -1, errors, failure, told),
        *(True, True, -1, None, None, None, -1, None),  # signals as usual, a session
        *((True,) if sys.version_info < (3, 14) else ()),  # by vfork
    )
    started += starmap(fork_exec, [arguments])
    _close(here, 1)  # what is told here
    text = b""
    while part := os.read(failure, 4096):  # until the end of file, or that it has begun
        text += part
    if text:
        number = int(text.split(b":")[1] or b"0", 16)
        raise OSError(number, os.strerror(number), program)
