"""How many tasks make a chunk: arithmetic on what was measured, without clocks or threads.

A chunk should be long enough that its overhead does not count and short enough that, at the end of
the input, no worker waits long for another.  Its cost can only be guessed from the tasks before
it; but as a worker hands back what it did not get to within its `budget`, a wrong guess is cheap.
"""

from __future__ import annotations

from math import ceil

TARGET = 0.020
"""Seconds of work in a chunk.  Between two chunks a worker waits some 100 to 200 us, 1 % of it:
1,000 tasks of 1 ms took 1.041 of ideal on two cores with 10 ms, 1.017 with 20, 1.013 with 30."""

DISPATCH = 100e-6
"""Seconds for which a chunk may occupy the caller's thread: 50 us as measured, 50 us in reserve.
A worker must not run dry while the caller serves the others: with many, chunks are longer."""

BRIEF = 0.0015
"""Seconds of work in a chunk at least, as far as each worker has one: a message and its answer take
100 to 150 us of the caller, and as long until a worker wakes up."""

CONTAINED = 0.005
"""Seconds of work in a chunk of a call that is asked to contain failures.  What a worker has done
and not sent yet when it dies, runs again: that are tasks of less than this."""

FAR = 25.0
"""Times the work in a chunk where a cluster's engine hands it out: through client, scheduler and
network that takes 3 ms of processor time, beside other work 5, a good part of it the caller's.
More would hand out results later, and keep a cluster busy after a call that was given up."""

SOLO = 0.5
"""Seconds of work in a chunk where nothing runs beside it, that could wait for it to end."""

GROWTH = 16
"""A chunk is at most so many times larger than the largest completed: the first few tasks may be
untypical, and what is sent and handed back was pickled for nothing."""

SHARE = 0.5
"""Weight of the newest chunk in the running estimate of the cost of a task."""


def target(workers: int, *, contain_failures: bool = False, far: float = 1.0) -> float:
    """Return the seconds of work in a chunk for one of *workers* workers, *far* away."""
    return far * max(CONTAINED if contain_failures else TARGET, 1.5 * DISPATCH * workers)


def budget(workers: int, *, contain_failures: bool = False, far: float = 1.0) -> float:
    """Return the seconds after which a worker hands back the rest of a chunk.

    More makes a wrong guess dearer, and a crash too, which costs the results that were not sent
    yet; less splits chunks for noise.
    """
    seconds = target(workers, contain_failures=contain_failures, far=far)
    return seconds * (1 if contain_failures else 2)


class Sizes:
    """Chooses the size of each chunk of one call: *fixed*, or learnt if that is None; at *most*.

    *known* is what a task of an earlier call took, in seconds: for the first chunk a guess.  *far*
    is 1, or `FAR`.
    """

    def __init__(
        self,
        fixed: int | None = None,
        known: float | None = None,
        *,
        contain_failures: bool = False,
        most: int | None = None,
        far: float = 1.0,
    ) -> None:
        self._far = far
        self._fixed = fixed
        self._contain_failures = contain_failures
        self._most = most
        self._largest = 1 if known is not None else 0
        self._fair = 0  # tasks for each worker of what was left when it was first asked
        self.cost = known  # seconds a task, estimated

    def learn(self, tasks: int, seconds: float) -> None:
        """Take into account that *tasks* tasks took *seconds* where they ran."""
        if tasks:
            cost = seconds / tasks
            self.cost = cost if self.cost is None else self.cost + SHARE * (cost - self.cost)
            self._largest = max(self._largest, tasks)

    def next(self, remaining: int | None, workers: int) -> int:
        """Return the size of the next chunk when *remaining* tasks (None: unknown) are left."""
        size = self._size(remaining, workers)
        return size if self._most is None else min(size, self._most)

    def _size(self, remaining: int | None, workers: int) -> int:
        if self._fixed is not None:
            return self._fixed
        if self.cost is None:
            return 1
        alone = workers == 1 and remaining is not None and not self._contain_failures
        seconds = SOLO if alone else self._target(workers)
        size = min(ceil(seconds / max(self.cost, 1e-9)), GROWTH * self._largest)
        if remaining is not None and workers > 1:
            # Towards the end, smaller pieces; but none so small that sending it counts, unless
            # little is to be lost with a worker.
            self._fair = self._fair or ceil(remaining / workers)
            small = 0 if self._contain_failures else ceil(self._far * BRIEF / max(self.cost, 1e-9))
            brief = min(small, self._fair)
            size = min(size, max(brief, ceil(remaining / (2 * workers))))
        return max(1, size)

    def _target(self, workers: int) -> float:
        return target(workers, contain_failures=self._contain_failures, far=self._far)

    def horizon(self, window: int) -> int:
        """Return how many tasks keep *window* chunks out, and as many again waiting to be read."""
        return 4 * window * self.next(None, 1)
