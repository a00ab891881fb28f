"""The executor "auto": the loop it replaces, until measurements say that something else is faster.

::

    trial    the caller runs chunk after chunk, as the loop would; each is measured
               a companion thread measures too, how freely it runs beside the tasks, and when one
               task takes long it gives the chunks that wait to worker processes
    booting  workers were chosen and are not there yet: the caller computes on
    away     all chunks go to the chosen executor; the caller's thread only schedules

What is chosen, and why, is said by `policy.decide`, from all that is known; here it is done.

Guaranteed: no more tasks run at the same time than there are workers; the input is drawn from by
the caller's thread alone; nothing is raised that the loop would not raise: what cannot be sent to
another process or loaded there (the function, an item, a result) runs in the caller.
"""

from __future__ import annotations

from collections import deque

from .._engine.chunking import target
from .._engine.interfaces import Executor
from .._records.errors import ExecutorUnavailable
from .._records.stack_frames import warn
from .._records.work import Chunk, Report, Unsendable
from .._workers.tasks import run_here
from .auto_facts import Chooser
from .auto_thread import Companion, faster_switching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._engine.source import Source
    from .._records.work import Call
    from .auto_facts import Tell
    from .serial_or_parallel import Choice, Where

    Make = Callable[[Where, bool], Executor]


BOOTING = 0.005
"""Seconds a chunk takes in the caller while workers boot, so that they do not wait long for it."""


class Auto(Executor):
    """Chooses among the caller, and what *make* makes of "threads" or "processes".

    *make* is also told whether tasks may wait: then more threads than cores are of use.  *tell* is
    given each choice as an event, by the caller's thread.

    Chunks that the caller does not run just now are in `_waiting`, for whoever is free; in `_own`,
    for the caller alone, because they cannot be sent; or in `_sent`, with the pool.
    """

    def __init__(
        self, call: Call, source: Source, workers: int, make: Make, tell: Tell | None = None
    ) -> None:
        self.workers = 1  # while the caller computes, chunks need not get smaller towards the end
        self.window = workers
        self._call = call
        self._source = source
        self._make = make
        self._waiting: deque[Chunk] = deque()
        self._own: deque[Chunk] = deque()
        self._sent: list[Chunk] = []
        self._pool: Executor | None = None  # one at most, which `wake` relies on
        self._away = False  # the pool is there: the caller only schedules
        self._budget = target(1)  # seconds until the caller chooses again
        self._chooser = Chooser(call, workers, tell)
        self._facts = facts = self._chooser.facts
        self._companion = Companion(source)
        self._companion.settled = workers < 2 or source.fleeting
        if facts.earlier:
            if not self._companion.settled:
                self._decide()
            facts.earlier, facts.seen = False, facts.seen.again()  # tasks may be of another size

    @property
    def in_caller(self) -> bool:
        """Whether nothing is drawn ahead, for all runs in the caller."""
        return self._pool is None or self._source.fleeting

    def submit(self, chunk: Chunk) -> None:
        self._chooser.tell()
        if self._source.fleeting:
            self._own.append(chunk)
            return
        if not self._away:
            self._waiting.append(chunk)
            return
        try:
            self._send(chunk)
        except Unsendable:
            if len(chunk) > 1:
                raise  # it comes again in halves, and only what cannot be sent stays here
            self._own.append(chunk)

    def wait(self, seconds: float | None) -> list[Report]:
        self._share()
        if self._pool is not None:
            idle = not (self._waiting or self._own)
            if reports := self._collect(self._pool, seconds if idle else 0):
                return reports
        queue = self._own or self._waiting
        if not queue or seconds == 0:
            return []
        try:
            self._companion.begin(self._facts.seen, self._budget, self._help)
            budget = self._budget if self._pool is None else BOOTING
            report = run_here(self._call, queue.popleft(), budget)
        finally:
            self._companion.end()
        self._chooser.complain(report.seconds)
        if self._companion.settled:
            return [report]
        self._chooser.measure(report)
        if self._pool is None or self._source.fleeting:
            self._decide(len(report.chunk) - len(report.values))
        if self._pool is None:
            return [report]
        # What waits was cut for the caller alone: it comes again, cut for all.
        waiting, self._waiting = self._waiting, deque()
        return [report, *(Report(chunk, []) for chunk in waiting)]

    def wake(self) -> None:
        # Without a pool no wait takes longer than its tasks; if it is given up now, none does.
        if (pool := self._pool) is not None:
            pool.wake()

    def close(self) -> None:
        self._companion.settled = True
        if self._pool is not None:
            self._pool.close()
        self._chooser.close(stayed=self._pool is None)

    def _help(self, seconds: float) -> bool:
        """In the companion: give what waits to a pool, for a task takes more than *seconds*."""
        source = self._source
        may_come = not (source.indexed or source.ended)  # an iterator does not say it
        if self._pool is not None or not (self._waiting or may_come):
            return False
        self._facts.long = seconds
        with self._companion.settings(), faster_switching:
            self._start(self._chooser.choose())
            self._share()
        return True

    def _decide(self, handed_back: int = 0) -> None:
        """Choose again, knowing more; *handed_back* tasks of the last chunk were not run."""
        facts, remaining = self._facts, self._source.remaining
        if remaining is not None:
            remaining += sum(map(len, self._waiting)) + handed_back
        facts.remaining, facts.fleeting = remaining, self._source.fleeting
        if remaining == 0 and not facts.fleeting:
            return
        choice = self._chooser.choose()
        self._budget = choice.budget or self._budget
        if choice.where != "serial":
            self._start(choice)
        if self._pool is not None:  # the function may be large: that is known only now
            choice = self._chooser.choose()
        if choice.final:
            self._come_back()

    def _start(self, choice: Choice) -> None:
        """Make the pool; if it cannot be made, everything stays here."""
        from pickle import PicklingError

        try:
            self._pool = self._make(choice.where, choice.waits)
        except (PicklingError, ExecutorUnavailable) as error:
            self._give_up(error, str(error))
        else:
            self._chooser.say(choice)
            facts = self._facts
            facts.pool, facts.seen.packing = choice.where, self._pool.packing
            self.workers = facts.workers  # from now on, chunks are for all

    def _share(self) -> None:
        """Give the pool what waits, but what the caller computes until the pool is there."""
        if (pool := self._pool) is None:
            return
        if not self._away and pool.ready:
            self._away = self._companion.settled = True
        if self._away:
            self.workers, self.window = pool.workers, pool.window
        room = self.window if self._away else min(self._facts.workers - 1, pool.window)
        while self._waiting and self._pool is not None and len(self._sent) < room:
            chunk = self._waiting.popleft()
            try:
                self._send(chunk)
            except Unsendable:
                self._own.append(chunk)

    def _send(self, chunk: Chunk) -> None:
        """Give *chunk* to the pool; raise Unsendable if it must run here."""
        assert self._pool is not None
        try:
            self._pool.submit(chunk)
        except ExecutorUnavailable as error:
            self._waiting.append(chunk)
            self._give_up(error, str(error))
        else:
            self._sent.append(chunk)

    def _collect(self, pool: Executor, seconds: float | None) -> list[Report]:
        """Return the reports of the pool, but on what must run here."""
        try:
            reports = pool.wait(seconds)
        except Exception as error:  # the function's: what a task raises is in its report
            name = type(error).__name__
            self._give_up(error, f"fn cannot be loaded in another process: {name}: {error}")
            return []
        whole = []
        for report in reports:
            self._sent = [chunk for chunk in self._sent if chunk is not report.chunk]
            if self._chooser.accept(report):
                whole.append(report)
            else:
                self._own.append(report.chunk)
        if self._chooser.is_hopeless() and self._pool is not None:
            self._come_back(self._facts.seen.unsendable)
        return whole

    def _give_up(self, error: Exception, why: str) -> None:
        """Stay in the caller for good: no worker can be started, or the function not be sent."""
        if isinstance(error, ExecutorUnavailable):
            self._come_back(str(error))
            warn(f"parmap runs serially: {error}")
        else:
            self._facts.seen.unsendable = why
            self._come_back(why)

    def _come_back(self, obstacle: str = "") -> None:
        """Stay in the caller for good; what the pool has is run here, once more if need be."""
        self._facts.obstacle = obstacle
        self._chooser.say(self._chooser.choose())
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._waiting.extend(self._sent)
        self._sent.clear()
        self._away, self._companion.settled = False, True
        self.workers = self.window = 1
