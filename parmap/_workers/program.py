"""A program that is started, and its end: what we need of `subprocess`.

To import that, and what it imports, costs the first call 5 ms, beside the caller's task several
times as much.

Assumed: nobody else waits for children by their ids; who does, takes the exit code.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from time import monotonic, sleep

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


_left: list[Program] = []  # those that nobody waits for any more, an interrupted start say


class Program:
    """A program of ours that runs in a session of its own.

    Attributes:
        pid: its process id.
        returncode: its exit code, or the negative number of the signal; None while it runs.
    """

    def __init__(
        self, words: Sequence[str], fds: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        """Start it; raise OSError if that cannot be.  It has no more than *fds* and the streams."""
        _left[:] = [program for program in _left if program.poll() is None]
        self.returncode: int | None = 0  # there is none yet
        self._lock = allocate_lock()  # while it is held, the process is waited for
        nothing = above_streams(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        try:
            self.pid = _start(words, fds, environment, nothing)
        finally:
            os.close(nothing)
        self.returncode = None

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


def _start(
    words: Sequence[str], fds: Sequence[int], environment: Mapping[str, str], nothing: int
) -> int:
    # A session: a group, see `WorkerProcess.kill`; and no terminal, where a task that asked would
    # be stopped.
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
        process.returncode = 0  # what becomes of it is for `Program` to learn
        return process.pid
    import _posixsubprocess

    sys.audit("subprocess.Popen", program, words, None, environment)
    names = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    places = [""] if os.path.dirname(program) else os.get_exec_path(environment)
    paths = tuple(os.fsencode(os.path.join(place, program)) for place in places)
    failure, told = map(above_streams, os.pipe())
    try:
        try:
            fork_exec: Any = _posixsubprocess.fork_exec  # of many arguments in a row
            pid: int = fork_exec(
                *(list(words), paths, True, tuple(sorted((*fds, told))), None, names),
                *(nothing, -1, -1, output, -1, errors, failure, told),
                *(True, True, -1, None, None, None, -1, None),  # signals as usual, a session
                *((True,) if sys.version_info < (3, 14) else ()),  # by vfork
            )
        finally:
            os.close(told)
        text = os.read(failure, 4096)  # the end of file, if it has begun
    finally:
        os.close(failure)
    if text:
        os.waitpid(pid, 0)
        number = int(text.split(b":")[1] or b"0", 16)
        raise OSError(number, os.strerror(number), program)
    return pid
