"""The one loop: from the input, through an executor, to batches of finished tasks.

::

    source --take--> chunk --submit--> executor --wait--> report --_receive--> batch --> the door
                       ^                                     |
                       +------ again: rests, retries <-------+

Guaranteed:

- every task of the input ends in exactly one batch, as a value or as a Failure;
- the input is drawn from in order, and no further than the chunks that fit out, or *limit*, ask;
  where tasks run in the caller, an iterator is drawn one item at a time, as the loop draws it;
- what is finished is handed out before a slow input is asked again;
- a task runs once, except for `retries` and for what was under way with one that crashed, or with a
  result that cannot be unpickled.

Refuses to know which executor it has, what becomes of failures, and who watches.
"""

from __future__ import annotations

import os
from collections import deque

from .._records.errors import ExecutorUnavailable, short_repr
from .._records.work import Batch, Chunk, Loss, Unsendable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._records.failure import Caught, Failure
    from .._records.work import Report
    from .chunking import Sizes
    from .executor import Executor
    from .source import Source


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
        source: Source,
        executor: Executor,
        sizes: Sizes,
        retries: int = 0,
        observers: Sequence[Callable[[Batch], None]] = (),
        first: Report | None = None,
    ) -> None:
        """Go on after *first*, the report on what was drawn from *source* before."""
        self._source = source
        self._executor = executor
        self._sizes = sizes
        self._retries = retries
        self._observers = observers
        self._again: deque[Chunk] = deque()  # to run before anything new
        self._suspects: deque[Chunk] = deque()  # to run with nothing beside them
        self._isolated: Chunk | None = None  # the suspect that is out
        self._out = 0  # chunks with the executor
        self._ready: list[Batch] = []
        self._at_hand = False
        self._dry = False  # the input has ended, or has raised
        self._closed = False
        self._process = os.getpid()
        if first is not None:
            self._out = 1
            self._receive(first)

    def advance(self, limit: int | None = None, *, block: bool = True) -> list[Batch]:
        """Return the batches that have become ready, at least one unless the run has ended.

        Draws no item of the input from index *limit* on.  Waits for the executor if need be, but
        only if it may *block*; else there may be no batch, and no slow input is asked.  Raises
        ExecutorUnavailable if it was closed, as it is at the end of the program, or if this process
        was forked in the middle.
        """
        if self._closed:
            raise ExecutorUnavailable("the map was closed before it was read to its end")
        if os.getpid() != self._process:
            raise ExecutorUnavailable("the map can only be read on by the process that began it")
        self._at_hand = not block  # who may not wait has results to read
        self._fill(limit)
        while self._out and not self._ready:
            reports = self._collect(None if block else 0)
            self._fill(limit)  # before the caller looks at the batches: the workers wait
            if not reports and not block:
                break
        ready, self._ready = self._ready, []
        for batch in ready:
            for observe in self._observers:
                observe(batch)
        return ready

    def horizon(self, read: int) -> int:
        """Return how far ahead of a reader of *read* results a run need be, in tasks.

        To keep its workers busy; but a reader who takes little has little drawn for it.
        """
        window = self._executor.window
        return min(self._sizes.horizon(window), AHEAD * (window + read))

    def close(self) -> None:
        """Give the executor up, with whatever it still runs.  May be called twice.

        In a process that was forked in the middle nothing happens: all that is its parent's.
        """
        if not self._closed and os.getpid() == self._process:
            self._closed = True
            self._executor.close()

    def _fill(self, limit: int | None) -> None:
        while self._out < self._executor.window and self._isolated is None:
            if self._suspects:
                if self._out:
                    return
                chunk: Chunk | None = self._suspects.popleft()
                self._isolated = chunk
            elif self._again:
                chunk = self._cut(self._again.popleft())
            else:
                chunk = self._draw(limit) if self._may_draw() else None
            if chunk is None:
                return
            self._submit(chunk)

    def _cut(self, chunk: Chunk) -> Chunk:
        """Return as much of *chunk*, which comes again, as a new chunk would have."""
        remaining = self._source.remaining
        if remaining is not None:
            remaining += len(chunk)
        size = self._sizes.next(remaining, self._executor.workers)
        if size < len(chunk):
            self._again.appendleft(chunk.part(size))
            return chunk.part(0, size)
        return chunk

    def _collect(self, seconds: float | None) -> list[Report]:
        """Take in what the executor has, waiting *seconds* for it."""
        reports = self._executor.wait(seconds)
        for report in reports:
            self._receive(report)
        return reports

    def _may_draw(self) -> bool:
        """Tell whether the input may be asked: a slow one only if there is nothing to hand out."""
        if self._at_hand and self._source.was_slow:
            return False
        if self._dry or not self._source.is_slow:
            return not self._dry
        if self._out and not self._ready:
            soon = (self._sizes.cost or 0.0) + SOON
            self._collect(min(soon, PATIENCE * self._source.seconds))
        return not self._ready

    def _draw(self, limit: int | None) -> Chunk | None:
        source, executor = self._source, self._executor
        size = self._sizes.next(source.remaining, executor.workers)
        if limit is not None:
            size = min(size, limit - source.drawn)
            if size <= 0:
                return None
        if executor.in_caller and not source.indexed and not source.ended:
            # What the tasks of this chunk draw, nobody else may draw meanwhile.
            return None if self._out else Chunk(source.drawn, source.here(size))
        items = source.take(size)
        if source.fleeting and len(items) > 0 and not executor.in_caller:
            source.drawn -= len(items)
            source.fail(TypeError(FLEETING))
            items = ()
        if len(items) > 0:  # an array of numpy has no truth value
            return Chunk(source.drawn - len(items), items)
        if source.ended or not executor.in_caller:  # a task in the caller may append to the input
            self._dry = True
        if source.error is not None:
            self._dry = True
            self._ready.append(Batch(source.drawn, [], error=source.error))
        return None

    def _submit(self, chunk: Chunk) -> None:
        try:
            self._executor.submit(chunk)
        except Unsendable as refusal:
            self._isolated = None
            self._lose(chunk, Loss(refusal.__cause__ or refusal, "unpicklable", "bisect"))
        else:
            self._out += 1

    def _receive(self, report: Report) -> None:
        self._out -= 1
        chunk, done = report.chunk, len(report.values)
        beside = self._isolated is None  # did other chunks run at the same time?
        self._isolated = None
        self._sizes.learn(done, report.seconds)
        self._source.drawn = max(self._source.drawn, chunk.start + done)  # a list may have grown
        if done:
            self._keep(report)
        if done < len(chunk):
            rest = chunk.part(done)
            if report.loss is None:
                self._again.appendleft(rest)
            elif report.loss.then == "isolate" and beside:
                self._suspects.append(rest)
            else:
                self._lose(rest, report.loss)

    def _keep(self, report: Report) -> None:
        """Make batches of the tasks that *report* tells of; queue what is to be tried again."""
        chunk, values = report.chunk, report.values
        if not report.caught:
            self._ready.append(Batch(chunk.start, values))
            return
        begin = 0
        failures: dict[int, Failure] = {}
        for position, caught in sorted(report.caught.items()):
            if chunk.attempts < self._retries and caught.kind != "unpicklable":
                task = chunk.part(position, position + 1)
                self._again.append(Chunk(task.start, task.items, chunk.attempts + 1))
                self._batch(chunk.start + begin, values[begin:position], failures)
                begin, failures = position + 1, {}
            else:
                failures[position - begin] = _failure(chunk, position, caught)
        self._batch(chunk.start + begin, values[begin:], failures)

    def _batch(self, start: int, values: list[object], failures: dict[int, Failure]) -> None:
        if values:
            self._ready.append(Batch(start, values, failures))

    def _lose(self, chunk: Chunk, loss: Loss) -> None:
        """Settle what becomes of *chunk*, of which nothing came back but *loss*."""
        if loss.suspect is not None:
            position = loss.suspect - chunk.start
            for begin, end in ((position + 1, None), (0, position)):
                if others := chunk.part(begin, end):
                    self._again.appendleft(others)
            self._fail(chunk.part(position, position + 1), loss)
        elif loss.then == "requeue":
            self._again.appendleft(chunk)
        elif loss.then == "fail" or len(chunk) == 1:
            self._fail(chunk, loss)
        else:
            half = len(chunk) // 2
            queue = self._suspects if loss.then == "isolate" else self._again
            queue.extendleft((chunk.part(half), chunk.part(0, half)))

    def _fail(self, chunk: Chunk, loss: Loss) -> None:
        """Try the tasks of *chunk* once more if they may be, else give each its Failure."""
        if chunk.attempts < self._retries and loss.then != "fail" and loss.kind != "unpicklable":
            queue = self._suspects if loss.then == "isolate" else self._again
            queue.append(Chunk(chunk.start, chunk.items, chunk.attempts + 1))
            return
        from .._records.failure import Caught

        caught = Caught(loss.error, loss.traceback, loss.kind, loss.seconds, loss.worker)
        failures = {position: _failure(chunk, position, caught) for position in range(len(chunk))}
        self._ready.append(Batch(chunk.start, [None] * len(chunk), failures))


def _failure(chunk: Chunk, position: int, caught: Caught) -> Failure:
    from .._records.failure import Failure

    try:
        text = short_repr(chunk.items[position])
    except IndexError:  # the input became shorter during the call
        text = "<gone>"
    return Failure(
        chunk.start + position,
        text,
        caught.exception,
        caught.traceback,
        caught.kind,
        chunk.attempts + 1,
        caught.seconds,
        caught.worker,
    )
