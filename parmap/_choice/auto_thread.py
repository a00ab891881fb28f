"""The thread beside the caller's: it measures, and helps when the caller is busy with a long task.

Assumed: it touches the executor only under its lock, and only while the caller runs a task, which
that does without the lock.
"""

from __future__ import annotations

import os
import sys
import time
from contextvars import copy_context
from functools import partial
from threading import Lock, Thread, get_ident
from time import perf_counter, sleep, thread_time

from .._records.gil import LOOK, Probe
from .._records.machine import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._engine.interfaces import Feed
    from .serial_or_parallel import Measured


LONG = 0.01
"""Seconds beyond the end of its time after which a chunk has met a long task: then somebody is
asked to help beside it."""

SERVING = 0.004
"""Seconds between two looks of who helps: each takes the GIL from the task for some 50 us, and a
worker may wait for it; of a chunk of 20 ms, some 10 %."""

SEEN, SELDOM = 24.0, 0.01
"""Milliseconds of looks after which the GIL is known, and seconds between two looks then: one look
a millisecond made tasks that let go of the GIL every 10 us a third slower."""

HASTE = 0.0002
"""Seconds of switch interval while the companion starts workers."""

BREAK = 0.0002
"""Seconds between two chunks from which on a look that has seen both says nothing of the tasks: the
scheduler takes 20 to 50 us, but it may also have asked the input or started workers."""


class Companion:
    """Measures how freely a thread runs beside the tasks, until one of them is long.

    Attributes:
        settled: whether nothing is left to choose, which ends it.
        settings: for threads that it starts: gives them the settings of the caller's.
    """

    def __init__(self, source: Feed, *, settled: bool = False) -> None:
        self.settled = settled
        self._source = source
        self._started = False
        self._helps = False  # somebody does what can be done beside a long task
        self._lock = Lock()
        self._since = 0.0  # when the caller began to run a chunk; 0.0 if it does not
        self._ended = 0.0  # when it had run one
        self._steady = 0.0  # since when it has done nothing else for long
        self._asked = 0.0  # how long the input had taken in all by then
        self._due = 0.0  # how long the chunk may take before it has met a long task
        self._clock: int | None = None  # of the processor time of the caller's thread
        self._cpu = 0.0  # what that said when it began

    def begin(
        self,
        seen: Measured,
        budget: float,
        help_out: Callable[[float, float], bool],
        *,
        one: bool = False,
    ) -> None:
        """Be told that the caller begins to run a chunk, for *budget* seconds.

        What is measured goes to *seen*.  While a task takes longer than it should (if it is the
        only *one* of the chunk, than no time), *help_out* is called again and again with the
        seconds it has taken and its processor time; less often when that tells that it helps.
        """
        if not (self._started or self.settled):
            self._started = True
            self.settings = settings()  # threads that it starts get their context from it anyway
            look = partial(copy_context().run, self._look, seen, help_out, Probe())
            try:
                Thread(target=look, name="parmap-companion", daemon=True).start()
            except RuntimeError:  # none can be started: then nobody helps
                pass
        self._due = LONG if one else budget + LONG
        self._asked = self._source.asked
        now = perf_counter()
        if now - self._ended > BREAK:
            self._steady = now
        self._clock, self._cpu = _clock(), thread_time()
        self._since = now

    def end(self) -> None:
        """Be told that the caller has run its chunk; return when nobody helps any more."""
        with self._lock:
            self._since = 0.0
        self._ended = perf_counter()

    def _processor_time(self, seconds: float) -> float:
        """Return that of the task under way; of one that computes if there is no clock for it."""
        return seconds if self._clock is None else time.clock_gettime(self._clock) - self._cpu

    def _look(self, seen: Measured, help_out: Callable[[float, float], bool], probe: Probe) -> None:
        while not self.settled:
            if self._helps:
                sleep(SERVING)
            elif seen.looks > SEEN:
                sleep(SELDOM)
            asked, modules, steady = self._source.is_asked, len(sys.modules), self._steady
            before = perf_counter()
            lasted, free = probe.look()
            since, ended = self._since, self._ended
            if free is False and steady < before < ended and not (asked or since):
                # The GIL came only after the tasks: else looks at short calls would all be free.
                seen.looks += (ended - before) / LOOK
            # While the input is asked, no task runs.
            if since and not (asked or self._source.is_asked):
                since_asked = since + self._source.asked - self._asked
                # A task that imports modules is not like the others.
                if self._steady < before and free is not None and modules == len(sys.modules):
                    seen.looks += lasted / LOOK  # first: whoever reads now takes it for held
                    seen.free += lasted / LOOK * free
                long = before - since_asked
                if long > self._due:
                    with self._lock:
                        if self._since == since and not self.settled:
                            self._helps = help_out(long, self._processor_time(long))


def _clock() -> int | None:
    """Return the clock that tells others the processor time of this thread, if there is one."""
    try:
        return time.pthread_getcpuclockid(get_ident())
    except (AttributeError, OSError):
        return None


class FasterSwitching:
    """While somebody is in here, threads take turns more often.

    A pure Python task gives up the GIL once an interval, and a start asks for it a hundred times
    (imports, files, a process): at the usual 5 ms that would take half a second.  The interval
    belongs to the program: the last of those who are in here at the same time puts it back, unless
    somebody else has set it meanwhile.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._before = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(HASTE, self._before))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users and abs(sys.getswitchinterval() - min(HASTE, self._before)) < 1e-6:
                sys.setswitchinterval(self._before)

    def forget(self) -> None:
        """In a forked child: those threads are the parent's."""
        self._lock = Lock()
        if self._users:
            self._users = 1
            self.__exit__()


faster_switching = FasterSwitching()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=faster_switching.forget)
