"""How single kinds of objects are taken apart for a pickle, and made again where they arrive.

These are for what pickle and cloudpickle refuse, or send as something else.  What makes an object
again is found by name in the worker, so it stands here at the top.
"""

from __future__ import annotations

import copyreg
import functools
import os
import sys
from contextvars import Context, ContextVar, copy_context
from importlib import import_module
from types import CodeType, ModuleType

from .by_value import SLOT_NAMES
from .importable import by_value
from .unpickling import keep_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .by_value import Reduced


DISPATCHER: Any = functools.singledispatch(len)  # they all have the same code


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
    return getattr(import_module(module), name)


# Code, and functions that cache


def make_code(filename: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    """Make code that says where it comes from: cloudpickle leaves that out."""
    return make(*args).replace(co_filename=filename)


def reduce_cache(cached: Any) -> Reduced:
    maxsize, typed = cached.cache_parameters().values()
    # The function comes as state: by then the cache is known to the pickler, so that a recursive
    # function, which holds its own cache, does not go round for ever.
    return _empty_cache, (maxsize, typed), cached.__wrapped__, None, None, _fill_cache


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


def reduce_property(cached: Any) -> Reduced:
    state = {name: value for name, value in vars(cached).items() if name != "lock"}
    return copyreg.__newobj__, (type(cached),), state, None, None, _fill_property  # type: ignore[attr-defined]


def _fill_property(cached: Any, state: dict[str, Any]) -> None:
    from threading import RLock

    vars(cached).update(state, lock=RLock())


# Functions that dispatch: they hold weak references


def reduce_dispatching(function: Any) -> Reduced:
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


def reduce_dispatch(dispatch: Any) -> Reduced:
    """Take apart the `dispatch` of such a function, which a bound method of Python 3.14 has."""
    names = dispatch.__code__.co_freevars
    registry = dispatch.__closure__[names.index("registry")].cell_contents
    twin = _empty_dispatching("")
    _fill_dispatching(twin, (registry, {}))
    return getattr, (twin, "dispatch")


# Modules


def reduce_module(module: ModuleType) -> Reduced:
    name = module.__name__
    if module is sys.modules.get("__main__"):
        return import_module, ("__main__",)
    if sys.modules.get(name) is module and not by_value(name):
        return import_module, (name,)
    state = {key: value for key, value in vars(module).items() if key not in SLOT_NAMES}
    return ModuleType, (name,), state


# Context variables and handlers

_variables: dict[tuple[bytes, str], ContextVar[Any]] = {}  # by a key that is the same everywhere
_keys: dict[ContextVar[Any], tuple[bytes, str]] = {}


def reduce_variable(var: ContextVar[Any]) -> Reduced:
    """Send the name of *var*, and the value that it has here."""
    values = [var.get()] if var in copy_context() else []
    if place := _place_of(var):
        return _find, place, values, None, None, keep_values
    if var not in _keys:
        key = os.urandom(8), var.name
        _keys[var], _variables[key] = key, var
    try:
        default = {"default": Context().run(var.get)}
    except LookupError:
        default = {}
    return _variable, (_keys[var], default), values, None, None, keep_values


def _variable(key: tuple[bytes, str], default: dict[str, Any]) -> ContextVar[Any]:
    if key not in _variables:
        var: ContextVar[Any] = ContextVar(key[1], **default)
        _variables[key], _keys[var] = var, key
    return _variables[key]


def reduce_handler(handler: Any) -> Any:
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
