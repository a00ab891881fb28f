"""Whose task takes longer than its timeout.

Nothing counts while a worker starts, loads the function or runs an initializer; its unpickling of
the items and its pickling of the results have as long as a task.
"""

from __future__ import annotations

from time import perf_counter

from .status_block import IDLE, LOADING, RUNNING, SINCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .process import WorkerProcess

BEGUN = 5.0  # seconds a ready worker has to begin with its chunk, at least


def overdue(
    workers: Iterable[WorkerProcess], timeout: float
) -> tuple[list[tuple[WorkerProcess, str]], float]:
    """Return which of *workers* took too long, with stack dumps, and when to look again.

    That is a number of seconds.  Whoever has an answer to read has made it.
    """
    late, wait = [], timeout
    for worker in workers:
        running, since = doing = worker.status[RUNNING], worker.status[SINCE]
        if running == LOADING or not worker.ready:
            continue
        left = since + (max(timeout, BEGUN) if running == IDLE else timeout) - perf_counter()
        if left > 0:
            wait = min(wait, left)
        elif not worker.readable(0):
            dump = worker.request_stack_dump()
            if doing != (worker.status[RUNNING], worker.status[SINCE]):
                wait = 0.0  # it has made it meanwhile, and is at another
            elif worker.is_dead() or not worker.readable(0):
                late.append((worker, dump))
    return late, wait
