"""Tasks in a `multiprocessing.pool.Pool`: one of ours, or one that is lent to us.

A Pool replaces a worker that dies and forgets its task, so that its result never comes.  The cure
is to watch the workers.  After a death, a pool of ours is replaced, and what was in flight runs
again with nothing beside it, until the culprit is known; with a borrowed pool, what was in flight
has failed, and the pool goes on.
"""

from __future__ import annotations

from collections import deque
from math import inf
from multiprocessing.connection import wait
from multiprocessing.pool import Pool as ProcessPool
from multiprocessing.pool import ThreadPool
from operator import attrgetter
from socket import socketpair
from time import monotonic, sleep

from .._engine.executor import Executor
from .._records.errors import ExecutorUnavailable, WorkerCrashed
from .._records.work import Loss, Report
from .._workers.exit import finish_threads, first_at_exit, halt_daemon
from .._workers.parent_death import parent_pipe
from .marshalling import InProcess, Pickled
from .pool_workers import kill
from .start_method import fresh_interpreters, prepare, starting, surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.work import Call, Chunk, Fate
    from .marshalling import Marshaller


LONG = 0.1  # seconds from one look at the workers of a pool to the next
SHORT = 0.001  # the same, while one of them is missing
PATIENCE = 5.0  # seconds for what takes a moment
DEAF = 10.0  # seconds until a lent pool that takes and gives nothing is given up

# What `_end` uses of a Pool.
PARTS = (
    *("_terminate.cancel", "_state", "_worker_handler._state", "_cache.clear", "_pool"),
    *("_outqueue._wlock", "_outqueue._writer", "_inqueue._reader", "_change_notifier.put"),
    *("_taskqueue.put", "_task_handler.join", "_result_handler.join"),
)


class Pool(Executor):
    """Submits chunks with `apply_async`, and watches the workers."""

    def __init__(
        self, call: Call, budget: float, workers: int, borrowed: ProcessPool | None = None
    ) -> None:
        self.workers = workers
        self.window = 2 * workers  # a queue for all workers: what waits there waits for any of them
        self._borrowed = _watchable(borrowed) if borrowed else None
        self._owned: ProcessPool | None = None
        border = InProcess if isinstance(borrowed, ThreadPool) else Pickled
        self._marshaller: Marshaller = border(call, budget)
        self._chunks: dict[int, Chunk] = {}  # what is out, by a number of our own
        self._count = 0
        self._answers: deque[tuple[int, Any, BaseException | None]] = deque()
        # The pool's result thread wakes us through sockets: a queue could not be waited for
        # together with the workers, and a Connection does not survive the collector and `close`.
        self._awake, self._waker = socketpair()
        self._watched: dict[int, Any] = {}
        self._reported: set[Any] = set()
        self._news: list[Report] = []
        self._deaf = inf  # since when, if the pool is

    def submit(self, chunk: Chunk) -> None:
        function, argument = self._marshaller.outgoing(chunk)
        pool = self._pool()
        end = monotonic() + PATIENCE
        # No worker may take the chunk and die before it is watched.
        while not self._watch() and _state(pool) == "RUN" and monotonic() < end:
            sleep(SHORT)
        self._count += 1
        number = self._count

        def answered(answer: Any) -> None:
            self._answers.append((number, answer, None))
            self._wake()

        def failed(error: BaseException) -> None:
            self._answers.append((number, None, error))
            self._wake()

        try:
            pool.apply_async(function, (argument,), callback=answered, error_callback=failed)
        except ValueError as error:
            raise ExecutorUnavailable(f"the pool refuses tasks: {error}") from error
        self._chunks[number] = chunk

    def wait(self, seconds: float | None) -> list[Report]:
        end = inf if seconds is None else monotonic() + seconds
        while self._chunks and not self._news:
            left = end - monotonic()
            look = min(LONG if self._watch() else SHORT, max(0.0, left))
            ready = wait([self._awake, *self._watched], look)
            if not ready and _state(self._borrowed) == "TERMINATE":
                raise ExecutorUnavailable("the pool was terminated before its tasks had finished")
            if not ready and self._borrowed is not None:
                self._listen()
            if not ready and left <= 0:
                break
            if self._awake in ready:
                self._awake.recv(4096)
            while self._answers:
                number, answer, error = self._answers.popleft()
                chunk = self._chunks.pop(number, None)
                if chunk is None:  # given up when a worker died
                    continue
                if error is not None:
                    raise error
                self._news.append(self._marshaller.incoming(chunk, answer))
            self._on_death([self._watched[s] for s in ready if s in self._watched])
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        self._marshaller.stop()
        self._dispose()
        self._waker.close()
        self._awake.close()

    def _wake(self) -> None:
        try:
            self._waker.send(b"1")
        except OSError:  # we were closed meanwhile
            pass

    def _pool(self) -> Any:
        if self._borrowed is not None:
            return self._borrowed
        if self._owned is None:
            context = fresh_interpreters("multiprocessing")
            with starting("multiprocessing"):
                arguments = (*parent_pipe(), surroundings(self.workers))
                self._owned = context.Pool(self.workers, initializer=prepare, initargs=arguments)
            first_at_exit(finish_threads)
            _watchable(self._owned)
        return self._owned

    def _watch(self) -> bool:
        """Watch the workers there are now; tell whether none is missing.

        A place that is empty is looked at often: who takes it may die at once.
        """
        pool: Any = self._borrowed or self._owned
        if isinstance(pool, ThreadPool):
            return True
        # The Process objects must be held: the pool drops a dead one, its sentinel is closed,
        # the number used again, and a watch of the number alone would sleep for ever.
        there = set(pool._pool)
        self._reported &= there  # a pool keeps its dead for a moment
        alive = there - self._reported
        self._watched |= {process.sentinel: process for process in alive}
        return len(alive) >= getattr(pool, "_processes", 0)

    def _listen(self) -> None:
        """Raise ExecutorUnavailable if a lent pool has not moved for long, and nothing ever will.

        A worker that is killed while it waits for a task, or sends a result, dies with a lock.
        """
        now = monotonic()
        self._deaf = min(self._deaf, now) if _is_deaf(self._borrowed) else inf
        if now - self._deaf >= DEAF:
            raise ExecutorUnavailable(
                "the pool takes no more tasks: a worker that was killed had a lock of its queues; "
                "make a new pool"
            )

    def _on_death(self, dead: list[Any]) -> None:
        """After the death of workers, settle what was in flight."""
        if not dead:
            return
        end = monotonic() + PATIENCE
        for process in dead:
            while process.exitcode is None and monotonic() < end:  # a thread of the pool asks, too
                sleep(SHORT)
            del self._watched[process.sentinel]
            self._reported.add(process)
        codes = [process.exitcode for process in dead]
        if self._borrowed is not None:
            recycling = getattr(self._borrowed, "_maxtasksperchild", None) is not None
            if recycling and not any(codes):
                return
        code = next(filter(None, codes), codes[0])
        error = WorkerCrashed(f"a worker of the pool ended with exit code {code}")
        then: Fate = "fail" if self._borrowed is not None else "isolate"
        for chunk in self._chunks.values():
            self._news.append(Report(chunk, [], loss=Loss(error, "crash", then)))
        self._chunks.clear()
        self._dispose()

    def _dispose(self) -> None:
        """End a pool of ours, whatever state it is in."""
        halt_daemon()
        pool, self._owned = self._owned, None
        if pool is not None:
            self._watched.clear()
            self._reported.clear()
            _end(pool)


def _state(pool: Any) -> str:
    """Return "RUN", "CLOSE" or "TERMINATE"; there is no public way to ask."""
    return str(getattr(pool, "_state", "RUN"))


def _is_deaf(pool: Any) -> bool:
    """Tell whether tasks wait though a worker is reading, or one is writing and nothing comes."""
    try:
        tasks, results = pool._inqueue, pool._outqueue
        return bool(
            not pool._result_handler.is_alive()
            or (tasks._rlock._semlock._is_zero() and tasks._reader.poll(0))
            or (results._wlock._semlock._is_zero() and not results._reader.poll(0))
        )
    except (AttributeError, OSError):  # of threads, or of a release that is not known; or closed
        return False


def _watchable(pool: ProcessPool) -> ProcessPool:
    """Return *pool* if its workers can be watched; there is no public way to find them."""
    if not hasattr(pool, "_pool"):
        raise ExecutorUnavailable(
            "this release of multiprocessing is not known to parmap: its Pool has no _pool, "
            "so that nobody would notice when a worker dies"
        )
    return pool


def _end(pool: Any) -> None:
    """Do what `terminate` does, without the locks, which may have died with a worker."""
    try:
        attrgetter(*PARTS)(pool)
    except AttributeError:  # of a release that is not known
        pool.terminate()
        return
    pool._terminate.cancel()
    pool._state = pool._worker_handler._state = "TERMINATE"
    pool._cache.clear()  # nobody waits for it, and it holds the pool in a circle
    # Kept: a worker that starts at this moment looks for it.
    lock, pool._outqueue._wlock = pool._outqueue._wlock, None
    for _ in range(2):  # the second time for that worker
        for process in list(pool._pool):
            kill(process)
            process.join()
        pool._change_notifier.put(None)
        pool._worker_handler.join(PATIENCE)
    del lock
    pool._inqueue._reader.close()  # ends who writes there
    pool._taskqueue.put(None)
    pool._task_handler.join(PATIENCE)
    pool._outqueue._writer.close()  # ends who reads there
    pool._result_handler.join(PATIENCE)
    for queue in (pool._inqueue, pool._outqueue, pool._change_notifier):
        queue.close()
    pool._pool.clear()
