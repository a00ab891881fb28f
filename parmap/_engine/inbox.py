"""Tasks that come while the call runs: put by any thread, taken by the one that runs it."""

from __future__ import annotations

from collections import deque
from itertools import count
from threading import Condition

from .interfaces import Feed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Inbox(Feed):
    """Takes items with `put` until it is closed, and hands them out in their order.

    Guaranteed: an item that was put is handed out, and ends a wait, be it for the executor or for
    the inbox; so does `close`.
    """

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._indices = count()
        self._closed = False
        self._changed = Condition()
        self._waited_for = False  # here, and not the executor
        self.wake = lambda: None

    @property
    def ended(self) -> bool:  # type: ignore[override]
        return self._closed and not self._items

    @property
    def later(self) -> bool:  # type: ignore[override]
        return not self.ended

    def put(self, item: Any) -> int:
        """Add *item*; return the index of its task.  Raises ValueError if the inbox is closed."""
        with self._changed:
            if self._closed:
                raise ValueError("no task can be added any more: it was closed")
            self._items.append(item)
            index = next(self._indices)
            self._notify()
        return index

    def close(self) -> None:
        """Have the call end when all that was put is done.  May be called twice."""
        with self._changed:
            self._closed = True
            self._notify()

    def take(self, n: int) -> list[Any]:
        items = [self._items.popleft() for _ in range(min(n, len(self._items)))]
        self.drawn += len(items)
        return items

    def _notify(self) -> None:
        """Wake who waits, here or for the executor; who does neither sees what has changed."""
        if self._waited_for:
            self._changed.notify_all()
        else:
            self.wake()

    def wait(self) -> None:
        self.wait_for(None)

    def wait_for(self, seconds: float | None) -> bool:
        """Wait until there is an item or the end, up to *seconds*; tell whether there is."""
        with self._changed:
            self._waited_for = True
            try:
                return bool(self._changed.wait_for(lambda: self._items or self._closed, seconds))
            finally:
                self._waited_for = False
