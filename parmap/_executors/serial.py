"""Tasks in the caller: the reference that every other executor is tested against."""

from __future__ import annotations

from .._engine.interfaces import Executor
from .._workers.tasks import run_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._records.work import Call, Chunk, Report


class Serial(Executor):
    """Runs a chunk while it is waited for."""

    workers = 1
    window = 1
    in_caller = True

    def __init__(self, call: Call, budget: float) -> None:
        self._call = call
        self._budget = budget
        self._chunk: Chunk | None = None
        if call.initializer is not None:
            call.initializer()

    def submit(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def wait(self, seconds: float | None) -> list[Report]:
        if seconds == 0:
            return []
        chunk, self._chunk = self._chunk, None
        budget = self._budget if seconds is None else min(seconds, self._budget)
        return [run_here(self._call, chunk, budget)] if chunk else []

    def wake(self) -> None:
        """Do nothing: a wait runs what there is and returns."""

    def close(self) -> None:
        self._chunk = None
