"""The executor that "auto" has chosen, as long as it has one, and what is out there."""

from __future__ import annotations

from time import perf_counter

from .._records.work import Unsendable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from .._engine.interfaces import Executor
    from .._records.work import Chunk, Report
    from .serial_or_parallel import Where


BOOTING = 0.005
"""Seconds a chunk takes in the caller while workers boot, so that they do not wait long for it."""

PATIENT = 0.1
"""Of the time that workers take to load the function, what a chunk may take in the caller: they
may wait for that once, and a look at them costs some 50 us each time."""


class Pool:
    """An *executor*, and the chunks it has; the caller may be one of *workers* workers.

    Attributes:
        made: when it was made, in seconds of `perf_counter`.
        spent: how long that took if a worker process was ready then; else None: what threads do
            first says little either, for they meet locks, and new memory.
        away: whether it is relied on: the caller only schedules.
        leaving: whether it gets no more chunks, for it was slower than the loop.
        sent: the chunks that it has.
    """

    def __init__(self, executor: Executor, where: Where, workers: int, began: float) -> None:
        """Take over *executor*, whose making *began* at that time of `perf_counter`."""
        self.executor = executor
        self.made = perf_counter()
        at_once = executor.ready or executor.window > 0
        self.spent = self.made - began if at_once and where == "processes" else None
        self.away = self.leaving = False
        self.sent: list[Chunk] = []
        self._workers = workers
        self._news: list[Report | Exception] = []

    @property
    def room(self) -> int:
        """How many chunks more it may have: as long as the caller is a worker, too, one less."""
        if self.leaving:
            return 0
        window = self.executor.window
        return (window if self.away else min(self._workers - 1, window)) - len(self.sent)

    @property
    def is_full(self) -> bool:
        """Whether the caller, if it ran a task, would be one worker too many."""
        return self.away or len(self.sent) >= self._workers

    def budget(self, seconds: float) -> float:
        """Return how much of so many *seconds* the caller may take for a chunk beside it."""
        if self.executor.window:
            return BOOTING
        return min(seconds, max(BOOTING, PATIENT * (perf_counter() - self.made)))

    def submit(self, chunk: Chunk) -> None:
        """Give it *chunk*; raises what the executor raises."""
        self.executor.submit(chunk)
        self.sent.append(chunk)

    def share(self, waiting: deque[Chunk], own: deque[Chunk]) -> None:
        """Give it of what is *waiting* as much as it may have; what it cannot have goes to *own*.

        Raises ExecutorUnavailable; then nothing is lost.
        """
        while waiting and self.room > 0:
            try:
                self.submit(waiting[0])
            except Unsendable:
                own.append(waiting[0])
            waiting.popleft()

    def leave(self) -> None:
        """Give it no more chunks, for it was slower than the loop, and have them back soon."""
        self.away, self.leaving = False, True
        self.executor.recall()

    @property
    def is_left(self) -> bool:
        """Whether it gets no more chunks, and has none."""
        return self.leaving and not self.sent

    def hear(self, seconds: float | None) -> None:
        """Wait up to *seconds* for what it tells, or raises, and keep that."""
        try:
            reports = self.executor.wait(seconds)
        except Exception as error:  # the function's: what a task raises is in its report
            self._news.append(error)
            return
        self._news += reports
        for report in reports:
            self.sent = [chunk for chunk in self.sent if chunk is not report.chunk]

    def collect(self, seconds: float | None) -> list[Report | Exception]:
        """Return what was heard, and what there is now; wait up to *seconds* if there is none."""
        self.hear(0 if self._news else seconds)
        news, self._news = self._news, []
        return news
