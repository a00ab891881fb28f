"""How chunks reach the workers of threads and of other libraries' pools: as objects, or as bytes.

Both marshallers give `outgoing(chunk)`, a function and its arguments for the pool to run, which may
raise `Unsendable`, `incoming(chunk, answer)`, the report in what the function returned, and `stop`,
which lets no thread start another task.
"""

from __future__ import annotations

import pickle
from contextvars import copy_context
from functools import partial
from threading import get_ident

from .._records.machine import settings
from .._records.work import Call, Chunk, Report, Unsendable
from .._wire.messages import LACKING, SerializedCall
from .._workers.child import handle_in_pool
from .._workers.status_block import STOP, new_status
from .._workers.tasks import nested, run_chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._wire.channel import Message


LARGE = 2**16
"""Bytes of a function from which on it is put once, and referred to: before, to look it up where it
is costs a worker more than to read it with each chunk."""

MISSED = 4
"""Answers for each worker that it has not the function, after which each chunk has it along.  A new
worker gives at most two, those that wait in the queue when it comes; each costs a way there and
back, and where that is another job in the queue of a cluster, long."""

SHARED = (
    "seed={seed} needs tasks that have a process to themselves: all threads of a process, the "
    "caller's too, share one state of random and one of numpy.random; let the tasks run with "
    "executor='processes', 'serial' or 'auto', or without seed= give each a generator of its own "
    "as an argument, made from one of numpy.random.SeedSequence({seed}).spawn(len(xs))"
)


class InProcess:
    """For threads of this process: nothing is copied; tasks run in a copy of our context."""

    def __init__(self, call: Call, budget: float, *, alone: bool = False) -> None:
        """Raise ValueError if tasks have a seed, unless they run *alone*."""
        if call.seed is not None and not alone:
            raise ValueError(SHARED.format(seed=call.seed))
        self._call = call
        self._budget = budget
        self._status = new_status()  # shared by all threads: only STOP is read from it
        self._context = copy_context()
        self._settings = settings()
        self._initialized: set[int] = set()

    def outgoing(self, chunk: Chunk) -> tuple[Any, ...]:
        return self.run, chunk

    def incoming(self, chunk: Chunk, answer: Report) -> Report:  # noqa: ARG002 - see Pickled
        return answer

    def stop(self) -> None:
        self._status[STOP] = 1

    def run(self, chunk: Chunk) -> Report:
        """Run *chunk* in the current thread, initialized before; nothing of it after `stop`."""
        if self._status[STOP]:
            return Report(chunk, [])
        return self._context.copy().run(self._run, chunk)

    def _run(self, chunk: Chunk) -> Report:
        nested.set(nested.get() or 1)
        initializer = self._call.initializer
        if initializer is not None and get_ident() not in self._initialized:
            initializer()
            self._initialized.add(get_ident())
        with self._settings():
            timed = self._call.watch is not None
            return run_chunk(self._call, chunk, self._budget, self._status, None, timed)


class Pickled:
    """For other processes: everything is pickled by us, here, and by name nothing of `__main__`."""

    def __init__(
        self,
        call: Call,
        budget: float,
        put: Callable[[bytes], Any] | None = None,
        timeout: float | None = None,
        workers: int = 0,
        **options: Any,
    ) -> None:
        """Raise PicklingError if the function cannot be sent.

        With *put*, the bytes of a large function go once to what returns a reference to them, an
        argument that the pool replaces by the bytes.  Else they go with as many chunks as there are
        *workers*, which keep it, and with one more whenever one says that it has none; a small
        function goes with each chunk.  The *timeout* goes with each chunk, too.  The *options* are
        those of `handle_in_pool`.
        """
        self._serialized = SerializedCall(call)
        self.budget = budget
        self._timeout = timeout
        level = nested.get() + 1
        self._perform = partial(handle_in_pool, level=level, **options)
        self._put = put
        self._reference: tuple[bytes, Any] = b"", None
        self._workers = workers
        self._carried = b""
        self._carriers = 0  # chunks that are to have it along
        self._lacking = 0  # answers that it was not there

    def outgoing(self, chunk: Chunk, *, contained: bool = False) -> tuple[Any, ...]:
        """With *contained*, the chunk runs in a process of our own beside the pool's."""
        self._serialized.generators.tell()
        perform = self._perform
        if contained:
            from .contained import handle_contained

            perform = partial(handle_contained, **perform.keywords)
        try:
            request = self._serialized.request(chunk, self.budget, self._timeout)
        except pickle.PicklingError as error:
            raise Unsendable(str(error)) from error
        (data,) = request.buffers
        if len(data) < LARGE:
            return perform, request
        if self._put is None:
            if not self._carries(data):
                (digest, _, *rest), *others = request.header
                request.header = (digest, False, *rest), *others
                request.buffers.clear()
            return perform, request
        if self._reference[0] is not data:
            self._reference = data, self._put(data)
        request.buffers.clear()
        return partial(_perform_with, perform), request, self._reference[1]

    def put_again(self) -> None:
        """Have a large function put anew: what the reference refers to is gone."""
        self._reference = b"", None

    def _carries(self, data: bytes) -> bool:
        """Tell whether the next chunk is to have the function along, which is *data*."""
        if self._carried is not data:  # it is packed again if a worker lacks a module of it
            self._carried, self._carriers, self._lacking = data, self._workers, 0
        if self._lacking >= MISSED * self._workers:
            return True  # they do not keep it: each chunk has a process of its own, say
        self._carriers -= 1
        return self._carriers >= 0

    def incoming(self, chunk: Chunk, answer: Message) -> Report:
        self._serialized.generators.tell()
        if answer.kind == LACKING:
            self._carriers = max(0, self._carriers) + 1
            self._lacking += 1
            return Report(chunk, [])
        return self._serialized.report(chunk, answer)

    def stop(self) -> None:
        """Do nothing: nobody can reach a task in a process that is not ours."""


Marshaller = InProcess | Pickled


def _perform_with(perform: Callable[..., Message], request: Message, function: bytes) -> Message:
    """In a worker: *perform* the *request* for a function that was put where workers find it."""
    request.buffers.append(function)
    return perform(request)
