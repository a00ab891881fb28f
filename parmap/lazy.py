"""The lazy doors: each returns an iterator over results that are computed ahead of its reader."""

from __future__ import annotations

from ._choice.arguments import check_all, check_buffersize
from ._choice.launch import launch
from ._engine.results import Stream
from ._records.work import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    R = TypeVar("R")


def pistarmap(
    fn: Callable[..., R],
    iterable: Iterable[Iterable[Any]],
    /,
    *,
    ordered: bool = True,
    buffersize: int | None = None,
    **options: Any,
) -> Stream[R]:
    """Return an iterator over `itertools.starmap(fn, iterable)`, computed ahead of its reader.

    Args:
        fn: as for `pstarmap`.
        iterable: as for `pstarmap`; may be endless.
        ordered: as for `pimap`.
        buffersize: as for `pimap`.
        **options: as for `pmap`.

    Returns:
        What `pimap` returns, with the same guarantees.

    Example:
        >>> from itertools import count
        >>> from parmap import pistarmap
        >>> with pistarmap(pow, ((n, 2) for n in count())) as squares:
        ...     next(squares), next(squares), next(squares)
        (0, 1, 4)
    """
    call = Call(fn, "args")
    return stream("pistarmap", call, (iterable,), ordered, buffersize, options)


def picall(
    tasks: Iterable[Any],
    /,
    *,
    ordered: bool = True,
    buffersize: int | None = None,
    **options: Any,
) -> Stream[Any]:
    """Return an iterator over `(fn(*args, **kwargs) for fn, args, kwargs in tasks)`, likewise.

    It is to `pcall` what `pimap` is to `pmap`, and what `return_as="generator"` is to a call of
    `joblib.Parallel`; with `ordered=False` it is its `"generator_unordered"`.

    Args:
        tasks: as for `pcall`; may be endless.
        ordered: as for `pimap`.
        buffersize: as for `pimap`.
        **options: as for `pmap`.

    Returns:
        What `pimap` returns, with the same guarantees.

    Raises:
        TypeError: also when an item of *tasks* is no such tuple, after the results before it.

    Example:
        >>> from parmap import delayed, picall
        >>> list(picall(delayed(pow)(2, n) for n in range(4)))
        [1, 2, 4, 8]
    """
    return stream("picall", Call(None, "task"), (tasks,), ordered, buffersize, options)


def stream(
    door: str,
    call: Call,
    iterables: tuple[Iterable[Any], ...],
    ordered: bool,
    buffersize: int | None,
    given: dict[str, Any],
) -> Stream[Any]:
    """Return the results of a call of *door*, which is lazy."""
    check_buffersize(buffersize)
    source, options = check_all(door, call, iterables, given)
    run = launch(call, source, options, asked="executor" in given, ordered=ordered)
    return Stream(run, options["on_error"], ordered=ordered, buffersize=buffersize)


for _door in (picall, pistarmap):
    _door.__module__ = "parmap"  # in tracebacks and pickles, the public name
