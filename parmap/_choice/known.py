"""What was measured of functions in earlier calls."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType

from .._records.callables import Wrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .policy import Measured


INSIDE = 8
"""Wrappers to look into for the function inside: a chain of them may be endless."""
KNOWN = 256
"""Functions whose measurements are remembered."""
_known: OrderedDict[Any, Measured] = OrderedDict()
_inner = {
    partial: "func",
    MethodType: "__func__",
    FunctionType: "__wrapped__",
    type(lru_cache(lambda: None)): "__wrapped__",
}
"""Where a callable of exactly such a type has what it wraps, if anything.  Others are not looked
into: an attribute of a mock or a proxy may be anything, and take any time."""


def recall(fn: Any) -> Measured | None:
    """Return what was measured of *fn* before: of its code, for a lambda is a new one each time.

    Of tasks with a function each, which have none in common (None), nothing is known.
    """
    key = None if fn is None else _key(fn)
    return None if key is None else _known.get(key)


def remember(fn: Any, seen: Measured) -> None:
    """Keep what was measured of *fn*, instead of the oldest if there is too much."""
    key = _key(fn)
    if key is None:
        return
    _known[key] = seen
    with suppress(KeyError):  # another thread does the same
        _known.move_to_end(key)
        if len(_known) > KNOWN:
            _known.popitem(last=False)


def _key(fn: Any) -> Any:
    """Return what stands for *fn*: its code, or the kind of callable that it is; None if nothing.

    A class may compare with others in a way of its own, which raises, or have no hash.
    """
    if type(fn) is FunctionType and not fn.__dict__:
        return fn.__code__  # nearly always
    try:
        for _ in range(INSIDE):
            name = "__wrapped__" if issubclass(type(fn), Wrapper) else _inner.get(type(fn))
            if name is None or (inner := getattr(fn, name, None)) is None:
                break
            fn = inner
        if type(fn) is FunctionType:
            return fn.__code__
        key = (type(fn), fn.__qualname__) if type(fn) in (BuiltinFunctionType, type) else type(fn)
        hash(key)
    except Exception:
        return None
    return key
