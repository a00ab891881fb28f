"""Whether a pool is faster than the loop it stands for: arithmetic on reports, without clocks.

A choice rests on a few tasks, on a machine that does other things, too; so it is held against what
came of it, in this call and in those before: where they are small, no single one could tell.  What
counts is how many seconds of tasks the pool does in a second of the call:

- of threads, the processor time, or what the tasks would have taken here if that is less: those
  that wait for the lock take time and do nothing, and those that hand it over spend time on that
  (those that never waited may be somewhat larger than what was seen here);
- of processes, the time: if it is less than a second, the rest went into moving data.  Other
  programs slow down the tasks there as they would here, and change nothing.  Of small calls, which
  come again and again, at most what their tasks have taken here: two cores may share more than one
  thinks.

Both in units of what the loop did: where it had less than a processor, so have they.  Of a pool
that was watched from its first task on, what is under way counts, too: of each worker's chunk a
half, which is what has been done of one at any moment.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.work import Report
    from .serial_or_parallel import Measured, Where


ENOUGH = {"threads": 0.025, "processes": 0.05}
"""Seconds of the call after which a pool is judged: a loop of 0.3 s loses less than a tenth if the
pool did half of what it does.  The noise of a busy machine lasts for some 10 ms; after 15 ms one
call in six gave up threads that were 1.6 times as fast."""

LEAST = {"threads": 1.2, "processes": 0.95}
"""Seconds of tasks in a second of the loop's that are worth staying for: processes may still do
better than threads, where nothing else is better than the caller."""

ALONE = 1.1
"""The same of threads where workers would have to load the function first: then only the caller may
be faster.  Threads that take turns at the GIL do less, or soon will."""

FREE, GROWN = 0.8, 1.25
"""Of its time, what a task in a thread computes that does not wait for the GIL, and how many times
as long as before it may take then, for it may be larger.  With less, tasks that grow made threads
seem useless that were 1.6 times as fast; with more, those that slow each other down seem useful."""

LONG = 0.1
"""Seconds of the call after which the first task of each worker will do: of short ones, the first
say little."""

FADING = 1.0
"""Seconds of the call from which on what was before counts half: what is done may change."""


LATELY = 4  # reports whose mean is what a chunk does


class Comparison:
    """Holds a kind of pool against the loop, for one function, over all calls of it."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._least, self._enough = LEAST[where], ENOUGH[where]
        self._begun = self._at_once = self._waits = False
        self._reports = self._tasks = self._workers = 0
        self._pace, self._cost = 1.0, 0.0
        self._spent = self._done = self._chunk = 0.0

    def begin(
        self,
        seen: Measured,
        workers: int,
        spent: float | None,
        *,
        waits: bool = False,
        alone: bool = False,
    ) -> None:
        """Be told that a call relies on such a pool, of *workers*; what was *seen* in the caller.

        That may be nothing yet, but a task that goes on, and *waits*.  It is *alone* if nothing
        else could be faster but the caller.

        *spent* seconds went into its making.  None: it was not there at once, and begins with its
        first report: what lies before is the start.
        """
        self._waits, self._pace, self._cost = waits or seen.waits, seen.pace, seen.cost_here
        self._workers = workers
        self._least = min(LEAST[self._where], ALONE) if alone else LEAST[self._where]
        self._begun = self._at_once = spent is not None
        self.spend(spent or 0.0)

    def spend(self, seconds: float) -> None:
        """Add *seconds* of the caller's that went into the pool: waiting, sending, receiving."""
        if self._begun:
            self._spent += seconds

    def add(self, report: Report) -> None:
        """Add what a worker tells: the caller, too, as long as it runs tasks beside the pool."""
        if self._begun:
            self._reports += 1
            self._tasks += len(report.values)
            threads = self._where == "threads"
            done = report.cpu / self._pace if threads else report.seconds
            if self._cost and (threads or self._at_once):
                free = threads and report.cpu > FREE * self._pace * report.seconds
                done = min(done, len(report.values) * self._cost * (GROWN if free else 1.0))
            self._done += done
            self._chunk += (done - self._chunk) / min(self._reports, LATELY)
            if self._spent > 2 * FADING:
                self._spent, self._done = self._spent / 2, self._done / 2
        self._begun = True

    @property
    def speed(self) -> float:
        """How many times as fast as the loop the pool is; infinite before it can be told."""
        began = self._reports >= self._workers and self._spent >= self._enough
        if self._waits or not began or (self._tasks < 2 * self._workers and self._spent < LONG):
            return float("inf")
        under_way = self._workers * self._chunk / 2 if self._at_once else 0.0
        return (self._done + under_way) / self._spent

    @property
    def is_lost(self) -> bool:
        """Whether something else is likely to be faster."""
        return self.speed < self._least
