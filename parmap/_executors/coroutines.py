"""Tasks of coroutine functions: they take turns in one event loop, so many of them at a time.

::

    Coroutines    starts tasks on a loop, and makes reports of what becomes of them
      Own           on a loop of its own, which runs while the caller waits for reports
      Lent          on the loop of who awaits the call, which another thread drives

Guaranteed: a task that is cancelled by the call, for its time is up or nobody wants it any more, is
cancelled as asyncio does it, and waited for; whatever else ends a task, a CancelledError of its own
included, is its failure.  A task that does not await keeps the loop, and cannot be cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from threading import Event, Thread
from time import perf_counter
from traceback import extract_tb

from .._engine.interfaces import Executor
from .._records.callables import advise
from .._records.errors import ExecutorUnavailable, TaskTimeout
from .._records.stack_frames import skip_ours, traceback_of
from .._records.work import Report
from .._workers.tasks import catch, is_interrupt
from .report_queue import ReportQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.failure import Caught
    from .._records.work import Call, Chunk


PATIENCE = 1.0
"""Seconds that tasks on a lent loop have to end when they were cancelled.  More would hold up who
waits for the end of the call; what takes longer ends by itself."""


class Coroutines(Executor):
    """Runs the tasks of a chunk one after the other, and *workers* chunks at a time."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self, call: Call, workers: int, timeout: float | None) -> None:
        self.workers = workers
        self.window = 2 * workers if workers > 1 else 1  # what waits begins without the caller
        self._call = call
        self._timeout = timeout
        self._context = copy_context()
        self._waiting: deque[Chunk] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._initialized = call.initializer is None
        self._closed = False

    def _put(self, report: Report | BaseException | None) -> None:
        """Hand over a report, what the initializer raised, or None: the wait is to end."""
        raise NotImplementedError

    def _start(self) -> None:
        """Start what waits, as far as it may run now; called on the loop."""
        if not self._initialized:
            self._initialized = True
            try:
                self._context.copy().run(self._call.initializer)  # type: ignore[arg-type]
            except BaseException as error:
                self._waiting.clear()
                self._put(error)
                return
        while self._waiting and len(self._running) < self.workers and not self._closed:
            self._begin(self._waiting.popleft())

    def _begin(self, chunk: Chunk) -> None:
        work = self._run(chunk)
        try:
            task = self._loop.create_task(work, context=self._context.copy())
        except BaseException:
            work.close()
            raise
        self._running.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _run(self, chunk: Chunk) -> None:
        values: list[Any] = []
        caught: dict[int, Caught] = {}
        awaitables = self._call.results(chunk.items, chunk.start)
        began = perf_counter()
        for position in range(len(chunk)):
            if self._closed:
                return
            before = perf_counter()
            try:
                async with asyncio.timeout(self._timeout) as limit:
                    values.append(await next(awaitables))
            except BaseException as error:
                if is_interrupt(error):
                    raise
                if self._loop.is_closed() or self._closed:
                    return  # nobody waits for it any more
                seconds = perf_counter() - before
                if limit.expired() and isinstance(error, TimeoutError):
                    caught[position] = self._late(seconds, _place(error.__cause__))
                else:
                    advise(self._call.fn, self._call.shape, chunk.items, position, error)
                    caught[position] = catch(error, "error", seconds)
                values.append(None)
            else:
                seconds = perf_counter() - before
                if self._timeout is not None and seconds > self._timeout:
                    caught[position] = self._late(seconds)
                    values[-1] = None
        self._put(Report(chunk, values, caught, perf_counter() - began, 0.0, None, began))

    def _late(self, seconds: float, stood: str = "") -> Caught:
        """Record that a task took longer than it may; it *stood* there, if it was cancelled."""
        at = f", at (most recent call first)\n{stood}" if stood else ""
        error = TaskTimeout(f"the task took longer than {self._timeout} s and was cancelled{at}")
        found = catch(error, "timeout", seconds)
        return type(found)(error, stood, "timeout", seconds, found.worker)

    def recall(self) -> None:
        """Hand back what waits; called on the loop, or where it does not run."""
        while self._waiting:
            self._put(Report(self._waiting.popleft(), []))

    def _cancel(self) -> None:
        """Cancel what runs; called on the loop, or where it does not run."""
        self._waiting.clear()
        for task in list(self._running):
            task.cancel()


class Own(Coroutines):
    """On a loop of its own, which runs while it is waited for, in that thread."""

    def __init__(self, call: Call, workers: int, timeout: float | None) -> None:
        super().__init__(call, workers, timeout)
        # With a factory, the thread's current loop is left as it is.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._out = 0
        self._reports: list[Report | BaseException] = []
        self._woken = False
        self._news: asyncio.Future[None] | None = None

    def submit(self, chunk: Chunk) -> None:
        self._out += 1
        self._waiting.append(chunk)

    def wait(self, seconds: float | None) -> list[Report]:
        if not self._out:
            return []
        if not (self._reports and seconds == 0):
            self._loop = self._runner.get_loop()
            self._runner.run(self._next(seconds))
        reports, self._reports = self._reports, []
        self._out -= len(reports)
        for report in reports:
            if isinstance(report, BaseException):
                raise report
        return reports  # type: ignore[return-value]

    async def _next(self, seconds: float | None) -> None:
        """Run the tasks until there is a report; or for so many *seconds*."""
        self._start()
        if seconds == 0:
            await asyncio.sleep(0)
        elif not (self._reports or self._woken):
            self._news = self._loop.create_future()
            if seconds is None:
                await self._news
            else:
                await asyncio.wait([self._news], timeout=seconds)
            self._news = None
        self._woken = False

    def _put(self, report: Report | BaseException | None) -> None:
        if report is None:
            self._woken = True
        else:
            self._reports.append(report)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def wake(self) -> None:
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._put, None)
        except (AttributeError, RuntimeError):  # it has not begun, or is closed
            pass

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        if asyncio._get_running_loop() is None:
            self._runner.close()
        else:  # in a thread that runs another loop, this one cannot run
            closing = Thread(target=self._runner.close, name="parmap-close")
            closing.start()
            closing.join()


class Lent(Coroutines):
    """On the loop of who awaits the call; submits and waits in another thread."""

    def __init__(
        self,
        call: Call,
        workers: int,
        timeout: float | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(call, workers, timeout)
        self._loop = loop
        self._reports = ReportQueue()
        self._called = False  # the loop will start what waits

    def submit(self, chunk: Chunk) -> None:
        self._reports.out += 1
        self._waiting.append(chunk)
        if not self._called:
            self._called = True
            self._call_soon(self._start_all)

    def _start_all(self) -> None:
        self._called = False
        self._start()

    def _call_soon(self, function: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError as error:
            raise ExecutorUnavailable(
                "the event loop that the tasks ran on was closed before they were done"
            ) from error

    def wait(self, seconds: float | None) -> list[Report]:
        return self._reports.wait(seconds)

    def _put(self, report: Report | BaseException | None) -> None:
        self._reports.put(report)

    def wake(self) -> None:
        self._reports.wake()

    def recall(self) -> None:
        self._call_soon(super().recall)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        if not self._reports.out:
            return
        ended = Event()
        try:
            self._call_soon(lambda: self._cancel_all(ended))
        except ExecutorUnavailable:
            return
        ended.wait(PATIENCE)

    def _cancel_all(self, ended: Event) -> None:
        """Cancel what runs, and say when it has *ended*."""
        self._cancel()
        left = set(self._running)
        if not left:
            ended.set()

        def end(task: asyncio.Task[None]) -> None:
            left.discard(task)
            if not left:
                ended.set()

        for task in list(left):
            task.add_done_callback(end)


def _place(error: BaseException | None) -> str:
    """Return where the task stood that *error* ended, most recent call first."""
    traceback = None if error is None else skip_ours(traceback_of(error))
    frames = reversed(extract_tb(traceback))
    return "".join(f'  File "{f.filename}", line {f.lineno} in {f.name}\n' for f in frames)
