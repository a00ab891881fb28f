"""Tasks in worker processes of our own, each on a channel of its own: the executor "processes".

::

    Processes (one a call)   acquires workers, gives each a chunk, polls all their descriptors
      WorkerProcess          owns a process, the channel to it, its status block, and a pidfd
        child.main           answers requests until the channel ends

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
import pickle
import select
from contextlib import suppress
from math import inf
from time import monotonic, perf_counter, sleep

from .._engine.executor import Executor
from .._records.errors import ExecutorUnavailable, TaskTimeout, WorkerCrashed
from .._records.work import Loss, Report, Unsendable
from .._wire.channel import STALLED
from .._wire.messages import (
    LACKING,
    LAST_STATE,
    NEW_STATE,
    NO_CHANGE,
    READY,
    STALE,
    UNFIT,
    SerializedCall,
)
from .._wire.shared_objects import Spawning
from .._workers import warm
from .._workers.environment import task_environment
from .._workers.process import WorkerProcess, milliseconds
from .._workers.status import IDLE, LEAVING, LOADING, RUNNING, SINCE, STOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.failure import Kind
    from .._records.work import Call, Chunk

GRACE = 0.1  # seconds a task may go on after its call was given up; then its worker is killed
ABORTIVE = 3  # workers in a row that die before they begin: then something is wrong
BEGUN = 5.0  # seconds a ready worker has to begin with its chunk, at least, if there is a timeout

atexit.register(warm.end_all)


def prestart(workers: int) -> None:
    """Start workers until *workers* wait for a call, and wait until they do."""
    started: list[WorkerProcess] = []
    try:
        while len(started) < workers:
            started.append(warm.take() or WorkerProcess(task_environment(workers)))
        for worker in started:
            if not worker.ready:
                worker.readable(STALLED)
                worker.ready = worker.channel.receive().kind == READY
    except (OSError, EOFError) as error:
        raise ExecutorUnavailable(f"no worker process can be started: {error!r}") from error
    finally:
        for worker in started:
            if worker.channel.whole:
                warm.give_back(worker)
            else:  # it died, or cannot be waited for
                worker.kill()
                worker.end(warm.PATIENCE)


class Processes(Executor):
    """The workers of one call."""

    def __init__(
        self,
        call: Call,
        workers: int,
        budget: float,
        *,
        timeout: float | None = None,
        most: int | None = None,
        at_once: int = 0,
    ) -> None:
        """Start *at_once* workers; raise PicklingError if the function cannot be sent.

        A task has *timeout* seconds, a worker does at *most* so many tasks.
        """
        self.workers = workers
        self.window = workers
        self._budget = budget
        self._timeout = timeout
        self._most = most
        self._environment = task_environment(workers)
        self._free: list[WorkerProcess] = []
        self._processes: dict[int, WorkerProcess] = {}  # by each of their descriptors
        self._poll = select.poll()
        self._news: list[Report] = []
        self._abortive = 0
        self._unbegun: set[int] = set()  # where chunks start that a worker has died of unseen
        try:
            while len(self._free) < at_once and (worker := self._acquire()):
                self._free.append(worker)
            self._serialized = SerializedCall(call, shared=True)  # while they boot
        except BaseException:
            self.close()
            raise

    @property
    def packing(self) -> float:
        """Seconds it took to pickle the function."""
        return self._serialized.seconds

    @property
    def ready(self) -> bool:
        """Whether workers are there: all of those wanted, or one of those that were started."""
        return warm.count() >= self.workers or any(
            worker.ready for worker in self._processes.values()
        )

    def submit(self, chunk: Chunk) -> None:
        worker = self._choose(len(chunk))
        if worker is None:
            self._return(chunk, "there is no worker for it")
            return
        call, environment, handles = self._serialized, self._environment, Spawning()
        enter, tracker = NO_CHANGE, None
        if worker.user is not self:
            enter = LAST_STATE  # but for what other tasks have changed
            if worker.state != environment.state:
                enter, tracker = NEW_STATE, environment.tracker
        try:
            with handles:
                request = call.request(
                    *(chunk, self._budget, self._timeout),
                    send_function=call.digest not in worker.functions,
                    enter=enter,
                    state=environment.state,
                    tracker=tracker,
                    handles=handles,
                )
        except pickle.PicklingError as error:
            self._free.append(worker)
            raise Unsendable(str(error)) from error
        worker.chunk = (
            chunk  # before it is sent: who is interrupted meanwhile must not lend it again
        )
        worker.status[SINCE] = perf_counter()
        worker.status[RUNNING] = IDLE
        try:
            worker.channel.send(request)
        except OSError:  # it is dead, or stuck
            self._on_death(worker, "crash")
            return
        worker.user = self
        worker.state = environment.state
        worker.functions.add(call.digest)

    def wait(self, seconds: float | None) -> list[Report]:
        end = inf if seconds is None else monotonic() + seconds
        while any(worker.chunk for worker in self._processes.values()):
            left = 0.0 if self._news else end - monotonic()
            events = self._poll.poll(milliseconds(min(self._expire(), left)))
            for fd, _ in events:
                worker = self._processes.get(fd)
                if worker is not None:  # else dropped a moment ago
                    self._on_message(worker, died=fd != worker.channel.fd)
            if self._news or (left <= 0 and not events):
                break
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        # Those that are not lent any more are those of the process that this one was forked from.
        lent = {worker for worker in self._processes.values() if warm.is_lent(worker)}
        for worker in lent:
            worker.channel.patience = GRACE
            worker.status[STOP] = 1 if worker.chunk else 0
        end = monotonic() + GRACE
        try:
            if (call := self.__dict__.pop("_serialized", None)) is not None:
                warm.keep(call, self.workers)
                del call
            for worker in list(lent):
                with suppress(EOFError):
                    while (
                        worker.chunk and worker.channel.whole and worker.readable(end - monotonic())
                    ):
                        if worker.channel.receive().kind == READY:
                            worker.ready = True
                        else:
                            worker.chunk = None
                if not worker.chunk and worker.status[RUNNING] != LEAVING:
                    lent.discard(worker)
                    worker.status[STOP] = 0
                    warm.give_back(worker)
        finally:  # also if Ctrl-C comes once more
            for worker in lent:
                worker.kill()
                warm.remove(worker)
                worker.end(warm.PATIENCE)
            self._processes.clear()
            self._free.clear()

    def _choose(self, tasks: int) -> WorkerProcess | None:
        """Return a worker that may do so many *tasks* more; None if there cannot be one."""
        while worker := self._free.pop() if self._free else self._acquire():
            if self._most is None or worker.served + tasks <= self._most:
                break
            self._retire(worker, GRACE)
        return worker

    def _expire(self) -> float:
        """Kill what has taken too long; return after how many seconds to look again."""
        if self._timeout is None:
            return inf
        wait = self._timeout
        for worker in {worker for worker in self._processes.values() if worker.chunk}:
            running, since = doing = worker.status[RUNNING], worker.status[SINCE]
            limit = max(self._timeout, BEGUN) if running == IDLE else self._timeout
            left = since + limit - perf_counter()
            if running == LOADING or not worker.ready:
                continue
            if left > 0:
                wait = min(wait, left)
            elif not worker.readable(0):  # else it has made it
                dump = worker.request_stack_dump()
                if doing != (worker.status[RUNNING], worker.status[SINCE]):
                    wait = 0.0  # it has made it meanwhile, and is at another
                elif worker.is_dead() or not worker.readable(0):
                    self._on_death(worker, "timeout", dump)
        return wait

    def _acquire(self) -> WorkerProcess | None:
        try:
            worker = warm.lend(warm.take() or WorkerProcess(self._environment))
        except OSError as error:
            if not self._processes:
                raise ExecutorUnavailable(
                    f"no worker process can be started: {error}; "
                    "executor='threads' and executor='serial' need none"
                ) from error
            self.workers = self.window = len(set(self._processes.values()))
            return None
        for fd in worker.fds():
            self._processes[fd] = worker
            self._poll.register(fd, select.POLLIN)
        return worker

    def _return(self, chunk: Chunk, why: str) -> None:
        self._news.append(Report(chunk, [], loss=Loss(WorkerCrashed(why), "crash", "requeue")))

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
        chunk = worker.chunk
        if message.kind == READY:
            worker.ready = True
        elif message.kind == STALE and chunk:
            self._retire(worker)
            self._return(chunk, "modules that the worker had imported were edited")
        elif message.kind == LACKING and chunk:
            worker.functions.discard(self._serialized.digest)
            worker.chunk = None
            self._free.append(worker)
            self._return(chunk, "the worker has not kept the function")
        elif message.kind == UNFIT and chunk:
            self._retire(worker)
            self._abortive += 1
            (why,) = message.header
            if self._abortive == ABORTIVE:
                raise ExecutorUnavailable(f"no worker process can map the function's memory: {why}")
            self._return(chunk, f"the worker cannot have what belongs to the chunk: {why}")
        elif chunk:
            worker.chunk = None
            self._abortive = 0
            report = self._serialized.report(chunk, message)
            worker.served += len(report.values)
            self._news.append(report)
            if worker.status[RUNNING] == LEAVING:
                self._retire(worker, GRACE)
            else:
                self._free.append(worker)

    def _on_death(self, worker: WorkerProcess, kind: Kind, dump: str = "") -> None:
        """Report what a dead worker was doing; its last *dump* say where."""
        chunk, running, seconds = (
            worker.chunk,
            worker.status[RUNNING],
            perf_counter() - worker.status[SINCE],
        )
        worker.kill()  # it may only have closed its channel
        if not worker.ready and worker.readable(0):
            with suppress(EOFError):
                worker.ready = worker.channel.receive().kind == READY
        dump = dump or worker.stack_dump()
        ending = self._retire(worker)
        again = not worker.ready or running == LOADING
        if again:
            self._abortive += 1
            if self._abortive == ABORTIVE and worker.ready:
                raise WorkerCrashed(f"{ending} while it loaded the function or was initialized")
            if self._abortive == ABORTIVE:
                raise ExecutorUnavailable(f"worker processes die before their first task: {ending}")
        if chunk is None:
            return
        if running == IDLE and chunk.start not in self._unbegun:
            self._unbegun.add(chunk.start)
            again = True
        if again:
            self._return(chunk, ending)
            return
        suspect = int(running) if running >= 0 else None
        at = f", at (most recent call first)\n{dump}" if dump else ""
        error: Exception
        if kind == "timeout":
            doing = "the task" if suspect is not None else "the pickling of its input or result"
            error = TaskTimeout(f"{doing} took longer than {self._timeout} s and was killed{at}")
        else:
            when = "before or after it ran the task" if suspect is None else "while it ran the task"
            error = WorkerCrashed(f"{ending} {when}{at}")
        loss = Loss(error, kind, "bisect", suspect, seconds, worker.pid, dump)
        self._news.append(Report(chunk, [], loss=loss))

    def _retire(self, worker: WorkerProcess, patience: float = warm.PATIENCE) -> str:
        """Take a worker out, end it, and say how it ended."""
        while worker.ended_abruptly:
            sleep(60)  # this is a daemon thread, and the program is at its end
        for fd in worker.fds():
            self._poll.unregister(fd)
            del self._processes[fd]
        if worker in self._free:
            self._free.remove(worker)
        warm.remove(worker)
        return worker.end(patience)
