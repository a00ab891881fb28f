"""Whether a pool is faster than the loop it stands for: arithmetic on reports, without clocks.

A choice rests on a few tasks, on a machine that does other things, too; so it is held against what
came of it.  What counts is how many seconds of tasks the pool does in a second of the call:

- of threads, the processor time, or what the tasks would have taken here if that is less: those
  that wait for the lock take time and do nothing, and those that hand it over spend time on that;
- of processes, the time: if it is less than a second, the rest went into moving data.  Other
  programs slow down the tasks there as they would here, and change nothing.

Both in units of what the loop did: where it had less than a processor, so have they.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.work import Report
    from .serial_or_parallel import Measured, Where


ENOUGH = {"threads": 0.02, "processes": 0.05}
"""Seconds of the call after which a pool is judged: a loop of 0.3 s loses less than a tenth if the
pool did half of what it does.  The noise of a busy machine lasts for some 10 ms."""

LEAST = {"threads": 1.2, "processes": 0.95}
"""Seconds of tasks in a second of the loop's that are worth staying for: processes may still do
better than threads, where nothing else is better than the caller."""


class Comparison:
    """Holds a pool of *workers* against what was *seen* in the caller.

    The first reports only tell when it had begun to work: what lies before is the start.
    """

    def __init__(self, where: Where, seen: Measured, workers: int) -> None:
        self._where = where
        self._waits = seen.waits
        self._pace, self._cost = seen.pace, seen.cost
        self._workers = workers
        self._reports = 0
        self._spent = self._done = 0.0

    def spend(self, seconds: float) -> None:
        """Add *seconds* of the caller's that went into the pool: waiting, sending, receiving."""
        if self._reports:
            self._spent += seconds

    def add(self, report: Report) -> None:
        """Add what a worker tells."""
        if self._reports:
            if self._where == "threads":
                here = len(report.values) * self._cost
                self._done += min(here, report.cpu / self._pace)
            else:
                self._done += report.seconds
        self._reports += 1

    @property
    def speed(self) -> float:
        """How many times as fast as the loop the pool is; infinite before it can be told."""
        if self._waits or self._reports <= self._workers or self._spent < ENOUGH[self._where]:
            return float("inf")
        return self._done / self._spent

    @property
    def is_lost(self) -> bool:
        """Whether something else is likely to be faster."""
        return self.speed < LEAST[self._where]
