"""What happened in one call, for `parmap.trace`: an observer that adds up, and keeps what is shown.

Guaranteed: what it keeps is bounded, see `details.Room`, for all calls of a trace together; what it
adds up is of all tasks, however many.

Assumed: the times of all processes are those of one clock, `perf_counter`'s, as on one machine.
"""

from __future__ import annotations

import os
from _thread import get_ident
from time import perf_counter

from .._records.events import Chosen, Done, Loaded, Lost, Reported, Sent, Started
from .details import Details
from .lanes import Bar, Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._engine.interfaces import Feed
    from .._records.work import Call
    from .details import Room


POOLS = ("multiprocessing", "futures", "joblib")  # of whose workers nobody tells when they start


class Timeline:
    """Observes one call.

    Attributes:
        name: of the function.
        began, ended: in seconds of `perf_counter`; *ended* is 0.0 while it goes on.
        choices: what was chosen, as events `Chosen`.
        lanes: what ran tasks.
        workers: how many tasks could run at the same time, at most.
        total: how many tasks there are; None if that was not known.
        done, failed: how many are finished for good, and those of them that failed.
        chunks, shortest, longest: how many chunks were run, and of how many tasks.
        sent, received: bytes.
        tries: further attempts; *crashes* and *timeouts*: losses.
        submitting, waiting: seconds of the caller; *input*: of what it took from the input.
        details: what is kept of single tasks.
        losses: index, time, worker, kind, and when it was sent, of some.
        peaks: bytes of memory, by process id.
        error: what the call raised before it began, as text.
    """

    def __init__(self, call: Call, source: Feed, room: Room) -> None:
        self.name = name_of(call)
        self.pid, self.thread = os.getpid(), get_ident()
        self.choices: list[Chosen] = []
        self.lanes: list[Lane] = []
        self.total = source.total
        self.done = self.failed = self.chunks = self.sent = self.received = 0
        self.tries = self.crashes = self.timeouts = self.longest = 0
        self.shortest, self.workers = 0, 1
        self.submitting = self.waiting = self.input = 0.0
        self.details = Details(room)
        self.losses: list[tuple[int, float, int, str, float]] = []
        self.peaks: dict[int, int] = {}
        self.error = ""
        self._room = room
        self._call: Call | None = call
        self._source: Feed | None = source
        self._out: dict[int, tuple[float, int]] = {}  # of chunks: when sent, attempts before
        self._by_thread: dict[tuple[int, int], int] = {}
        self.ended = 0.0
        self.began = perf_counter()

    def __call__(self, event: object) -> None:
        """Add *event*."""
        kind = type(event)
        if kind is Reported:
            self._reported(event)  # type: ignore[arg-type]
        elif kind is Sent:
            self._sent(event)  # type: ignore[arg-type]
        elif isinstance(event, Done):
            self.done += event.tasks
            self.failed += event.failed
        elif isinstance(event, Lost):
            self._lost(event)
        elif isinstance(event, Chosen):
            self.choices.append(event)
        elif isinstance(event, Started):
            self.lanes[self._find("process", event.worker, 0)].starts(event.began, event.at)
        elif isinstance(event, Loaded):
            self.lanes[self._find("process", event.worker, 0)].loaded(event.at, event.seconds)

    def submitted(self, seconds: float, workers: int) -> None:
        """Be told that the caller took *seconds* to submit a chunk to so many *workers*."""
        self.submitting += seconds
        self.workers = max(self.workers, workers)

    def waited(self, seconds: float) -> None:
        """Be told that the caller waited, or ran tasks meanwhile."""
        self.waiting += seconds

    def refuse(self, error: BaseException) -> None:
        """Be told that the call has raised *error* before it began."""
        self.error = f"{type(error).__name__}: {error}"[:400]
        self.close()

    def close(self) -> None:
        """Let the call be over: what belongs to it is let go of."""
        if not self.ended:
            self.ended = perf_counter()
        if self._source is not None and self._call is not None:
            self.input, self._call.watch = self._source.spent, None
        self._source = self._call = None

    def _sent(self, event: Sent) -> None:
        self._out[event.start] = event.at, event.attempts
        if event.attempts:
            self.tries += event.tasks

    def _lost(self, event: Lost) -> None:
        sent_at, _ = self._out.pop(event.start, (event.at, 0))
        if event.fate == "requeue":
            return  # nothing of it was begun
        self.crashes += event.kind == "crash"
        self.timeouts += event.kind == "timeout"
        if self._room.events > 0:
            self._room.events -= 1
            index = event.start if event.suspect is None else event.suspect
            self.losses.append((index, event.at, event.worker, event.kind, sent_at))

    def _reported(self, event: Reported) -> None:
        sent_at, attempts = self._out.pop(event.start, (event.began, 0))
        if not event.tasks:
            return
        timing = event.timing
        number = self._number(event)
        lane = self.lanes[number]
        pooled = bool(self.choices) and self.choices[-1].where in POOLS
        moved, back = lane.ran(event, sent_at, pooled=pooled)
        self.chunks += 1
        self.shortest = min(self.shortest or event.tasks, event.tasks)
        self.longest = max(self.longest, event.tasks)
        self.received += event.bytes
        sent = 0
        if timing is not None:
            sent = timing.sent
            self.sent += sent
            if timing.peak and event.worker != self.pid:
                self.peaks[event.worker] = max(timing.peak, self.peaks.get(event.worker, 0))
        self.timeouts += sum(caught.kind == "timeout" for caught in event.caught.values())
        mark, marks, ended = self.details.add(event, number)
        times = moved, event.began, ended, max(back, ended)
        sizes = sent, event.bytes, event.failed, mark, marks, 1
        lane.bars.append(Bar(event.start, event.tasks, attempts, *times, *sizes))
        self._room.bars -= 1
        if self._room.bars < 0:
            for other in self.lanes:
                before = len(other.bars)
                other.join()
                self._room.bars += before - len(other.bars)

    def _number(self, event: Reported) -> int:
        """Return which lane has run what *event* tells of."""
        here = event.worker == self.pid
        if event.timing is not None:
            thread = 0 if here and event.timing.thread == self.thread else event.timing.thread
            kind = "process" if not here else "thread" if thread else "caller"
            return self._find(kind, event.worker, thread)
        for number, lane in enumerate(self.lanes):
            if lane.kind == "slot" and lane.worker == event.worker and lane.free <= event.began:
                return number
        return self._add(Lane("slot", event.worker, None, self.began))

    def _find(self, kind: str, worker: int, thread: int) -> int:
        key = worker, thread if kind == "thread" else 0  # a worker process runs one task at a time
        if (number := self._by_thread.get(key)) is None:
            number = self._by_thread[key] = self._add(Lane(kind, worker, thread, self.began))
        return number

    def _add(self, lane: Lane) -> int:
        self.lanes.append(lane)
        return len(self.lanes) - 1


def name_of(call: Call) -> str:
    """Return what the function of *call* is called."""
    fn: Any = call.fn
    if call.shape == "task" or fn is None:
        return "tasks"
    try:
        while type(fn).__name__ == "partial":
            fn = fn.func
        return str(getattr(fn, "__qualname__", None) or type(fn).__qualname__).rpartition(">.")[2]
    except Exception:  # of an attribute of the caller's making
        return "tasks"
