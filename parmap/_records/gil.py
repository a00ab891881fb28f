"""How free the GIL and the processors are: measured by a thread that wakes up now and then.

It wakes up at moments that have nothing to do with what the others do, and finds the GIL free or
held.  If it has to wait, it gives its processor up, which the system counts: so waiting for the GIL
is not taken for waiting for a processor, however busy the machine and long a switch interval is.
With the GIL's own state as the truth, sampled from C, alone and at load 12 on two cores, with
intervals of 0.1 to 100 ms, the share was at most 0.1 too high; and 0.1 too low, or 0.28 where the
GIL is let go and taken back often: a thread that waits loses races for it, as another task would.
"""

from __future__ import annotations

import sys
from functools import cache
from time import perf_counter, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


LOOK = 0.001
"""Seconds between two looks, on average."""

GOLDEN = 0.618
"""Of a look by which the next is longer, from half of one to one and a half: so steps fall evenly,
and no task that does something every millisecond keeps pace with them."""

LATE = 0.5
"""Of a switch interval by which a look comes late if it had to wait for the GIL, which is handed
over once an interval, and not only for a processor: where nobody counts."""

SHORTEST, USUAL = 0.002, 0.005
"""Seconds of switch interval below which lateness says nothing, and which it has if nobody sets
another: a task seldom keeps the GIL for longer, however long the interval."""


class Probe:
    """Tells whether the GIL is free.  It is made anywhere, and used by one thread."""

    def __init__(
        self,
        clock: Callable[[], float] = perf_counter,
        pause: Callable[[float], None] = sleep,
        switches: Callable[[], int] | None = None,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._switches = switches or _counter() or _nobody_counts
        self._phase = 0.0

    def look(self) -> tuple[float, bool | None]:
        """Sleep; return the seconds until this thread had the GIL again, and whether it was free.

        None if that cannot be told.  A look counts for as long as it took: there are fewer while
        the GIL is held, for each waits.
        """
        self._phase = (self._phase + GOLDEN) % 1
        pause = LOOK * (0.5 + self._phase)
        switches, began = self._switches(), self._clock()
        self._pause(pause)
        lasted, switches = self._clock() - began, self._switches() - switches
        return lasted, found_free(switches, lasted - pause, sys.getswitchinterval())


def found_free(switches: int, late: float, interval: float) -> bool | None:
    """Tell whether a thread found the GIL free that woke up *late*; None if that cannot be told.

    It has given up its processor *switches* times: once to sleep, unless nobody counts.
    """
    if switches:
        return switches == 1
    return late < LATE * min(interval, USUAL) if interval >= SHORTEST else None


def delay(thread: int | None = None, root: str = "/proc") -> float:
    """Return the seconds a *thread* was to run in all and no processor was free; 0.0 if unknown.

    It goes by its native id; None: this one.  *root* is for tests.

    Without it, a task that computes on a busy machine looks like one that waits: at load 16 on two
    cores it had 0.04 of its time as processor time, and 1.00 of the time without this.  10 us.
    """
    task = "thread-self" if thread is None else f"self/task/{thread}"
    try:
        with open(f"{root}/{task}/schedstat", "rb", 0) as file:
            return int(file.read(99).split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):  # not Linux, or one that does not count
        return 0.0


def speed_up(held: float, threads: int) -> float:
    """Return how much faster *threads* threads are than one, on as many cores.

    Each needs the GIL for the share *held* of its time, as it happens, so that they queue for it.
    By the mean value analysis of a closed queue; it is 1 / *held* at most.
    """
    speed = queue = 0.0
    for n in range(1, threads + 1):
        waiting = held * (1 + queue)
        speed = n / (waiting + 1 - held)
        queue = speed * waiting
    return speed


def _nobody_counts() -> int:
    return 0


@cache
def _counter() -> Callable[[], int] | None:
    """Return what tells how often this thread gave its processor up; None where nobody counts.

    The module is imported by the program's thread, which costs 0.3 ms once: another would wait for
    the GIL ten times.
    """
    try:
        finders = (finder.find_spec("resource", None) for finder in sys.meta_path)
        spec = next(spec for spec in finders if spec is not None)
        # The program may have a module of that name, which may be its script.
        if spec.origin != "built-in" and not str(spec.origin).endswith(".so"):
            return None
        from resource import RUSAGE_THREAD, getrusage  # Linux and FreeBSD

        return lambda: getrusage(RUSAGE_THREAD).ru_nvcsw
    except Exception:  # also of somebody's own finder
        return None
