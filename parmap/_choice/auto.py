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
from .._records.c_modules import pickle
from .._records.errors import ExecutorUnavailable
from .._records.stack_frames import warn
from .._records.work import Chunk, PackingTooSlow, Report, Unsendable
from .._workers.tasks import run_here
from .auto_facts import Chooser
from .auto_pool import Pool
from .auto_thread import Companion, faster_switching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._engine.interfaces import Feed
    from .._records.work import Call
    from .auto_facts import Tell
    from .serial_or_parallel import Choice

    Make = Callable[[Choice], Executor]


class Auto(Executor):
    """Chooses among the caller, and what *make* makes of a choice of "threads" or "processes".

    *tell* is given each choice as an event, by the caller's thread.
    """

    def __init__(
        self, call: Call, source: Feed, workers: int, make: Make, tell: Tell | None = None
    ) -> None:
        self.workers = 1  # while the caller computes, chunks need not get smaller towards the end
        self.window = workers
        self._call = call
        self._source = source
        self._make = make
        self._waiting: deque[Chunk] = deque()  # for whoever is free
        self._own: deque[Chunk] = deque()  # for the caller alone: they cannot be sent
        self._pool: Pool | None = None  # one at most, which `wake` relies on
        self._budget = target(1)  # seconds until the caller chooses again
        self._chooser = Chooser(call, source, workers, tell)
        self._facts = facts = self._chooser.facts
        self._companion = Companion(source, settled=workers < 2 or source.fleeting)
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
        if self._source.fleeting or self._pool is None or not self._pool.away:
            (self._own if self._source.fleeting else self._waiting).append(chunk)
            return
        try:
            with self._chooser.spending:
                self._pool.submit(chunk)
        except Unsendable:
            if len(chunk) > 1:
                raise  # it comes again in halves, and only what cannot be sent stays here
            self._own.append(chunk)
        except ExecutorUnavailable as error:
            self._waiting.append(chunk)
            self._give_up(error)

    def wait(self, seconds: float | None) -> list[Report]:
        with self._chooser.spending:
            return self._wait(seconds)

    def _wait(self, seconds: float | None) -> list[Report]:
        self._share()
        if self._pool is not None:
            reports = self._collect(self._pool, seconds)
            self._reconsider()
            if reports:
                return reports
        return self._run(queue.popleft()) if seconds != 0 and (queue := self._queue()) else []

    def wake(self) -> None:
        if (pool := self._pool) is not None:  # without, no wait takes longer than its tasks
            pool.executor.wake()

    def close(self) -> None:
        self._companion.settled = True
        if (pool := self._pool) is not None:
            with self._chooser.spending:
                pool.executor.close()
        self._chooser.close(stayed=pool is None)

    def _queue(self) -> deque[Chunk] | None:
        """Return from where the caller is to run something, now, if it is to."""
        full = self._pool is not None and self._pool.is_full
        return self._own or (None if full else self._waiting)

    def _run(self, chunk: Chunk) -> list[Report]:
        """Run *chunk* here, for as long as nothing else needs the caller; choose again."""
        pool, one = self._pool, len(chunk) == 1
        budget = self._budget if pool is None else pool.budget(self._budget)
        try:
            self._companion.begin(self._facts.seen, budget, self._help, one=one)
            report = run_here(self._call, chunk, budget)
        finally:
            self._companion.end()
        self._chooser.refusals.complain(report.seconds)
        if self._companion.settled:
            return [report]
        self._facts.long = 0.0
        self._chooser.measure(report)
        if self._pool is None or self._source.fleeting:
            self._decide(len(report.chunk) - len(report.values))
        if self._pool is pool:
            return [report]
        # What waits was cut for the caller alone: it comes again, cut for all.
        waiting, self._waiting = self._waiting, deque()
        return [report, *(Report(chunk, []) for chunk in waiting)]

    def _help(self, seconds: float, cpu: float) -> bool:
        """In the companion, beside a task: see to the pool, or make one; tell if there is one."""
        if self._pool is None:
            choice = self._chooser.choose_beside(seconds, cpu, self._waiting)
            if choice is None or choice.where == "serial":
                return False
            with self._companion.settings(), faster_switching:
                self._start(choice)
        if self._pool is not None:
            self._pool.hear(0)
            self._share(computing=True)
        return self._pool is not None

    def _decide(self, handed_back: int = 0) -> None:
        """Choose again, knowing more; *handed_back* tasks of the last chunk were not run."""
        if (choice := self._chooser.choose_again(self._waiting, handed_back)) is None:
            return
        self._budget = choice.budget or self._budget
        if choice.where != "serial":
            self._start(choice)
        if self._pool is not None:  # the function may be large: that is known only now
            choice = self._chooser.choose()
        if choice.final:
            self._come_back()

    def _start(self, choice: Choice) -> None:
        """Make the pool; if it cannot be made, everything stays here."""
        workers, began = self._facts.workers, perf_counter()
        try:
            self._pool = Pool(self._make(choice), choice.where, workers, began)
        except PackingTooSlow:
            self._facts.seen.unpacked = choice.packing
            self._come_back()
        except (pickle.PicklingError, ExecutorUnavailable) as error:
            self._give_up(error)
        else:
            self._chooser.begin(choice, self._pool.executor.packing, self._pool.spent)
            # From now on, chunks are for all; and for the pool to go on while the caller is busy.
            self.workers, self.window = workers, 2 * workers

    def _share(self, *, computing: bool = False) -> None:
        """Give the pool what waits; rely on it when it is ready, and the caller not *computing*."""
        if (pool := self._pool) is None:
            return
        if not (pool.away or pool.leaving or computing) and pool.executor.ready:
            pool.away = self._companion.settled = True
            if pool.spent is None:
                self._chooser.compare(None)
        if pool.away:
            self.workers, self.window = pool.executor.workers, pool.executor.window
        try:
            pool.share(self._waiting, self._own)
        except ExecutorUnavailable as error:
            self._give_up(error)

    def _collect(self, pool: Pool, seconds: float | None) -> list[Report]:
        """Return the reports of the pool, but on what must run here."""
        whole = []
        for report in pool.collect(0 if self._queue() else seconds):
            if isinstance(report, Exception):
                self._give_up(report)
            elif self._chooser.accept(report):
                whole.append(report)
            else:
                self._own.append(report.chunk)
        if self._chooser.refusals.is_hopeless() and self._pool is not None:
            self._come_back(self._facts.seen.unsendable)
        return whole

    def _reconsider(self) -> None:
        """Leave the pool if it has lost against the loop; when it is empty, choose again."""
        if (pool := self._pool) and pool.away and (choice := self._chooser.reconsider()):
            pool.leave()
            self.workers, self.window = 1, self._facts.workers
            self._companion = Companion(self._source, settled=choice.final)
        if pool and pool.is_left:
            pool.executor.close()
            self._pool = None
            if not self._companion.settled:
                self._decide()

    def _give_up(self, error: Exception) -> None:
        """Stay in the caller for good: no worker can be started, or none has the function."""
        why = str(error)
        if not isinstance(error, (ExecutorUnavailable, pickle.PicklingError)):
            why = f"fn cannot be loaded in another process: {type(error).__name__}: {why}"
        if not isinstance(error, ExecutorUnavailable):
            self._facts.seen.unsendable = why
        self._come_back(why)
        if isinstance(error, ExecutorUnavailable):
            warn(f"parmap runs serially: {why}")

    def _come_back(self, obstacle: str = "") -> None:
        """Stay in the caller for good; what the pool has is run here, once more if need be."""
        self._facts.obstacle = obstacle
        self._chooser.say(self._chooser.choose())
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.executor.close()
            self._waiting.extend(pool.sent)
        self._companion.settled = True
        self.workers = self.window = 1
