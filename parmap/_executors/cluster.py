"""What the adapters to clusters have in common: workers that an engine looks after, not we.

Guaranteed:

- the bytes of a large function are put where workers find them, once; else they go with each chunk;
- no more is in flight than `window`, for the workers that there are now: that is looked up anew
  every `ROUND` seconds;
- what a worker had when it died runs again, each chunk in a process of our own beside a worker: see
  `contained`; so does all else of the call from then on.  So the culprit is known when it has taken
  one worker with it, blame is exact, and the next culprit takes none;
- the same for all chunks of a call with a timeout, which only a process of its own can be held to.

Assumed: parmap is installed where the workers are, of the same version.  What else the function
needs is imported there, also from the folders on the caller's path, if they are to be found there,
too; functions of a module that is not to be found travel by value.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import BrokenExecutor, CancelledError
from math import inf
from queue import Empty
from time import monotonic

from .._engine.chunking import FAR, budget
from .._records.errors import ExecutorUnavailable
from .._records.stack_frames import warn
from .._records.work import Loss, Report
from .deaths import Deaths
from .marshalling import Marshaller, Pickled
from .queued import ROUND, Queued

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.work import Call, Chunk, Fate

DESERTED = 30.0
"""Seconds without any worker until that is warned of.  Less, and clusters that grow from none are
complained of; more, and who waits for one that will not come does not know it."""


class Cluster(Queued):
    """Sends chunks to an engine.

    Besides what `Queued` asks for, an adapter says how to `_put` bytes, and how to `_count` the
    workers.  Its `_result` raises BrokenExecutor if a worker has died.
    """

    far = FAR
    _marshaller: Pickled

    def __init__(
        self, call: Call, engine: Any, most: int | None = None, timeout: float | None = None
    ) -> None:
        """Use *engine*, at *most* so many of its workers; a task has *timeout* seconds."""
        self._timeout = timeout
        self._most = most
        self._seeded = call.seed is not None
        self._shared = False  # whether workers are threads of a process, which share its state
        self._deaths = Deaths()
        path: list[Any] = sys.path
        texts = (entry for entry in path if isinstance(entry, str))
        self._more_path = tuple(map(os.path.abspath, texts))
        self._pool = engine
        self._look_at = monotonic() + ROUND
        self._deserted_at = monotonic() + DESERTED
        try:
            super().__init__(call, self._capacity(), engine)
        except BrokenExecutor as error:
            raise ExecutorUnavailable(str(error)) from error

    @property
    def window(self) -> int:  # type: ignore[override]
        """With fewer workers than there are, what waits would run at once, too."""
        return self.workers if self._limited else 2 * self.workers

    def _count(self) -> int:
        """Return how many tasks can run at the same time now, and say whether they are `_shared`.

        Raises BrokenExecutor if the engine is out of reach.
        """
        raise NotImplementedError

    def _is_lost(self, handle: Any) -> bool:  # noqa: ARG002 - others are told
        """Tell whether the worker that has what `_send` gave that *handle* is there no more."""
        return False

    def _put(self, data: bytes) -> Any:
        """Put *data* where all workers find it; return what stands for it among arguments."""
        raise NotImplementedError

    def _capacity(self) -> int:
        workers = self._count()
        if workers:
            self._deserted_at = monotonic() + DESERTED
        elif monotonic() >= self._deserted_at:
            self._deserted_at = inf
            warn(
                f"parmap: the cluster has had no worker for {DESERTED:g} s; the call goes on when "
                "one joins, and waits for ever without deadline="
            )
        self._limited = self._most is not None and self._most < workers
        return max(1, workers if self._most is None else min(workers, self._most))

    def _marshal(self, call: Call, seconds: float) -> Marshaller:
        return Pickled(call, seconds, self._put, self._timeout, more_path=self._more_path)

    def _outgoing(self, chunk: Chunk) -> tuple[Any, ...]:
        # After a death, who knows what other chunks would do.
        alone = self._timeout is not None or self._deaths or (self._seeded and self._shared)
        return self._marshaller.outgoing(chunk, contained=bool(alone))

    def _next_completed(self, seconds: float | None) -> tuple[int | None, Any]:
        if monotonic() >= self._look_at:
            self._look_after_workers()
            if self._reports:
                raise Empty
        return super()._next_completed(seconds)

    def _look_after_workers(self) -> None:
        self._look_at = monotonic() + ROUND
        workers, self.workers = self.workers, self._capacity()
        self._marshaller.budget = budget(self.workers, far=self.far)
        if self.workers > workers:
            self.wake()
        for number, (chunk, handle) in list(self._pending.items()):
            if self._is_lost(handle):
                del self._pending[number]
                handle.cancel()
                self._lose(chunk, BrokenExecutor("it is gone"), "requeue")

    def _look_soon(self) -> None:
        """Have the workers looked after at once; any thread may call it."""
        self._look_at = 0.0
        self.wake()

    def close(self) -> None:
        super().close()
        self._marshaller.put_again()  # what was put is needed no more

    def _executor(self) -> None:
        """Return none: the engine looks after its processes."""

    def _lose(self, chunk: Chunk, error: Exception, then: Fate) -> None:  # noqa: ARG002 - decided here
        if not isinstance(error, BrokenExecutor) or self._broken is not None:
            if isinstance(error, CancelledError):
                error = ExecutorUnavailable("the cluster has cancelled the tasks")
            elif isinstance(error, BrokenExecutor):
                error = ExecutorUnavailable(str(error))
            self._reports.append(Report(chunk, [], loss=Loss(error, "error", "fail")))
            return
        self._reports.append(Report(chunk, [], loss=self._deaths.loss(chunk, error)))
