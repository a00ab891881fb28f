"""What becomes of tasks that an executor has tried, or lost.

::

    report --+--> ready      finished for good: a value, or a Failure
             +--> again      rests of chunks, retries, halves of what was lost
             +--> suspects   the same, of what may take others down
"""

from __future__ import annotations

from collections import deque

from .._records.errors import short_repr
from .._records.work import Batch, Chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.failure import Caught, Failure
    from .._records.work import Loss, Report


class Outcomes:
    """Settles reports and losses, with up to *retries* further attempts for a task.

    Attributes:
        ready: batches to hand out.
        again: chunks to run before anything new.
        suspects: chunks to run with nothing beside them.
    """

    def __init__(self, retries: int) -> None:
        self.ready: list[Batch] = []
        self.again: deque[Chunk] = deque()
        self.suspects: deque[Chunk] = deque()
        self._retries = retries

    def settle(self, report: Report, *, beside: bool) -> None:
        """Settle what *report* tells of; *beside*: other chunks may have run at the same time."""
        chunk, loss, done = report.chunk, report.loss, len(report.values)
        if done:
            self._keep(report)
        if done < len(chunk):
            rest = chunk.part(done)
            if loss is None:
                self.again.appendleft(rest)
            elif loss.then == "isolate" and beside:
                self.suspects.append(rest)
            else:
                self.lose(rest, loss)

    def lose(self, chunk: Chunk, loss: Loss) -> None:
        """Settle what becomes of *chunk*, of which nothing came back but *loss*."""
        if loss.suspect is not None:
            position = loss.suspect - chunk.start
            for begin, end in ((position + 1, None), (0, position)):
                if others := chunk.part(begin, end):
                    self.again.appendleft(others)
            self._fail(chunk.part(position, position + 1), loss)
        elif loss.then == "requeue":
            self.again.appendleft(chunk)
        elif loss.then == "fail" or len(chunk) == 1:
            self._fail(chunk, loss)
        else:
            half = len(chunk) // 2
            self._queue(loss).extendleft((chunk.part(half), chunk.part(0, half)))

    def _keep(self, report: Report) -> None:
        """Make batches of the tasks that *report* tells of; queue what is to be tried again."""
        chunk, values = report.chunk, report.values
        if not report.caught:
            self.ready.append(Batch(chunk.start, values))
            return
        begin = 0
        failures: dict[int, Failure] = {}
        for position, caught in sorted(report.caught.items()):
            if chunk.attempts < self._retries and caught.kind != "unpicklable":
                self.again.append(_retry(chunk.part(position, position + 1)))
                self._batch(chunk.start + begin, values[begin:position], failures)
                begin, failures = position + 1, {}
            else:
                failures[position - begin] = _failure(chunk, position, caught)
        self._batch(chunk.start + begin, values[begin:], failures)

    def _batch(self, start: int, values: list[object], failures: dict[int, Failure]) -> None:
        if values:
            self.ready.append(Batch(start, values, failures))

    def _fail(self, chunk: Chunk, loss: Loss) -> None:
        """Try the tasks of *chunk* once more if they may be, else give each its Failure."""
        if chunk.attempts < self._retries and loss.then != "fail" and loss.kind != "unpicklable":
            self._queue(loss).append(_retry(chunk))
            return
        from .._records.failure import Caught

        caught = Caught(loss.error, loss.traceback, loss.kind, loss.seconds, loss.worker)
        failures = {position: _failure(chunk, position, caught) for position in range(len(chunk))}
        self._batch(chunk.start, [None] * len(chunk), failures)

    def _queue(self, loss: Loss) -> deque[Chunk]:
        return self.suspects if loss.then == "isolate" else self.again


def _retry(chunk: Chunk) -> Chunk:
    return Chunk(chunk.start, chunk.items, chunk.attempts + 1)


def _failure(chunk: Chunk, position: int, caught: Caught) -> Failure:
    from .._records.failure import Failure

    try:
        text = short_repr(chunk.items[position])
    except IndexError:  # the input became shorter during the call
        text = "<gone>"
    what = caught.exception, caught.traceback, caught.kind
    last = chunk.attempts + 1, caught.seconds, caught.worker
    return Failure(chunk.start + position, text, *what, *last)
