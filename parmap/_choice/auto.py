"""The executor "auto": the loop it replaces, until measurements say that something else is faster.

::

    trial    the caller runs chunk after chunk, as the loop would; each is measured
               a companion thread measures too, how freely it runs beside the tasks, and when one
               task takes long it gives the chunks that wait to worker processes
    booting  workers were chosen, and not all have loaded the function: the caller computes on
    away     all chunks go to the chosen executor; the caller's thread only schedules
    leaving  that was slower than the loop: what is out comes back, and the caller computes on

What is chosen, and why, is said by `serial_or_parallel.decide`, from all that is known; here it is
done.

Guaranteed: no more tasks run at the same time than there are workers; the input is drawn from by
the caller's thread alone; nothing is raised that the loop would not raise: what cannot be sent to
another process or loaded there (the function, an item, a result) runs in the caller; what has
crashed a worker does not.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter

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

PATIENT = 0.1
"""Of the time that workers take to load the function, what a chunk may take in the caller: they
may wait for that once, and a look at them costs some 50 us each time."""


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
        self._nothing: deque[Chunk] = deque()
        self._sent: list[Chunk] = []
        self._news: list[Report | Exception] = []  # what the pool has told, or raised
        self._pool: Executor | None = None  # one at most, which `wake` relies on
        self._made = 0.0  # when it was made
        self._away = False  # the pool is there: the caller only schedules
        self._leaving = False  # the pool gets no more chunks
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
        began = perf_counter()
        try:
            self._send(chunk)
        except Unsendable:
            if len(chunk) > 1:
                raise  # it comes again in halves, and only what cannot be sent stays here
            self._own.append(chunk)
        self._chooser.spend(perf_counter() - began)

    def wait(self, seconds: float | None) -> list[Report]:
        self._share()
        if self._pool is not None:
            began = perf_counter()
            reports = self._collect(self._pool, 0 if self._queue else seconds)
            self._chooser.spend(perf_counter() - began)
            self._reconsider()
            if reports:
                return reports
        if not self._queue or seconds == 0:
            return []
        return self._run(self._queue.popleft())

    @property
    def _queue(self) -> deque[Chunk]:
        """What the caller is to run, now: nothing if there are tasks enough in the pool."""
        if self._own:
            return self._own
        full = self._away or len(self._sent) >= self._facts.workers
        return self._nothing if full else self._waiting

    def wake(self) -> None:
        # Without a pool no wait takes longer than its tasks; if it is given up now, none does.
        if (pool := self._pool) is not None:
            pool.wake()

    def close(self) -> None:
        self._companion.settled = True
        if self._pool is not None:
            self._pool.close()
        self._chooser.close(stayed=self._pool is None)

    def _run(self, chunk: Chunk) -> list[Report]:
        """Run *chunk* here, for as long as nothing else needs the caller; choose again."""
        budget = self._budget
        if self._pool is not None:
            booting = PATIENT * (perf_counter() - self._made)
            budget = BOOTING if self._pool.window else min(budget, max(BOOTING, booting))
        try:
            one = len(chunk) == 1
            self._companion.begin(self._facts.seen, budget, self._help, one=one)
            report = run_here(self._call, chunk, budget)
        finally:
            self._companion.end()
        self._chooser.complain(report.seconds)
        if self._companion.settled:
            return [report]
        self._facts.long = 0.0
        self._chooser.measure(report)
        if self._pool is None or self._source.fleeting:
            self._decide(len(report.chunk) - len(report.values))
            if self._pool is not None:
                # What waits was cut for the caller alone: it comes again, cut for all.
                waiting, self._waiting = self._waiting, deque()
                return [report, *(Report(chunk, []) for chunk in waiting)]
        return [report]

    def _help(self, seconds: float, cpu: float) -> bool:
        """In the companion, again and again while the caller is at a task: see to the pool.

        The task has taken *seconds* by now, *cpu* of processor time.  If there is no pool yet, one
        may be made.  Returns whether there is one.
        """
        facts, source = self._facts, self._source
        if self._pool is None:
            may_come = not (source.indexed or source.ended)  # an iterator does not say it
            if not (self._waiting or may_come):
                return False
            facts.long, facts.long_cpu = seconds, cpu
            facts.remaining = self._remaining()
            choice = self._chooser.choose()
            if choice.where == "serial":
                return False
            with self._companion.settings(), faster_switching:
                self._start(choice)
        if self._pool is not None:
            self._hear(self._pool, 0)
            self._share(computing=True)
        return self._pool is not None

    def _remaining(self, handed_back: int = 0) -> int | None:
        """Return how many tasks are left besides the one that runs; None if nobody knows."""
        if (remaining := self._source.remaining) is None:
            return None
        return remaining + sum(map(len, self._waiting)) + handed_back

    def _decide(self, handed_back: int = 0) -> None:
        """Choose again, knowing more; *handed_back* tasks of the last chunk were not run."""
        facts = self._facts
        facts.remaining, facts.fleeting = self._remaining(handed_back), self._source.fleeting
        if facts.remaining == 0 and not facts.fleeting:
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
            self._made = perf_counter()
            self._chooser.say(choice)
            facts = self._facts
            facts.pool, facts.seen.packing = choice.where, self._pool.packing
            self.workers = facts.workers  # from now on, chunks are for all
            self.window = 2 * facts.workers  # for the pool to go on while the caller is at a task

    def _share(self, *, computing: bool = False) -> None:
        """Give the pool what waits; unless all of it is ready, the caller is a worker, too.

        *computing*: the caller is at a task right now.
        """
        if (pool := self._pool) is None or self._leaving:
            return
        if not (self._away or computing) and pool.ready:
            self._away = self._companion.settled = True
            self._chooser.compare()
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

    def _hear(self, pool: Executor, seconds: float | None) -> None:
        """Take what the pool tells, or raises."""
        try:
            reports = pool.wait(seconds)
        except Exception as error:  # the function's: what a task raises is in its report
            self._news.append(error)
            return
        self._news += reports
        for report in reports:
            self._sent = [chunk for chunk in self._sent if chunk is not report.chunk]

    def _collect(self, pool: Executor, seconds: float | None) -> list[Report]:
        """Return the reports of the pool, but on what must run here."""
        self._hear(pool, 0 if self._news else seconds)
        news, self._news = self._news, []
        whole = []
        for report in news:
            if isinstance(report, Exception):
                name = type(report).__name__
                why = f"fn cannot be loaded in another process: {name}: {report}"
                self._give_up(report, why)
            elif self._chooser.accept(report):
                whole.append(report)
            else:
                self._own.append(report.chunk)
        if self._chooser.is_hopeless() and self._pool is not None:
            self._come_back(self._facts.seen.unsendable)
        return whole

    def _reconsider(self) -> None:
        """Leave the pool if it has lost against the loop; when it is empty, choose again."""
        if self._pool is None:
            return
        if not self._leaving and self._away and self._chooser.has_lost():
            self._leaving, self._away = True, False
            self.workers, self.window = 1, self._facts.workers
        if self._leaving and not self._sent:
            self._pool.close()
            self._pool, self._facts.pool, self._leaving = None, "serial", False
            self._companion = Companion(self._source)
            self._decide()

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
        self._away, self._leaving, self._companion.settled = False, False, True
        self.workers = self.window = 1
