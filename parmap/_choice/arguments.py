"""The checks of what is mapped, over what, and how."""

from __future__ import annotations

from .._engine.source import Source
from .._records.callables import ASYNC_GENERATOR, COROUTINE, UNMAPPED, asynchronous
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
    kind = check_callable(call.fn, door) if call.shape != "task" else 0
    check_iterables(iterables, door)
    call.initializer = options["initializer"]
    source = Source(iterables, TaskCheck() if call.shape == "task" else None)
    if kind or (call.shape == "task" and _is_of_coroutines(source)):
        from .awaiting import check_awaited

        check_awaited(door, call, options)
    return source, options


def check_awaited_call(
    door: str, call: Call, iterables: tuple[Any, ...], given: dict[str, Any]
) -> dict[str, Any]:
    """Check what can be checked before anything is iterated; return all options."""
    options = resolve(given, door, call.fn)
    kind = check_callable(call.fn, door)
    check_iterables(iterables, door, ("__aiter__",))
    call.initializer = options["initializer"]
    if kind:
        from .awaiting import check_awaited

        check_awaited(door, call, options)
    return options


def check_callable(fn: object, door: str, *, awaits: bool = True) -> int:
    """Return how a call of *fn* is to be awaited, as `asynchronous` tells; raise TypeError.

    *awaits*: whether the door runs coroutine functions.
    """
    if not callable(fn):
        got = f"{short_repr(fn)} of type {type(fn).__name__}"
        raise TypeError(f"{door}() must be given a callable first, got {got}")
    if (kind := asynchronous(fn)) == ASYNC_GENERATOR:
        raise TypeError(f"{door}() was given {short_repr(fn)}; {UNMAPPED}")
    if kind and not awaits:
        raise TypeError(
            f"{door}() was given {short_repr(fn)}, a coroutine function, whose tasks need an event "
            "loop: submit a function that runs one, lambda x: asyncio.run(fn(x))"
        )
    return kind


def check_iterables(iterables: tuple[object, ...], door: str, also: tuple[str, ...] = ()) -> None:
    """Raise TypeError unless all can be iterated, or have one of the methods in *also*."""
    if not iterables:
        raise TypeError(f"{door}() needs at least one iterable after the function")
    for before, iterable in enumerate(iterables):
        kind = type(iterable)
        if not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__") or _has(kind, also)):
            position = before + (1 if door in ("pcall", "picall") else 2)
            cure = ""
            if isinstance(iterable, int) and position > 2:
                cure = (
                    f"; options are given by name: {door}(fn, xs, workers={iterable}), or "
                    f"chunksize={iterable} for so many tasks in a message"
                )
            elif hasattr(kind, "__aiter__"):
                cure = "; what is iterated with `async for`, parmap.aio takes: await aio.pmap(...)"
            got = short_repr(iterable)
            raise TypeError(f"{door}() argument {position} must be an iterable, got {got}{cure}")


class TaskCheck:
    """Returns a task; raises TypeError unless it is `(function, args, kwargs)`.

    Of coroutine functions are all tasks, or none: the first says which.
    """

    def __init__(self) -> None:
        self._first: int | None = None

    def __call__(self, task: Any, index: int) -> Any:
        """Return *task*, which has this *index*."""
        if isinstance(task, tuple) and len(task) == 3:
            fn, args, kwargs = task
            if callable(fn) and isinstance(args, (tuple, list)) and isinstance(kwargs, dict):
                self._check(fn, index)
                return task
        raise TypeError(
            f"task {index} must be a tuple (function, args, kwargs), as delayed(function)(...) "
            f"makes it, got {short_repr(task)}"
        )

    def _check(self, fn: Any, index: int) -> None:
        kind = asynchronous(fn)
        if self._first is None:
            self._first = kind
        if kind == ASYNC_GENERATOR:
            raise TypeError(f"task {index} is of {short_repr(fn)}; {UNMAPPED}")
        if kind != self._first:
            raise TypeError(
                f"task {index} is of {short_repr(fn)}; either all tasks of a call are of "
                "coroutine functions, or none"
            )


def _is_of_coroutines(source: Source) -> bool:
    """Tell whether the tasks of *source* are of coroutine functions, by the first of them."""
    first = source.first()
    return first is not None and asynchronous(first[0]) == COROUTINE


def _has(kind: type, names: tuple[str, ...]) -> bool:
    return any(hasattr(kind, name) for name in names)


def check_buffersize(buffersize: object) -> None:
    if buffersize is not None and (
        isinstance(buffersize, bool) or not isinstance(buffersize, int) or buffersize < 1
    ):
        raise ValueError(f"buffersize must be None or a number of tasks, got {buffersize!r}")
