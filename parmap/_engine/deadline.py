"""The deadline of a call: an executor around the one that was chosen, given up when time is up.

::

    Run ---> Bounded ---> threads, processes, ...

Guaranteed:

- until the deadline everything is handed on as it is, and no wait is longer than what is left;
- at the deadline what has a result within `GRACE` keeps it, what runs then is killed if the
  executor can, which at last is closed: every task without a result fails with TaskTimeout, without
  another attempt;
- so does each task that comes after, without being begun: the input goes on to its end.  One that
  is not in memory, and has not ended in as long again, may be endless: that is an error of it;
- what was in one chunk with a task that is killed runs again, if it does within `MORE`: it was as
  good as finished, for a chunk has little work in it (see `chunking.CONTAINED`).

Not guaranteed: anything while the caller's thread runs a task, or waits for the input.
"""

from __future__ import annotations

from time import monotonic

from .._records.errors import TaskTimeout
from .._records.work import Chunk, Loss, Report
from .interfaces import Around
from .slices import LazyItems

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .interfaces import Executor, Feed


GRACE = 0.1  # seconds beyond the deadline for what ends by itself: its results are kept
MORE = 0.3  # seconds for what was in one chunk with what is killed: a worker may have to start
AGAIN = 1.0  # seconds that an iterator has at least to come to its end, however short the deadline
LONGEST = 3600.0  # seconds of a wait; locks cannot wait for a year


class Bounded(Around):
    """Closes *executor* when *clock* says *end*: so many *seconds* after the call was made."""

    def __init__(
        self,
        executor: Executor,
        source: Feed,
        seconds: float,
        end: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(executor)
        self._source = source
        self._seconds = seconds
        self._end = end
        self._clock = clock
        self._noticed = 0.0  # when it was seen to be over
        self._out: dict[int, Chunk] = {}  # what the executor has, by where it starts
        self._news: list[Report] = []
        self._spared: list[range] = []  # tasks that were in one chunk with what was killed
        self._over = self._closed = False
        self._exact = False  # whether what runs was killed, so that what is out had not begun

    @property
    def is_coarse(self) -> bool:
        """Whether a task that still runs at the deadline takes its chunk with it."""
        return not self.in_caller and self._executor.kill_overdue(None) is None

    def submit(self, chunk: Chunk) -> None:
        if not self._over and self._clock() >= self._end:
            self._expire()
        if self._over and (self._closed or not any(chunk.start in part for part in self._spared)):
            self._refuse(chunk)
        else:
            self._executor.submit(chunk)
            self._out[chunk.start] = chunk

    def wait(self, seconds: float | None) -> list[Report]:
        if not self._closed:
            left = 0.0 if self._news else max(0.0, min(self._end - self._clock(), LONGEST))
            self._news += self._take(left if seconds is None else min(seconds, left))
            if self._clock() >= self._end:
                if self._over:
                    self._give_up()
                else:
                    self._expire()
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._executor.close()

    def _take(self, seconds: float) -> list[Report]:
        reports = self._executor.wait(seconds)
        for report in reports:
            self._out.pop(report.chunk.start, None)
        return reports

    def _expire(self) -> None:
        """Take what there is, and have killed what runs; a moment later all the rest has failed."""
        self._over, self._noticed = True, self._clock()
        if not self._executor.in_caller:  # there nothing is under way, and a wait would run it
            self._executor.recall()
            end = self._clock() + GRACE
            while self._out and (reports := self._take(max(0.0, end - self._clock()))):
                self._news += reports
            if self._out and self._executor.kill_overdue(0.0) is not None:
                self._exact = True
                self._news += map(self._killed, self._take(0))
        if self._spared:
            self._end = self._clock() + MORE
        else:
            self._give_up()

    def _killed(self, report: Report) -> Report:
        """Return *report* as it is, or of a task that was killed."""
        loss, chunk = report.loss, report.chunk
        if loss is None or loss.kind != "timeout":
            return report
        if len(chunk) > 1:
            self._spared.append(range(chunk.start, chunk.start + len(chunk)))
        dump = loss.traceback
        at = f", at (most recent call first)\n{dump}" if dump else ""
        loss.error = self._error("still ran, and was killed", at)
        loss.then = "bisect" if loss.suspect is None else "fail"
        return report

    def _give_up(self) -> None:
        """Close the executor; what it has is lost."""
        self.close()
        for _, chunk in sorted(self._out.items()):
            if self._exact or self._executor.in_caller:
                self._refuse(chunk)
            else:
                self._lose(chunk, "had not finished")
        self._out.clear()

    def _refuse(self, chunk: Chunk) -> None:
        """Report that the tasks of *chunk* have failed, without another attempt."""
        items, source = chunk.items, self._source
        if isinstance(items, LazyItems):
            items = items.draw()
        again = max(self._seconds, AGAIN)
        goes_on = not source.ended and (source.later or not source.indexed)
        if goes_on and self._clock() - self._noticed > again:
            source.fail(
                TaskTimeout(
                    f"the call had a deadline of {self._seconds:g} s, and {again:g} s later the "
                    "input had not ended: what it still has was not drawn"
                )
            )
        # The scheduler counts an attempt for each failure.
        self._lose(Chunk(chunk.start, items, chunk.attempts - 1), "had no result")

    def _lose(self, chunk: Chunk, what: str) -> None:
        loss = Loss(self._error(what), "timeout", "fail")
        self._news.append(Report(chunk, [], loss=loss))

    def _error(self, what: str, at: str = "") -> TaskTimeout:
        return TaskTimeout(
            f"the task {what} when the call's deadline of {self._seconds:g} s was over{at}"
        )
