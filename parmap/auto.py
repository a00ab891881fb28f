"""The executor "auto": the loop it replaces, until measurements say that something else is faster.

::

    trial    the caller runs chunk after chunk, as the loop would; each is measured
               a companion thread measures too, how freely it runs beside the tasks, and when one
               task takes long it gives the chunks that wait to worker processes
    booting  workers were chosen and are not there yet: the caller computes on
    away     all chunks go to the chosen executor; the caller's thread only schedules

Guaranteed: no more tasks run at the same time than there are workers; the input is drawn from by
the caller's thread alone; what cannot be sent (the function, an item, results like those seen) runs
in the caller or in threads, as it would in the loop.

Assumed: the companion touches the executor only under `_lock`, and only while the caller runs a
task, which it does without the lock.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from threading import Lock, Thread
from time import perf_counter, sleep

from .chunking import ALONE, target
from .errors import ExecutorUnavailable
from .events import Chunk, Report, Unsendable
from .policy import COLD_START, SEEN, WARM_START, Measured, forgone, left, where
from .tasks import run_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .events import Call, Executor
    from .policy import Where
    from .source import Source

LONG = 0.01
"""Seconds beyond the end of its time after which a chunk has met a long task: then workers are
started beside it.  That costs a start for nothing if it was the last task; not doing it costs the
others as long as it goes on."""

HASTE = 0.0002
"""Seconds of switch interval while the companion starts workers."""

LOOK = 0.001
"""Seconds between two looks of the companion."""

LATE = 0.0025
"""Seconds by which a look comes late if it had to wait for the GIL, which is handed over every
5 ms (`sys.getswitchinterval`), and not only for a processor."""

BOOTING = 0.005
"""Seconds a chunk takes in the caller while workers boot, so that they do not wait long for it."""

KNOWN = 256
"""Functions whose measurements are remembered."""

_known: dict[Any, Measured] = {}

_forgone = 0.0
"""Seconds that calls since the last start lost because workers had to be started.  They count
against the next start: many small calls get workers once they have lost what these cost."""


def recall(fn: Any) -> Measured | None:
    """Return what was measured of *fn* before: of its code, for a lambda is a new one each time.

    Of tasks with a function each, which have none in common (None), nothing is known.
    """
    return None if fn is None else _known.get(_key(fn))


def remember(fn: Any, seen: Measured) -> None:
    """Keep what was measured of *fn*, instead of the oldest if there is too much."""
    _known.pop(_key(fn), None)
    _known[_key(fn)] = seen
    if len(_known) > KNOWN:
        del _known[next(iter(_known))]


def brief(call: Call, source: Source) -> Report | None:
    """Run all of a call here and now, if an earlier one says that its tasks take no time.

    Then nothing else needs to be thought of: a map of a few cheap items costs what the loop costs.
    """
    known = recall(call.fn)
    total = source.total
    if known is None or total is None or total * known.cost > WARM_START:
        return None
    return run_here(call, Chunk(0, source.take(total)), 2 * WARM_START)


def _key(fn: Any) -> Any:
    while (inner := getattr(fn, "func", None) or getattr(fn, "__wrapped__", None)) is not None:
        fn = inner
    fn = getattr(fn, "__func__", fn)
    return getattr(fn, "__code__", None) or (type(fn), getattr(fn, "__qualname__", ""))


class Auto:
    """Chooses among the caller, and what *make* makes of "threads" or "processes".

    *make* is also told whether tasks may wait: then more threads than cores are of use.
    """

    def __init__(
        self,
        call: Call,
        source: Source,
        workers: int,
        make: Callable[[Where, bool], Executor],
    ) -> None:
        self.workers = 1  # while the caller computes, chunks need not get smaller towards the end
        self.window = workers
        self._call = call
        self._source = source
        self._available = workers
        self._make = make
        self._held: deque[Chunk] = deque()  # for whoever is free
        self._local: deque[Chunk] = deque()  # cannot be sent: for the caller
        self._pool: Executor | None = None
        self._where: Where = "serial"
        self._sent: list[Chunk] = []  # what the pool has
        self._away = False  # the pool is there: the caller only schedules
        self._settled = workers < 2  # nothing is left to choose
        self._lock = Lock()
        self._budget = target(1)  # seconds until the caller chooses again
        self._since = 0.0  # when the caller began to run a chunk; 0.0 if it does not
        self._sample: tuple[object, object] | None = None  # an input and its result
        self._seen = Measured()
        known = recall(call.fn)
        self.known = None if known is None else (known.tasks, known.cost)
        self._wants_companion = True
        if known is not None:
            self._begin(known)

    def submit(self, chunk: Chunk) -> None:
        if not self._away:
            self._held.append(chunk)
            return
        try:
            self._send(chunk)
        except Unsendable:
            if len(chunk) > 1:
                raise  # it comes again in halves, and only what cannot be sent stays here
            self._local.append(chunk)

    def wait(self, seconds: float | None) -> list[Report]:
        self._share()
        if self._pool is not None:
            idle = not (self._held or self._local)
            if reports := self._collect(seconds if idle else 0):
                return reports
        queue = self._local or self._held
        if not queue or seconds == 0:
            return []
        report = self._run(queue.popleft())
        if self._settled:
            return [report]
        self._measure(report)
        if self._pool is None:
            self._decide(len(report.chunk) - len(report.values))
        if self._pool is None:
            return [report]
        # What is held was cut for the caller alone: it comes again, cut for all.
        held, self._held = self._held, deque()
        return [report, *(Report(chunk, []) for chunk in held)]

    def close(self) -> None:
        global _forgone
        self._settled = True  # ends the companion
        if self._pool is not None:
            self._pool.close()
        elif self._available > 1:
            _forgone += forgone(self._seen, self._available)
        if self._where == "processes":
            _forgone = 0.0  # they are warm now
        if self._seen.tasks:
            remember(self._call.fn, self._seen)

    # In the caller

    def _begin(self, known: Measured) -> None:
        """Decide by what an earlier call has measured; from then on, this call counts.

        Its tasks may be of another size; and waiting is believed when seen, for noise looks alike.
        """
        if not self._settled and (known.releases_gil or not known.waits):
            self._seen = known
            self._decide()
        self._seen = known.again()

    def _run(self, chunk: Chunk) -> Report:
        """Run *chunk* here, with the companion beside it while there is something to choose."""
        if self._wants_companion and not self._settled:
            self._wants_companion = False
            with suppress(RuntimeError):  # no thread can be started: then nobody helps
                Thread(target=self._look, name="parmap-companion", daemon=True).start()
        self._since = perf_counter()
        try:
            return run_here(self._call, chunk, self._budget if self._pool is None else BOOTING)
        finally:
            with self._lock:
                self._since = 0.0

    def _measure(self, report: Report) -> None:
        self._seen.tasks += len(report.values)
        self._seen.wall += report.seconds
        self._seen.cpu += report.cpu
        if report.values and not report.caught:
            self._sample = report.chunk.items[0], report.values[0]

    def _decide(self, handed_back: int = 0) -> None:
        """Choose again, knowing more; *handed_back* tasks of the last chunk were not run."""
        remaining = self._source.remaining
        if remaining is not None:
            remaining += sum(map(len, self._held)) + handed_back
            if not remaining:
                return
        start = _start_cost()
        choice, why = where(self._seen, remaining, self._available, start)
        if choice == "processes" and not self._seen.moved and self._sample is not None:
            self._try_sending()
            choice, why = where(self._seen, remaining, self._available, start)
        if choice != "serial":
            self._start(choice, why, self._seen.waits)
            again, _ = where(self._seen, remaining, self._available, start)
            if self._pool is not None and again == "serial":
                self._pool.close()  # the function is large: that is known only now
                self._pool, self._settled = None, True
        elif not self._seen.sendable:
            self._settled = True
        if remaining is not None and self._seen.wall >= SEEN:
            self._budget = max(target(1), min(ALONE, 2 * left(self._seen, remaining)))

    def _try_sending(self) -> None:
        """Pickle an input and a result: how large are they, and can they be sent at all?"""
        from .pickling import dumps, loads
        from .worker import TRIED_BYTES

        try:
            item, value = map(dumps, self._sample or ())
            if len(value) <= TRIED_BYTES:
                loads(value)
            self._seen.moved = len(item) + len(value)
        except Exception:
            self._seen.sendable = False

    def _start(self, choice: Where, why: str, waits: bool) -> None:
        """Make the pool; if it cannot be made, everything stays here."""
        log("%s: %s", choice, why)
        from pickle import PicklingError

        try:
            self._pool = self._make(choice, waits)
        except PicklingError:
            self._settled = True
            return
        except ExecutorUnavailable as error:
            self._give_up(error)
            return
        self._seen.packing = getattr(self._pool, "packing", 0.0)
        self._where = choice
        self.workers = self._available  # from now on, chunks are for all

    def _share(self) -> None:
        """Give the pool what is held, but what the caller computes until the pool is there."""
        pool = self._pool
        if pool is None:
            return
        if not self._away and getattr(pool, "ready", True):
            self._away = self._settled = True
        if self._away:
            self.workers, self.window = pool.workers, pool.window
        room = self.window if self._away else min(self._available - 1, pool.window)
        while self._held and self._pool is not None and len(self._sent) < room:
            chunk = self._held.popleft()
            try:
                self._send(chunk)
            except Unsendable:
                self._local.append(chunk)

    def _send(self, chunk: Chunk) -> None:
        """Give *chunk* to the pool; raise Unsendable if it must run here."""
        assert self._pool is not None
        try:
            self._pool.submit(chunk)
        except ExecutorUnavailable as error:
            self._held.append(chunk)
            self._give_up(error)
        else:
            self._sent.append(chunk)

    def _collect(self, seconds: float | None) -> list[Report]:
        """Return the reports of the pool."""
        assert self._pool is not None
        try:
            reports = self._pool.wait(seconds)
        except ExecutorUnavailable as error:
            self._give_up(error)
            return []
        for report in reports:
            self._sent = [chunk for chunk in self._sent if chunk is not report.chunk]
            if self._where == "processes":  # threads share a lock, and measure each other
                self._measure(report)
        return reports

    def _give_up(self, error: Exception) -> None:
        """Stay in the caller for good: no worker can be started."""
        from warnings import warn

        warn(f"parmap runs serially: {error}", RuntimeWarning, stacklevel=2)
        if self._pool is not None:
            self._pool.close()
        self._held.extend(self._sent)
        self._sent.clear()
        self._pool, self._away, self._settled = None, False, True
        self.workers = self.window = 1

    # In the companion

    def _look(self) -> None:
        """Measure how freely a thread runs beside the tasks, until one of them is long."""
        while not self._settled:
            before = perf_counter()
            sleep(LOOK)
            late = perf_counter() - before - LOOK
            since = self._since
            if since and since < before:
                self._seen.looks += 1
                self._seen.free += late < LATE
                if before - since > self._budget + LONG:
                    with self._lock:
                        if self._since == since and self._pool is None and self._held:
                            self._help()
                            return

    def _help(self) -> None:
        """Give what waits to a pool while the caller is busy with a long task."""
        choice: Where = "threads" if self._seen.releases_gil else "processes"
        interval = sys.getswitchinterval()
        # A pure Python task gives up the GIL once an interval, and a start asks for it a hundred
        # times (imports, files, a process): at the usual 5 ms that would take half a second.
        sys.setswitchinterval(HASTE)
        try:
            why = f"a task takes more than {self._budget + LONG:.2g} s"
            self._start(choice, why, waits=True)  # for all that is known
            self._share()
        finally:
            sys.setswitchinterval(interval)


def _start_cost() -> float:
    """Return the seconds that a start of worker processes would cost now."""
    lanes = sys.modules.get("parmap.executors.lanes")
    warm = lanes is not None and lanes.idle() > 0
    return WARM_START if warm else max(WARM_START, COLD_START - _forgone)


def log(text: str, *args: object) -> None:
    """Write a debug line for the logger "parmap"; who wants it has imported logging."""
    if (logging := sys.modules.get("logging")) is not None:
        logging.getLogger("parmap").debug(text, *args)
