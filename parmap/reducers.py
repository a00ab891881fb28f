"""How single kinds of objects are taken apart for a pickle, and made again where they arrive.

These are for what pickle and cloudpickle refuse, or send as something else.  What makes an object
again is found by name in the worker, so it stands here at the top.
"""

from __future__ import annotations

import copyreg
import functools
import io
import os
import sys
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from weakref import WeakSet

from .arrays import PROTOCOL
from .arrival import fill_class, here, keep_main, keep_value
from .importable import SCRIPT, by_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    Reduced = tuple[Any, ...]

LRU_CACHE = type(functools.cache(len))
DISPATCHER: Any = functools.singledispatch(len)  # they all have the same code
SLOT_NAMES = ("__builtins__", "__cached__", "__loader__", "__name__", "__spec__")  # of a module


@functools.cache
def cloud_pickler() -> type[pickle.Pickler]:
    """Return cloudpickle's pickler, taught about what it does not know."""
    import logging
    from collections import ChainMap

    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        table: Mapping[type, Callable[[Any], Any]] = {}  # of this pickler; asked first

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)  # not isinstance: objects may say that they are of another
            if (reduce := self.table.get(kind)) is not None:
                return reduce(obj)
            if kind is FunctionType:
                if obj.__code__ is DISPATCHER.__code__ and not _importable(obj):
                    return _reduce_dispatching(obj)
                if obj.__code__ is DISPATCHER.dispatch.__code__:
                    return _reduce_dispatch(obj)
                return _with_main(obj, self._reduce(obj), self.table)
            if issubclass(kind, type):
                return _once(obj, self._reduce(obj))
            if issubclass(kind, ModuleType):
                return _reduce_module(obj)
            if kind is LRU_CACHE and not _importable(obj):
                maxsize, typed = obj.cache_parameters().values()
                # The function comes as state: by then the cache is known to the pickler, so that
                # a recursive function, which holds its own cache, does not go round for ever.
                return _empty_cache, (maxsize, typed), obj.__wrapped__, None, None, _fill_cache
            if issubclass(kind, io.TextIOWrapper) and not _is_standard(obj):
                # cloudpickle would send what an open file holds, as another kind of file
                raise TypeError(f"cannot pickle {kind.__name__!r} object")
            if issubclass(kind, functools.cached_property) and "lock" in vars(obj):
                state = {name: value for name, value in vars(obj).items() if name != "lock"}
                return copyreg.__newobj__, (kind,), state, None, None, _fill_property  # type: ignore[attr-defined]
            if issubclass(kind, logging.Handler) and _is_plain(kind):
                return _reduce_handler(obj)
            return super().reducer_override(obj)

        def _reduce(self, obj: Any) -> Any:
            name = getattr(obj, "__module__", None)
            if name == "__main__" or not by_value(name):
                return super().reducer_override(obj)
            with _registered(name):
                return super().reducer_override(obj)

    (reduce_code,) = (table[CodeType] for table in Pickler.dispatch_table.maps if CodeType in table)

    def reduced_code(code: CodeType) -> Reduced:
        return _code, (code.co_filename, *reduce_code(code))

    ours = {CodeType: reduced_code, ContextVar: _reduce_variable}
    Pickler.dispatch_table = ChainMap(ours, *Pickler.dispatch_table.maps)
    return Pickler


@contextmanager
def _registered(name: Any) -> Iterator[None]:
    """Have cloudpickle send by value what module *name* defines."""
    module = sys.modules.get(name)
    if module is None or sys.modules.get(getattr(module, "__name__", "")) is not module:
        yield
        return
    from cloudpickle import (
        list_registry_pickle_by_value,
        register_pickle_by_value,
        unregister_pickle_by_value,
    )

    if module.__name__ in list_registry_pickle_by_value():
        yield
        return
    register_pickle_by_value(module)
    try:
        yield
    finally:
        try:
            unregister_pickle_by_value(module)
        except ValueError:  # another thread has done it
            pass


def _importable(obj: Any) -> bool:
    """Tell whether a fresh interpreter finds *obj* under its name."""
    found: Any = sys.modules.get(obj.__module__)
    if found is None or by_value(obj.__module__):
        return False
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def _is_standard(stream: object) -> bool:
    return any(stream is standard for standard in (sys.stdin, sys.stdout, sys.stderr))


def _is_plain(kind: type) -> bool:
    """Tell whether objects of *kind* are pickled as any object is, by their attributes."""
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    return all(getattr(kind, name) is getattr(object, name) for name in names)


def _place_of(obj: object) -> tuple[str, str] | None:
    """Return the importable module that has *obj*, and the name it has there."""
    for module in list(sys.modules.values()):
        if type(module) is not ModuleType:
            continue
        for name, value in list(vars(module).items()):
            if value is obj and not by_value(module.__name__):
                return module.__name__, name
    return None


def _find(module: str, name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(module), name)


# Code, and functions that cache


def _code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    """Make code that says where it comes from: cloudpickle leaves that out."""
    return make(*args).replace(co_filename=filename)


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


def _fill_property(cached: Any, state: dict[str, Any]) -> None:
    from threading import RLock

    vars(cached).update(state, lock=RLock())


# Functions that dispatch: they hold weak references


def _reduce_dispatching(function: Any) -> Reduced:
    own = vars(DISPATCHER)
    attributes = {name: value for name, value in vars(function).items() if name not in own}
    state = dict(function.registry), attributes
    return _empty_dispatching, (function.__name__,), state, None, None, _fill_dispatching


def _empty_dispatching(name: str) -> Any:
    def function(_: object) -> None: ...

    function.__name__ = name
    return functools.singledispatch(function)


def _fill_dispatching(function: Any, state: tuple[dict[type, Any], dict[str, Any]]) -> None:
    registry, attributes = state
    for kind, implementation in registry.items():
        function.register(kind, implementation)
    functools.update_wrapper(function, registry[object])
    vars(function).update(attributes)


def _reduce_dispatch(dispatch: Any) -> Reduced:
    """Take apart the `dispatch` of such a function, which a bound method of Python 3.14 has."""
    names = dispatch.__code__.co_freevars
    registry = dispatch.__closure__[names.index("registry")].cell_contents
    twin = functools.singledispatch(registry[object])
    for kind, implementation in registry.items():
        twin.register(kind, implementation)
    return getattr, (twin, "dispatch")


# Classes and functions that travel by value

_own: WeakSet[type] = WeakSet()  # classes of this process that were sent
_arrived: WeakSet[type] = WeakSet()  # classes of others
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own.clear)


def _once(cls: Any, reduced: Any) -> Any:
    """Have *cls*, if it travels by value, change nothing where it comes from when it comes back."""
    if type(reduced) is not tuple or len(reduced) < 6:
        return reduced
    make, args, state, _, _, fill = reduced
    if args[0] is type(cls):  # an enumeration comes with its bases there, and is complete
        args, state = _complete(cls, args, state)
    if cls not in _arrived:
        _own.add(cls)
    return make, args, (fill, state), None, None, _fill_class


def _complete(cls: type, args: Reduced, state: Reduced) -> tuple[Reduced, Reduced]:
    """Add what cloudpickle leaves out when it makes *cls* anew: its full name, and its slots."""
    kind, name, bases, kwargs, *rest = args
    contents, *others = state
    kwargs = {**kwargs, "__qualname__": cls.__qualname__}
    tuples = getattr(sys.modules.get("typing"), "NamedTuple", None)  # makes slots of its own
    if "__slots__" in vars(cls) and tuples not in bases:
        slots = {slot for slot, value in vars(cls).items() if type(value) is MemberDescriptorType}
        contents = {key: value for key, value in contents.items() if key not in slots}
        # Not as `__slots__` has them: there names may have two underscores, an iterator is empty.
        slots |= {"__dict__", "__weakref__"} & vars(cls).keys()
        kwargs["__slots__"] = tuple(sorted(slots))
    return (kind, name, bases, kwargs, *rest), (contents, *others)


def _fill_class(cls: type, parts: tuple[Callable[..., Any], Any]) -> None:
    if cls not in _own:
        fill, state = parts
        fill_class(cls, fill, state)
        _arrived.add(cls)


_trying: ContextVar[bool] = ContextVar("parmap.trying", default=False)


def _with_main(function: FunctionType, reduced: Any, table: Any) -> Any:
    """Add to a function that travels by value what it looks up in the module `__main__`.

    But not what cannot be sent: what is called so may be an attribute of something else.
    """
    if _trying.get() or type(reduced) is not tuple or not (main := _looked_up(function)):
        return reduced
    main = {name: value for name, value in main.items() if _can_be_sent(value, table)}
    if not main:
        return reduced
    make, args, state, _, _, fill = reduced
    return make, args, (fill, state, main, here()), None, None, _fill_function


def _can_be_sent(value: object, table: Any) -> bool:
    pickler: Any = cloud_pickler()(io.BytesIO(), protocol=PROTOCOL)
    pickler.table = table
    token = _trying.set(True)  # of functions that mention each other there would be no end
    try:
        pickler.dump(value)
    except Exception:
        return False
    finally:
        _trying.reset(token)
    return True


def _fill_function(function: FunctionType, parts: Reduced) -> None:
    fill, state, main, caller = parts
    fill(function, state)
    if caller != here():
        keep_main(main)


def _looked_up(function: FunctionType) -> dict[str, Any]:
    """Return what of `__main__` the names in *function* may mean, if it mentions that module."""
    script = sys.modules["__main__"]
    names: set[str] = set()
    texts: set[str] = set()
    pending = [function.__code__]
    while pending:
        code = pending.pop()
        names.update(code.co_names)
        texts.update(const for const in code.co_consts if type(const) is str)
        pending.extend(const for const in code.co_consts if type(const) is CodeType)
    there = function.__globals__
    if not (SCRIPT & (names | texts) or any(there.get(name) is script for name in names)):
        return {}
    found = {name: value for name, value in vars(script).items() if name in names}
    return {name: value for name, value in found.items() if name not in SLOT_NAMES}


# Modules


def _reduce_module(module: ModuleType) -> Reduced:
    name = module.__name__
    if module is sys.modules.get("__main__"):
        return _script, ()
    if sys.modules.get(name) is module and not by_value(name):
        return _module, (name,)
    state = {key: value for key, value in vars(module).items() if key not in SLOT_NAMES}
    return ModuleType, (name,), state, None, None, _fill_module


def _script() -> ModuleType:
    return sys.modules["__main__"]


def _module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def _fill_module(module: ModuleType, state: dict[str, Any]) -> None:
    vars(module).update(state)


# Context variables and handlers

_variables: dict[tuple[bytes, str], ContextVar[Any]] = {}  # by a key that is the same everywhere
_keys: dict[ContextVar[Any], tuple[bytes, str]] = {}


def _reduce_variable(var: ContextVar[Any]) -> Reduced:
    """Send the name of *var*, and the value that it has here."""
    place = _place_of(var)
    if place is None and var not in _keys:
        key = os.urandom(8), var.name
        _keys[var], _variables[key] = key, var
    values = [var.get()] if var in copy_context() else []
    try:
        defaults = [Context().run(var.get)]
    except LookupError:
        defaults = []
    make: Reduced = (_find, place) if place else (_variable, (_keys[var], defaults))
    return make[0], make[1], values, None, None, _fill_variable


def _variable(key: tuple[bytes, str], defaults: list[Any]) -> ContextVar[Any]:
    var = _variables.get(key)
    if var is None:
        var = ContextVar(key[1], default=defaults[0]) if defaults else ContextVar(key[1])
        _variables[key], _keys[var] = var, key
    return var


def _fill_variable(var: ContextVar[Any], values: list[Any]) -> None:
    for value in values:
        keep_value(var, value)


def _reduce_handler(handler: Any) -> Any:
    if place := _place_of(handler):
        return _find, place
    if handler.name and _handler(handler.name) is handler:
        return _handler, (handler.name,)
    return NotImplemented


def _handler(name: str) -> Any:
    import logging

    handler = logging._handlers.get(name)  # type: ignore[attr-defined]
    if handler is None:
        raise LookupError(f"logging knows no handler {name!r} in this process")
    return handler
