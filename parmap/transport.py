"""How objects cross a process border: pickles, the pipe that carries them, and shared memory.

Responsible for turning objects into bytes and back, for naming the part that refuses, and for
sending whole messages over a file descriptor.  Refuses to know what the messages mean.
"""

from __future__ import annotations

import functools
import io
import mmap
import os
import pickle
import select
import sys
from contextlib import suppress
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from socket import socket
    from typing import Any

PROTOCOL = 5  # the first with out-of-band buffers (PEP 574); every Python we run on has it

APART = 2**20
"""Bytes from which on a buffer may be shared: below, copying it is cheaper than to map it."""

DEEPEST = 20  # parts of parts to look into for the one that refuses; each is pickled again
ALIGNED = 64  # bytes: what vector instructions like, and a line of the cache
BLOCK = 2**16  # bytes to compare at once: they stay in the cache

STALLED = 60.0  # seconds without progress after which a worker is lost: one that runs needs none
NO_SIGNAL = 0x4000 if sys.platform == "linux" else 0  # MSG_NOSIGNAL; `socket` is slow to import

loads = pickle.loads


def dumps(obj: object, apart: list[memoryview] | None = None) -> bytes:
    """Return *obj* as a pickle that a fresh interpreter can load.

    The C pickler is many times faster, but refuses lambdas and local classes, and refers by name
    to what `__main__` defines, which no worker has: both go to cloudpickle.

    Large buffers, those of arrays say, are put into *apart*, if it is given, and not copied.
    """
    keep = None if apart is None else functools.partial(_keep, apart)
    if not _by_value():
        try:
            data = pickle.dumps(obj, PROTOCOL, buffer_callback=keep)
        except Exception:  # noqa: S110 - any refusal, also of a foreign __reduce__
            pass
        else:
            if b"__main__" not in data:
                return data
        if apart is not None:
            apart.clear()
    buffer = io.BytesIO()
    _cloud_pickler()(buffer, protocol=PROTOCOL, buffer_callback=keep).dump(obj)
    return buffer.getvalue()


def _by_value() -> bool:
    """Tell whether the user has asked cloudpickle to send modules by value."""
    if "cloudpickle" not in sys.modules:
        return False
    import cloudpickle  # waits, if another thread is in the middle of it

    return bool(cloudpickle.list_registry_pickle_by_value())


def _keep(apart: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """Put a large *buffer* into *apart*; return whether it stays in the pickle instead."""
    try:
        view = buffer.raw()
    except BufferError:  # its bytes are not in one piece
        return True
    if view.nbytes >= APART:
        apart.append(view)
    return view.nbytes < APART


@functools.cache
def _cloud_pickler() -> type[pickle.Pickler]:
    """Return cloudpickle's pickler, taught about caches and files.

    cloudpickle saves functions under `functools.lru_cache` by name (its issue 178), which fails for
    those of `__main__`.
    """
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is _LRU_CACHE and not _importable(obj):
                maxsize, typed = obj.cache_parameters().values()
                # The function comes as state: by then the cache is known to the pickler, so that
                # a recursive function, which holds its own cache, does not go round for ever.
                return _empty_cache, (maxsize, typed), obj.__wrapped__, None, None, _fill_cache
            if isinstance(obj, io.TextIOWrapper) and obj not in (sys.stdin, sys.stdout, sys.stderr):
                # cloudpickle would send what an open file holds, as another kind of file
                raise TypeError(f"cannot pickle {type(obj).__name__!r} object")
            return super().reducer_override(obj)

    return Pickler


_LRU_CACHE = type(functools.cache(lambda: None))


def _importable(obj: Any) -> bool:
    """Tell whether a fresh interpreter finds *obj* under its name."""
    found: Any = sys.modules.get(obj.__module__)
    if found is None or obj.__module__ == "__main__":
        return False
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def _empty_cache(maxsize: int | None, typed: bool) -> Any:
    target: list[Callable[..., Any]] = []

    def function(*args: Any, **kwargs: Any) -> Any:
        return target[0](*args, **kwargs)

    cached = functools.lru_cache(maxsize, typed)(function)
    cached.__dict__["__target__"] = target
    return cached


def _fill_cache(cached: Any, function: Callable[..., Any]) -> None:
    cached.__dict__.pop("__target__").append(function)
    functools.update_wrapper(cached, function)


def refusal(obj: object, name: str, error: BaseException) -> str:
    """Say which part of *obj*, called *name*, caused *error* when it was pickled."""
    trail = [(name, obj)]
    with suppress(Exception):  # of a part that cannot be looked at: what holds it is named
        trail.extend(_culprits(obj, name))
    path, part = trail[-1]
    cure = ""
    if isinstance(part, GeneratorType):
        cure = f"; {'return' if name == 'result' else 'give'} a list of what it yields"
    elif isinstance(part, (CoroutineType, AsyncGeneratorType)):
        cure = "; the task has to run it, with asyncio.run, and return what comes of it"
    return f"{path} (of type {type(part).__qualname__}) cannot be pickled: {error}{cure}"


def _culprits(obj: object, path: str) -> Iterator[tuple[str, object]]:
    """Follow the parts of *obj* that cannot be pickled down to one whose parts all can."""
    seen = set()
    for _ in range(DEEPEST):
        yield path, obj
        seen.add(id(obj))
        for label, part in _parts(obj):
            if id(part) not in seen and not pickles(part):
                path, obj = path + label, part
                break
        else:
            return


def pickles(part: object) -> bool:
    """Tell whether *part* can be pickled.

    Not whether it can be unpickled: a copy of a connection, for one, would close the descriptor of
    the original when it is thrown away.
    """
    try:
        dumps(part)
    except Exception:
        return False
    return True


def _parts(obj: Any) -> Iterator[tuple[str, object]]:
    if isinstance(obj, dict):
        yield from ((f"[{key!r}]", value) for key, value in obj.items())
    elif isinstance(obj, (list, tuple, set, frozenset)):
        yield from ((f"[{i}]", value) for i, value in enumerate(obj))
    elif isinstance(obj, functools.partial):
        yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    elif isinstance(obj, MethodType):
        yield ".__self__", obj.__self__
    elif isinstance(obj, FunctionType):
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
            try:
                yield f".<closure {name}>", cell.cell_contents
            except ValueError:  # the cell is still empty
                continue
        for name in obj.__code__.co_names:
            if name in obj.__globals__:
                yield f".<global {name}>", obj.__globals__[name]
        yield ".__defaults__", obj.__defaults__
    slots = [name for cls in type(obj).__mro__ for name in getattr(cls, "__slots__", ())]
    if not isinstance(obj, (type, FunctionType)):
        names = [*getattr(obj, "__dict__", ()), *slots]
        yield from ((f".{name}", getattr(obj, name)) for name in names if hasattr(obj, name))


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
        line.setblocking(False)
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
