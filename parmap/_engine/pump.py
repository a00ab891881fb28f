"""Input that is iterated with `async for`: a task of the loop pumps, another thread takes."""

from __future__ import annotations

import asyncio
from time import perf_counter

from .inbox import Inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any


SPARE = 1000
"""Items that may lie here beyond what was asked for, where nobody reads the results meanwhile: less
has the tasks wait for the loop, more takes memory."""

TURN = 0.001  # seconds of pumping after which others have their turn on the loop


class Pumped(Inbox):
    """The items of *iterables*, tuples of them if there are several, some of them asynchronous.

    Those are iterated by `pump`, on the loop, no further than allowed; the others by who takes.
    """

    def __init__(self, iterables: Sequence[Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._one = len(iterables) == 1
        self._iterators: list[Any] = [
            aiter(one) if is_asynchronous(one) else one for one in iterables
        ]
        self._is_asynchronous = [is_asynchronous(one) for one in iterables]
        self._plain_begun = all(self._is_asynchronous)
        self._loop = loop
        self._put = 0
        self._allowed = 0
        self._limited = False
        self._idle = False  # the pump waits until more is allowed
        self._go = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def error(self) -> Exception | None:  # type: ignore[override]
        return self._failure if self.ended else None

    def allow(self, index: int) -> None:
        """Let items be drawn up to *index*; what is taken allows nothing any more."""
        self._limited = True
        self._let(index)

    def _let(self, index: int) -> None:
        self._allowed = index
        if self._idle:
            try:
                self._loop.call_soon_threadsafe(self._go.set)
            except RuntimeError:  # the loop was closed: nothing comes any more
                self.close()

    async def pump(self) -> None:
        """Put what may be drawn until the input ends, or raises."""
        began = perf_counter()
        try:
            while not self._closed:
                if self._put >= self._allowed:
                    await self._wait_until_allowed()
                    began = perf_counter()
                try:
                    item = await self._next()
                except StopAsyncIteration:
                    break
                self._put += 1
                try:
                    self.put(item)
                except ValueError:  # closed by the call, which wants no more
                    break
                if perf_counter() - began > TURN:
                    await asyncio.sleep(0)
                    began = perf_counter()
        except Exception as error:
            self._failure = error
        except BaseException as error:
            if not self._closed:  # nobody has cancelled this but the input itself
                self._failure = RuntimeError(f"the input raised {type(error).__name__}")
                self._failure.__cause__ = error
            raise
        finally:
            self.close()

    async def _wait_until_allowed(self) -> None:
        while self._put >= self._allowed and not self._closed:
            self._go.clear()
            self._idle = True
            if self._put >= self._allowed:
                await self._go.wait()
            self._idle = False

    async def _next(self) -> Any:
        """Return the next of what is asynchronous: an item, or the items of one task."""
        iterators: list[AsyncIterator[Any]] = [
            one
            for one, is_async in zip(self._iterators, self._is_asynchronous, strict=True)
            if is_async
        ]
        items = [await anext(iterator) for iterator in iterators]
        return items[0] if self._one else items

    def fail(self, error: Exception) -> None:
        self._failure = error
        self._cut()

    def take(self, n: int) -> list[Any]:
        if not self._limited:
            self._let(self.drawn + n + SPARE)
        items = super().take(n)
        return items if self._one else self._completed(items)

    def _completed(self, items: list[list[Any]]) -> list[Any]:
        """Return the tuples for tasks of which *items* are what is asynchronous."""
        tuples: list[Any] = []
        try:
            if not self._plain_begun:
                self._plain_begun = True
                self._iterators = [
                    one if is_async else iter(one)
                    for one, is_async in zip(self._iterators, self._is_asynchronous, strict=True)
                ]
            for found in items:
                tuples.append(self._tuple(found))  # noqa: PERF401 - what came before an error is kept
        except StopIteration:
            self._cut()
        except Exception as error:
            self.fail(error)
        self.drawn -= len(items) - len(tuples)
        return tuples

    def _tuple(self, found: list[Any]) -> tuple[Any, ...]:
        items = []
        rest = iter(found)
        for one, is_async in zip(self._iterators, self._is_asynchronous, strict=True):
            items.append(next(rest) if is_async else next(one))
        return tuple(items)

    def _cut(self) -> None:
        """Have no more items, not even those that were put."""
        self.close()
        self._items.clear()


def is_asynchronous(iterable: object) -> bool:
    """Tell whether *iterable* is iterated with `async for`, and not with `for`."""
    kind = type(iterable)
    return hasattr(kind, "__aiter__") and not hasattr(kind, "__iter__")
