"""How chunks reach the workers of executors that are not our lanes: as objects, or as bytes.

Both borders give `outgoing(chunk) -> (function, argument)`, for the executor to run, and
`incoming(chunk, answer) -> Report`, for what the function returned.
"""

from __future__ import annotations

import pickle
from contextvars import copy_context
from functools import partial
from threading import get_ident

from .._records.errors import WorkerCrashed
from .._records.machine import settings
from .._records.work import Loss, Report, Unsendable
from .._wire.messages import SerializedCall
from .._workers.child import handle_in_pool
from .._workers.status import STOP, new_status
from .._workers.tasks import nested, run_chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .._records.work import Call, Chunk, Fate
    from .._wire.channel import Message

    class Marshaller(Protocol):
        """What both are."""

        def outgoing(self, chunk: Chunk) -> tuple[Callable[[Any], Any], Any]:
            """Return a function and its argument, which run *chunk*; may raise `Unsendable`."""

        def incoming(self, chunk: Chunk, answer: Any) -> Report:
            """Return the report in what the function returned."""

        def stop(self) -> None:
            """Let no thread start another task."""


class InProcess:
    """For threads of this process: nothing is copied; tasks run in a copy of our context."""

    def __init__(self, call: Call, budget: float) -> None:
        self._call = call
        self._budget = budget
        self._status = new_status()  # shared by all threads: only STOP is read from it
        self._context = copy_context()
        self._settings = settings()
        self._initialized: set[int] = set()

    def outgoing(self, chunk: Chunk) -> tuple[Callable[[Chunk], Report], Chunk]:
        return self.run, chunk

    def incoming(self, chunk: Chunk, answer: Report) -> Report:  # noqa: ARG002 - see Border
        return answer

    def stop(self) -> None:
        self._status[STOP] = 1

    def run(self, chunk: Chunk) -> Report:
        """Run *chunk* in the current thread, initialized before."""
        return self._context.copy().run(self._run, chunk)

    def _run(self, chunk: Chunk) -> Report:
        nested.set(nested.get() or 1)
        initializer = self._call.initializer
        if initializer is not None and get_ident() not in self._initialized:
            initializer()
            self._initialized.add(get_ident())
        with self._settings():
            return run_chunk(self._call, chunk, self._budget, self._status)


class Pickled:
    """For other processes: everything is pickled by us, here, and by name nothing of `__main__`."""

    def __init__(
        self,
        call: Call,
        budget: float,
        line: tuple[int, int] | None = None,
        path: list[str] | None = None,
    ) -> None:
        """Raise PicklingError if the function cannot be sent.

        With *line*, what `lifeline.offer` gives, the workers end with this process; with *path*
        they look for modules there.
        """
        self._serialized = SerializedCall(call)
        self._budget = budget
        level = nested.get() + 1
        self._perform = partial(handle_in_pool, line=line, path=path, level=level)

    def outgoing(self, chunk: Chunk) -> tuple[Callable[[Message], Message], Message]:
        try:
            return self._perform, self._serialized.request(chunk, self._budget)
        except pickle.PicklingError as error:
            raise Unsendable(str(error)) from error

    def incoming(self, chunk: Chunk, answer: Message) -> Report:
        return self._serialized.report(chunk, answer)

    def stop(self) -> None:
        """Do nothing: nobody can reach a task in a process that is not ours."""


def lost(chunk: Chunk, error: Exception, then: Fate) -> Report:
    """Return the report on *chunk*, which was with an executor that broke with *error*."""
    crash = WorkerCrashed(f"a worker died, and the executor with it: {error}")
    crash.__cause__ = error
    return Report(chunk, [], loss=Loss(crash, "crash", then))
