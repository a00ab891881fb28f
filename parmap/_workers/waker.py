"""What ends a poll that is under way: a descriptor that any thread can make readable."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import Lock

from .._records.machine import above_streams


class Waker:
    """Owns such a descriptor, `fd`.

    The lock is one of its own: what the collector closes, no thread is in the middle of waking.
    """

    __slots__ = ("_lock", "_writable", "fd")

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            fd = above_streams(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            self.fd = self._writable = fd
        else:  # not Linux
            self.fd, self._writable = map(above_streams, os.pipe())
            os.set_blocking(self.fd, False)
            os.set_blocking(self._writable, False)
        self._lock = Lock()

    def wake(self) -> None:
        """Make the descriptor readable.  May be called by any thread, and after `close`."""
        with self._lock:
            if self._writable >= 0:
                with suppress(BlockingIOError):  # it has been readable for long
                    os.write(self._writable, (1).to_bytes(8, sys.byteorder))

    def clear(self) -> None:
        """Let it be readable no more."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def close(self) -> None:
        """Close the descriptor.  May be called twice."""
        with self._lock:
            for fd in {self.fd, self._writable} - {-1}:
                os.close(fd)
            self.fd = self._writable = -1
