"""What a caller and a worker say to each other, and the caller's half of it.

The caller sends `RUN`, and the worker answers; `FORGET` has no answer.  A worker's first message is
`READY`.  Every other answer than `DONE` and `CRASHED` says that no task of the chunk has run.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from time import perf_counter
from weakref import WeakValueDictionary

from .._records.c_modules import pickle
from .._records.errors import TaskTimeout, WorkerCrashed
from .._records.work import Call, Chunk, Loss, PackingTooSlow, Report, Timing
from .._records.written import NO_TASK
from .channel import Message
from .generators import Generators
from .importable import learn, look
from .locks_and_queues import Spawning, cure
from .pickling import Deadline, TimeIsUp, dumps, loads
from .refusal import pickles, refusal
from .shared_memory import Region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._records.failure import Kind

RUN, FORGET, READY, DONE, REFUSED, UNREADABLE, LACKING, UNFIT, STALE, CRASHED = range(10)
"""RUN: header, see `SerializedCall.request`; body: the items.  FORGET: header: digests of calls
that are over.  DONE: header: seconds, cpu, when it began, process id, whether what was caught is in
the first buffer, and the values of a `Timing` if the call is watched; body: the values.  Each
header of an answer may end with a dict: what tasks have written, as rows of records by the index of
the task.

REFUSED: the function cannot be loaded, or the initializer raises.  UNREADABLE: the items cannot be
unpickled.  LACKING: the worker has not the function, or not any more.  UNFIT: it cannot have the
descriptors or the memory that belong to the request.  STALE: modules that it has imported were
edited, take another worker.

CRASHED: a process beside the worker died, or was killed, in the middle of the chunk.  Header: kind
of failure, the error's text, index of the task or None, whether it was still loading the function,
seconds, process id, stack."""

LOAD = -1  # where a chunk starts that has no tasks, but the names of modules to import
LOADING_FUNCTION = "the loading of the function"
DIGEST = 16  # bytes
COPIED = 2**16  # bytes from which on a buffer is left out of the pickle: below, a copy is cheaper
TRIED_BYTES = 65536  # larger results are not unpickled on trial: it would cost as much as the task
PLAIN = {int, float, str, bytes, bool, type(None)}  # no module of theirs needs to be found
COPYING = 0.6e-9  # seconds to put a byte into shared memory, as measured with 100 MB
MOST_COPYING = 5.0
"""What the copying of large buffers may take, in units of what pickling may: how long it will take
is known before, so that nothing of it can be in vain."""
NO_CHANGE, LAST_STATE, NEW_STATE = range(3)  # of what a worker enters: the last again, as it was


class SerializedCall:
    """A call as bytes, made once and sent to each worker at most once.

    If it may be *shared*, its large buffers lie in a `region` that all workers map, and there may
    be shared objects of multiprocessing in it.

    Raises PicklingError, naming the part, if the function or the initializer cannot be pickled, and
    PackingTooSlow if they are not within so many *seconds* of processor time (the import of
    cloudpickle apart).
    """

    def __init__(self, call: Call, *, shared: bool = False, seconds: float | None = None) -> None:
        self.call = call
        self._shared = shared
        self._terms = b"" if call.relay is None else call.relay.terms()
        self.generators = Generators(call)
        look(call.fn)
        look(call.initializer)
        try:
            self._pack(None if seconds is None else Deadline(seconds))
            return
        except TimeIsUp:
            pass
        raise PackingTooSlow(seconds)  # without what was packed by then, which the other holds

    def _pack(self, deadline: Deadline | None = None) -> None:
        call, shared = self.call, self._shared
        loaded = "cloudpickle" in sys.modules
        began = perf_counter()
        buffers: list[memoryview] = []
        self._handles = Spawning()
        with self._handles if shared else nullcontext():
            reducers = self.generators.of_function(self._handles.reducers)
            try:
                # In one pickle, so that functions of `__main__` share their globals: what the
                # initializer sets there, the function finds.
                self.data = dumps(call, buffers if shared else None, reducers, deadline=deadline)
                self.region = self._share(call, buffers, deadline) if buffers else None
                initializer = call.initializer and dumps(
                    call.initializer, None, reducers, deadline=deadline
                )
            except Exception as error:
                only = call.initializer and pickles(call.fn, reducers, deadline)
                name = "initializer" if only else "fn"
                text = refusal(getattr(call, name), name, cure(error), reducers, deadline)
                raise pickle.PicklingError(text) from error
        self.generators.note_function()
        counts = loaded or "cloudpickle" not in sys.modules
        self.seconds = perf_counter() - began if counts else 0.0
        region = self.region.name if self.region else b""
        self.digest = _digest(self.data + region + self._handles.identity())
        self._initializer = _digest(initializer) if initializer else None

    def _share(
        self, call: Call, buffers: list[memoryview], deadline: Deadline | None
    ) -> Region | None:
        """Find *buffers* in the region of an earlier call, or put them into a new one."""
        skeleton = _digest(self.data)
        known = _regions.get(skeleton)
        if known is not None and known.holds(buffers):
            return known
        size = sum(buffer.nbytes for buffer in buffers)
        if deadline is not None and size * COPYING > MOST_COPYING * deadline.seconds:
            raise TimeIsUp
        try:
            region = _regions[skeleton] = Region(buffers)
        except (AttributeError, OSError):
            self.data = dumps(call, None, self._handles.reducers, deadline=deadline)
            return None
        return region

    @property
    def fds(self) -> list[int]:
        """The descriptors that a worker needs to load it."""
        return [*([self.region.fd] if self.region else ()), *self._handles.fds]

    def request(
        self,
        chunk: Chunk,
        budget: float,
        timeout: float | None = None,
        *,
        send_function: bool = True,
        enter: int = NO_CHANGE,
        state: bytes = b"",
        tracker: int | None = None,
        handles: Spawning | None = None,
    ) -> Message:
        """Return the message with which a worker runs *chunk* for *budget* seconds.

        *enter* says whether the worker is to enter its last *state* again, or a new one, to which
        the descriptor *tracker* belongs.  What comes with the items is put into *handles*, where
        they go to a worker of our own; to another's, everything is in the pickles.  Raises
        PicklingError, naming the part, if the items cannot be pickled.
        """
        buffers: list[Any] = [state] if enter == NEW_STATE else []
        fds = [] if tracker is None else [tracker]
        if send_function:
            buffers.append(self.data)
            fds += self.fds
        sizes = self.region.sizes if send_function and self.region else []
        if handles is None:
            items = self._pickle_items(chunk)
        else:
            items = self._pickle_items(chunk, buffers, handles.reducers)
            fds += handles.fds
        function = self.digest, send_function, self._initializer, sizes, len(self._handles.fds)
        again = handles is not None and enter == NO_CHANGE  # the worker has them
        terms = None if again else self._terms
        run = chunk.start, budget, timeout, self.call.seed, self.call.watch is not None
        header = function, run, enter, tracker is not None, terms
        return Message(RUN, header, items, buffers, fds)

    def _pickle_items(
        self, chunk: Chunk, buffers: list[Any] | None = None, reducers: Any = None
    ) -> bytes:
        try:
            plain = not len(chunk) or type(item := chunk.items[0]) in PLAIN
            if not plain:
                look(item)
            if plain or not self.generators.looks:
                return dumps(chunk.items, buffers, reducers, least=COPIED)
            reducers = self.generators.of_items(reducers)
            pickled = dumps(chunk.items, buffers, reducers, least=COPIED)
            self.generators.note_items(chunk)
            return pickled
        except Exception as error:
            if len(chunk) > 1:  # the scheduler will come again with less
                raise pickle.PicklingError(str(error)) from error
            item = chunk.items[0]
            if self.call.shape == "task":
                parts = dict(zip(("fn", "args", "kwargs"), item, strict=True))
            else:
                parts = {"args": item if self.call.shape == "args" else (item,)}
            name = next((name for name in parts if not pickles(parts[name], reducers)), "args")
            text = refusal(parts[name], name, cure(error), reducers)
            raise pickle.PicklingError(text) from error

    def report(self, chunk: Chunk, answer: Message) -> Report:
        """Return the report on *chunk* in the *answer* to its request.

        If the worker could not import what the function or the items refer to by name, they are
        reported as not tried, and travel by value from then on.  Raises what the initializer
        raised, or the loading of the function.
        """
        written = answer.header[-1] if type(answer.header[-1]) is dict else None
        if written is not None:
            answer.header = answer.header[:-1]
            if self.call.relay is not None:  # at once, for the rest may raise
                self.call.relay.hear(NO_TASK, written.pop(NO_TASK, b""))
        report = self._report(chunk, answer)
        report.written = written
        return report

    def _report(self, chunk: Chunk, answer: Message) -> Report:
        if answer.kind == REFUSED:
            return self._refused(chunk, answer)
        if answer.kind == CRASHED:
            return _crashed(chunk, *answer.header)
        if answer.kind == UNREADABLE:
            text, missing = answer.header
            with suppress(pickle.PicklingError), Spawning() as own:
                items = self._pickle_items(chunk, reducers=own.reducers)
                if missing is not None and learn(items, missing):
                    return Report(chunk, [])
            return _unsent(chunk, text)
        seconds, cpu, began, worker, has_caught, *timing = answer.header
        buffers, before = answer.buffers, perf_counter() if timing else 0.0
        try:
            caught = loads(buffers[0]) if has_caught else None
            values = loads(answer.body, buffers=buffers[has_caught:])
        except Exception as error:
            told = f"{type(error).__qualname__}: {error}"
            return _unsent(chunk, f"result arrived, but cannot be unpickled: {told}")
        report = Report(chunk, values, caught, seconds, cpu, None, began, worker)
        report.bytes = len(answer)
        if timing:
            report.timing = Timing(*timing[0])
            report.timing.unpacking = perf_counter() - before
        return report

    def _refused(self, chunk: Chunk, answer: Message) -> Report:
        from .._records.portable_exceptions import end_chain

        digest, missing, where = answer.header
        error, text = loads(answer.body)
        if digest != self.digest:  # the worker had an older one
            return Report(chunk, [])
        if where == LOADING_FUNCTION and missing is not None and learn(self.data, missing):
            with suppress(pickle.PicklingError):  # then the worker's error says more
                self._pack()
                return Report(chunk, [])
        if where == LOADING_FUNCTION and not isinstance(error, Exception):
            # A module that ends the worker which imports it is not to end the caller.
            told = f"fn cannot be loaded in a worker: {type(error).__name__}: {error}"
            error = RuntimeError(told)
        with suppress(Exception):  # its class may forbid it
            error.add_note(f"parmap: raised in a worker, before its first task, by {where}")
        end_chain(error, text)
        raise error


def _unsent(chunk: Chunk, text: str) -> Report:
    return Report(chunk, [], loss=Loss(pickle.PicklingError(text), "unpicklable", "bisect"))


def _crashed(
    chunk: Chunk,
    kind: Kind,
    text: str,
    suspect: int | None,
    loading: bool,
    seconds: float,
    worker: int,
    dump: str,
) -> Report:
    error = TaskTimeout(text) if kind == "timeout" else WorkerCrashed(text)
    if loading:
        raise error
    return Report(chunk, [], loss=Loss(error, kind, "bisect", suspect, seconds, worker, dump))


# By the pickle without them, the buffers that some worker still keeps.
_regions: WeakValueDictionary[bytes, Region] = WeakValueDictionary()


def _digest(data: bytes) -> bytes:
    try:
        from _blake2 import blake2b  # hashlib loads OpenSSL, which costs 5 ms
    except ImportError:  # not CPython
        from hashlib import blake2b

    return blake2b(data, digest_size=DIGEST).digest()
