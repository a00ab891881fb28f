"""The shared objects of multiprocessing, as arguments and in closures: locks, queues, values.

multiprocessing pickles these only while it starts a process: it asks an object of its own, the
"spawning popen", to pass descriptors on.  `Spawning` stands in for that: it keeps copies of the
descriptors, which are sent over the channel with the pickle, and there `handed` resolves them.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext

from .._records.machine import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any


_MODULES = {f"multiprocessing.{name}" for name in ("connection", "heap", "queues", "synchronize")}


class Spawning:
    """While it is entered, this thread may pickle shared objects, with its `reducers`.

    Attributes:
        reducers: functions by type, for `dumps`; None if there is nothing to share.
        fds: copies of the descriptors in what was pickled; closed with this object.
    """

    __slots__ = ("_before", "_numbers", "fds", "reducers")

    def __init__(self) -> None:
        self.fds: list[int] = []
        self._numbers: dict[int, int] = {}
        self.reducers: dict[type, Callable[[Any], Any]] | None = None

    def __enter__(self) -> Spawning:
        if _may_share():
            context = imported("multiprocessing.context")
            self._before = context.get_spawning_popen()
            self.reducers = _reducers()
            context.set_spawning_popen(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self.reducers is not None:
            imported("multiprocessing.context").set_spawning_popen(self._before)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors: they are sent, or not needed.  May be called twice."""
        while self.fds:
            os.close(self.fds.pop())

    def identity(self) -> bytes:
        """Return what tells these descriptors from those of another pickle that looks the same."""
        return repr([(status.st_dev, status.st_ino) for status in map(os.fstat, self.fds)]).encode()

    def duplicate_for_child(self, fd: int) -> int:
        """Keep a copy of *fd*; return its number here.  multiprocessing asks for this."""
        if fd not in self._numbers:
            self.fds.append(os.dup(fd))
            self._numbers[fd] = len(self.fds) - 1
        return self._numbers[fd]

    def DupFd(self, number: int) -> Handed:  # noqa: N802 - so it is called there
        """Return what is pickled in the place of a descriptor.  multiprocessing asks for this."""
        return Handed(number)


def spawning() -> AbstractContextManager[Spawning]:
    """Return one to enter: always the same, which shares nothing, while there is nothing to share.

    That saves a third of a microsecond for each message.
    """
    return Spawning() if _may_share() else _nothing


def _may_share() -> bool:
    """Tell whether there may be objects to share: a module of theirs was imported."""
    return not sys.modules.keys().isdisjoint(_MODULES)


_nothing = nullcontext(Spawning())


def cure(error: BaseException) -> BaseException:
    """Return *error*, with what to do about it if it came from an object of a fork context."""
    if "fork context" not in str(error) and "forking was enabled" not in str(error):
        return error
    return RuntimeError(
        "it was made for processes that are forked; make it with another context: "
        "multiprocessing.get_context('spawn').Lock(), say"
    )


def _reducers() -> dict[type, Callable[[Any], Any]]:
    """Return how multiprocessing pickles what is shared."""
    import copyreg
    import functools
    import io
    import socket
    from types import MethodDescriptorType, MethodType, WrapperDescriptorType

    reduction = imported("multiprocessing.reduction")
    table = reduction.ForkingPickler(io.BytesIO()).dispatch_table
    # Only what is shared: the others have better ones, or none on purpose.
    others = {*copyreg.dispatch_table, functools.partial, socket.socket}
    others |= {MethodType, MethodDescriptorType, WrapperDescriptorType}
    reducers = {kind: reduce for kind, reduce in table.items() if kind not in others}
    heap = imported("multiprocessing.heap")
    if (arena := getattr(heap, "Arena", None)) in reducers:
        reducers[arena] = _reduce_arena
    return reducers


def _reduce_arena(arena: Any) -> tuple[Any, ...]:
    return _rebuild_arena, imported("multiprocessing.heap").reduce_arena(arena)[1]


def _rebuild_arena(size: int, descriptor: Handed) -> Any:
    """Do what multiprocessing does, but close the descriptor in the end."""
    from multiprocessing.heap import Arena
    from weakref import finalize

    fd = descriptor.detach()
    arena = Arena(size, fd)
    finalize(arena, os.close, fd).atexit = False
    return arena


# ------------------------------------------------------------------------------------------------
# From here on: what runs in the worker.

_fds: Sequence[int] = ()


@contextmanager
def handed(fds: Sequence[int]) -> Iterator[None]:
    """While a pickle is loaded to which *fds* belong."""
    global _fds
    _fds = fds
    try:
        yield
    finally:
        _fds = ()


class Handed(int):
    """A descriptor that comes with the pickle, by its number there."""

    __slots__ = ()

    def detach(self) -> int:
        """Return a descriptor, which is the caller's to close."""
        return os.dup(_fds[self])
