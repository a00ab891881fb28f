"""Classes and functions that travel by value, and what of `__main__` goes with them."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from types import CodeType, FunctionType, MemberDescriptorType
from weakref import WeakSet

from .importable import SCRIPT
from .memmap import PROTOCOL
from .unpickling import fill_class, here, keep_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reduced = tuple[Any, ...]


SLOT_NAMES = ("__builtins__", "__cached__", "__loader__", "__name__", "__spec__")  # of a module

_own: WeakSet[type] = WeakSet()  # classes of this process that were sent
_arrived: WeakSet[type] = WeakSet()  # classes of others

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own.clear)


def reduce_class(cls: Any, reduced: Any) -> Any:
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
        fill_class(cls, *parts)
        _arrived.add(cls)


_trying: ContextVar[bool] = ContextVar("parmap.trying", default=False)


def reduce_function(function: FunctionType, reduced: Any, pickler: Any) -> Any:
    """Add to a function that travels by value what it looks up in the module `__main__`.

    But not what cannot be sent: what is called so may be an attribute of something else.
    """
    if _trying.get() or type(reduced) is not tuple or not (main := _looked_up(function)):
        return reduced
    main = {name: value for name, value in main.items() if _can_be_sent(value, pickler)}
    if not main:
        return reduced
    make, args, state, _, _, fill = reduced
    return make, args, (fill, state, main, here()), None, None, _fill_function


def _can_be_sent(value: object, like: Any) -> bool:
    pickler = type(like)(like.file(), protocol=PROTOCOL)
    pickler.table, pickler.file = like.table, like.file
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
