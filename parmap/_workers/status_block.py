"""A worker's status block: memory that its parent shares, with what it does and a stack dump.

It survives the worker.  So the parent knows, whatever became of the worker, which task it was at
and since when; and where in it, if the worker had the time to say so: faulthandler writes the
Python stack there, when a signal kills the worker and when the parent asks by a signal.
"""

from __future__ import annotations

import os

from .._records.c_modules import signal
from .._records.machine import above_streams
from .._records.stack_frames import PACKAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    # Three numbers that the place where tasks run shares with whoever watches it.
    Status = list[float] | memoryview[float]

# The fields of a status. SINCE is written before RUNNING: who reads them the other way round never
# takes a task for older than it is.
RUNNING = 0  # index of the task that runs, or IDLE, LOADING, MOVING, LEAVING
STOP = 1  # set to 1 by the watcher: end after the task that runs
SINCE = 2  # when that began, in seconds of `perf_counter`, which all processes share

IDLE = -1.0  # written by the parent: it has not begun with what is sent to it
LOADING = -2.0  # it loads the function, or runs the initializer
MOVING = -3.0  # it unpickles items, or pickles and sends results
LEAVING = -4.0  # it sends its last answer

STATUS_BYTES = 24
BLOCK_BYTES = 16384


def new_status() -> Status:
    """Return a status for a loop that runs in the same process as its watcher."""
    return [IDLE, 0.0, 0.0]


def status_file() -> IO[bytes]:
    """Return a file without a name, for a `StatusBlock`."""
    if hasattr(os, "memfd_create"):
        fd = above_streams(os.memfd_create("parmap-status"))
        file: IO[bytes] = os.fdopen(fd, "w+b", buffering=0)
    else:
        from tempfile import TemporaryFile

        file = TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    file.truncate(BLOCK_BYTES)
    return file


def dump_signal() -> int:
    """Return the signal that asks a worker where it stands: one that nobody else uses."""
    return signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2


class StatusBlock:
    """The block in the file *fd*: a *status*, and room for a stack dump."""

    def __init__(self, fd: int) -> None:
        from mmap import mmap

        self._memory = mmap(fd, BLOCK_BYTES)
        self.status = memoryview(self._memory)[:STATUS_BYTES].cast("d")

    def dump_stack_when_killed(self, fd: int) -> None:
        """In the worker: have the stack written here, in *fd*, when a signal kills it or asks."""
        import faulthandler

        os.lseek(fd, STATUS_BYTES, os.SEEK_SET)
        faulthandler.enable(fd, all_threads=False)
        faulthandler.register(dump_signal(), fd, all_threads=False)

    def part(self) -> None:
        """In a child of the worker: neither is the status its own, nor the stack the worker's."""
        import faulthandler

        self.status.release()
        faulthandler.disable()
        faulthandler.unregister(dump_signal())

    def stack_dump(self) -> str:
        """Return where the task stood, most recent call first; "" if the worker did not say."""
        text = self._memory[STATUS_BYTES:].rstrip(b"\0").decode("utf-8", "replace")
        ours = f'  File "{PACKAGE}'
        lines = [line for line in text.splitlines() if line.startswith("  File ")]
        # Below our own first frame there is nothing of the task's.
        end = next((n for n, line in enumerate(lines) if line.startswith(ours)), len(lines))
        return "\n".join(lines[:end])

    def clear(self) -> None:
        """Forget the stack dump: the task has gone on."""
        self._memory[STATUS_BYTES:] = bytes(BLOCK_BYTES - STATUS_BYTES)
