"""What the caller's thread does, of a call that is watched: an executor around another.

::

    Run ---> Clocked ---> threads, processes, ...

A call that nobody watches pays nothing for it, and the loop does not know of it.
"""

from __future__ import annotations

from time import perf_counter

from .interfaces import Around

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from .._records.work import Chunk, Report
    from .interfaces import Executor

    class Clock(Protocol):
        """Who is told how long the caller took to submit and to wait, of how many workers."""

        def submitted(self, seconds: float, workers: int) -> object: ...
        def waited(self, seconds: float) -> object: ...


class Clocked(Around):
    """Tells *clock* how long each `submit` and each `wait` of *executor* takes."""

    def __init__(self, executor: Executor, clock: Any) -> None:
        super().__init__(executor)
        self._clock: Clock = clock

    def submit(self, chunk: Chunk) -> None:
        began = perf_counter()
        try:
            super().submit(chunk)
        finally:
            self._clock.submitted(perf_counter() - began, self.workers)

    def wait(self, seconds: float | None) -> list[Report]:
        began = perf_counter()
        try:
            return super().wait(seconds)
        finally:
            self._clock.waited(perf_counter() - began)
