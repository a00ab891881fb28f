"""How objects become bytes and come back.

Chooses the pickler.  Does not depend on what the bytes are for, and how they travel.
"""

from __future__ import annotations

import copyreg
import functools
import io
import sys
from time import thread_time

from .._records.c_modules import pickle
from .importable import away, names_away
from .memmap import PROTOCOL, of_numpy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Reducer = Callable[[Any], Any]

    Reducers = Mapping[type, Reducer] | None
    Keep = Callable[..., bool] | None


APART = 2**20
"""Bytes from which on a buffer may be shared: below, copying it is cheaper than to map it."""

loads = pickle.loads


class TimeIsUp(BaseException):
    """Pickling has met its `Deadline`: no refusal, and not to be taken for one on its way."""


class Deadline:
    """After *seconds* of processor time from now, when pickling is given up."""

    __slots__ = ("_clock", "_end", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = thread_time) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def check(self) -> None:
        """Raise TimeIsUp if it has come."""
        if self._clock() > self._end:
            raise TimeIsUp

    def file(self) -> io.BytesIO:
        """Return what to write a pickle to, which checks at each frame: some 64 KiB, 1 ms."""
        return _Checked(self)

    def without(self, make: Callable[[], Any]) -> Any:
        """Return what *make* does, whose time does not count."""
        began = self._clock()
        made = make()
        self._end += self._clock() - began
        return made


class _Checked(io.BytesIO):
    def __init__(self, deadline: Deadline) -> None:
        self._check = deadline.check

    def write(self, data: Any) -> int:
        self._check()
        return super().write(data)


def dumps(
    obj: object,
    apart: list[memoryview] | None = None,
    reducers: Reducers = None,
    *,
    least: int = APART,
    deadline: Deadline | None = None,
) -> bytes:
    """Return *obj* as a pickle that a fresh interpreter can load.

    The C pickler is many times faster, but refuses lambdas and local classes, and refers by name
    to what `__main__` defines, which no worker has: both go to cloudpickle.

    Buffers of at *least* so many bytes, those of arrays say, are appended to *apart*, if it is
    given, and not copied.
    Objects of the very types in *reducers* are reduced by these, whatever else there is for them.
    Raises TimeIsUp at the *deadline*.
    """
    before = 0 if apart is None else len(apart)
    keep = None if apart is None else functools.partial(_keep, apart, least)
    file = io.BytesIO if deadline is None else deadline.file
    table = _table() if makers else _made
    if reducers:
        table = {**table, **reducers}
    if "cloudpickle" not in sys.modules or not _by_user():
        for attempt in (_plain, _with_functions):
            try:
                data = attempt(obj, keep, table, file)
                # Both names of the script's module end in this.
                if not (b"_main__" in data or (away and names_away(data))):
                    return data
            except Exception:  # noqa: S110 - any refusal, also of a foreign __reduce__
                pass
            if apart is not None:
                del apart[before:]
    from .cloud_pickler import cloud_pickler

    cloud = cloud_pickler() if deadline is None else deadline.without(cloud_pickler)
    buffer = file()
    pickler: Any = cloud(buffer, protocol=PROTOCOL, buffer_callback=keep)
    pickler.table, pickler.file = table, file
    pickler.dump(obj)
    return buffer.getvalue()


def _plain(obj: object, keep: Keep, table: Reducers, file: Callable[[], io.BytesIO]) -> bytes:
    """Return the pickle of *obj* that pickle makes, which may name what no worker has."""
    if not table and file is io.BytesIO:
        return pickle.dumps(obj, PROTOCOL, buffer_callback=keep)
    buffer = file()
    pickler: Any = pickle.Pickler(buffer, PROTOCOL, buffer_callback=keep)
    if table:  # a dict, and no ChainMap, is what C looks into fast
        pickler.dispatch_table = {**copyreg.dispatch_table, **table}
    pickler.dump(obj)
    return buffer.getvalue()


def _with_functions(
    obj: object, keep: Keep, table: Reducers, file: Callable[[], io.BytesIO]
) -> bytes:
    """Return the pickle of *obj* with functions in it, for which cloudpickle is not needed."""
    from .plain_functions import FunctionPickler

    buffer = file()
    FunctionPickler(buffer, keep, table or {}).dump(obj)
    return buffer.getvalue()


def _of_connections(connection: Any) -> Mapping[type, Reducer]:
    def refuse(_: object) -> Any:  # pickle would send the number of a descriptor
        raise TypeError("a connection belongs to its process: give it to tasks, do not return it")

    return {connection.Connection: refuse}


makers: dict[str, Callable[[Any], Mapping[type, Reducer]]] = {
    "numpy": of_numpy,
    "multiprocessing.connection": _of_connections,
}
"""For libraries whose objects are reduced in a way of ours: from the module to a table of them."""

_made: dict[type, Reducer] = {}  # what those have made whose module was there


def _table() -> dict[type, Reducer]:
    """Return how objects of some types are reduced, of those libraries that were imported."""
    for name in tuple(makers):
        module = sys.modules.get(name)
        # One in the middle of its import is left alone: there are no objects of it yet.
        if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
            continue
        make = makers.get(name)
        if make is not None:  # else another thread has done it
            _made.update(make(module))
            makers.pop(name, None)
    return _made


def _by_user() -> bool:
    """Tell whether the user has asked cloudpickle to send modules by value."""
    import cloudpickle  # waits, if another thread is in the middle of it

    return bool(cloudpickle.list_registry_pickle_by_value())


def _keep(apart: list[memoryview], least: int, buffer: pickle.PickleBuffer) -> bool:
    """Put a large *buffer* into *apart*; return whether it stays in the pickle instead.

    So does one of bytes, which is to arrive as such: from *apart* it would as a memoryview.
    """
    try:
        view = buffer.raw()
    except BufferError:  # its bytes are not in one piece
        return True
    stays = view.nbytes < least or type(view.obj) in (bytes, bytearray)
    if not stays:
        apart.append(view)
    return stays
