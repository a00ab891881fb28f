"""The executor "auto": the loop it replaces, until measurements say that something else is faster.

::

    trial    the caller runs chunk after chunk, as the loop would; each is measured
               a companion thread measures too, how freely it runs beside the tasks, and when one
               task takes long it gives the chunks that wait to worker processes
    booting  workers were chosen and are not there yet: the caller computes on
    away     all chunks go to the chosen executor; the caller's thread only schedules

Guaranteed: no more tasks run at the same time than there are workers; the input is drawn from by
the caller's thread alone; nothing is raised that the loop would not raise: what cannot be sent to
another process or loaded there (the function, an item, a result) runs in the caller.

Assumed: the companion touches the executor only under `_lock`, and only while the caller runs a
task, which it does without the lock.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Lock, Thread
from time import perf_counter, sleep

from .._engine.chunking import SOLO, target
from .._engine.executor import Executor
from .._records.errors import ExecutorUnavailable
from .._records.frames import warn
from .._records.machine import gil_is_on, imported, settings
from .._records.work import Chunk, Report, Unsendable
from .._workers import warm
from .._workers.tasks import run_here
from .known import recall, remember
from .policy import COLD_START, SEEN, WARM_START, Measured, forgone, left, where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._engine.source import Source
    from .._records.work import Call
    from .policy import Where


LONG = 0.01
"""Seconds beyond the end of its time after which a chunk has met a long task: then workers are
started beside it.  That costs a start for nothing if it was the last task; not doing it costs the
others as long as it goes on."""
HASTE = 0.0002
"""Seconds of switch interval while the companion starts workers."""
LOOK = 0.001
"""Seconds between two looks of the companion."""
LATE = 0.5
"""Of a switch interval (5 ms, if the program has set no other), by which a look comes late if it
had to wait for the GIL, which is handed over once an interval, and not only for a processor."""
SHORTEST = 0.002
"""Seconds of switch interval below which waiting for the GIL cannot be told from waiting for a
processor: then nothing is measured."""
FEW = 8
"""Tasks for each that cannot be sent: if there are as many, that one may run in the caller."""
DEAR = 1.0
"""Seconds lost in the caller, because something cannot be sent, that are worth a warning."""
BOOTING = 0.005
"""Seconds a chunk takes in the caller while workers boot, so that they do not wait long for it."""
_forgone = 0.0
"""Seconds that calls since the last start lost because workers had to be started.  They count
against the next start: many small calls get workers once they have lost what these cost."""


def run_at_once(call: Call, source: Source) -> Report | None:
    """Run all of a call here and now, if an earlier one says that its tasks take no time.

    Then nothing else needs to be thought of: a map of a few cheap items costs what the loop costs.
    """
    known = recall(call.fn)
    total = source.total
    if known is None or total is None or total * known.cost > WARM_START:
        return None
    # A length is a hint: one item more is asked for, which tells whether the input has ended.
    return run_here(call, Chunk(0, source.here(total + 1)), 2 * WARM_START, with_cpu=False)


class Auto(Executor):
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
        self._settled = workers < 2 or source.fleeting  # nothing is left to choose
        self._gil = gil_is_on()
        self._lost = 0.0  # seconds in the caller since it is known that something cannot be sent
        self._refused = 0  # tasks so far that could not be sent, or their results
        self._lock = Lock()
        self._budget = target(1)  # seconds until the caller chooses again
        self._asked = 0.0  # how long the input had taken in all by then
        self._since = 0.0  # when the caller began to run a chunk; 0.0 if it does not
        self._sample: tuple[object, object] | None = None  # an input and its result
        self._seen = Measured()
        known = recall(call.fn)
        self.known = None if known is None else (known.tasks, known.cost)
        self._wants_companion = True
        if known is not None:
            self._begin(known)

    @property
    def in_caller(self) -> bool:
        """Whether nothing is drawn ahead, for all runs in the caller."""
        return self._pool is None or self._source.fleeting

    def submit(self, chunk: Chunk) -> None:
        if self._source.fleeting:
            self._local.append(chunk)
            return
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
        if self._seen.unsendable:
            self._complain(report.seconds)
        if self._settled:
            return [report]
        self._measure(report)
        if self._source.fleeting:
            self._settled = True
        elif self._pool is None:
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
            self._seen.unsendable = ""  # the next call's items and results are others
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
            # Threads that it starts get their context from it, and their settings.
            self._settings = settings()
            look = partial(copy_context().run, self._look)
            with suppress(RuntimeError):  # no thread can be started: then nobody helps
                Thread(target=look, name="parmap-companion", daemon=True).start()
        self._asked = self._source.asked
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
        choice, why = where(self._seen, remaining, self._available, start, gil=self._gil)
        if choice == "processes" and not self._seen.moved and self._sample is not None:
            self._try_sending()
            choice, why = where(self._seen, remaining, self._available, start, gil=self._gil)
        if choice != "serial":
            self._start(choice, why, self._seen.waits)
            again, why = where(self._seen, remaining, self._available, start, gil=self._gil)
            if self._pool is not None and again == "serial":
                log("serial: %s", why)
                self._pool.close()  # the function is large: that is known only now
                self._pool, self._settled = None, True
        elif self._seen.unsendable:
            log("serial: %s", why)
            self._settled = True
        if remaining is not None and self._seen.wall >= SEEN:
            self._budget = max(target(1), min(SOLO, 2 * left(self._seen, remaining)))

    def _try_sending(self) -> None:
        """Pickle an input and a result: how large are they, and can they be sent at all?"""
        from .._wire.messages import TRIED_BYTES
        from .._wire.pickling import dumps, loads
        from .._wire.refusal import refusal
        from .._wire.shared_objects import Spawning

        assert self._sample is not None
        moved = 0
        names = "args[0]" if self._call.shape == "item" else "args", "result"
        for name, part in zip(names, self._sample, strict=True):
            try:
                with Spawning() as spawning:  # locks and their like travel out, not back
                    data = dumps(part, None, spawning.reducers if name != "result" else None)
                if name == "result" and len(data) <= TRIED_BYTES:
                    loads(data)
                moved += len(data)
            except Exception as error:
                self._seen.unsendable = refusal(part, name, error)
                return
        self._seen.moved = moved

    def _start(self, choice: Where, why: str, waits: bool) -> None:
        """Make the pool; if it cannot be made, everything stays here."""
        from pickle import PicklingError

        try:
            self._pool = self._make(choice, waits)
        except PicklingError as error:
            self._seen.unsendable = str(error)
            self._settled = True
            log("serial: %s", error)
            return
        except ExecutorUnavailable as error:
            self._give_up(error)
            return
        log("%s: %s", choice, why)
        self._seen.packing = self._pool.packing
        self._where = choice
        self.workers = self._available  # from now on, chunks are for all

    def _share(self) -> None:
        """Give the pool what is held, but what the caller computes until the pool is there."""
        pool = self._pool
        if pool is None:
            return
        if not self._away and pool.ready:
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
        except Exception as error:  # the function's: what a task raises is in its report
            text = f"fn cannot be loaded in another process: {type(error).__name__}: {error}"
            self._refuse(text)
            return []
        reports = [report for report in reports if self._accept(report)]
        if self._refused > 1 and self._refused * FEW > self._seen.tasks and self._pool is not None:
            self._refuse(self._seen.unsendable)
        return reports

    def _accept(self, report: Report) -> bool:
        """Take the *report* of the pool, and run here what could not be sent."""
        self._sent = [chunk for chunk in self._sent if chunk is not report.chunk]
        if self._where == "processes":  # threads share a lock, and measure each other
            self._measure(report)
        if report.loss is not None and report.loss.kind == "unpicklable" and len(report.chunk) == 1:
            self._note_refusal(report.loss.error)
            self._local.append(report.chunk)
            return False
        for position, caught in list(report.caught.items()):
            if caught.kind == "unpicklable":
                self._note_refusal(caught.exception)
                again = run_here(self._call, report.chunk.part(position, position + 1), SOLO)
                del report.caught[position]
                report.values[position] = again.values[0]
                if again.caught:
                    report.caught[position] = again.caught[0]
        return True

    def _note_refusal(self, error: BaseException) -> None:
        self._refused += 1
        self._seen.unsendable = str(error)

    def _refuse(self, why: str) -> None:
        """Stay in the caller for good: something cannot be sent."""
        self._seen.unsendable = why
        log("serial: %s", why)
        self._come_back()

    def _give_up(self, error: Exception) -> None:
        """Stay in the caller for good: no worker can be started."""
        self._come_back()
        log("serial: %s", error)
        warn(f"parmap runs serially: {error}")

    def _come_back(self) -> None:
        """Close the pool; what it has is run here, once more if need be."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._held.extend(self._sent)
        self._sent.clear()
        self._away, self._settled = False, True
        self.workers = self.window = 1

    def _complain(self, seconds: float) -> None:
        """Say once what keeps the tasks here, when that costs more than it would to be told."""
        before = self._lost
        self._lost += seconds * (1 - 1 / self._available)
        if before < DEAR <= self._lost:
            with suppress(RuntimeWarning):  # a filter makes it an error, which costs the results
                warn(f"parmap runs these tasks one after the other: {self._seen.unsendable}")

    # In the companion

    def _look(self) -> None:
        """Measure how freely a thread runs beside the tasks, until one of them is long."""
        while not self._settled:
            interval, asked = sys.getswitchinterval(), self._source.is_asked
            before = perf_counter()
            sleep(LOOK)
            late = perf_counter() - before - LOOK
            since = self._since
            # While the input is asked, no task runs.
            if since and since < before and not (asked or self._source.is_asked):
                since_asked = since + self._source.asked - self._asked
                if interval >= SHORTEST:
                    self._seen.looks += 1
                    self._seen.free += late < LATE * interval
                if before - since_asked > self._budget + LONG:
                    with self._lock:
                        if self._since == since and self._pool is None and self._may_help():
                            with self._settings():
                                self._help()
                            return

    def _may_help(self) -> bool:
        """Tell whether there is, or may be, something else to do; an iterator does not say it."""
        return bool(self._held) or not (self._source.indexed or self._source.ended)

    def _help(self) -> None:
        """Give what waits to a pool while the caller is busy with a long task."""
        free = self._seen.releases_gil or not self._gil
        choice: Where = "threads" if free else "processes"
        with _faster_switching:
            why = f"a task takes more than {self._budget + LONG:.2g} s"
            self._start(choice, why, waits=True)  # for all that is known
            self._share()


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
            if not self._users:
                self._put_back()

    def _put_back(self) -> None:
        if abs(sys.getswitchinterval() - min(HASTE, self._before)) < 1e-6:
            sys.setswitchinterval(self._before)

    def forget(self) -> None:
        """In a forked child: those threads are the parent's."""
        if self._users:
            self._put_back()
        self._users, self._lock = 0, Lock()


_faster_switching = FasterSwitching()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_faster_switching.forget)


def _start_cost() -> float:
    """Return the seconds that a start of worker processes would cost now."""
    return WARM_START if warm.count() else max(WARM_START, COLD_START - _forgone)


def log(text: str, *args: object) -> None:
    """Write a debug line for the logger "parmap"; who wants it has imported logging."""
    if (logging := imported("logging")) is not None:
        logging.getLogger("parmap").debug(text, *args)
