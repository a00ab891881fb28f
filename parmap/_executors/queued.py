"""What the adapters to other libraries' pools have in common: the pool has a queue of its own.

A chunk that was sent is pending until its answer comes, or a worker's death is noticed.  After a
death, what was pending in a pool of ours runs again with nothing beside it, until the culprit is
known; in one that is lent to us, it has failed.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError
from functools import partial
from itertools import count
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic

from .._engine.chunking import budget
from .._engine.interfaces import Executor
from .._records.errors import ExecutorUnavailable, WorkerCrashed
from .._records.work import Loss, Report
from .marshalling import Marshaller, Pickled
from .pool_workers import kill_workers, max_workers, workers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.failure import Kind
    from .._records.work import Call, Chunk, Fate


ROUND = 0.5  # seconds an executor has to notice that a worker died


class Queued(Executor):
    """Sends chunks to a pool, and collects their answers.

    An adapter says which instances it `accepts` and how to `_send`; if the library has no futures,
    what the `_result` is; if it has pools of ours, how to `_let_go` of one.  Where the capacity
    changes, it sets `workers` and calls `wake`, so that new workers get chunks at once.
    """

    far = 1.0  # how many times longer a chunk takes than in a pool of this machine

    def __init__(self, call: Call, workers: int | None = None, lent: Any = None) -> None:
        """Use the pool *lent*; without one, an adapter makes its own, of so many *workers*."""
        self.workers = max_workers(lent) if workers is None else workers
        self._ours = lent is None
        self._pool = lent
        self._marshaller = self._marshal(call, budget(self.workers, far=self.far))
        self._numbers = count()
        self._pending: dict[int, tuple[Chunk, Any]] = {}  # with what `_send` returned
        self._completed: SimpleQueue[tuple[int | None, Any]] = SimpleQueue()  # None: `wake`
        self._reports: list[Report] = []
        self._broken: Exception | None = None  # why a lent one will do nothing any more

    @property
    def window(self) -> int:  # type: ignore[override]
        """One queue for all workers: what waits there waits for any of them."""
        return 2 * self.workers

    @staticmethod
    def accepts(instance: Any) -> bool:
        """Tell whether *instance* is a pool that can be lent to this adapter."""
        raise NotImplementedError

    def _marshal(self, call: Call, seconds: float) -> Marshaller:
        """Return how chunks, run for so many *seconds*, get to the workers."""
        return Pickled(call, seconds, workers=self.workers)

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> Any:
        """Have the pool run *task*, and some thread call *done* with what `_result` takes.

        The task is a function and its arguments.  Returns what has a `cancel`, or None.  Raises
        BrokenExecutor if a worker has died.
        """
        raise NotImplementedError

    def _result(self, out: Any) -> Any:
        """Return what the function returned; raises BrokenExecutor if its worker has died."""
        return out.result()

    def _executor(self) -> Any:
        """Return the executor whose worker processes are looked after while nothing comes."""
        return self._pool

    def _let_go(self) -> None:
        """End a pool of ours: broken, or no longer needed."""

    def _outgoing(self, chunk: Chunk) -> tuple[Any, ...]:
        return self._marshaller.outgoing(chunk)

    def submit(self, chunk: Chunk) -> None:
        task = self._outgoing(chunk)
        if self._broken is not None:
            self._lose(chunk, self._broken, "fail")
            return
        number = next(self._numbers)
        try:
            handle = self._send(task, partial(self._complete, number))
        except BrokenExecutor as error:  # it broke a moment ago
            self._let_go()
            self._lose(chunk, error, "requeue")
        else:
            self._pending[number] = chunk, handle

    def wait(self, seconds: float | None) -> list[Report]:
        while self._pending:
            try:
                number, out = self._next_completed(0 if self._reports else seconds)
            except Empty:
                break
            except BrokenExecutor as error:
                self._broken = error
                self._lose_pending(error)
                break
            if number is None:
                seconds = 0
            elif number in self._pending:  # else it was lost or cancelled
                self._receive(self._pending.pop(number)[0], out)
        reports, self._reports = self._reports, []
        return reports

    def wake(self) -> None:
        self._complete(None)

    def recall(self) -> None:
        self._marshaller.stop()

    def close(self) -> None:
        self._marshaller.stop()
        if not self._ours:
            self._lose_pending(CancelledError())
        self._let_go()

    def _complete(self, number: int | None, out: Any = None) -> None:
        self._completed.put((number, out))

    def _next_completed(self, seconds: float | None) -> tuple[int | None, Any]:
        """Return what has completed next; raise Empty if nothing has after *seconds*.

        Or if the workers were looked after meanwhile, and there are reports.
        """
        self._exited: set[Any] = set()  # worker processes, as seen at the last look
        end = inf if seconds is None else monotonic() + seconds
        try:
            while True:
                left = end - monotonic()
                try:
                    return self._completed.get(timeout=min(ROUND, max(0.0, left)))
                except Empty:
                    if left <= 0:
                        raise
                self._look_after_workers()
                if self._reports:
                    raise Empty
        except KeyboardInterrupt as interrupt:
            raise interrupt from None  # it may have come upon an Empty, which is nobody's matter

    def _look_after_workers(self) -> None:
        """Find what the executor does not notice.

        One whose worker died in the middle of a result waits for the rest.  If it is ours, its
        workers are killed; another's is not touched: raise BrokenExecutor.
        """
        executor, before = self._executor(), self._exited
        self._exited = {process for process in workers_of(executor) if process.exitcode}
        if before & self._exited and self._ours:
            kill_workers(executor)
        elif before & self._exited:
            raise BrokenExecutor(
                "it died in the middle of a result, and the executor waits for the rest"
            )

    def _receive(self, chunk: Chunk, out: Any) -> None:
        try:
            answer = self._result(out)
        except (BrokenExecutor, CancelledError) as error:  # the latter also if workers were killed
            self._lose(chunk, error, "isolate")
            if not self._pending:  # all that were in flight have told of it
                self._let_go()
        else:
            self._reports.append(self._marshaller.incoming(chunk, answer))

    def _lose(self, chunk: Chunk, error: Exception, then: Fate) -> None:
        """Report that *chunk* is lost; *then* says what becomes of it if the pool is ours."""
        cause = error
        if isinstance(cause, CancelledError) and not self._ours:
            error = ExecutorUnavailable("the executor cancelled the task before it had begun")
        elif not isinstance(cause, WorkerCrashed):
            error = WorkerCrashed(f"a worker died, and the executor with it: {cause}")
            error.__cause__ = cause
        kind: Kind = "crash" if isinstance(error, WorkerCrashed) else "error"
        loss = Loss(error, kind, then if self._ours else "fail")
        self._reports.append(Report(chunk, [], loss=loss))

    def _lose_pending(self, error: Exception) -> None:
        pending, self._pending = self._pending, {}
        for chunk, handle in pending.values():
            if handle is not None:
                handle.cancel()
            self._lose(chunk, error, "isolate")
