"""What "auto" knows of a call, what it chooses because of that, and who is told."""

from __future__ import annotations

from collections import deque
from time import perf_counter

from .._engine.chunking import SOLO
from .._records.errors import ExecutorUnavailable
from .._records.machine import gil_is_on, imported, interpreter
from .._records.stack_frames import warn
from .._workers import warm
from .._workers.loading import expected, packages
from .._workers.tasks import run_here
from .comparison import Comparison
from .history import recall, remember
from .serial_or_parallel import COLD_START, WARM_START, Facts, Measured, decide, forgone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._engine.source import Source
    from .._records.work import Call, Chunk, Report
    from .serial_or_parallel import Choice

    Tell = Callable[[object], None]


FEW = 8
"""Tasks for each that cannot be sent: if there are as many, that one may run in the caller."""

DEAR = 1.0
"""Seconds lost in the caller, because something cannot be sent, that are worth a warning."""

_forgone = 0.0
"""Seconds that calls since the last start lost because workers had to be started.  They count
against the next start: many small calls get workers once they have lost what these cost."""


class Chooser:
    """Gathers the *facts* of a call, and says what they lead to.

    *tell* is given each choice as an event.
    """

    def __init__(self, call: Call, source: Source, workers: int, tell: Tell | None) -> None:
        known = recall(call.fn)
        self.facts = Facts(known or Measured(), workers, 0)
        self.facts.earlier = known is not None
        self.facts.gil = gil_is_on()
        self._call = call
        self._source = source
        self._tell = tell
        self._packages = packages(call.fn)
        self._comparison: Comparison | None = None
        self._last: Choice | None = None
        self._untold: deque[object] = deque()
        self._said = False
        self._sample: tuple[object, object] | None = None  # an input and its result
        self._refused = 0  # tasks so far that could not be sent, or their results
        self._lost = 0.0  # seconds in the caller since it is known that something cannot be sent

    def choose_again(self, waiting: Iterable[Chunk], handed_back: int) -> Choice | None:
        """Choose for what is left, *waiting* and *handed_back* tasks included; None: nothing is."""
        facts = self.facts
        facts.remaining, facts.fleeting = self._remaining(waiting), self._source.fleeting
        if facts.remaining is not None:
            facts.remaining += handed_back
        if facts.remaining == 0 and not facts.fleeting:
            return None
        return self.choose()

    def choose_beside(self, long: float, cpu: float, waiting: Iterable[Chunk]) -> Choice | None:
        """Choose while a task goes on that has taken *long*, *cpu* of it processor time."""
        facts = self.facts
        facts.long, facts.long_cpu, facts.remaining = long, cpu, self._remaining(waiting)
        return None if facts.remaining == 0 else self.choose()

    def _remaining(self, waiting: Iterable[Chunk]) -> int | None:
        """Return how many tasks are left, besides those that run; None if nobody knows."""
        remaining = 0 if self._source.ended else self._source.remaining
        return None if remaining is None else remaining + sum(map(len, waiting))

    def choose(self) -> Choice:
        """Choose by the facts as they stand."""
        facts = self.facts
        if facts.pool == "serial":
            facts.start, facts.loading = self._until_workers()
        self._last = decide(facts)
        if self._last.where == "processes":
            facts.can_start = can_start()
            if facts.can_start and self._sample and not (facts.seen.moved or facts.long):
                self._try_sending(*self._sample)
            self._last = decide(facts)
        return self._last

    def _until_workers(self) -> tuple[float, float]:
        """Return what a start costs the caller, and how long workers load the function then."""
        if (loading := warm.outlook(self._packages)) is None:
            start, loading = COLD_START, expected(self._packages)
            return max(WARM_START, start - _forgone), max(0.0, loading - _forgone)
        return WARM_START, max(0.0, loading - _forgone)

    def say(self, choice: Choice) -> None:
        """Write *choice* to the logger "parmap", and keep it for `tell`.

        Who wants to see debug lines has imported logging.
        """
        self._said = True
        if (logging := imported("logging")) is not None:
            logging.getLogger("parmap").debug("%s: %s", choice.where, choice.why)
        if self._tell is not None:
            from .._records.events import Chosen

            self._untold.append(Chosen(perf_counter(), choice.where, choice.why, choice.numbers))

    def begin(self, choice: Choice, packing: float) -> None:
        """Be told that what was chosen is there, and how long the function took to pickle."""
        self.say(choice)
        self.facts.pool, self.facts.seen.packing = choice.where, packing

    def tell(self) -> None:
        """Tell what was said: in the caller's thread, where not all is chosen."""
        while self._untold and self._tell is not None:
            self._tell(self._untold.popleft())

    def measure(self, report: Report) -> None:
        """Learn from tasks that ran."""
        seen = self.facts.seen
        seen.tasks += len(report.values)
        seen.wall += report.seconds
        seen.cpu += report.cpu
        if report.values and not report.caught:
            self._sample = report.chunk.items[0], report.values[0]

    def close(self, *, stayed: bool) -> None:
        """Remember what was learnt; *stayed* says that the call has ended in the caller."""
        global _forgone
        facts, seen = self.facts, self.facts.seen
        if stayed and facts.workers > 1:
            _forgone += forgone(seen, facts.workers)
        if facts.pool == "processes":
            _forgone = 0.0  # they are warm now
        if not self._said and (self._tell or imported("logging")):
            self.say(self._last or self.choose())
        if seen.tasks:
            seen.end_call(facts.pool)
            seen.unsendable = ""  # the next call's items and results are others
            remember(self._call.fn, seen)
        self.tell()

    # What cannot be sent to another process

    def _try_sending(self, item: object, result: object) -> None:
        """Pickle an input and a result: how large are they, and can they be sent at all?"""
        from .._wire.locks_and_queues import Spawning
        from .._wire.messages import TRIED_BYTES
        from .._wire.pickling import dumps, loads
        from .._wire.refusal import refusal

        moved, seconds, seen = 0, 0.0, self.facts.seen
        names = {"args[0]" if self._call.shape == "item" else "args": item, "result": result}
        for name, part in names.items():
            try:
                with Spawning() as spawning:  # locks and their like travel out, not back
                    reducers = spawning.reducers if name != "result" else None
                    data = dumps(part, None, reducers)
                    began = perf_counter()
                    dumps(part, None, reducers)  # once more: the first may have imported something
                    seconds += 2 * (perf_counter() - began)
                if name == "result" and len(data) <= TRIED_BYTES:
                    loads(data)
                moved += len(data)
            except Exception as error:
                seen.unsendable = refusal(part, name, error)
                return
        seen.moved, seen.moving = moved, seconds

    # Whether the pool is worth it

    def compare(self) -> None:
        """Hold the pool against the caller from now on."""
        facts = self.facts
        self._comparison = Comparison(facts.pool, facts.seen, facts.workers)

    def spend(self, seconds: float) -> None:
        """Be told that *seconds* of the caller's went into the pool."""
        if self._comparison is not None:
            self._comparison.spend(seconds)

    def has_lost(self) -> bool:
        """Tell whether the pool has turned out slower than the loop; then it is not chosen again.

        What was seen of the GIL is forgotten, if that was why.
        """
        facts = self.facts
        if self._comparison is None or not self._comparison.is_lost:
            return False
        self._comparison = None
        facts.seen.doubt(facts.pool)
        if facts.pool == "threads":
            facts.seen.looks = facts.seen.free = 0
        return True

    def accept(self, report: Report) -> bool:
        """Learn from the *report* of a pool, and run here the tasks that could not be sent back.

        False if it is on a single task that could not be sent out: nobody has run that.
        """
        if self._comparison is not None:
            self._comparison.add(report)
        if self.facts.pool == "processes":  # threads share a lock, and measure each other
            self.measure(report)
        if report.loss is not None and report.loss.kind == "unpicklable" and len(report.chunk) == 1:
            self._note(report.loss.error)
            return False
        for position, caught in list(report.caught.items()):
            if caught.kind == "unpicklable":
                self._note(caught.exception)
                again = run_here(self._call, report.chunk.part(position, position + 1), SOLO)
                del report.caught[position]
                report.values[position] = again.values[0]
                if again.caught:
                    report.caught[position] = again.caught[0]
        return True

    def _note(self, error: BaseException) -> None:
        self._refused += 1
        self.facts.seen.unsendable = str(error)

    def is_hopeless(self) -> bool:
        """Tell whether too much cannot be sent to go on with it."""
        return self._refused > 1 and self._refused * FEW > self.facts.seen.tasks

    def complain(self, seconds: float) -> None:
        """Say once what keeps tasks here, when that costs more than it would to be told.

        One that took *seconds* has just run here.
        """
        if not (why := self.facts.seen.unsendable):
            return
        before = self._lost
        self._lost += seconds * (1 - 1 / self.facts.workers)
        if before < DEAR <= self._lost:
            try:
                warn(f"parmap runs these tasks one after the other: {why}")
            except RuntimeWarning:  # a filter makes it an error, which costs the results
                pass


def can_start() -> bool:
    """Tell whether there is a Python to start workers with."""
    try:
        interpreter()
    except ExecutorUnavailable:
        return False
    return True
