"""Whole messages over a connected socket: what each is, and how it is framed.

::

    prefix   19 bytes: kind, number of descriptors, number of buffers, size of header and of body
    header   a few plain values, pickled
    sizes    8 bytes for each buffer
    body     the pickle of what the message carries
    buffers  what that pickle leaves out, not copied here
    descriptors, each with a byte of its own, once the receiver asks for them

Either side sends all of these.  The channel knows nothing of what a message means.
"""

from __future__ import annotations

import mmap
import os
import select
import sys
from contextlib import suppress
from struct import Struct

from .._records.c_modules import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket
    from typing import Any, TypeVar

    T = TypeVar("T")

    Buffer = bytes | bytearray | memoryview

PREFIX = Struct("<BHIIQ")  # little-endian, without gaps
AT_ONCE = 2**16  # bytes that are copied together, so as to be sent or read by one system call
PARTS = 64  # buffers to hand to the system: it takes at most 1,024
PAGES = 2**20  # bytes of a buffer from which on it gets pages of its own: they are not zeroed twice
AHEAD = 2**20  # bytes to be held for a worker: by default one of three sends of 370 KB waits
STALLED = 60.0  # seconds without progress after which a worker is lost: one that runs needs none
NO_SIGNAL = 0x4000 if sys.platform == "linux" else 0  # MSG_NOSIGNAL; `socket` is slow to import
NO_SIGPIPE = 0x1022 if sys.platform == "darwin" else 0  # SO_NOSIGPIPE: macOS has no MSG_NOSIGNAL


class Message:
    """What is sent at once: *kind* says what it means, *header* holds a few plain values.

    *body* is a pickle, *buffers* what was left out of it; *fds* counts the descriptors that follow,
    or, for the sender, lists them.
    """

    __slots__ = ("body", "buffers", "fds", "header", "kind")

    def __init__(
        self,
        kind: int,
        header: tuple[Any, ...] = (),
        body: Buffer = b"",
        buffers: list[Any] | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        self.kind = kind
        self.header = header
        self.body = body
        self.buffers = buffers or []
        self.fds = fds

    def __reduce__(self) -> tuple[Any, ...]:  # through another's pool; without descriptors
        return Message, (self.kind, self.header, bytes(self.body), list(map(bytes, self.buffers)))

    def __len__(self) -> int:
        """Return the bytes of what the message carries."""
        return len(self.body) + sum(map(len, self.buffers))


class Channel:
    """Sends and receives messages over a socket's descriptor, which it owns: the worker's end.

    `multiprocessing.connection` does a part of it, at 20 ms of import in every worker (measured:
    half of a worker's start).

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

    def send(self, message: Message) -> None:
        """Send *message*; raise OSError if the other end is gone."""
        self.whole = False
        body, buffers, fds = message.body, message.buffers, message.fds
        header = pickle.dumps(message.header)
        prefix = PREFIX.pack(message.kind, len(fds), len(buffers), len(header), len(body))
        if buffers or len(body) > AT_ONCE:
            views = [memoryview(buffer).cast("B") for buffer in buffers]
            sizes = b"".join(len(view).to_bytes(8, "little") for view in views)
            _move(self._write, [prefix + header + sizes, body, *views])
        else:
            data = b"".join((prefix, header, body))
            sent = self._write((data,))
            if sent < len(data):
                _move(self._write, [data[sent:]])
        for fd in fds:
            self._send_fd(fd)
        self.whole = True

    def receive(self) -> Message:
        """Return the next message; raise EOFError if the other end is gone.

        Its descriptors are asked for one by one, with `receive_fd`, and before the next message.
        """
        self.whole = False
        buffers = []
        try:
            kind, fds, number, header, body = PREFIX.unpack(self._receive(PREFIX.size))
            begin = header + 8 * number
            data = self._receive(begin + body)
            if number:
                buffers = [_room(size) for size in memoryview(data)[header:begin].cast("Q")]
                _move(self._read_into, buffers.copy())
        except OSError:  # also if there is no room for a buffer: the message will not be whole
            raise EOFError from None
        # The pickle of the header ends by itself.
        message = Message(kind, pickle.loads(data), memoryview(data)[begin:], buffers, range(fds))
        self.whole = True
        return message

    def _receive(self, size: int) -> bytes | bytearray:
        """Return the next *size* bytes."""
        data = self._read(size) if size <= AT_ONCE else b""
        if len(data) == size:
            return data  # nearly always
        whole = bytearray(size)
        whole[: len(data)] = data
        _move(self._read_into, [memoryview(whole)[len(data) :]])
        return whole

    def receive_fd(self) -> int:
        """Return the next of the descriptors that belong to the last message."""
        import socket

        with socket.socket(fileno=os.dup(self.fd)) as line:
            line.setblocking(True)  # whatever `socket.setdefaulttimeout` makes of it
            _, fds, _, _ = socket.recv_fds(line, 1, 1)
        if not fds:
            raise EOFError
        return fds[0]

    def _send_fd(self, fd: int) -> None:
        import socket

        with socket.socket(fileno=os.dup(self.fd)) as line:
            line.setblocking(True)
            socket.send_fds(line, (b"!",), (fd,))

    def _read(self, size: int) -> bytes:
        return os.read(self.fd, size)

    def _read_into(self, rooms: list[memoryview]) -> int:
        return os.readv(self.fd, rooms)

    def _write(self, parts: Sequence[Buffer]) -> int:
        return os.writev(self.fd, parts)

    def close(self) -> None:
        """Close the descriptor; the other end reads an end of file.  May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _move(some: Callable[[list[Any]], int], parts: list[Any]) -> None:
    """Send, or fill, all of *parts*, which are changed; *some* returns how many bytes it moved."""
    first = moved = 0
    while True:
        while first < len(parts) and moved >= len(parts[first]):
            moved -= len(parts[first])
            first += 1
        if first == len(parts):
            return
        if moved:
            parts[first] = memoryview(parts[first])[moved:]
        moved = some(parts[first : first + PARTS])
        if not moved:
            raise EOFError


def _room(size: int) -> memoryview:
    """Return memory for a buffer of *size* bytes: of its own, so that it can be let go alone."""
    if size < PAGES:
        return memoryview(bytearray(size))
    return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


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
        line.setblocking(False)
        with suppress(ImportError, OSError):  # not CPython; more than this system may hold
            import _socket

            line.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, AHEAD)
        if NO_SIGPIPE:
            import socket

            line.setsockopt(socket.SOL_SOCKET, NO_SIGPIPE, 1)
        self.fd = line.fileno()
        self.whole = True
        self._line = line
        self._pidfd = pidfd
        self.patience = STALLED

    def close(self) -> None:
        """Close the descriptor, as the other class does."""
        self.fd = -1
        self._line.close()

    def receive_fd(self) -> int:
        """Return a descriptor, as the other class does, but do not wait for a dead worker."""
        import socket

        _, fds, _, _ = self._when(select.POLLIN, socket.recv_fds, self._line, 1, 1)
        if not fds:
            raise EOFError
        return fds[0]

    def _send_fd(self, fd: int) -> None:
        import socket

        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
        self._write((b"!",), rights)

    def _read(self, size: int) -> bytes:
        return self._when(select.POLLIN, os.read, self.fd, size)

    def _read_into(self, rooms: list[memoryview]) -> int:
        return self._when(select.POLLIN, os.readv, self.fd, rooms)

    def _write(self, parts: Sequence[Buffer], rights: Any = ()) -> int:
        return self._when(select.POLLOUT, self._line.sendmsg, parts, rights, NO_SIGNAL)

    def _when(self, event: int, function: Callable[..., T], *args: Any) -> T:
        """Call *function* until *event* lets it succeed."""
        while True:
            try:
                return function(*args)
            except BlockingIOError:
                pass
            self._wait(event)  # not above: Ctrl-C would be said to come from there

    def _wait(self, event: int) -> None:
        """Return as soon as *event* is there; raise ConnectionError if it will not come."""
        watch = select.poll()
        watch.register(self.fd, event)
        if self._pidfd >= 0:
            watch.register(self._pidfd, select.POLLIN)
        if self.fd not in dict(watch.poll(1000 * self.patience)):
            raise BrokenPipeError("the other end is dead, or does not move")
