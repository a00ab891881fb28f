"""Tasks in a `concurrent.futures.Executor`: a ProcessPoolExecutor of ours, or one lent to us.

When a worker of a ProcessPoolExecutor dies, all its futures fail and it is broken for good.  Ours
is then replaced, and what was in flight runs again with nothing beside it, until the culprit is
known; a borrowed one is not touched, and what was in flight has failed.
"""

from __future__ import annotations

import sys
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures import (
    Executor as ForeignExecutor,
)
from contextlib import nullcontext
from queue import Empty, SimpleQueue
from threading import current_thread
from weakref import WeakSet

from .._engine.executor import Executor
from .._records.errors import ExecutorUnavailable
from .._records.machine import imported
from .._records.work import Loss, Report
from .._workers.exit import finish_threads, first_at_exit, halt_daemon
from .._workers.parent_death import parent_pipe
from .marshalling import InProcess, Pickled, lost
from .pool_workers import kill, kill_workers, take, workers_of
from .start_method import fresh_interpreters, prepare, starting, surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.work import Call, Chunk
    from .marshalling import Marshaller


PATIENCE = 1.0  # seconds the workers have to end by themselves
GRACE = 0.1  # seconds a task may go on after its call was given up; then its worker is killed
_ours: WeakSet[ForeignExecutor] = WeakSet()


def _kill_all() -> None:
    """At the end of the program, kill the workers that their executor would wait for."""
    finish_threads()
    for executor in list(_ours):
        thread = _thread_of(executor)
        if thread is not None:  # it is at work
            kill_workers(executor)
            thread.join(PATIENCE)  # else the library might wake it up just when it goes


def _thread_of(executor: ForeignExecutor) -> Any:
    """Return the thread that a ProcessPoolExecutor has for its workers; no public way tells."""
    return getattr(executor, "_executor_manager_thread", None)


class Futures(Executor):
    """Submits chunks and collects futures."""

    def __init__(
        self, call: Call, budget: float, workers: int, borrowed: ForeignExecutor | None = None
    ) -> None:
        self.workers = workers
        self.window = 2 * workers  # a queue for all workers: what waits there waits for any of them
        self._borrowed = borrowed
        self._owned: ForeignExecutor | None = None
        # From Python 3.14 on there is a ThreadPoolExecutor with an interpreter in each thread.
        interpreter = imported("concurrent.futures.interpreter")
        self._apart = isinstance(borrowed, getattr(interpreter, "InterpreterPoolExecutor", ()))
        self._marshaller: Marshaller
        if isinstance(borrowed, ThreadPoolExecutor) and not self._apart:
            self._marshaller = InProcess(call, budget)
        else:
            self._marshaller = Pickled(call, budget, path=sys.path if self._apart else None)
        self._chunks: dict[Future[Any], Chunk] = {}
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        self._news: list[Report] = []
        self._broken: Exception | None = None  # why a borrowed one will do nothing any more

    def submit(self, chunk: Chunk) -> None:
        function, argument = self._marshaller.outgoing(chunk)
        if self._broken is not None:
            self._news.append(lost(chunk, self._broken, "fail"))
            return
        executor = self._executor()
        try:
            # Workers start at the first submit.
            with nullcontext() if self._borrowed else starting("futures"):
                future = executor.submit(function, argument)
        except BrokenExecutor as error:  # it broke a moment ago
            self._break()
            self._news.append(lost(chunk, error, "fail" if self._borrowed else "requeue"))
        except ExecutorUnavailable:
            raise
        except RuntimeError as error:
            raise ExecutorUnavailable(f"the executor refuses tasks: {error}") from error
        else:
            self._chunks[future] = chunk
            future.add_done_callback(self._done.put)

    def wait(self, seconds: float | None) -> list[Report]:
        while self._chunks:
            limit = 0 if self._news else seconds
            try:
                future = take(
                    self._done, self._borrowed or self._owned, limit, ours=self._borrowed is None
                )
            except Empty:
                break
            except BrokenExecutor as error:
                self._broken = error
                self._news += [lost(chunk, error, "fail") for chunk in self._give_up()]
                break
            chunk = self._chunks.pop(future, None)
            if chunk is None:  # given up
                continue
            try:
                self._news.append(self._marshaller.incoming(chunk, future.result()))
            except CancelledError as error:
                if self._borrowed is None:  # its workers were killed
                    self._break()
                    self._news.append(lost(chunk, error, "isolate"))
                    continue
                gone = ExecutorUnavailable("the executor cancelled the task before it had begun")
                self._news.append(Report(chunk, [], loss=Loss(gone, "error", "fail")))
            except BrokenExecutor as error:
                self._break()
                self._news.append(lost(chunk, error, "fail" if self._borrowed else "isolate"))
            except Exception as error:
                if not self._apart:
                    raise
                raise ExecutorUnavailable(
                    f"an interpreter of the executor cannot run parmap: {error}"
                ) from error
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        self._marshaller.stop()
        if self._borrowed is not None:
            self._give_up()
        self._break()

    def _give_up(self) -> list[Chunk]:
        """Take back what is out; return it."""
        chunks, self._chunks = self._chunks, {}
        for future in chunks:
            future.cancel()
        return list(chunks.values())

    def _executor(self) -> ForeignExecutor:
        if self._borrowed is not None:
            return self._borrowed
        if self._owned is None:
            with starting("futures"):
                self._owned = _process_pool(self.workers)
            _ours.add(self._owned)
            first_at_exit(_kill_all)
        return self._owned

    def _break(self) -> None:
        """Let go of an executor of ours: broken, or no longer needed."""
        halt_daemon()
        owned, self._owned = self._owned, None
        if owned is None:
            return
        thread = _thread_of(owned)
        if thread is current_thread():  # the collector closes a lost call in it; it ends with them
            kill_workers(owned)
            return
        processes = workers_of(owned)
        late = bool(wait(self._chunks, GRACE).not_done)
        if late:
            kill_workers(owned)
        # Among the killed it would stumble over the cancelled.
        owned.shutdown(wait=False, cancel_futures=not late)
        if thread is not None:
            thread.join(PATIENCE)
        for process in processes:  # one that a thread of a task keeps, for one
            kill(process)
        if thread is not None:
            thread.join(PATIENCE)


def _process_pool(workers: int) -> ForeignExecutor:
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        workers,
        mp_context=fresh_interpreters("futures"),
        initializer=prepare,
        initargs=(*parent_pipe(), surroundings(workers)),
    )
    # All start at the first submit, as if by fork.  One that started while another died would trip
    # up the executor's thread: up to Python 3.11 that reads the table of processes without a lock.
    pool._safe_to_dynamically_spawn_children = False  # type: ignore[attr-defined]
    return pool
