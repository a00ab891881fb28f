"""What the caller's thread does, of a call that is watched: an executor around another.

::

    Run ---> Clocked ---> threads, processes, ...

A call that nobody watches pays nothing for it, and the loop does not know of it.
"""

from __future__ import annotations

from time import perf_counter

from .interfaces import Executor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from .._records.work import Chunk, Report

    class Clock(Protocol):
        """Who is told how long the caller took to submit and to wait, of how many workers."""

        def submitted(self, seconds: float, workers: int) -> object: ...
        def waited(self, seconds: float) -> object: ...


class Clocked(Executor):
    """Tells *clock* how long each `submit` and each `wait` of *executor* takes."""

    def __init__(self, executor: Executor, clock: Any) -> None:
        self._executor = executor
        self._clock: Clock = clock
        self.wake = executor.wake  # type: ignore[method-assign]
        self.recall = executor.recall  # type: ignore[method-assign]
        self.kill_overdue = executor.kill_overdue  # type: ignore[method-assign]
        self.close = executor.close  # type: ignore[method-assign]

    @property
    def workers(self) -> int:  # type: ignore[override]
        """As the executor has it; so are the others."""
        return self._executor.workers

    @property
    def window(self) -> int:  # type: ignore[override]
        return self._executor.window

    @property
    def in_caller(self) -> bool:
        return self._executor.in_caller

    @property
    def ready(self) -> bool:
        return self._executor.ready

    @property
    def packing(self) -> float:
        return self._executor.packing

    def submit(self, chunk: Chunk) -> None:
        began = perf_counter()
        try:
            self._executor.submit(chunk)
        finally:
            self._clock.submitted(perf_counter() - began, self._executor.workers)

    def wait(self, seconds: float | None) -> list[Report]:
        began = perf_counter()
        try:
            return self._executor.wait(seconds)
        finally:
            self._clock.waited(perf_counter() - began)
