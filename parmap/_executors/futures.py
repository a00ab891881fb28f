"""Tasks in a `concurrent.futures.Executor`: a ProcessPoolExecutor of ours, or one lent to us.

When a worker of a ProcessPoolExecutor dies, all its futures fail and it is broken for good.  Ours
is then replaced; a lent one is not touched.
"""

from __future__ import annotations

import sys
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ThreadPoolExecutor, wait
from contextlib import nullcontext
from threading import current_thread
from weakref import WeakSet

from .._records.errors import ExecutorUnavailable
from .._records.machine import imported
from .._workers.program_exit import finish_threads, first_at_exit, halt_daemon
from .marshalling import InProcess, Marshaller, Pickled
from .pool_workers import kill, kill_workers, workers_of
from .queued import Queued
from .start_method import fresh_interpreters, initialization, starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from .._records.work import Call


PATIENCE = 1.0  # seconds the workers have to end by themselves
GRACE = 0.1  # seconds a task may go on after its call was given up; then its worker is killed
_ours: WeakSet[Executor] = WeakSet()


def _kill_all() -> None:
    """At the end of the program, kill the workers that their executor would wait for."""
    finish_threads()
    for executor in list(_ours):
        thread = _thread_of(executor)
        if thread is not None:  # it is at work
            kill_workers(executor)
            thread.join(PATIENCE)  # else the library might wake it up just when it goes


def _thread_of(executor: Executor) -> Any:
    """Return the thread that a ProcessPoolExecutor has for its workers; no public way tells."""
    return getattr(executor, "_executor_manager_thread", None)


class Futures(Queued):
    """Submits chunks and collects futures."""

    @staticmethod
    def accepts(instance: Any) -> bool:
        return isinstance(instance, Executor)

    def _marshal(self, call: Call, seconds: float) -> Marshaller:
        # From Python 3.14 on there is a ThreadPoolExecutor with an interpreter in each thread.
        interpreter = imported("concurrent.futures.interpreter")
        self._apart = isinstance(self._pool, getattr(interpreter, "InterpreterPoolExecutor", ()))
        if isinstance(self._pool, ThreadPoolExecutor) and not self._apart:
            return InProcess(call, seconds)
        path = sys.path if self._apart else None
        return Pickled(call, seconds, workers=self.workers, path=path)

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> Future[Any]:
        if self._pool is None:
            with starting("futures"):
                self._pool = _process_pool(self.workers)
        try:
            # Workers start at the first submit.
            with starting("futures") if self._ours else nullcontext():
                future: Future[Any] = self._pool.submit(*task)
        except RuntimeError as error:
            if isinstance(error, (BrokenExecutor, ExecutorUnavailable)):
                raise
            raise ExecutorUnavailable(f"the executor refuses tasks: {error}") from error
        future.add_done_callback(done)
        return future

    def _result(self, out: Future[Any]) -> Any:
        try:
            return out.result()
        except Exception as error:
            if not self._apart or isinstance(error, (BrokenExecutor, CancelledError)):
                raise
            raise ExecutorUnavailable(
                f"an interpreter of the executor cannot run parmap: {error}"
            ) from error

    def _let_go(self) -> None:
        halt_daemon()
        if not self._ours or self._pool is None:
            return
        pool, self._pool = self._pool, None
        thread = _thread_of(pool)
        if thread is current_thread():  # the collector closes a lost call in it; it ends with them
            kill_workers(pool)
            return
        processes = workers_of(pool)
        late = bool(wait([future for _, future in self._pending.values()], GRACE).not_done)
        if late:
            kill_workers(pool)
        # Among the killed it would stumble over the cancelled.
        pool.shutdown(wait=False, cancel_futures=not late)
        if thread is not None:
            thread.join(PATIENCE)
        for process in processes:  # one that a thread of a task keeps, for one
            kill(process)
        if thread is not None:
            thread.join(PATIENCE)


def _process_pool(workers: int) -> Executor:
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, fresh_interpreters("futures"), **initialization(workers))
    # All start at the first submit, as if by fork.  One that started while another died would trip
    # up the executor's thread: up to Python 3.11 that reads the table of processes without a lock.
    pool._safe_to_dynamically_spawn_children = False  # type: ignore[attr-defined]
    _ours.add(pool)
    first_at_exit(_kill_all)
    return pool
