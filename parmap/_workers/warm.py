"""The workers that wait, warm, for a call; those that are lent to one; and what they keep.

No lock guards this: the collector may close a lost call, which gives its workers back, at any
moment and in any thread, also in one that would hold the lock.  Single operations need none.

A worker is in exactly one place, idle or lent; whoever takes it out of there for good ends it.
"""

from __future__ import annotations

import os
from time import monotonic

from .function_cache import HANDLE, KEPT, RESTED, SMALL, SWELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._wire.messages import SerializedCall
    from .._wire.shared_memory import Region
    from .environment import TaskEnvironment
    from .loading import Packages
    from .process import WorkerProcess

PATIENCE = 1.0  # seconds a worker has to end by itself; then it is killed

idle: list[WorkerProcess] = []
lent: set[WorkerProcess] = set()  # to calls of this process, not of the one it was forked from


def lend(environment: TaskEnvironment, digest: bytes | None = None) -> WorkerProcess:
    """Return an idle worker that lives, or else a new one; raise OSError if there cannot be one.

    With *digest*, that of a function, rather one that has loaded it; and one that still loads this
    or another function is better than a new one.
    """
    while worker := _pop(digest):
        if worker.is_alive():
            worker.environment = environment
            break
        worker.end(0.0)  # it died while it was idle
    else:
        from .process import WorkerProcess  # who only asks what is idle does without

        worker = WorkerProcess(environment)
    lent.add(worker)
    return worker


def _pop(digest: bytes | None) -> WorkerProcess | None:
    """Take an idle worker, the one that waits for the shortest time if all are alike."""
    _settle()
    waiting = [worker for worker in list(idle)[::-1] if digest is not None or not worker.is_loading]
    if digest is not None:  # the order of those that are alike stays
        waiting.sort(key=lambda worker: (worker.is_loading, digest not in worker.functions))
    for worker in waiting:
        if _take(worker):
            return worker
    return None


def _take(worker: WorkerProcess) -> bool:
    """Take *worker* out of the idle ones; tell whether it was there."""
    try:
        idle.remove(worker)
    except ValueError:  # lent meanwhile
        return False
    return True


def _settle() -> None:
    """Hear of those that their call has left loading a function."""
    for worker in [worker for worker in list(idle) if worker.is_loading]:
        if _take(worker):  # nobody else may read its channel
            lent.add(worker)
            try:
                worker.hear()
            finally:
                lent.discard(worker)
                idle.append(worker)


def outlook(packages: Packages) -> float | None:
    """Return in how many seconds an idle worker can have imported *packages*; None: there is none.

    As far as it is known, see `loading`.
    """
    _settle()
    return min((worker.until_loaded(packages) for worker in list(idle)), default=None)


def prepared(packages: Packages) -> int:
    """Return how many idle workers have nothing to import for a function that needs *packages*."""
    _settle()
    return sum(worker.packages >= packages and not worker.is_loading for worker in list(idle))


def give_back(worker: WorkerProcess) -> None:
    """Let *worker* wait for the next call, without what is not kept, if it still lives."""
    worker.reset()
    try:
        worker.forget_functions(worker.functions - _kept.keys())
    except OSError:
        worker.kill()
        end(worker)
    else:
        lent.discard(worker)
        idle.append(worker)


def end(worker: WorkerProcess, patience: float = PATIENCE) -> str:
    """End *worker*, which was lent, and say how it ended."""
    lent.discard(worker)
    return worker.end(patience)


# The functions that workers keep between calls, by digest, the one used last at the end: how many
# bytes they take, the region if there is one, and when they were used.
_kept: dict[bytes, tuple[int, Region | None, float]] = {}


def keep(call: SerializedCall, workers: int) -> None:
    """Keep the function of a *call* that ends; give up what is too old, or too much with it."""
    shared = sum(call.region.sizes) if call.region else 0
    size = max(SMALL, workers * SWELL * len(call.data) + shared + len(call.fds) * HANDLE)
    now = monotonic()
    _kept.pop(call.digest, None)
    if size <= KEPT:  # else it is given up itself
        _kept[call.digest] = size, call.region, now
    every = list(_kept.items())
    total = sum(size for _, (size, _, _) in every)
    gone = False
    for digest, (size, _, used) in every:
        if total <= KEPT and used > now - RESTED:
            break
        total -= size
        gone = _kept.pop(digest, None) is not None
    for worker in list(idle) if gone else ():
        if _take(worker):  # else it is lent, and told later
            give_back(worker)


def shutdown() -> None:
    """End the workers that wait for a call; those of a call under way end with it."""
    _kept.clear()
    ending = [worker for worker in list(idle) if _take(worker)]
    for worker in ending:
        worker.channel.close()  # all of them first: they end side by side
    for worker in ending:
        worker.end(0.0 if worker.is_loading else PATIENCE)


def end_all() -> None:
    """At the end of the program, end all: the calls that might give theirs back never will."""
    for worker in list(lent):
        worker.end_abruptly()
    shutdown()


def _forget() -> None:
    """In a forked child: the workers are the parent's."""
    for worker in (*idle, *lent):
        worker.disown()
    idle.clear()
    lent.clear()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
