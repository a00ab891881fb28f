"""The workers that wait, warm, for a call; those that are lent to one; and what they keep.

No lock guards this: the collector may close a lost call, which gives its workers back, at any
moment and in any thread, also in one that would hold the lock.  Single operations need none.

A worker is in exactly one place, idle or lent; whoever takes it out of there for good ends it.
"""

from __future__ import annotations

import os
from time import monotonic

from .cache import HANDLE, KEPT, RESTED, SMALL, SWELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._wire.messages import SerializedCall
    from .._wire.shared_memory import Region
    from .process import WorkerProcess

PATIENCE = 1.0  # seconds a worker has to end by itself; then it is killed

_idle: list[WorkerProcess] = []
_lent: set[WorkerProcess] = set()


def count() -> int:
    """Return how many workers wait for a call."""
    return len(_idle)


def lend(worker: WorkerProcess) -> WorkerProcess:
    """Return *worker*, which a call has from now on."""
    _lent.add(worker)
    return worker


def is_lent(worker: WorkerProcess) -> bool:
    """Tell whether a call of this process has *worker*: not in a fork of that."""
    return worker in _lent


def remove(worker: WorkerProcess) -> None:
    """Take *worker*, which was lent, out for good: the caller ends it."""
    _lent.discard(worker)


def take() -> WorkerProcess | None:
    """Take an idle worker that lives, if there is one."""
    while worker := _pop():
        if worker.is_alive():
            return worker
        worker.end(0.0)  # it died while it was idle
    return None


def _pop() -> WorkerProcess | None:
    try:
        return _idle.pop()
    except IndexError:
        return None


def give_back(worker: WorkerProcess) -> None:
    """Let *worker* wait for the next call, if it still lives."""
    worker.reset()
    lives = _tidy(worker)
    _lent.discard(worker)
    if lives:
        _idle.append(worker)
    else:
        worker.kill()
        worker.end(PATIENCE)


# The functions that workers keep between calls, by digest, the one used last at the end: how many
# bytes they take, the region if there is one, and when they were used.
_kept: dict[bytes, tuple[int, Region | None, float]] = {}


def keep(call: SerializedCall, workers: int) -> None:
    """Keep the function of a *call* that ends; give up what is too old, or too much with it."""
    size, now = _size(call, workers), monotonic()
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
    for worker in list(_idle) if gone else ():
        try:
            _idle.remove(worker)
        except ValueError:  # lent meanwhile: it is told later
            continue
        give_back(worker)


def _size(call: SerializedCall, workers: int) -> int:
    """Return how many bytes *call* may take in so many *workers*, and in its region."""
    shared = sum(call.region.sizes) if call.region else 0
    handles = len(call.fds) * HANDLE
    return max(SMALL, workers * SWELL * len(call.data) + shared + handles)


def _tidy(worker: WorkerProcess) -> bool:
    """Have a worker that waits forget what is not kept; tell whether it lives."""
    gone = worker.functions - _kept.keys()
    try:
        if gone:
            worker.forget_functions(gone)
    except OSError:
        return False
    return True


def shutdown() -> None:
    """End the workers that wait for a call; those of a call under way end with it."""
    _kept.clear()
    ending = []
    while worker := _pop():
        worker.channel.close()  # all of them first: they end side by side
        ending.append(worker)
    for worker in ending:
        worker.end(PATIENCE)


def end_all() -> None:
    """At the end of the program, end all: the calls that might give theirs back never will."""
    for worker in list(_lent):
        worker.end_abruptly()
    shutdown()


def _forget() -> None:
    """In a forked child: the workers are the parent's."""
    for worker in (*_idle, *_lent):
        worker.disown()
    _idle.clear()
    _lent.clear()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
