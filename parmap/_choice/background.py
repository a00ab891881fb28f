"""Single tasks that are submitted while others run: a call that goes on, in a thread of its own.

::

    submit --put--> Submitted --take--> Run, with worker processes or threads
                                          |
      Future <---------- settle ----------+   callbacks run in this thread

Guaranteed: the future of each task that was submitted ends, whatever happens to the task, to its
worker, or to the call; no task runs in the thread that submits it.

Assumed: nobody waits in a callback for another task, which would wait for this thread.
"""

from __future__ import annotations

import os
from contextvars import copy_context
from functools import partial
from threading import Lock, Thread, current_thread

from .._engine.submitted import Submitted
from .._records.work import Call
from .._workers.program_exit import finish_first
from .launch import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from .._engine.scheduler import Run
    from .._records.work import Batch


REST = 0.1
"""Seconds without a task after which the workers are given back: any other call may have them then,
and the next task has them again within 1 ms."""


TERMINATED = "the pool was terminated before this had ended"


class Background:
    """Runs the tasks that are submitted with *options*, all that `resolve` returns."""

    def __init__(self, options: dict[str, Any], *, asked: bool) -> None:
        # Under "return" the call goes on after a failure, and no task runs in its thread.
        own = {"on_error": "return", "progress": False, "deadline": None}
        self._options = {**options, **own}
        self._on_error, self._asked = options["on_error"], asked
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._tasks = Submitted(REST)
        self._lock = Lock()
        self._thread: Thread | None = None
        self._run: Run | None = None
        self._stopped = False
        self._process = os.getpid()

    def submit(
        self, task: tuple[Any, Any, Any], done: Callable[[Future[Any]], object] | None = None
    ) -> Future[Any]:
        """Return the future of *task*, with *done* as a callback.  Raises ValueError after `close`.

        The task does not begin before the callback is registered: the thread of this calls it.
        """
        from concurrent.futures import Future  # 10 ms

        if self._process != os.getpid():  # the thread is the parent's
            self._start_afresh()
        future: Future[Any] = Future()
        if done is not None:
            future.add_done_callback(done)
        self._tasks.put((future, task))
        if self._thread is None:
            self._start()
        return future

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # In a context: where this is a worker, the thread is in one, too.
                work = partial(copy_context().run, self._work)
                self._thread = Thread(target=work, name="parmap-pool", daemon=True)
                finish_first(self)
                self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that runs the tasks and the callbacks."""
        return current_thread() is self._thread

    def close(self) -> None:
        """Take no more tasks; what was submitted is done.  May be called twice."""
        if self._process == os.getpid():
            self._tasks.close()

    def cancel(self) -> None:
        """Cancel what has not begun."""
        self._tasks.cancel()

    def stop(self) -> None:
        """Do no more: cancel what has not begun, and let fail what has."""
        self._stopped = True
        self.close()
        self.cancel()
        if (run := self._run) is not None:
            run.give_up(TERMINATED)

    def finish(self) -> None:
        """Do what was submitted, and wait until it is done; stop if that is interrupted."""
        self.close()
        try:
            self.join()
        except BaseException:
            self.stop()
            raise

    def join(self) -> None:
        """Wait until all is done, after `close`."""
        if self._process == os.getpid() and self._thread is not None and not self.is_here:
            self._thread.join()

    def _work(self) -> None:
        while self._tasks.begin():
            try:
                call = Call(None, "task", self._options["initializer"])
                self._run = run = launch(
                    call, self._tasks, self._options, asked=self._asked, ordered=False
                )
                try:
                    if self._stopped:  # before it could be told
                        run.give_up(TERMINATED)
                    while batches := run.advance():
                        for batch in batches:
                            self._settle(batch)
                finally:
                    self._run = None
                    run.close()
            except BaseException as error:  # of the call, not of a task: nobody else hears of it
                self._tasks.fail(error)

    def _settle(self, batch: Batch) -> None:
        for position, value in enumerate(batch.values):
            future = self._tasks.begun.pop(batch.start + position)
            if (failure := batch.failures.get(position)) is None:
                future.set_result(value)
            elif self._on_error == "return":
                future.set_result(failure)
            else:
                try:
                    if self._on_error == "raise":
                        failure.unwrap()
                    future.set_result(self._on_error(failure))
                except BaseException as error:
                    future.set_exception(error)
