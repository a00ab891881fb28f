"""A worker's status block: memory that its parent shares, with what it does, and two texts.

It survives the worker.  So the parent knows, whatever became of the worker, which task it was at
and since when; and where in it, if the worker had the time to say so: faulthandler writes the
Python stack there, when a signal kills the worker and when the parent asks by a signal.  And what
the task that runs has written is there, see `capture`.
"""

from __future__ import annotations

import os

from .._records.c_modules import signal
from .._records.machine import above_streams
from .._records.stack_frames import PACKAGE
from .._records.written import LIMIT, RECORD, SIZE

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
BLOCK_BYTES = 16384  # of the status and the dump
NUMBERS = 16  # bytes before a row of records: whose it is, and how long


class Output:
    """What the task that runs has written, in *memory*: a row of records, at most `LIMIT` long.

    One writes, another may read, whenever the one dies.
    """

    def __init__(self, memory: memoryview) -> None:
        self._numbers = memory[:NUMBERS].cast("q")
        self._row = memory[NUMBERS:]
        self._end = self._last = self._size = 0  # of the row; where its last record is, its size

    def begin(self, index: int, row: bytes = b"") -> None:
        """Have the *row* of another task instead."""
        self._numbers[1] = 0
        self._numbers[0] = index
        self._row[: len(row)] = row
        self._numbers[1] = self._end = len(row)

    @property
    def room(self) -> int:
        """How many bytes one more record can have."""
        return LIMIT - self._end - RECORD.size

    def append(self, kind: int, data: bytes) -> bool:
        """Add a record of *data*; tell whether there is room for it."""
        if len(data) > self.room:
            return False
        self._last, self._size = self._end, 0
        RECORD.pack_into(self._row, self._end, kind, 0)
        self._end += RECORD.size
        return self.extend(data)

    def extend(self, data: bytes) -> bool:
        """Add *data* to the last record; tell whether there is room for it."""
        begin, end = self._end, self._end + len(data)
        if end > LIMIT:
            return False
        self._row[begin:end] = data
        self._size += len(data)
        SIZE.pack_into(self._row, self._last + 1, self._size)
        self._numbers[1] = self._end = end
        return True

    def read(self) -> tuple[int, bytes]:
        """Return whose row it is, and the row; b"" if it was replaced meanwhile."""
        index, size = self._numbers
        row = bytes(self._row[:size])
        again, reached = self._numbers
        return index, row if again == index and reached >= size else b""

    def release(self) -> None:
        """Let go of the memory."""
        self._numbers.release()
        self._row.release()


ROOM = NUMBERS + LIMIT  # bytes; pages of it that nobody writes to cost nothing


def new_output() -> Output:
    """Return one that nobody else sees."""
    return Output(memoryview(bytearray(ROOM)))


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
    file.truncate(BLOCK_BYTES + ROOM)
    return file


def dump_signal() -> int:
    """Return the signal that asks a worker where it stands: one that nobody else uses."""
    return signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2


class StatusBlock:
    """The block in the file *fd*: a *status*, room for a stack dump, and the *output*."""

    def __init__(self, fd: int) -> None:
        from mmap import mmap

        self._memory = mmap(fd, BLOCK_BYTES + ROOM)
        self.status = memoryview(self._memory)[:STATUS_BYTES].cast("d")
        self.output = Output(memoryview(self._memory)[BLOCK_BYTES:])

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
        self.output.release()
        faulthandler.disable()
        faulthandler.unregister(dump_signal())

    def stack_dump(self) -> str:
        """Return where the task stood, most recent call first; "" if the worker did not say."""
        text = self._memory[STATUS_BYTES:BLOCK_BYTES].rstrip(b"\0").decode("utf-8", "replace")
        ours = f'  File "{PACKAGE}'
        streams = tuple(f"{ours}_workers{os.sep}{name}.py" for name in ("capture", "hooks"))
        lines = [line for line in text.splitlines() if line.startswith("  File ")]
        while lines and lines[0].startswith(streams):  # it prints
            del lines[0]
        # Below our own first frame there is nothing of the task's.
        end = next((n for n, line in enumerate(lines) if line.startswith(ours)), len(lines))
        return "\n".join(lines[:end])

    def clear(self) -> None:
        """Forget the stack dump: the task has gone on."""
        self._memory[STATUS_BYTES:BLOCK_BYTES] = bytes(BLOCK_BYTES - STATUS_BYTES)
