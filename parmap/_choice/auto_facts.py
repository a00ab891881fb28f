"""What "auto" knows of a call, what it chooses because of that, and who is told."""

from __future__ import annotations

from collections import deque
from threading import get_native_id
from time import perf_counter

from .._records.errors import ExecutorUnavailable
from .._records.gil import delay
from .._records.machine import gil_is_on, imported, interpreter
from .._workers.loading import modules
from .comparison import Comparison
from .history import forgo, look_out, recall, remember, start_afresh
from .refusals import Refusals
from .serial_or_parallel import Facts, Measured, decide, magnitude

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._engine.interfaces import Feed
    from .._records.work import Call, Chunk, Report
    from .serial_or_parallel import Choice

    Tell = Callable[[object], None]


ALL = 0.95  # of its time, what a task that computes has as processor time if nobody else does


class Spending:
    """What the caller does in here goes into the pool, if there is one that is compared."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, *_: object) -> None:
        if (comparison := self._chooser.comparison) is not None:
            comparison.spend(perf_counter() - self._began)


class Chooser:
    """Gathers the *facts* of a call, and says what they lead to.

    *tell* is given each choice as an event.
    """

    def __init__(self, call: Call, source: Feed, workers: int, tell: Tell | None) -> None:
        known = recall(call.fn)
        self.facts = Facts(known or Measured(), workers, 0)
        self.facts.earlier = known is not None
        self.facts.gil = gil_is_on()
        self.facts.watched = True
        self.facts.threads = call.seed is None
        self._call = call
        self._source = source
        self._tell = tell
        self.comparison: Comparison | None = None
        self._thread = get_native_id()
        self._delay = delay()  # of that thread, when it was looked at last
        self._last: Choice | None = None
        self._left = 0.0  # seconds that were left when the pool was chosen
        self._waits = False  # whether it was chosen for tasks that wait
        self._untold: deque[object] = deque()
        self._said = False
        self._sample: tuple[object, object] | None = None  # an input and its result
        self.refusals = Refusals(call, self.facts)

    @property
    def spending(self) -> Spending:
        """What the caller does in there goes into the pool; made anew, it keeps nobody alive."""
        return Spending(self)

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
        facts.long_delayed = delay(self._thread) - self._delay
        return None if facts.remaining == 0 else self.choose()

    def _remaining(self, waiting: Iterable[Chunk]) -> int | None:
        """Return how many tasks are left, besides those that run; None if nobody knows."""
        remaining = 0 if self._source.ended else self._source.remaining
        return None if remaining is None else remaining + sum(map(len, waiting))

    def choose(self) -> Choice:
        """Choose by the facts as they stand."""
        facts = self.facts
        if facts.pool == "serial":
            if self._sample:
                facts.seen.modules = modules(*self._sample)
            facts.modules = facts.seen.modules
            look_out(facts, self._call.fn)
        facts.untried = not (self._sample or facts.seen.moved)
        self._last = decide(facts)
        if self._last.where == "processes":
            facts.can_start = can_start()
            if facts.can_start and self._sample and not (facts.seen.moved or facts.long):
                self.refusals.try_sending(*self._sample)
            self._last = decide(facts)
        return self._last

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

    def begin(self, choice: Choice, packing: float, spent: float | None) -> None:
        """Be told that what was chosen is there, and how long the function took to pickle.

        *spent*: see `Comparison.begin`.
        """
        self.say(choice)
        self.facts.pool, self.facts.seen.packing = choice.where, packing
        self._left, self._waits = choice.numbers["left"], choice.waits
        if spent is not None:
            self.compare(spent)

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
        if not report.worker:
            if self.facts.pool != "threads":  # which slow the caller down
                seen.ran_here(len(report.values), report.seconds)
            if self.comparison is not None:
                self.comparison.add(report)
            seen.delayed += self._delayed(report)
        if report.values and not report.caught:
            self._sample = report.chunk.items[0], report.values[0]

    def _delayed(self, report: Report) -> float:
        """Return for how long the tasks in *report*, which ran here, had no processor."""
        if (thread := get_native_id()) != self._thread:
            self._thread, self._delay = thread, delay()
        if report.cpu > ALL * report.seconds:
            return 0.0
        before, self._delay = self._delay, delay()
        return min(report.seconds, self._delay - before)

    def close(self, *, stayed: bool) -> None:
        """Remember what was learnt; *stayed* says that the call has ended in the caller."""
        facts, seen = self.facts, self.facts.seen
        if stayed and facts.workers > 1:
            forgo(seen, facts.workers, seen.tasks)
        if facts.pool == "processes":
            start_afresh()
        if not self._said and (self._tell or imported("logging")):
            self.say(self._last or self.choose())
        if known := seen if seen.tasks else recall(self._call.fn):
            known.length = self._source.drawn
            known.end_call(facts.pool, self._left)
        if seen.tasks:
            seen.unsendable = ""  # the next call's items and results are others
            remember(self._call.fn, seen)
        self.tell()

    def compare(self, spent: float | None) -> None:
        """Hold the pool against the caller from now on; *spent*: see `Comparison.begin`."""
        where, seen = self.facts.pool, self.facts.seen
        at = where, magnitude(self._left)
        self.comparison = seen.comparisons.setdefault(at, Comparison(where))
        alone = self.facts.loading > 0
        self.comparison.begin(seen, self.facts.workers, spent, waits=self._waits, alone=alone)

    def reconsider(self) -> Choice | None:
        """Return what to choose instead if the pool has turned out slower than the loop.

        It is not chosen again; what was seen of the GIL is forgotten, if that was why it was.
        """
        facts = self.facts
        if self.comparison is None or not self.comparison.is_lost:
            return None
        self.comparison = None
        facts.seen.doubt(facts.pool, self._left)
        if facts.pool == "threads":
            facts.seen.looks = facts.seen.free = 0
        facts.pool = "serial"
        if (choice := self.choose()).final:
            self.say(choice)
        return choice

    def accept(self, report: Report) -> bool:
        """Learn from the *report* of a pool; False if nobody has run its task, see `Refusals`."""
        if self.comparison is not None:
            self.comparison.add(report)
        if self.facts.pool == "processes":  # threads share a lock, and measure each other
            self.measure(report)
        return self.refusals.accept(report)


def can_start() -> bool:
    """Tell whether there is a Python to start workers with."""
    try:
        interpreter()
    except ExecutorUnavailable:
        return False
    return True
