"""Tasks in whatever backend joblib has active, or in a `joblib.Parallel` that is lent to us.

joblib's own interface dispatches a whole iterator; what we need is the interface its backends
implement, `submit` and `retrieve_result_callback`, which is documented for their authors.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext, suppress
from queue import Empty, SimpleQueue
from threading import RLock, get_ident
from time import monotonic
from weakref import WeakKeyDictionary

from .._engine.executor import Executor
from .._records.errors import ExecutorUnavailable
from .._records.machine import imported, interpreter
from .._workers.exit import at_the_end, finish_threads, first_at_exit
from .._workers.parent_death import parent_pipe
from .marshalling import InProcess, Pickled, lost
from .pool_workers import kill_workers, take
from .start_method import start_trackers, starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call, Chunk, Report
    from .marshalling import Marshaller


# Seconds a task may go on after its call was given up; then the backend is aborted, if that harms
# nobody else.  With loky it prints a traceback of its own thread now and then.
GRACE = 0.1
PATIENCE = 1.0  # seconds to wait for another call that enters a Parallel or leaves it
PRIVATE = ("_managed_backend", "_backend", "_effective_n_jobs")  # what we use of a Parallel

# Calls that use a Parallel which nobody had entered: the first enters it, the last leaves it.
# Guarded by `_turn`, and by the order of things: the collector may close a lost call in the middle.
_users: WeakKeyDictionary[Any, set[int]] = WeakKeyDictionary()
_entered: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_left: deque[tuple[Any, int]] = deque()  # calls that are over, until it is their turn
_turn = RLock()


def _forget() -> None:
    """In a forked child: whoever had the turn is not there."""
    global _turn
    _turn = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _enter(parallel: Any, user: int, *, lent: bool) -> None:
    """Enter *parallel* for the call *user* unless its owner has; before, no other goes on."""
    with _turn:
        users = _users.setdefault(parallel, set())
        if users or not parallel._managed_backend:
            users.add(user)
            if parallel not in _entered:
                _entered[parallel] = True
                try:
                    parallel.__enter__()
                    if lent and getattr(parallel._backend, "uses_threads", False):
                        # Else its first tasks make them: those of two calls would make two pools.
                        getattr(parallel._backend, "_get_pool", int)()
                except BaseException:
                    del _entered[parallel]
                    users.discard(user)
                    raise
    _leave_all()  # those that waited in vain for us


def _leave(parallel: Any, user: int) -> None:
    """Leave *parallel* for the call *user* if it was entered for it and no other uses it."""
    _left.append((parallel, user))
    _leave_all()


def _leave_all() -> None:
    # The thread in which the collector closes a lost call may have something that the one waits for
    # whose turn it is: that one does it then.
    while _left and _turn.acquire(timeout=PATIENCE):
        try:
            with suppress(IndexError):  # another was faster
                parallel, user = _left.popleft()
                users = _users.get(parallel, set())
                users.discard(user)
                if not users and _entered.pop(parallel, False) and not _leaves_itself(parallel):
                    parallel.__exit__(None, None, None)
        finally:
            _turn.release()


def _leaves_itself(parallel: Any) -> bool:
    """Tell whether *parallel* has only the folder to give back that joblib deletes at the end.

    From Python 3.14 on joblib cannot call that off any more when the end has begun: the folder
    would be deleted twice, and joblib's tracker of resources print a traceback.
    """
    return at_the_end() and type(parallel._backend).__name__ == "LokyBackend"


# Calls under way.
_live: set[Joblib] = set()


def parallel(workers: int | None) -> Any:
    """Return a `joblib.Parallel` of ours; *workers* None means joblib's configuration, or all."""
    try:
        import joblib
    except ImportError as error:
        raise ExecutorUnavailable(
            "executor='joblib' needs the package joblib: python -m pip install joblib"
        ) from error
    backend, jobs = joblib.parallel.get_active_backend()
    if type(backend).__name__ == "LokyBackend":
        interpreter()
    if workers is None:
        workers = jobs
    return joblib.Parallel(n_jobs=-1 if workers is None else workers)


def _kill_loky() -> None:
    """At the end of the program, kill the workers that joblib would wait for, busy or not."""
    finish_threads()
    kill_workers(getattr(imported("joblib.externals.loky.reusable_executor"), "_executor", None))


class Joblib(Executor):
    """Submits chunks to the backend of *parallel*, entered for the call if it is not yet."""

    def __init__(
        self, call: Call, budget: Callable[[int], float], parallel: Any, *, borrowed: bool
    ) -> None:
        missing = [name for name in PRIVATE if not hasattr(parallel, name)]
        if missing:
            raise ExecutorUnavailable(
                f"this release of joblib is not known to parmap: its Parallel has no {missing[0]}"
            )
        self._parallel = parallel
        self._borrowed = borrowed
        _enter(parallel, id(self), lent=borrowed)
        try:
            self._begin(call, budget)
        except BaseException:
            _leave(parallel, id(self))
            raise

    def _begin(self, call: Call, budget: Callable[[int], float]) -> None:
        parallel, borrowed = self._parallel, self._borrowed
        self._backend = parallel._backend
        self.workers = parallel._effective_n_jobs()
        self.window = 2 * self.workers
        self._marshaller: Marshaller
        # Other backends' workers may not even be on this machine.
        self._loky = not borrowed and type(self._backend).__name__ == "LokyBackend"
        if getattr(self._backend, "uses_threads", False):
            self._marshaller = InProcess(call, budget(self.workers))
        else:
            self._marshaller = Pickled(
                call, budget(self.workers), parent_pipe() if self._loky else None
            )
        if self._loky:
            from joblib.externals.loky.backend import resource_tracker

            start_trackers(resource_tracker)
        # Backends without futures (Sequential) run a task in `submit`; here the caller is as good.
        self._inline = not hasattr(self._backend, "_get_pool") and self.workers == 1
        self._chunks: dict[int, Chunk] = {}
        self._thread = get_ident()
        self._count = 0
        self._done: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._news: list[Report] = []
        self._dead: Exception | None = None  # why a lent one will do nothing any more
        _live.add(self)

    def submit(self, chunk: Chunk) -> None:
        from joblib.parallel import BatchedCalls

        function, argument = self._marshaller.outgoing(chunk)
        if self._dead is not None:
            self._news.append(lost(chunk, self._dead, "fail"))
            return
        if self._inline:
            self._news.append(self._marshaller.incoming(chunk, function(argument)))
            return
        self._count += 1
        number = self._count
        # joblib's own wrapper: it tells the task which backend nested calls of joblib should use,
        # and some registered backends look into it.
        batch = BatchedCalls([(function, (argument,), {})], self._backend.get_nested_backend())
        try:
            with starting("joblib") if self._loky else nullcontext():
                self._backend.submit(batch, callback=lambda out: self._done.put((number, out)))
        except Exception as error:
            if not _broken(error):
                raise
            self._break()
            self._news.append(lost(chunk, error, "fail" if self._borrowed else "requeue"))
        else:
            self._chunks[number] = chunk
            if not self._borrowed:
                first_at_exit(_kill_loky)

    def wait(self, seconds: float | None) -> list[Report]:
        while self._chunks:
            workers, limit = getattr(self._backend, "_workers", None), 0 if self._news else seconds
            try:
                number, out = take(self._done, workers, limit, ours=not self._borrowed)
            except Empty:
                break
            except BrokenExecutor as error:
                self._dead = error
                self._news += [lost(chunk, error, "fail") for chunk in self._chunks.values()]
                self._chunks.clear()
                break
            chunk = self._chunks.pop(number, None)
            if chunk is None:
                continue
            try:
                (answer,) = self._backend.retrieve_result_callback(out)
            except Exception as error:
                if not _broken(error):
                    raise
                self._news.append(lost(chunk, error, "fail" if self._borrowed else "isolate"))
                if not self._chunks:  # all that were in flight have told of it
                    self._break()
            else:
                self._news.append(self._marshaller.incoming(chunk, answer))
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        self._marshaller.stop()
        _live.discard(self)
        if not self._borrowed and not self._ended(GRACE) and self._may_abort():
            self._backend.abort_everything(ensure_ready=False)
        self._chunks.clear()
        _leave(self._parallel, id(self))

    def _may_abort(self) -> bool:
        """Tell whether nobody but this call would suffer.

        joblib has one pool of loky workers for the whole process, and the collector may close a
        lost call in any thread, the pool's own included.
        """
        return not _live and get_ident() == self._thread and not _leaves_itself(self._parallel)

    def _ended(self, patience: float) -> bool:
        """Wait up to *patience* seconds for what runs; tell whether it has ended."""
        end = monotonic() + patience
        try:
            while self._chunks:
                number, _ = self._done.get(timeout=max(0.0, end - monotonic()))
                self._chunks.pop(number, None)
        except Empty:
            return False
        return True

    def _break(self) -> None:
        if not self._borrowed:
            with starting("joblib"):
                self._backend.abort_everything(ensure_ready=True)


def _broken(error: Exception) -> bool:
    """Tell whether *error* says that a worker died (loky's class, vendored by joblib)."""
    return any("BrokenExecutor" in cls.__name__ for cls in type(error).__mro__)
