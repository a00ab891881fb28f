"""The one loop: from the input, through an executor, to batches of finished tasks.

::

    source --take--> chunk --submit--> executor --wait--> report --settle--> batch --> the door
                       ^                                     |
                       +------ again: rests, retries <-------+

Guaranteed:

- every task of the input ends in exactly one batch, as a value or as a Failure;
- the input is drawn from in order, and no further than the chunks that fit out, or *limit*, ask;
  where tasks run in the caller, an iterator is drawn one item at a time, as the loop draws it;
- what is finished is handed out before a slow input is asked again;
- a task runs once, except for `retries` and for what was under way with one that crashed, or with a
  result that cannot be unpickled.

Does not depend on which executor it has, what becomes of failures, and who observes.
"""

from __future__ import annotations

import os

from .._records.errors import ExecutorUnavailable
from .._records.work import Batch, Chunk, Loss, Unsendable
from .retries import Outcomes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._observers.dispatch import Observers
    from .._observers.relay import Relay
    from .._records.work import Report
    from .chunking import Sizes
    from .interfaces import Executor, Feed


AHEAD = 4
"""Times what was read is what may be drawn and not read yet: more keeps a quick reader's workers
busier at the start, less draws less for one who stops soon."""

SOON = 0.005  # seconds beyond the cost of a task that its result may be on its way
PATIENCE = 0.1  # of the time that a slow input takes, what may be waited for results before it
FLEETING = (
    "the input's items are groups of itertools.groupby, which are empty as soon as the next is "
    "drawn, and this executor draws ahead: map over ((key, list(group)) for key, group in ...)"
)


class Run:
    """A call under way.  `advance` it until it returns nothing, and `close` it."""

    def __init__(
        self,
        source: Feed,
        executor: Executor,
        sizes: Sizes,
        retries: int = 0,
        observers: Observers | Relay | None = None,
        first: Report | None = None,
    ) -> None:
        """Go on after *first*, the report on what was drawn from *source* before.

        The run closes *executor* and *observers*.
        """
        self.source = source
        self._executor = executor
        self._sizes = sizes
        self._observers = observers
        self._outcomes = Outcomes(retries)
        self._isolated: Chunk | None = None  # the suspect that is out
        self._out = 0  # chunks with the executor
        self._at_hand = False
        self._starved = False  # the input had nothing to give, but may have later
        self._dry = False  # the input has ended, or has raised
        self._wake = False
        self.woken = False  # whether `wake` was called before the last `advance` returned
        self._closed = False
        self._given_up = ""
        self._process = os.getpid()
        if source.later:
            source.wake = executor.wake
        if first is not None:
            self._out = 1
            self._receive(first)

    def advance(self, limit: int | None = None, *, block: bool = True) -> list[Batch]:
        """Return the batches that have become ready, at least one unless the run has ended.

        Or none after `wake`.  Draws no item of the input from index *limit* on.  Waits for the
        executor, or for an input that has nothing yet, if need be, but only if it may *block*; else
        there may be no batch, and no slow input is asked.  Raises ExecutorUnavailable if it was
        closed, as it is at the end of the program, or if this process was forked in the middle.
        """
        if self._closed:
            raise ExecutorUnavailable("the map was closed before it was read to its end")
        if os.getpid() != self._process:
            raise ExecutorUnavailable("the map can only be read on by the process that began it")
        outcomes = self._outcomes
        self._at_hand = not block  # who may not wait has results to read
        self._fill(limit)
        while not (outcomes.ready or self._wake) and (self._out or (self._starved and block)):
            if self._given_up:
                raise ExecutorUnavailable(self._given_up)
            if not self._out:
                self.source.wait()
            reports = self._collect(None if block else 0)
            self._fill(limit)  # before the caller looks at the batches: the workers wait
            if not reports and not block:
                break
        self.woken, self._wake = self._wake, False
        ready, outcomes.ready = outcomes.ready, []
        if self._observers is not None:
            for batch in ready:
                self._observers.done(batch)
        return ready

    def wake(self) -> None:
        """Have the `advance` under way, or else the next one, return soon.

        Any thread may call it, also after `close`.  It ends no wait for the input, no task here.
        """
        self._wake = True
        self._executor.wake()

    def horizon(self, read: int) -> int:
        """Return how far ahead of a reader of *read* results a run need be, in tasks.

        To keep its workers busy; but a reader who takes little has little drawn for it.
        """
        window = self._executor.window
        return min(self._sizes.horizon(window), AHEAD * (window + read))

    def give_up(self, why: str) -> None:
        """Have the `advance` under way, or the next that waits, raise ExecutorUnavailable(*why*).

        May be called by any thread, which then leaves it to the other to `close`.  What runs in the
        caller's thread ends first.
        """
        self._given_up = why
        self._executor.wake()

    def close(self) -> None:
        """Give the executor up, with whatever it still runs.  May be called twice.

        In a process that was forked in the middle nothing happens: all that is its parent's.
        """
        if not self._closed and os.getpid() == self._process:
            self._closed = True
            try:
                self._executor.close()
            finally:
                if self._observers is not None:
                    self._observers.close()

    def _fill(self, limit: int | None) -> None:
        outcomes = self._outcomes
        while self._out < self._executor.window and self._isolated is None:
            if outcomes.suspects:
                if self._out:
                    return
                chunk: Chunk | None = outcomes.suspects.popleft()
                self._isolated = chunk
            elif outcomes.again:
                chunk = self._cut(outcomes.again.popleft())
            else:
                chunk = self._draw(limit) if self._may_draw() else None
            if chunk is None:
                return
            self._submit(chunk)

    def _cut(self, chunk: Chunk) -> Chunk:
        """Return as much of *chunk*, which comes again, as a new chunk would have."""
        remaining = self.source.remaining
        if remaining is not None:
            remaining += len(chunk)
        size = self._sizes.next(remaining, self._executor.workers)
        if size < len(chunk):
            self._outcomes.again.appendleft(chunk.part(size))
            return chunk.part(0, size)
        return chunk

    def _may_draw(self) -> bool:
        """Tell whether the input may be asked: a slow one only if there is nothing to hand out."""
        if self._at_hand and self.source.was_slow:
            return False
        if self._dry or not self.source.is_slow:
            return not self._dry
        if self._out and not self._outcomes.ready:
            soon = (self._sizes.cost or 0.0) + SOON
            self._collect(min(soon, PATIENCE * self.source.seconds))
        return not self._outcomes.ready

    def _draw(self, limit: int | None) -> Chunk | None:
        source, executor, start = self.source, self._executor, self.source.drawn
        size = self._sizes.next(source.remaining, executor.workers)
        self._starved = False
        if limit is not None:
            size = min(size, limit - start)
            if size <= 0:
                return None
        if executor.in_caller and self._out and not (source.indexed or source.ended):
            return None  # what the tasks of the chunk that is out draw, nobody else may draw
        items = source.here(size) if executor.in_caller else source.take(size)
        if source.fleeting and len(items) > 0 and not executor.in_caller:  # asked anew, knowing it
            source.drawn = start
            source.fail(TypeError(FLEETING))
            items = ()
        if len(items) > 0:  # an array of numpy has no truth value
            return Chunk(start, items)
        self._starved = source.later
        # A task in the caller may append to the input.
        self._dry = source.ended or not (executor.in_caller or self._starved)
        if source.error is not None:
            self._dry = True
            self._outcomes.ready.append(Batch(start, [], error=source.error))
        return None

    def _submit(self, chunk: Chunk) -> None:
        if self._observers is not None:
            self._observers.sent(chunk)
        try:
            self._executor.submit(chunk)
        except Unsendable as refusal:
            self._isolated = None
            loss = Loss(refusal.__cause__ or refusal, "unpicklable", "bisect")
            if self._observers is not None:
                self._observers.lost(chunk, loss)
            self._outcomes.lose(chunk, loss)
        else:
            self._out += 1

    def _collect(self, seconds: float | None) -> list[Report]:
        """Take in what the executor has, waiting *seconds* for it."""
        reports = self._executor.wait(seconds)
        for report in reports:
            self._receive(report)
        return reports

    def _receive(self, report: Report) -> None:
        done = len(report.values)
        beside, self._isolated = self._isolated is None, None
        self._out -= 1
        self._sizes.learn(done, report.seconds)
        # A list may have grown.
        self.source.drawn = max(self.source.drawn, report.chunk.start + done)
        if self._observers is not None:
            self._observers.reported(report)
        self._outcomes.settle(report, beside=beside)
