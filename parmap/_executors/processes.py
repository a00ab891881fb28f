"""Tasks in worker processes of our own, each on a channel of its own: the executor "processes".

::

    Processes (one a call)   gives each worker a chunk, and judges what becomes of it
      Lease                  takes workers and gives them back, polls all their descriptors at once
        WorkerProcess        owns a process, the channel to it, its status block, and a pidfd
          child.main         answers requests until the channel ends

Guaranteed:

- the caller knows which chunk each worker has, and from its status block which task of it: blame is
  exact, and what happens to one worker touches no other;
- a task that takes longer than the timeout is killed, with its worker, whatever it is doing, while
  the call waits for results; one that ends late while it does not has failed all the same;
- a worker serves one call at a time; between calls it waits, warm;
- a message is sent only to a worker that waits for one, so that sending never blocks for longer
  than the worker needs to read it; and none is waited for that is dead, or does not move.
"""

from __future__ import annotations

import atexit
from contextlib import closing, suppress
from math import inf
from time import monotonic, perf_counter

from .._engine.interfaces import Executor
from .._records.c_modules import pickle
from .._records.errors import ExecutorUnavailable, TaskTimeout, WorkerCrashed
from .._records.work import Call, Chunk, Loss, Report, Unsendable
from .._wire.channel import STALLED
from .._wire.messages import DONE, LACKING, LOAD, READY, STALE, UNFIT, SerializedCall
from .._workers import warm
from .._workers.environment import TaskEnvironment
from .._workers.lease import GRACE, Lease
from .._workers.loading import NONE, expected, packages
from .._workers.status_block import IDLE, LEAVING, LOADING, RUNNING, SINCE, STOP
from .._workers.timeout import overdue
from .last_words import LastWords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.failure import Kind
    from .._workers.process import WorkerProcess

atexit.register(warm.end_all)


def prestart(workers: int) -> None:
    """Start workers until *workers* wait for a call, and wait until they do."""
    try:
        with closing(Lease(TaskEnvironment(workers, limit_threads=True))) as lease:
            for worker in [lease.acquire() for _ in range(workers)]:
                if not worker.ready:
                    worker.readable(STALLED)
                    worker.ready = worker.channel.receive().kind == READY
    except (OSError, EOFError) as error:
        raise ExecutorUnavailable(f"no worker process can be started: {error!r}") from error


class Processes(Executor):
    """Runs each chunk in a worker process that has nothing else to do."""

    def __init__(
        self,
        call: Call,
        workers: int,
        budget: float,
        *,
        timeout: float | None = None,
        most: int | None = None,
        at_once: int = 0,
        packing: float | None = None,
        modules: frozenset[str] = NONE,
    ) -> None:
        """Start *at_once* workers; raise PicklingError if the function cannot be sent.

        A task has *timeout* seconds, a worker does at *most* so many tasks.  With *packing*, the
        seconds to pickle the function, workers load that and the items' *modules* first, and
        `window` counts those that have.
        """
        self.workers = self.window = workers
        self._budget, self._timeout, self._most = budget, timeout, most
        self._lease = Lease(TaskEnvironment(workers, limit_threads=True))
        self.wake = self._lease.wake  # type: ignore[method-assign]
        self._call: SerializedCall | None = None
        self._words = LastWords(call)
        self._news: list[Report] = []
        self._unbegun: set[int] = set()  # where chunks start that a worker has died of unseen
        self._modules, self._packages = modules, packages(call.fn, modules)
        self._ahead = packing is not None and warm.prepared(self._packages) < workers
        try:
            self._lease.start(at_once)
            if len(self._lease) < at_once:
                self.workers = self.window = len(self._lease)
            self._call = SerializedCall(call, shared=True, seconds=packing)  # while they boot
            self._load_ahead()
        except BaseException:
            self.close()
            raise

    @property
    def packing(self) -> float:
        return self._call.seconds if self._call else 0.0

    @property
    def ready(self) -> bool:
        return not self._ahead

    def submit(self, chunk: Chunk) -> None:
        if (worker := self._choose(chunk)) is None:
            self._requeue(chunk, "there is no worker for it")
            return
        try:
            self._ask(worker, chunk)
        except pickle.PicklingError as error:
            self._lease.put(worker)
            raise Unsendable(str(error)) from error

    def _ask(self, worker: WorkerProcess, chunk: Chunk) -> None:
        assert self._call is not None
        worker.missing = self._packages - worker.packages
        try:
            worker.ask(self._call, chunk, self._budget, self._timeout)
        except OSError:  # it is dead, or stuck
            self._on_death(worker, "crash")

    def _load_ahead(self) -> None:
        """Have workers load the function, and count those that have, until all have."""
        if self._ahead and (call := self._call):
            loading = expected(self._packages)
            for worker in self._lease.to_load(call.digest, self.workers, loading):
                self._ask(worker, Chunk(LOAD, sorted(self._modules)))
            self.window = self._lease.loaded(call.digest)
            self._ahead = not self._lease.all_have_loaded(call.digest, self.workers)

    def wait(self, seconds: float | None) -> list[Report]:
        end, woken = inf if seconds is None else monotonic() + seconds, False
        _tell(self._call)
        self._load_ahead()
        while not woken and self._lease.is_busy:
            left = 0.0 if self._news else end - monotonic()
            look = min(self.kill_overdue(self._timeout), self._words.look(self._lease))
            events = self._lease.poll(min(look, left))
            for worker, died in events:
                if worker is None:
                    woken = True
                elif worker in self._lease:  # else retired a moment ago
                    self._on_message(worker, died=died)
            self._load_ahead()
            if self._news or (left <= 0 and not events):
                break
        news, self._news = self._news, []
        return news

    def recall(self) -> None:
        for worker in self._lease.busy():
            worker.status[STOP] = 1

    def close(self) -> None:
        call, self._call = self._call, None
        try:
            if call is not None:
                warm.keep(call, self.workers)
                del call
        finally:
            self._lease.close()

    def _choose(self, chunk: Chunk) -> WorkerProcess | None:
        """Return a worker that may still do the tasks of *chunk*; None if there cannot be one."""
        while worker := self._lease.take(self._call.digest if self._call else b""):
            if self._most is None or worker.served + len(chunk) <= self._most:
                return worker
            self._lease.retire(worker, GRACE)
        self.workers = self.window = len(self._lease)
        return None

    def _requeue(self, chunk: Chunk, why: str) -> None:
        if chunk.start != LOAD:  # else another will load the function
            self._news.append(Report(chunk, [], loss=Loss(WorkerCrashed(why), "crash", "requeue")))

    def kill_overdue(self, timeout: float | None) -> float:
        late, wait = overdue(self._lease.busy(), timeout) if timeout is not None else ((), inf)
        for worker, dump in late:
            self._on_death(worker, "timeout", dump)
        return wait

    def _on_message(self, worker: WorkerProcess, *, died: bool) -> None:
        """Take the message of *worker*, or learn of its end."""
        if died and not worker.readable(0):  # what it sent before it died counts
            self._on_death(worker, "crash")
            return
        try:
            message = worker.channel.receive()
        except (EOFError, MemoryError):
            self._on_death(worker, "crash")
            return
        kind, chunk, call = message.kind, worker.chunk, self._call
        if kind == READY:
            worker.ready = True
            _notice(call, "Started", worker.pid, worker.began)
        elif chunk is None or call is None:
            return
        elif kind == STALE:
            self._lease.retire(worker)
            self._requeue(chunk, "modules that the worker had imported were edited")
        elif kind == LACKING:
            worker.functions.discard(call.digest)
            self._lease.put(worker)
            self._requeue(chunk, "the worker has not kept the function")
        elif kind == UNFIT:
            self._lease.retire(worker)
            why = f"no worker process can map what belongs to the tasks: {message.header[0]}"
            if self._lease.is_hopeless():
                raise ExecutorUnavailable(why)
            self._requeue(chunk, why)
        else:
            worker.chunk = None
            self._lease.abortive = 0
            report = self._words.answered(worker, call.report(chunk, message))
            worker.served += len(report.values)
            if kind == DONE and (worker.missing or chunk.start == LOAD):
                _has_loaded(call, worker, report.seconds if chunk.start == LOAD else None)
            if chunk.start != LOAD:
                self._news.append(report)
            if worker.status[RUNNING] == LEAVING:
                self._lease.retire(worker, GRACE)
            else:
                self._lease.put(worker)

    def _on_death(self, worker: WorkerProcess, kind: Kind, dump: str = "") -> None:
        """Requeue or fail what a dead worker was doing; its stack *dump* says where it stood."""
        chunk, running = worker.chunk, worker.status[RUNNING]
        seconds = perf_counter() - worker.status[SINCE]
        worker.kill()  # it may only have closed its channel
        if not worker.ready and worker.readable(0):
            with suppress(EOFError):
                worker.ready = worker.channel.receive().kind == READY
        dump = dump or worker.block.stack_dump()
        ending = self._lease.retire(worker)
        written = self._words.died(worker, running)
        unused = not worker.ready or running == LOADING
        if unused and self._lease.is_hopeless():
            if worker.ready:
                raise WorkerCrashed(f"{ending} while it loaded the function or was initialized")
            raise ExecutorUnavailable(f"worker processes die before their first task: {ending}")
        if chunk is None or chunk.start == LOAD:
            return
        self._ahead, self.window = False, self.workers  # what crashes must not run in the caller
        if running == IDLE and chunk.start not in self._unbegun:
            self._unbegun.add(chunk.start)
            unused = True
        if unused:
            self._requeue(chunk, ending)
        else:
            suspect = int(running) if running >= 0 else None
            error = ended(ending, suspect, dump, self._timeout if kind == "timeout" else None)
            loss = Loss(error, kind, "bisect", suspect, seconds, worker.pid, dump)
            self._news.append(Report(chunk, [], loss=loss, written=written))


def _tell(call: SerializedCall | None) -> None:
    if call is not None and call.generators.untold:
        call.generators.tell()


def _has_loaded(call: SerializedCall, worker: WorkerProcess, seconds: float | None) -> None:
    """Note that *worker* has the function: loaded before its first task, in so many *seconds*."""
    worker.has_loaded(seconds)
    if seconds is not None:
        _notice(call, "Loaded", worker.pid, seconds)


def _notice(call: SerializedCall | None, name: str, *what: float) -> None:
    """Tell of the event with this *name* who watches *call*, if somebody does."""
    if call is not None and (watch := call.call.watch) is not None:
        from .._records import events

        watch(getattr(events, name)(perf_counter(), *what))


def ended(ending: str, suspect: int | None, dump: str, timeout: float | None) -> Exception:
    """Return what has become of a task, for which there was a *timeout* or the worker crashed."""
    at = f", at (most recent call first)\n{dump}" if dump else ""
    if timeout is not None:
        doing = "the pickling of its input or result" if suspect is None else "the task"
        return TaskTimeout(f"{doing} took longer than {timeout} s and was killed{at}")
    when = "before or after it ran the task" if suspect is None else "while it ran the task"
    return WorkerCrashed(f"{ending} {when}{at}")
