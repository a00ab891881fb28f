"""The checks of what is mapped, over what, and how."""

from __future__ import annotations

from .._engine.source import Source
from .._records.callables import asynchronous
from .._records.errors import short_repr
from .options import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .._records.work import Call


def check_all(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> tuple[Source, dict[str, Any]]:
    """Check everything that can be checked; return the input and all options."""
    options = resolve(given, door, call.fn)
    if call.shape != "task":
        check_callable(call.fn, door)
    check_iterables(iterables, door)
    call.initializer = options["initializer"]
    return Source(iterables, check_task if call.shape == "task" else None), options


def check_callable(fn: object, door: str) -> None:
    if not callable(fn):
        got = f"{short_repr(fn)} of type {type(fn).__name__}"
        raise TypeError(f"{door}() must be given a callable first, got {got}")
    if cure := asynchronous(fn):
        raise TypeError(f"{door}() was given {short_repr(fn)}; {cure}")


def check_iterables(iterables: tuple[object, ...], door: str) -> None:
    if not iterables:
        raise TypeError(f"{door}() needs at least one iterable after the function")
    for position, iterable in enumerate(iterables, 2 if door != "pcall" else 1):
        kind = type(iterable)
        if not hasattr(kind, "__iter__") and not hasattr(kind, "__getitem__"):
            cure = ""
            if isinstance(iterable, int) and position > 2:
                cure = (
                    f"; options are given by name: {door}(fn, xs, workers={iterable}), or "
                    f"chunksize={iterable} for so many tasks in a message"
                )
            got = short_repr(iterable)
            raise TypeError(f"{door}() argument {position} must be an iterable, got {got}{cure}")


def check_task(task: Any, index: int) -> Any:
    """Return *task*; raise TypeError unless it is `(function, args, kwargs)`."""
    if isinstance(task, tuple) and len(task) == 3:
        fn, args, kwargs = task
        if callable(fn) and isinstance(args, (tuple, list)) and isinstance(kwargs, dict):
            if cure := asynchronous(fn):
                raise TypeError(f"task {index} is of {short_repr(fn)}; {cure}")
            return task
    raise TypeError(
        f"task {index} must be a tuple (function, args, kwargs), as delayed(function)(...) makes "
        f"it, got {short_repr(task)}"
    )


def check_buffersize(buffersize: object) -> None:
    if buffersize is not None and (
        isinstance(buffersize, bool) or not isinstance(buffersize, int) or buffersize < 1
    ):
        raise ValueError(f"buffersize must be None or a number of tasks, got {buffersize!r}")
