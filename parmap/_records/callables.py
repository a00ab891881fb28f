"""What can be known of a callable without running any of it.

A callable of the caller's is opaque: a mock invents the attributes that it is asked for, a proxy
asks another machine for them.  So only what Python itself makes is looked into: functions, methods,
`functools.partial`, and the class of anything else.
"""

from __future__ import annotations

from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType

from .stack_frames import skip_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


DEEPEST = 20  # callables in callables that are followed
COROUTINE, ASYNC_GENERATOR = 0x80, 0x200  # of `co_flags`; `inspect` is slow to import


class Wrapper:
    """A callable of ours around another, its `__wrapped__`."""

    __wrapped__: Any


def function_of(fn: Any) -> FunctionType | None:
    """Return the Python function that a call of *fn* runs; None if there is none to be seen."""
    base = _unfold(fn)[0]
    return base if type(base) is FunctionType else None


def asynchronous(fn: Any) -> int:
    """Tell how what a call of *fn* makes has to be awaited: COROUTINE, ASYNC_GENERATOR, or 0."""
    if type(fn) is BuiltinFunctionType:
        return 0
    function = fn if type(fn) is FunctionType else function_of(fn)
    return 0 if function is None else function.__code__.co_flags & (COROUTINE | ASYNC_GENERATOR)


UNMAPPED = (
    "the call of an async generator function runs nothing: map a coroutine function that runs it "
    "to its end, `async def collect(x): return [item async for item in fn(x)]`"
)
"""What to map instead of an async generator function."""


def has_parameter(fn: Any, name: str) -> bool:
    """Tell whether *fn* has a parameter *name* that can be given by name."""
    from inspect import signature

    try:
        parameter = signature(_unfold(fn)[0]).parameters[name]
    except Exception:  # nothing is to be seen, or there is none
        return False
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def advise(fn: Any, shape: str, items: Any, position: int, error: BaseException) -> None:
    """Add a note to *error*, a TypeError of `fn(items[position])`, if `fn(*item)` is what fits."""
    if shape != "item" or type(error) is not TypeError or skip_ours(error.__traceback__):
        return  # the task has begun, if something is left of the traceback
    try:
        item = items[position]
        fits = isinstance(item, (tuple, list)) and _binds(fn, tuple(item))
    except Exception:  # the input became shorter during the call
        return
    if fits and not _binds(fn, (item,)):
        error.add_note("parmap: fn was called as fn(item); pstarmap or pistarmap call fn(*item)")


def _binds(fn: Any, args: tuple[Any, ...]) -> bool:
    from inspect import signature

    base, before, keywords = _unfold(fn)
    try:
        signature(base).bind(*before, *args, **keywords)
    except Exception:
        return False
    return True


def _unfold(fn: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return function or class, first arguments and keywords with which `fn()` is a call of it.

    None instead of the function if there is none to be seen.
    """
    before: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    try:
        for _ in range(DEEPEST):
            kind = type(fn)
            if kind is FunctionType or kind is BuiltinFunctionType or issubclass(kind, type):
                return fn, before, keywords
            if kind is MethodType:
                fn, before = fn.__func__, (fn.__self__, *before)
            elif kind is staticmethod or kind is classmethod:
                fn = fn.__func__
            elif issubclass(kind, partial):
                part: Any = partial.__reduce__(fn)
                fn, args, given, _ = part[2]
                before, keywords = (*args, *before), {**given, **keywords}
            elif issubclass(kind, Wrapper):
                fn = fn.__wrapped__
            else:
                call = next(vars(c)["__call__"] for c in kind.__mro__ if "__call__" in vars(c))
                fn, before = call, before if type(call) is staticmethod else (fn, *before)
    except Exception:  # noqa: S110 - a class of the caller's may be anything, too
        pass
    return None, before, keywords
