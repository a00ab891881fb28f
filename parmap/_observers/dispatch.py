"""Who observes a call: tells each of them what happens, as frozen events.

An observer is a callable with one argument, the event, and has `close`.  What it raises, the call
raises.  Imported only where somebody observes.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from time import perf_counter

from .._records.events import Done, Lost, Reported, Sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .._records.work import Batch, Chunk, Loss, Report

    class Observer(Protocol):
        """What each is; called by the thread that advances the run."""

        def __call__(self, event: object, /) -> None: ...
        def close(self) -> None: ...


class Observers(list["Observer"]):
    """The observers of one call, in the order in which they are told."""

    def tell(self, event: object) -> None:
        """Tell all of *event*."""
        for observer in self:
            observer(event)

    def sent(self, chunk: Chunk) -> None:
        self.tell(Sent(perf_counter(), chunk.start, len(chunk), chunk.attempts))

    def reported(self, report: Report) -> None:
        """Tell of *report*: of the tasks that it has outcomes of, and of its loss."""
        chunk, loss, done = report.chunk, report.loss, len(report.values)
        if done or loss is None:
            worker = report.worker or os.getpid()
            ran = worker, report.began, report.seconds, report.cpu, report.bytes
            more = chunk.items, report.caught, report.timing
            self.tell(Reported(perf_counter(), chunk.start, done, len(report.caught), *ran, *more))
        if loss is not None and done < len(chunk):
            self.lost(chunk.part(done), loss)

    def lost(self, chunk: Chunk, loss: Loss) -> None:
        what = loss.kind, loss.then, loss.suspect, loss.worker
        self.tell(Lost(perf_counter(), chunk.start, len(chunk), *what))

    def done(self, batch: Batch) -> None:
        if batch.error is None:
            failed = len(batch.failures)
            self.tell(Done(perf_counter(), batch.start, len(batch.values), failed))

    def close(self) -> None:
        """Close all of them, whatever one of them raises."""
        with ExitStack() as stack:
            for observer in self:
                stack.callback(observer.close)
