"""Tasks in a `multiprocessing.pool.Pool`: one of ours, or one that is lent to us.

A Pool replaces a worker that dies and forgets its task, so that its result never comes.  The cure
is to watch the workers.  After a death, a pool of ours is replaced; one that is lent to us goes on.
"""

from __future__ import annotations

from math import inf
from multiprocessing.connection import wait
from multiprocessing.pool import Pool as ProcessPool
from multiprocessing.pool import ThreadPool
from operator import attrgetter
from queue import Empty
from time import monotonic, sleep

from .._records.errors import ExecutorUnavailable, WorkerCrashed
from .._workers.program_exit import finish_threads, first_at_exit, halt_daemon
from .._workers.waker import Waker
from .marshalling import InProcess, Marshaller, Pickled
from .pool_workers import kill
from .queued import Queued
from .start_method import fresh_interpreters, initialization, starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call


LONG = 0.1  # seconds from one look at the workers of a pool to the next
SHORT = 0.001  # the same, while one of them is missing
PATIENCE = 5.0  # seconds for what takes a moment
DEAF = 10.0  # seconds until a lent pool that can neither take nor give anything is given up

# What `_terminate` uses of a Pool.
PARTS = (
    *("_terminate.cancel", "_state", "_worker_handler._state", "_cache.clear", "_pool"),
    *("_outqueue._wlock", "_outqueue._writer", "_inqueue._reader", "_change_notifier.put"),
    *("_taskqueue.put", "_task_handler.join", "_result_handler.join"),
)


class Pool(Queued):
    """Submits chunks with `apply_async`, and watches the workers."""

    def __init__(self, call: Call, workers: int | None = None, lent: Any = None) -> None:
        super().__init__(call, workers, lent)
        # By which the pool's result thread wakes us: a queue could not be waited for together with
        # the workers.
        self._waker = Waker()
        self._watched: dict[int, Any] = {}  # processes, by their sentinels
        self._dead: list[Any] = []  # seen by the last look
        self._handled: set[Any] = set()  # those of the dead that the pool still keeps
        self._deaf_since = inf

    @staticmethod
    def accepts(instance: Any) -> bool:
        return isinstance(instance, ProcessPool)

    def _marshal(self, call: Call, seconds: float) -> Marshaller:
        marshaller = InProcess if isinstance(self._pool, ThreadPool) else Pickled
        return marshaller(call, seconds)

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> None:
        if self._pool is None:
            context = fresh_interpreters("multiprocessing")
            with starting("multiprocessing"):
                self._pool = context.Pool(self.workers, **initialization(self.workers))
            first_at_exit(finish_threads)
        end = monotonic() + PATIENCE
        # No worker may take the chunk and die before it is watched.
        while not self._watch() and _state(self._pool) == "RUN" and monotonic() < end:
            sleep(SHORT)
        function, *arguments = task
        try:
            self._pool.apply_async(function, arguments, callback=done, error_callback=done)
        except ValueError as error:
            raise ExecutorUnavailable(f"the pool refuses tasks: {error}") from error

    def _result(self, out: Any) -> Any:
        if isinstance(out, BaseException):
            raise out
        return out

    def _next_completed(self, seconds: float | None) -> tuple[int | None, Any]:
        end = inf if seconds is None else monotonic() + seconds
        while True:
            if not self._reports:  # else there was a look in this `wait`
                self._look(max(0.0, end - monotonic()))
            if not self._completed.empty():  # before the deaths: these chunks are not lost
                return self._completed.get_nowait()
            if self._dead:
                self._handle_deaths()
            if self._reports or monotonic() >= end:
                raise Empty

    def _look(self, seconds: float) -> None:
        """Wait until something has completed or a worker has died, but not for long."""
        if not self._completed.empty():
            seconds = 0
        seconds = min(seconds, LONG if self._watch() else SHORT)
        ready = wait([self._waker.fd, *self._watched], seconds)
        if self._waker.fd in ready:
            self._waker.clear()
        self._dead = [self._watched[sentinel] for sentinel in ready if sentinel in self._watched]
        if not ready and not self._ours:
            self._check_lent()

    def _watch(self) -> bool:
        """Watch the workers there are now; tell whether none is missing.

        A place that is empty is looked at often: who takes it may die at once.
        """
        if not hasattr(self._pool, "_pool"):  # there is no public way to find them
            raise ExecutorUnavailable(
                "this release of multiprocessing is not known to parmap: its Pool has no _pool, "
                "so that nobody would notice when a worker dies"
            )
        if isinstance(self._pool, ThreadPool):
            return True
        # The Process objects must be held: the pool drops a dead one, its sentinel is closed,
        # the number used again, and a watch of the number alone would sleep for ever.
        there = set(self._pool._pool)
        self._handled &= there
        alive = there - self._handled
        self._watched |= {process.sentinel: process for process in alive}
        return len(alive) >= getattr(self._pool, "_processes", 0)

    def _check_lent(self) -> None:
        """Raise ExecutorUnavailable if a lent pool will never complete anything.

        A worker that is killed while it waits for a task, or sends a result, dies with a lock.
        """
        if _state(self._pool) == "TERMINATE":
            raise ExecutorUnavailable("the pool was terminated before its tasks had finished")
        now = monotonic()
        self._deaf_since = min(self._deaf_since, now) if _is_deaf(self._pool) else inf
        if now - self._deaf_since >= DEAF:
            raise ExecutorUnavailable(
                "the pool takes no more tasks: a worker that was killed had a lock of its queues; "
                "make a new pool"
            )

    def _handle_deaths(self) -> None:
        """Report that what was pending is lost: nobody knows what the dead workers had."""
        dead, self._dead = self._dead, []
        end = monotonic() + PATIENCE
        for process in dead:
            while process.exitcode is None and monotonic() < end:  # a thread of the pool asks, too
                sleep(SHORT)
            del self._watched[process.sentinel]
            self._handled.add(process)
        codes = [process.exitcode for process in dead]
        if not any(codes) and getattr(self._pool, "_maxtasksperchild", None) is not None:
            return  # they had their number of tasks
        code = next(filter(None, codes), codes[0])
        self._lose_pending(WorkerCrashed(f"a worker of the pool ended with exit code {code}"))
        self._let_go()

    def _complete(self, number: int | None, out: Any = None) -> None:
        super()._complete(number, out)
        self._waker.wake()

    def close(self) -> None:
        super().close()
        self._waker.close()

    def _let_go(self) -> None:
        halt_daemon()
        if self._ours and self._pool is not None:
            pool, self._pool = self._pool, None
            self._watched.clear()
            self._dead.clear()
            self._handled.clear()
            _terminate(pool)


def _state(pool: Any) -> str:
    """Return "RUN", "CLOSE" or "TERMINATE"; there is no public way to ask."""
    return str(getattr(pool, "_state", "RUN"))


def _is_deaf(pool: Any) -> bool:
    """Tell whether *pool* is stuck, at least at this moment.

    Then tasks wait though a worker is reading, or one is writing and nothing comes.
    """
    try:
        tasks, results = pool._inqueue, pool._outqueue
        return bool(
            not pool._result_handler.is_alive()
            or (tasks._rlock._semlock._is_zero() and tasks._reader.poll(0))
            or (results._wlock._semlock._is_zero() and not results._reader.poll(0))
        )
    except (AttributeError, OSError):  # of threads, or of a release that is not known; or closed
        return False


def _terminate(pool: Any) -> None:
    """Do what `terminate` does, without the locks, which may have died with a worker."""
    try:
        attrgetter(*PARTS)(pool)
    except AttributeError:  # of a release that is not known
        pool.terminate()
        return
    pool._terminate.cancel()
    pool._outqueue._wlock = _Closed(pool._outqueue._wlock)
    pool._state = pool._worker_handler._state = "TERMINATE"
    pool._cache.clear()  # nobody waits for it, and it holds the pool in a circle
    for _ in range(2):  # the second time for that worker
        for process in list(pool._pool):
            kill(process)
            process.join()
        pool._change_notifier.put(None)
        pool._worker_handler.join(PATIENCE)
    pool._inqueue._reader.close()  # ends who writes there
    pool._taskqueue.put(None)
    pool._task_handler.join(PATIENCE)
    pool._outqueue._writer.close()  # ends who reads there
    pool._result_handler.join(PATIENCE)
    for queue in (pool._inqueue, pool._outqueue, pool._change_notifier):
        queue.close()
    pool._pool.clear()


class _Closed:
    """In place of a lock that a worker may have died with: nobody in this process comes past it.

    A message of that worker may be cut, so that nothing must follow it: the pool's threads take the
    error for a queue that is closed.  A worker that starts at this moment gets the lock itself.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        raise OSError("the pool was terminated")

    def __exit__(self, *exc_info: object) -> None:
        pass

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._lock,)


def _itself(lock: Any) -> Any:
    return lock
