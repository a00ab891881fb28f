"""A chunk in a process of our own beside a worker of somebody else's: in clusters.

There, a task that ends its process would take a worker of the cluster with it, with all that runs
there, and the engine would hand it to the next.  Here the caller learns which task it was, how it
ended and where it stood, and the worker of the cluster goes on.
"""

from __future__ import annotations

from contextlib import closing
from math import inf
from time import perf_counter

from .._records.errors import ExecutorUnavailable
from .._records.work import Chunk
from .._wire.channel import Message
from .._wire.messages import CRASHED, LACKING, LAST_STATE, NEW_STATE, READY, STALE, UNFIT
from .._workers.child import look_in
from .._workers.environment import TaskEnvironment
from .._workers.lease import GRACE, Lease
from .._workers.status_block import IDLE, LEAVING, LOADING, RUNNING, SINCE
from .._workers.tasks import nested
from .._workers.timeout import overdue
from .processes import ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._workers.process import WorkerProcess


def handle_contained(request: Message, level: int, more_path: tuple[str, ...] = ()) -> Message:
    """Do the same as `handle_in_pool`; a task that ends its process, or is late, costs no other.

    The process stays for the next, warm, as those of any call do.
    """
    look_in(more_path)
    token = nested.set(level - 1)  # of what asks; the process is one deeper
    try:
        with closing(Lease(TaskEnvironment(1))) as lease:
            while True:
                answer = _answer(lease, request)
                if answer.kind not in (LACKING, STALE, UNFIT):
                    return answer
                if lease.is_hopeless():
                    raise ExecutorUnavailable(f"no worker process can be used: {answer.header}")
    finally:
        nested.reset(token)


def _answer(lease: Lease, request: Message) -> Message:
    """Return what a worker has made of *request*, or what has become of that worker."""
    (digest, *_), (_, _, timeout, *_), *_ = request.header
    worker = lease.take(digest)
    if worker is None:
        raise ExecutorUnavailable("no worker process can be started")
    try:
        _forward(worker, request)
        while (answer := _news(lease, worker, timeout)) is None:
            pass
    except _Late as late:
        return _on_death(lease, worker, timeout, str(late))
    except (EOFError, OSError, MemoryError):
        return _on_death(lease, worker, None)
    worker.chunk = None
    if answer.kind == LACKING:
        worker.functions.discard(digest)
    if answer.kind in (STALE, UNFIT) or worker.status[RUNNING] == LEAVING:
        lease.retire(worker, GRACE)
    else:
        lease.put(worker)
    return answer


class _Late(Exception):
    """A task took longer than it may; the text is where it stood."""


def _news(lease: Lease, worker: WorkerProcess, timeout: float | None) -> Message | None:
    """Wait for what *worker* says next, and return it if it is an answer.

    Raises EOFError if it is dead, `_Late` if its task has had its *timeout*.
    """
    late, wait = overdue(lease.busy(), timeout) if timeout is not None else ((), inf)
    for _, dump in late:
        raise _Late(dump)
    for _, died in lease.poll(wait):
        if died and not worker.readable(0):
            raise EOFError
        message = worker.channel.receive()
        if message.kind != READY:
            return message
        worker.ready = True
    return None


def _forward(worker: WorkerProcess, request: Message) -> None:
    """Hand *request* to *worker*, in what surrounds us; the function only if need be."""
    (digest, _, *rest), run, _, _, terms = request.header
    environment = worker.environment
    is_new = worker.state != environment.state
    tracker = environment.tracker if is_new else None
    known = digest in worker.functions
    message = Message(
        request.kind,
        (
            (digest, not known, *rest),
            run,
            NEW_STATE if is_new else LAST_STATE,
            tracker is not None,
            terms,
        ),
        request.body,
        [*([environment.state] if is_new else ()), *([] if known else request.buffers)],
        [] if tracker is None else [tracker],
    )
    worker.chunk = Chunk(run[0], (None,))
    worker.status[SINCE] = perf_counter()
    worker.status[RUNNING] = IDLE
    worker.channel.send(message)
    worker.told, worker.state = True, environment.state
    worker.functions.add(digest)


def _on_death(
    lease: Lease, worker: WorkerProcess, timeout: float | None, dump: str = ""
) -> Message:
    """Return an answer that says of what *worker* died: of a *timeout*, if there is one."""
    running, seconds = worker.status[RUNNING], perf_counter() - worker.status[SINCE]
    worker.kill()
    dump = dump or worker.block.stack_dump()
    index, row = worker.block.output.read()
    ending = lease.retire(worker)
    if running in (LOADING, IDLE) and not lease.is_hopeless():
        return Message(STALE)  # another may do better
    suspect = int(running) if running >= 0 else None
    error = ended(ending, suspect, dump, timeout)
    kind = "crash" if timeout is None else "timeout"
    header = kind, str(error), suspect, running == LOADING, seconds, worker.pid, dump
    rows = {index: row} if suspect is not None and index == suspect else {}
    return Message(CRASHED, (*header, rows))
