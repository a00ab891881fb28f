"""The doors for asyncio: `await aio.pmap(fn, xs)`, `async for result in aio.pimap(fn, xs)`.

::

    door ---> Driver, a thread of its own ---> launch ---> Run ---> results, to the loop
                ^
    async for --+ Pumped

The event loop is never waited for by tasks, nor kept from running: a thread of the call's own
draws from the input, talks with the workers, and hands results over.  Coroutine functions run on
the loop itself.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ._choice.arguments import check_awaited_call, check_buffersize
from ._choice.auto_thread import faster_switching
from ._choice.options import is_named
from ._engine.driver import PATIENCE, Driver, Reading, limits
from ._engine.pump import Pumped, is_asynchronous
from ._engine.source import Source
from ._records.stack_frames import shorten
from ._records.work import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import Any, NoReturn

    from ._engine.interfaces import Feed
    from ._engine.scheduler import Run


__all__ = ["pimap", "pmap", "pstarmap"]

SHARING = ("auto", "serial", "threads")
"""Executors whose tasks may share the GIL with the loop.  Threads then take turns more often: six
that computed kept the loop waiting for up to 130 ms, and for 50 then."""


async def pmap(fn: Callable[..., Any], /, *iterables: Any, **options: Any) -> list[Any]:
    """Return `[fn(x) for x in xs]`, computed in parallel while the event loop runs on.

    Guaranteed: what `parmap.pmap` guarantees; the loop is not blocked, by nothing but what holds
    the GIL; when it is cancelled, the work is: no other task begins, and CancelledError is passed
    on when nothing of the call runs any more.

    Not guaranteed: that a task ends which cannot be stopped, one in a thread say, or an iterable
    that waits: after a second the call goes on without it.  A second cancellation is passed on at
    once.

    Where it runs: a coroutine function on the running loop, *workers* tasks at a time; any other
    function where *executor* says, `"auto"` and `"serial"` beginning in the thread of the call.  In
    that thread, in a copy of the caller's context, iterables are iterated, and *on_error* and bars
    are called; asynchronous iterables are iterated by a task on the loop.

    Args:
        fn: called once for each task; if it is a coroutine function, its result is awaited.
        *iterables: any number of iterables, asynchronous ones among them; the shortest ends the
            call.
        **options: as for `parmap.pmap`.

    Raises:
        RuntimeError: also when no event loop runs, and when a task raised StopIteration or
            CancelledError, which cannot leave a coroutine, or mean something else there.
        Exception: as of `parmap.pmap`.

    Example:
        >>> import asyncio
        >>> from parmap import aio
        >>> async def main():
        ...     return await aio.pmap(lambda x: x * x, range(5))
        >>> asyncio.run(main())
        [0, 1, 4, 9, 16]
    """
    try:
        call = Call(fn, "item" if len(iterables) == 1 else "args")
        return await _Awaited("aio.pmap", call, iterables, options).all()
    except BaseException as error:
        shorten(error)
        raise


async def pstarmap(fn: Callable[..., Any], iterable: Any, /, **options: Any) -> list[Any]:
    """Return `[fn(*args) for args in iterable]`, computed in parallel while the loop runs on.

    Args:
        fn: called once for each item of *iterable*, with what is in the item as its arguments.
        iterable: an iterable, or an asynchronous one, of lists or tuples.
        **options: as for `pmap`, with the same guarantees.

    Example:
        >>> import asyncio
        >>> from parmap import aio
        >>> asyncio.run(aio.pstarmap(pow, [(2, 3), (3, 2)]))
        [8, 9]
    """
    try:
        return await _Awaited("aio.pstarmap", Call(fn, "args"), (iterable,), options).all()
    except BaseException as error:
        shorten(error)
        raise


def pimap(
    fn: Callable[..., Any],
    /,
    *iterables: Any,
    ordered: bool = True,
    buffersize: int | None = None,
    **options: Any,
) -> AsyncStream:
    """Return an asynchronous iterator over the results, computed in parallel ahead of its reader.

    Guaranteed: what `parmap.pimap` and `pmap` guarantee.  The input, which may be endless and
    asynchronous, is drawn from only as far ahead of the results that were read as *buffersize*
    says.  Work begins when the first result is asked for.

    Args:
        fn: as for `pmap`.
        *iterables: as for `pmap`.
        ordered: False gives each result as soon as it is there.
        buffersize: how many tasks may be drawn and not read yet, 1 or more.  None: enough to keep
            the workers busy.
        **options: as for `pmap`.

    Returns:
        An asynchronous iterator with `aclose()`, which `async with` calls, too.  It stops the work,
        and returns when nothing of it runs any more.  One that is thrown away is closed by the
        loop, as Python does it with asynchronous generators.

    Example:
        >>> import asyncio
        >>> from itertools import count
        >>> from parmap import aio
        >>> async def main():
        ...     async with aio.pimap(lambda x: x * x, count()) as squares:
        ...         async for square in squares:
        ...             if square > 50:
        ...                 return square
        >>> asyncio.run(main())
        64
    """
    check_buffersize(buffersize)
    call = Call(fn, "item" if len(iterables) == 1 else "args")
    awaited = _Awaited("aio.pimap", call, iterables, options)
    return AsyncStream(awaited.stream(ordered, buffersize))


class AsyncStream:
    """The asynchronous iterator that `aio.pimap` returns."""

    __module__ = "parmap.aio"

    def __init__(self, results: AsyncGenerator[Any, None]) -> None:
        self._results = results

    def __aiter__(self) -> AsyncStream:
        return self

    def __anext__(self) -> Any:
        return self._results.__anext__()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Draw no more input, stop what runs, and give the workers back.  May be called twice."""
        await self._results.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle or copy an 'AsyncStream' object")


class _Awaited:
    """A call that is awaited: its driver, its pump if it has one, and their ends."""

    def __init__(
        self, door: str, call: Call, iterables: tuple[Any, ...], given: dict[str, Any]
    ) -> None:
        self._call, self._iterables = call, iterables
        self._asked = "executor" in given
        self._options = check_awaited_call(door, call, iterables, given)
        self._driver: Driver | None = None
        self._feed: Pumped | None = None
        self._ordered = True

    async def all(self) -> list[Any]:
        """Return the results of all tasks."""
        self._prepare()
        driver = self._driver = Driver(self._begin, self._options["on_error"], self._tell)
        try:
            self._start(driver)
            await asyncio.wait([self._over])
        finally:
            await self._end(driver)
        if driver.error is not None:
            _raise(driver)
        results: list[Any] = driver.value
        return results

    async def stream(self, ordered: bool, buffersize: int | None) -> AsyncGenerator[Any, None]:
        """Yield the results."""
        self._ordered = ordered
        self._prepare()
        lists: deque[list[Any]] = deque()
        driver = self._driver = Reading(
            self._begin,
            self._options["on_error"],
            self._tell,
            lists.append,
            limits(self._feed),
            ordered=ordered,
            buffersize=buffersize,
        )
        read = 0
        try:
            self._start(driver)
            while True:
                self._news.clear()
                over = driver.ended
                while lists:
                    for result in lists.popleft():
                        yield result
                        driver.read = read = read + 1
                        if read >= driver.due:
                            driver.go_on()
                if over:
                    break
                await self._news.wait()
            if driver.error is not None:
                try:
                    _raise(driver)
                except BaseException as error:
                    shorten(error)
                    raise
        finally:
            lists.clear()
            await self._end(driver)

    def _prepare(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._over = self._loop.create_future()
        self._pump: asyncio.Task[None] | None = None
        self._hastes = False
        if any(map(is_asynchronous, self._iterables)):
            self._feed = Pumped(self._iterables, self._loop)

    def _begin(self) -> Run:
        """In the driver's thread: begin the call."""
        from ._choice.launch import launch

        feed: Feed = Source(self._iterables) if self._feed is None else self._feed
        how: Any = {"asked": self._asked, "ordered": self._ordered, "loop": self._loop}
        return launch(self._call, feed, self._options, **how)  # type: ignore[arg-type]

    def _start(self, driver: Driver) -> None:
        if is_named(self._options["executor"], *SHARING) and not self._call.awaited:
            faster_switching.__enter__()
            self._hastes = True
        driver.start()
        if self._feed is not None:
            self._pump = self._loop.create_task(self._feed.pump())

    def _tell(self) -> None:
        """In the driver's thread: have the loop look; raises RuntimeError if it was closed."""
        self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._news.set()
        if self._driver is not None and self._driver.ended and not self._over.done():
            self._over.set_result(None)

    async def _end(self, driver: Driver) -> None:
        """Stop what is not over, and wait for its end."""
        if self._hastes:
            self._hastes = False
            faster_switching.__exit__()
        try:
            await self._wait_for_end(driver)
        finally:
            self._driver = None  # which knows this object: what it holds is let go at once

    async def _wait_for_end(self, driver: Driver) -> None:
        ends: list[asyncio.Future[Any]] = []
        if not driver.ended:
            driver.stop()
            ends.append(self._over)
        if self._feed is not None:
            self._feed.close()
        if self._loop.is_closed():  # nobody waits any more
            return
        if self._pump is not None:
            self._pump.cancel()
            ends.append(self._pump)
        if not all(end.done() for end in ends):  # of none, all are
            await asyncio.wait(ends, timeout=PATIENCE)


def _raise(driver: Driver) -> NoReturn:
    """Raise what the call has raised."""
    error, driver.error = driver.error, None
    try:
        assert error is not None
        if isinstance(error, asyncio.CancelledError):
            raise RuntimeError(
                "a task raised CancelledError, which would say here that the call was cancelled"
            ) from error
        raise error
    finally:
        error = None  # the traceback holds this frame: with it, it would be a cycle


for _door in (pimap, pmap, pstarmap):
    _door.__module__ = "parmap.aio"
