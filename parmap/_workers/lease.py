"""The workers that one call has: each of them busy with a chunk, or free."""

from __future__ import annotations

import select
from contextlib import suppress
from math import inf
from time import monotonic, sleep

from .._records.errors import ExecutorUnavailable
from .._wire.messages import READY
from . import warm
from .process import milliseconds
from .status_block import LEAVING, RUNNING, STOP
from .waker import Waker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .environment import TaskEnvironment
    from .process import WorkerProcess

ABORTIVE = 3  # workers in a row that die before they begin: then something is wrong

LAST = 8.0
"""How long the other workers work until the last loads the function, too, in units of what that
takes, divided by all of them.  It takes a core from them meanwhile; and saves some 12 % of their
time, for until then the caller, who computes, lets each chunk wait for some 2.5 ms."""

GRACE = 0.1  # seconds a task may go on after its call was given up; then its worker is killed


class Lease:
    """Takes warm workers or starts new ones, polls them all at once, and gives them back.

    Attributes:
        abortive: how many have ended in a row before they did a task.
    """

    def __init__(self, environment: TaskEnvironment) -> None:
        """Raise ExecutorUnavailable if there is no descriptor left."""
        self._environment = environment
        self._free: list[WorkerProcess] = []
        self._by_fd: dict[int, WorkerProcess] = {}  # each has one or two
        self._size = 0
        self.abortive = 0
        self._early = False
        self._last = inf  # when the last worker is to load the function
        try:
            self._waker = Waker()
        except OSError as error:
            raise _unavailable(error) from error
        self.wake = self._waker.wake
        self._poll = select.poll()
        self._poll.register(self._waker.fd, select.POLLIN)

    def __len__(self) -> int:
        return self._size

    @property
    def any_ready(self) -> bool:
        """Whether one of them has begun to answer."""
        return any(worker.ready for worker in self._by_fd.values())

    @property
    def is_busy(self) -> bool:
        """Whether one of them has something to do."""
        return self._size > len(self._free)

    def busy(self) -> set[WorkerProcess]:
        """Return those that work at a chunk."""
        workers = self._by_fd.values()
        return {worker for worker in workers if worker.chunk and not worker.is_loading}

    def loaded(self, digest: bytes) -> int:
        """Return how many of them have loaded the function with this *digest*."""
        workers = set(self._by_fd.values())
        return sum(digest in worker.functions and not worker.is_loading for worker in workers)

    def all_have_loaded(self, digest: bytes, workers: int) -> bool:
        """Tell whether so many *workers* have, or all that there can be."""
        return not self._early and self.loaded(digest) >= max(1, min(workers, self._size))

    def acquire(self, digest: bytes | None = None) -> WorkerProcess:
        """Return one more worker, see `warm.lend`; raise OSError if there cannot be one."""
        worker = warm.lend(self._environment, digest)
        for fd in worker.fds():
            self._by_fd[fd] = worker
            self._poll.register(fd, select.POLLIN)
        self._size += 1
        return worker

    def start(self, workers: int) -> None:
        """Have so many free workers, as far as the system lets us.

        Raises ExecutorUnavailable if there is none, and there cannot be one.
        """
        try:
            while len(self._free) < workers:
                self._free.append(self.acquire())
        except OSError as error:
            if not self._size:
                raise _unavailable(error) from error

    def take(self, digest: bytes) -> WorkerProcess | None:
        """Take a free worker, if need be a new one; None if there cannot be one.

        Rather one that has loaded the function with this *digest*.
        """
        if not self._free:
            self.start(1)
        if not self._free:
            return None
        has = [digest in worker.functions for worker in self._free]
        return self._free.pop(has.index(True) if True in has else -1)

    def to_load(self, digest: bytes, workers: int, seconds: float) -> list[WorkerProcess]:
        """Take those that should load the function with this *digest* next, if any.

        All but one of so many *workers*, and that one later: until then the caller computes, and
        has a core for that.  *seconds*: what loading takes.  Raises ExecutorUnavailable like
        `start`.
        """
        if self._last == inf and self.loaded(digest):
            self._last = monotonic() + LAST / workers * seconds
        self._early = workers > 1 and monotonic() < self._last
        wanted = workers - self._early
        try:
            while self._size < wanted:
                worker = self.acquire(digest)
                if not worker.is_loading:
                    self._free.append(worker)
        except OSError as error:
            if not self._size:
                raise _unavailable(error) from error
        taken = [worker for worker in self._free if digest not in worker.functions]
        self._free = [worker for worker in self._free if worker not in taken]
        return taken

    def is_hopeless(self) -> bool:
        """Count a worker that ended before its first task; tell whether it is one too many."""
        self.abortive += 1
        return self.abortive == ABORTIVE

    def put(self, worker: WorkerProcess) -> None:
        """Let *worker* be free."""
        worker.chunk = None
        worker.status[STOP] = 0
        self._free.append(worker)

    def poll(self, seconds: float) -> list[tuple[WorkerProcess | None, bool]]:
        """Wait up to *seconds*; return whom there is news of, and whether it is of a death.

        None stands for a call of `wake`.
        """
        news: list[tuple[WorkerProcess | None, bool]] = []
        for fd, _ in self._poll.poll(milliseconds(seconds)):
            if fd == self._waker.fd:
                self._waker.clear()
                news.append((None, False))
            else:
                worker = self._by_fd[fd]
                news.append((worker, fd != worker.channel.fd))
        return news

    def __contains__(self, worker: WorkerProcess) -> bool:
        return worker.channel.fd in self._by_fd

    def retire(self, worker: WorkerProcess, patience: float = warm.PATIENCE) -> str:
        """Let go of a worker for good, and say how it ended."""
        while worker.ended_abruptly:
            sleep(60)  # this is a daemon thread, and the program is at its end
        for fd in worker.fds():
            self._poll.unregister(fd)
            del self._by_fd[fd]
        self._size -= 1
        if worker in self._free:
            self._free.remove(worker)
        return warm.end(worker, patience)

    def close(self) -> None:
        """Give all back that are free or soon will be, and kill the others."""
        # Those that are not lent any more are those of the process that this one was forked from.
        lent = {worker for worker in self._by_fd.values() if worker in warm.lent}
        for worker in [worker for worker in lent if worker.is_loading and worker.channel.whole]:
            warm.give_back(worker)  # the next call may need what it loads
            lent.discard(worker)
        for worker in lent:
            worker.channel.patience = GRACE
            worker.status[STOP] = 1 if worker.chunk else 0
        end = monotonic() + GRACE
        try:
            for worker in list(lent):
                with suppress(EOFError):
                    while worker.chunk and worker.channel.whole:
                        if not worker.readable(end - monotonic()):
                            break
                        if worker.channel.receive().kind == READY:
                            worker.ready = True
                        else:
                            worker.chunk = None
                if worker.channel.whole and not worker.chunk and worker.status[RUNNING] != LEAVING:
                    worker.status[STOP] = 0
                    warm.give_back(worker)
                    lent.discard(worker)
        finally:  # also if Ctrl-C comes once more
            for worker in lent:
                worker.kill()
                warm.end(worker)
            self._by_fd.clear()
            self._size = 0
            self._free.clear()
            self._waker.close()


def _unavailable(error: OSError) -> ExecutorUnavailable:
    need_none = "executor='threads' and executor='serial' need none"
    return ExecutorUnavailable(f"no worker process can be started: {error}; {need_none}")
