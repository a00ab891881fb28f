"""Tasks in whatever backend joblib has active, or in a `joblib.Parallel` that is lent to us.

joblib's own interface dispatches a whole iterator; what we need is the interface its backends
implement, `submit` and `retrieve_result_callback`, which is documented for their authors.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import nullcontext, suppress
from functools import partial
from queue import Empty
from threading import RLock, get_ident
from time import monotonic
from weakref import WeakKeyDictionary

from .._records.errors import ExecutorUnavailable
from .._records.machine import imported, interpreter
from .._records.work import Report
from .._workers.parent_death import parent_pipe
from .._workers.program_exit import at_the_end, finish_threads, first_at_exit
from .deaths import LOSSES, Deaths
from .marshalling import SHARED, InProcess, Marshaller, Pickled
from .pool_workers import kill_workers
from .queued import Queued
from .start_method import start_trackers, starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._records.work import Call, Chunk, Fate


# Seconds a task may go on after its call was given up; then the backend is aborted, if that harms
# nobody else.  With loky it prints a traceback of its own thread now and then.
GRACE = 0.1
PATIENCE = 1.0  # seconds to wait for another call that enters a Parallel or leaves it
PRIVATE = ("_managed_backend", "_backend", "_effective_n_jobs")  # what we use of a Parallel

# What the backends of clusters raise when a worker dies.
DEATHS = ("KilledWorker", "ActorDiedError", "RayActorError", "WorkerCrashedError")
DEAD_ENDS = 20
"""Times that Ray's pool, which gives each actor its turn, may hand a chunk to a dead one; then all
count as dead.  More takes longer to say so, less blames what comes to the same one again."""

# Calls that use a Parallel which nobody had entered: the first enters it, the last leaves it.
# Guarded by `_turn`, and by the order of things: the collector may close a lost call in the middle.
_users: WeakKeyDictionary[Any, set[int]] = WeakKeyDictionary()
_entered: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_left: deque[tuple[Any, int, Any]] = deque()  # calls that are over, until it is their turn
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


def _leave(parallel: Any, user: int, backend: Any = None) -> None:
    """Leave *parallel* for the call *user* if it was entered for it and no other uses it.

    The call has begun on *backend*, if there is one.
    """
    _left.append((parallel, user, backend))
    _leave_all()


def _leave_all() -> None:
    # The thread in which the collector closes a lost call may have something that the one waits for
    # whose turn it is: that one does it then.
    while _left and _turn.acquire(timeout=PATIENCE):
        try:
            with suppress(IndexError):  # another was faster
                parallel, user, backend = _left.popleft()
                if backend is not None:
                    _end_call(backend)
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


# Calls under way; those of a backend, which may be that of several Parallels.
_live: set[Joblib] = set()
_calls: Counter[int] = Counter()  # by the id of the backend, guarded by `_turn`


def _begin_call(backend: Any) -> None:
    """Tell *backend* that a call begins, unless another is under way: Dask's has no end but one."""
    with _turn:
        _calls[id(backend)] += 1
        if _calls[id(backend)] == 1:
            getattr(backend, "start_call", int)()


def _end_call(backend: Any) -> None:
    """Tell *backend* that a call has ended, unless another goes on; for whoever has the turn."""
    _calls[id(backend)] -= 1
    if not _calls[id(backend)]:
        del _calls[id(backend)]
        getattr(backend, "stop_call", int)()


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
    workers = jobs if workers is None else workers
    return joblib.Parallel(n_jobs=-1 if workers is None else workers)


def _kill_loky() -> None:
    """At the end of the program, kill the workers that joblib would wait for, busy or not."""
    finish_threads()
    kill_workers(getattr(imported("joblib.externals.loky.reusable_executor"), "_executor", None))


class Joblib(Queued):
    """Submits chunks to the backend of a Parallel, entered for the call if it is not yet."""

    def __init__(self, call: Call, workers: int | None = None, lent: Any = None) -> None:
        self._parallel = parallel(workers) if lent is None else lent
        missing = [name for name in PRIVATE if not hasattr(self._parallel, name)]
        if missing:
            raise ExecutorUnavailable(
                f"this release of joblib is not known to parmap: its Parallel has no {missing[0]}"
            )
        _enter(self._parallel, id(self), lent=lent is not None)
        try:
            self._backend = self._parallel._backend
            # Other backends' workers may not even be on this machine.
            self._loky = lent is None and type(self._backend).__name__ == "LokyBackend"
            super().__init__(call, self._parallel._effective_n_jobs(), lent)
            if call.seed is not None and _has_threads(self._backend):
                raise ValueError(SHARED.format(seed=call.seed))
            if self._loky:
                from joblib.externals.loky.backend import resource_tracker

                start_trackers(resource_tracker)
        except BaseException:
            _leave(self._parallel, id(self))
            raise
        self._deaths = Deaths(LOSSES if hasattr(self._backend, "client") else DEAD_ENDS)
        self._inline = self._runs_inline()
        self._thread = get_ident()
        _begin_call(self._backend)
        _live.add(self)

    @staticmethod
    def accepts(instance: Any) -> bool:
        return isinstance(instance, getattr(imported("joblib"), "Parallel", ()))

    def _marshal(self, call: Call, seconds: float) -> Marshaller:
        if getattr(self._backend, "uses_threads", False):
            return InProcess(call, seconds, alone=self._runs_inline())
        options: dict[str, Any] = {"line": parent_pipe()} if self._loky else {}
        return Pickled(call, seconds, workers=self.workers, **options)

    def _runs_inline(self) -> bool:
        # Backends without futures (Sequential) run a task in `submit`; here the caller is as good.
        # Others may have one worker somewhere else.
        ours = hasattr(self._backend, "_get_pool") or hasattr(self._backend, "client")
        return not ours and self.workers == 1

    def _send(self, task: tuple[Any, ...], done: Callable[[Any], object]) -> None:
        from joblib.parallel import BatchedCalls

        function, *arguments = task
        if self._inline:
            done(function(*arguments))
            return
        # joblib's own wrapper: it tells the task which backend nested calls of joblib should use,
        # and some registered backends look into it.
        batch = BatchedCalls([(function, tuple(arguments), {})], self._backend.get_nested_backend())
        with starting("joblib") if self._loky else nullcontext():
            out = self._backend.submit(batch, callback=done)
        if isinstance(out, Future) and not self._loky:  # Dask's calls nobody back if a task fails
            out.add_done_callback(partial(_tell_error, done))
        if self._ours:
            first_at_exit(_kill_loky)

    def _result(self, out: Any) -> Any:
        if self._inline:
            return out
        try:
            if isinstance(out, _Lost):
                raise out.error
            (answer,) = self._backend.retrieve_result_callback(out)
        except Exception as error:
            if type(error).__name__ in DEATHS:
                raise _Died(str(error)) from error
            raise
        return answer

    def _outgoing(self, chunk: Chunk) -> tuple[Any, ...]:
        if self._deaths and isinstance(self._marshaller, Pickled):
            return self._marshaller.outgoing(chunk, contained=True)
        return super()._outgoing(chunk)

    def _lose(self, chunk: Chunk, error: Exception, then: Fate) -> None:
        if isinstance(error, _Died):
            self._reports.append(Report(chunk, [], loss=self._deaths.loss(chunk, error)))
        else:  # what another's worker died of would take the next one
            super()._lose(chunk, error, then if self._loky else "fail")

    def _executor(self) -> Any:
        return getattr(self._backend, "_workers", None)

    def _let_go(self) -> None:
        if self._ours:
            with starting("joblib"):
                self._backend.abort_everything(ensure_ready=True)

    def close(self) -> None:
        self._marshaller.stop()
        begun = self._backend if self in _live else None
        _live.discard(self)
        end = monotonic() + GRACE
        with suppress(Empty):
            while self._ours and self._pending:
                number, _ = self._completed.get(timeout=max(0.0, end - monotonic()))
                self._pending.pop(number, None)  # type: ignore[arg-type]
        # joblib has one pool of loky workers for the whole process: other calls would suffer.  And
        # the collector may close a lost call in any thread, the pool's own included.
        alone = not _live and get_ident() == self._thread and not _leaves_itself(self._parallel)
        if self._ours and self._pending and alone:
            self._backend.abort_everything(ensure_ready=False)
        self._pending.clear()
        _leave(self._parallel, id(self), begun)


def _has_threads(backend: Any) -> bool:
    """Tell whether Dask's backend has workers that run several tasks at a time."""
    client = getattr(backend, "client", None)
    return client is not None and any(threads > 1 for threads in client.nthreads().values())


class _Died(BrokenExecutor):
    """A worker of a cluster died that had the chunk, of that or of another; the rest goes on."""


class _Lost:
    """Why a chunk has no answer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _tell_error(done: Callable[[Any], object], future: Future[Any]) -> None:
    """Call *done* with what went wrong, if anything did."""
    error = CancelledError() if future.cancelled() else future.exception()
    if error is not None:
        done(_Lost(error))
