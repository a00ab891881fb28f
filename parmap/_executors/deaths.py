"""Of whom the workers of somebody else's cluster died, as far as it can be known."""

from __future__ import annotations

from .._records.errors import WorkerCrashed
from .._records.work import Loss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.work import Chunk, Fate

LOSSES = 3
"""Workers that may die, each with the same chunk in a process beside it, until its tasks are to
blame: Dask's default of `allowed-failures`.  Less blames tasks for machines that are taken away."""


class Deaths:
    """The deaths in a call so far; true from the first on.

    From then on the call's chunks are to run in processes of our own beside the workers (see
    `contained`), which find the culprit: an engine only knows what else a worker had.
    """

    def __init__(self, allowed: int = LOSSES) -> None:
        """A chunk is not to blame for so many deaths as are *allowed*."""
        self._allowed = allowed
        self._losses: dict[int, int] = {}  # workers that died with a task, by its index

    def __bool__(self) -> bool:
        return bool(self._losses)

    def loss(self, chunk: Chunk, error: Exception) -> Loss:
        """Count a worker that died with *chunk*, as *error* tells, and say what becomes of it."""
        tasks = range(chunk.start, chunk.start + len(chunk))
        losses = 1 + max(self._losses.get(task, 0) for task in tasks)
        self._losses |= dict.fromkeys(tasks, losses)
        crash = WorkerCrashed(f"a worker of the cluster died: {error}")
        crash.__cause__ = error
        fate: Fate = "requeue" if losses <= self._allowed else "bisect"
        return Loss(crash, "crash", fate)
