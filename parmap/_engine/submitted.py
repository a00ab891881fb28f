"""Single tasks with a future each: put by any thread, taken by the one that runs them."""

from __future__ import annotations

from .inbox import Inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from typing import Any


class Submitted(Inbox):
    """Takes a future and its task with `put`, and hands the tasks out.

    For the run that draws from it, it ends when no task has come for *rest* seconds while none ran;
    after `begin`, the next run may draw.  A task whose future was cancelled is not handed out.

    Attributes:
        begun: the futures of the tasks that were handed out, by their index; who settles them takes
            them out of there.
    """

    def __init__(self, rest: float) -> None:
        super().__init__()
        self.begun: dict[int, Future[Any]] = {}
        self._rest = rest
        self._resting = False

    @property
    def ended(self) -> bool:  # type: ignore[override]
        return (self._closed or self._resting) and not self._items

    @property
    def remaining(self) -> int:  # type: ignore[override]
        """How many are there: with few, chunks are small, so that every worker gets some."""
        return len(self._items)

    def begin(self) -> bool:
        """Wait until there is a task; False: none comes any more."""
        self._resting = False
        self.wait_for(None)
        return bool(self._items)

    def take(self, n: int) -> list[Any]:
        tasks: list[Any] = []
        for future, task in self._next():
            if future.set_running_or_notify_cancel():
                self.begun[self.drawn + len(tasks)] = future
                tasks.append(task)
                if len(tasks) == n:
                    break
        self.drawn += len(tasks)
        return tasks

    def wait(self) -> None:
        self._resting = not self.wait_for(self._rest)

    def cancel(self) -> None:
        """Cancel all that were not handed out."""
        for future, _ in self._next():
            future.cancel()
            future.set_running_or_notify_cancel()

    def fail(self, error: BaseException) -> None:
        """Let all fail with *error*, those that were handed out first."""
        while self.begun:
            self.begun.pop(next(iter(self.begun))).set_exception(error)
        for future, _ in self._next():
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def _next(self) -> Iterator[tuple[Future[Any], Any]]:
        """Yield what waits, as long as there is some: two threads may take from it."""
        while True:
            try:
                yield self._items.popleft()
            except IndexError:
                return
