"""How objects become bytes and come back.

Responsible for choosing the pickler, and for naming the part that refuses.  Refuses to know what
the bytes are for, and how they travel.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import sys
from contextlib import suppress
from contextvars import ContextVar
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType

from .arrays import PROTOCOL, of_numpy
from .importable import away, names_away

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    Reducer = Callable[[Any], Any]
    Reducers = Mapping[type, Reducer] | None

APART = 2**20
"""Bytes from which on a buffer may be shared: below, copying it is cheaper than to map it."""

DEEPEST = 20  # parts of parts to look into for the one that refuses; each is pickled again

loads = pickle.loads


def dumps(
    obj: object,
    apart: list[memoryview] | None = None,
    reducers: Reducers = None,
) -> bytes:
    """Return *obj* as a pickle that a fresh interpreter can load.

    The C pickler is many times faster, but refuses lambdas and local classes, and refers by name
    to what `__main__` defines, which no worker has: both go to cloudpickle.

    Large buffers, those of arrays say, are put into *apart*, if it is given, and not copied.
    Objects of the very types in *reducers* are reduced by these, whatever else there is for them.
    """
    keep = None if apart is None else functools.partial(_keep, apart)
    table = _table() if makers else _made
    if reducers:
        table = {**table, **reducers}
    if "cloudpickle" not in sys.modules or not _by_user():
        try:
            if table:
                data = _with_table(obj, table, keep)
            else:
                data = pickle.dumps(obj, PROTOCOL, buffer_callback=keep)
        except Exception:  # noqa: S110 - any refusal, also of a foreign __reduce__
            pass
        else:
            # Both names of the script's module end in this.
            if b"_main__" not in data and not (away and names_away(data)):
                return data
        if apart is not None:
            apart.clear()
    from .reducers import cloud_pickler

    buffer = io.BytesIO()
    pickler: Any = cloud_pickler()(buffer, protocol=PROTOCOL, buffer_callback=keep)
    pickler.table = table
    pickler.dump(obj)
    return buffer.getvalue()


def _with_table(
    obj: object,
    table: Mapping[type, Reducer],
    keep: Callable[[pickle.PickleBuffer], bool] | None,
) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PROTOCOL, buffer_callback=keep)
    # A dict, and no ChainMap, is what C looks into fast.
    pickler.dispatch_table = own = copyreg.dispatch_table.copy()
    own.update(table)
    pickler.dump(obj)
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


def _keep(apart: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """Put a large *buffer* into *apart*; return whether it stays in the pickle instead."""
    try:
        view = buffer.raw()
    except BufferError:  # its bytes are not in one piece
        return True
    if view.nbytes >= APART:
        apart.append(view)
    return view.nbytes < APART


def refusal(obj: object, name: str, error: BaseException, reducers: Reducers = None) -> str:
    """Say which part of *obj*, called *name*, caused *error* when it was pickled."""
    trail = [(name, obj)]
    with suppress(Exception):  # of a part that cannot be looked at: what holds it is named
        trail.extend(_culprits(obj, name, reducers))
    path, part = trail[-1]
    kind: Any = type(part)  # its class may compare, and say what it is called, as it likes
    cure = ""
    if kind is GeneratorType:
        cure = f"; {'return' if name == 'result' else 'give'} a list of what it yields"
    elif kind is CoroutineType or kind is AsyncGeneratorType:
        cure = "; the task has to run it, with asyncio.run, and return what comes of it"
    called = type.__dict__["__qualname__"].__get__(kind)
    return f"{path} (of type {called}) cannot be pickled: {error}{cure}"


def _culprits(obj: object, path: str, reducers: Reducers) -> Iterator[tuple[str, object]]:
    """Follow the parts of *obj* that cannot be pickled down to one whose parts all can."""
    seen = set()
    for _ in range(DEEPEST):
        yield path, obj
        seen.add(id(obj))
        for label, part in _parts(obj):
            if id(part) not in seen and not pickles(part, reducers):
                path, obj = path + label, part
                break
        else:
            return


def pickles(part: object, reducers: Reducers = None) -> bool:
    """Tell whether *part* can be pickled.

    Not whether it can be unpickled: a copy of a connection, for one, would close the descriptor of
    the original when it is thrown away.
    """
    try:
        dumps(part, None, reducers)
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
    elif type(obj) is ContextVar:
        yield ".<value>", obj.get(None)
    slots = [name for cls in type(obj).__mro__ for name in getattr(cls, "__slots__", ())]
    if not isinstance(obj, (type, FunctionType)):
        names = [*getattr(obj, "__dict__", ()), *slots]
        yield from ((f".{name}", getattr(obj, name)) for name in names if hasattr(obj, name))
