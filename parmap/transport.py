"""What carries bytes across a process border: the pipe, and shared memory.

Responsible for sending whole messages over a file descriptor.  Refuses to know what they mean.
"""

from __future__ import annotations

import mmap
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket
    from typing import Any

ALIGNED = 64  # bytes: what vector instructions like, and a line of the cache
BLOCK = 2**16  # bytes to compare at once: they stay in the cache

STALLED = 60.0  # seconds without progress after which a worker is lost: one that runs needs none
NO_SIGNAL = 0x4000 if sys.platform == "linux" else 0  # MSG_NOSIGNAL; `socket` is slow to import
NO_SIGPIPE = 0x1022 if sys.platform == "darwin" else 0  # SO_NOSIGPIPE: macOS has no MSG_NOSIGNAL


class Region:
    """Buffers in a file of memory without a name, which it owns: any process may map it."""

    __slots__ = ("__weakref__", "fd", "name", "sizes")

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        """Copy *buffers*; raise OSError, or AttributeError, if there is no such memory here."""
        self.name = os.urandom(16)
        self.sizes = [len(buffer) for buffer in buffers]
        self.fd = os.memfd_create("parmap-region")
        for begin, buffer in zip(_begins(self.sizes), buffers, strict=True):
            done = 0
            while done < len(buffer):
                done += os.pwrite(self.fd, buffer[done:], begin + done)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def holds(self, buffers: Sequence[memoryview]) -> bool:
        """Tell whether these are *buffers*, byte for byte."""
        with mmap.mmap(self.fd, 0, prot=mmap.PROT_READ) as memory, memoryview(memory) as whole:
            return self.sizes == [len(buffer) for buffer in buffers] and all(
                # of two memoryviews each item would be compared; a bytearray compares memory
                bytearray(whole[begin + i : begin + min(i + BLOCK, len(buffer))])
                == buffer[i : i + BLOCK]
                for begin, buffer in zip(_begins(self.sizes), buffers, strict=True)
                for i in range(0, len(buffer), BLOCK)
            )


def open_region(fd: int, sizes: Sequence[int]) -> list[memoryview]:
    """Map the buffers of a region, for reading, and for writing to copies of its pages."""
    whole = memoryview(mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))
    os.close(fd)
    begins = _begins(sizes)
    return [whole[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]


def _begins(sizes: Sequence[int]) -> list[int]:
    """Return where in a region buffers of these *sizes* begin."""
    room = [-(-size // ALIGNED) * ALIGNED for size in sizes]
    return [sum(room[:n]) for n in range(len(room))]


class Channel:
    """Whole messages over a connected socket's file descriptor, which it owns: the worker's end.

    `multiprocessing.connection` does the same, at 20 ms of import in every worker (measured:
    half of a worker's start).  A message is its length in 8 bytes, little-endian, and its bytes.

    Attributes:
        fd: the descriptor, -1 when it is closed.
        whole: False if an exception, that of Ctrl-C say, came in the middle of a message: then
            nothing more can be read or sent.
    """

    __slots__ = ("fd", "whole")

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, True)  # whatever `socket.setdefaulttimeout` made of it
        self.fd = fd
        self.whole = True

    def receive_fd(self) -> int:
        """Return the file descriptor that the other end sends next."""
        import socket

        with socket.socket(fileno=os.dup(self.fd)) as line:
            line.setblocking(True)  # whatever `socket.setdefaulttimeout` makes of it
            _, fds, _, _ = socket.recv_fds(line, 1, 1)
        if not fds:
            raise EOFError
        return fds[0]

    def send(self, data: bytes) -> None:
        """Send *data* as one message; raise OSError if the other end is gone."""
        self.whole = False
        size = len(data).to_bytes(8, "little")
        sent = self._write((size, data)) - 8
        while sent < 0:  # not even the length went out
            sent += self._write((size[sent:],))
        rest = memoryview(data)[sent:]
        while rest:
            rest = rest[self._write((rest,)) :]
        self.whole = True

    def receive(self) -> bytearray:
        """Return the next message; raise EOFError if the other end is gone."""
        self.whole = False
        size = int.from_bytes(self._read(8), "little")
        message = self._read(size)
        self.whole = True
        return message

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            try:
                got = self._read_into(rest)
            except ConnectionError:
                got = 0
            if not got:
                raise EOFError
            rest = rest[got:]
        return data

    def _read_into(self, rest: memoryview) -> int:
        return os.readv(self.fd, (rest,))

    def _write(self, parts: tuple[bytes | memoryview, ...]) -> int:
        return os.writev(self.fd, parts)

    def close(self) -> None:
        """Close the descriptor; the other end reads an end of file.  May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Watched(Channel):
    """The parent's end: it waits for no worker that is dead, or that does not move.

    A dead worker need not show as the end of its channel: a child of its may have the other end,
    too.  No signal comes from sending to a dead one, whatever the program has set for SIGPIPE.

    Attributes:
        patience: seconds without any progress, in the middle of a message, until it is given up.
    """

    __slots__ = ("_line", "_pidfd", "patience")

    def __init__(self, line: socket, pidfd: int) -> None:
        """Take over *line*; *pidfd* is a descriptor of the worker's process, -1 for none."""
        import socket

        line.setblocking(False)
        if NO_SIGPIPE:
            line.setsockopt(socket.SOL_SOCKET, NO_SIGPIPE, 1)
        self.fd = line.fileno()
        self.whole = True
        self._line = line
        self._pidfd = pidfd
        self.patience = STALLED

    def send_fd(self, fd: int) -> None:
        """Give the other end a file descriptor that is the same as *fd*."""
        import socket

        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
        self._write((b"!",), rights)

    def close(self) -> None:
        """Close the descriptor, as the other class does."""
        self.fd = -1
        self._line.close()

    def _read_into(self, rest: memoryview) -> int:
        while True:
            try:
                return os.readv(self.fd, (rest,))
            except BlockingIOError:
                pass
            self._wait(select.POLLIN)  # not above: Ctrl-C would be said to come from there

    def _write(self, parts: tuple[bytes | memoryview, ...], rights: Any = ()) -> int:
        while True:
            try:
                return self._line.sendmsg(parts, rights, NO_SIGNAL)
            except BlockingIOError:
                pass
            self._wait(select.POLLOUT)

    def _wait(self, event: int) -> None:
        """Return as soon as *event* is there; raise ConnectionError if it will not come."""
        watch = select.poll()
        watch.register(self.fd, event)
        if self._pidfd >= 0:
            watch.register(self._pidfd, select.POLLIN)
        if self.fd not in dict(watch.poll(1000 * self.patience)):
            raise BrokenPipeError("the other end is dead, or does not move")
