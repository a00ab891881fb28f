"""What travels between the folders, and the names for it.

    Call     from the door to the executor, and once to each worker: what all tasks of a call share
    Chunk    from the scheduler to the executor: consecutive tasks, one message to a worker
    Report   back: what became of the leading tasks of a chunk, with the Loss of the others, if any
    Batch    from the scheduler to the door: consecutive tasks that are finished for good

Of these, only a Call is pickled; of a Chunk and a Report a message holds the parts.

Plain classes with slots: a dataclass would cost every import of parmap, and every worker, the
import of `inspect`.  Standard library only.
"""

from __future__ import annotations

from itertools import count, starmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Literal

    from .failure import Caught, Failure, Kind

    Fate = Literal["requeue", "bisect", "isolate", "fail"]


def _apply(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


class Call:
    """What all tasks of one call share.

    *shape* says what an item of the input is: `"item"` the argument of `fn`, `"args"` a sequence
    of its arguments, `"task"` a `(function, args, kwargs)` tuple, `fn` being None.  *before* is
    called right before each task, where it runs, with its index; what it raises, the task has; what
    it returns, unless it is None, is called after the task.

    *seed* says which random numbers the tasks have; *relay*, which stays here, wants to hear what
    they write in other processes, None: nobody does; *watch*, which stays here, too, is told by
    executors of workers that start and load, and has each task timed, None: nobody watches.  None
    of these is pickled with the rest: a worker has the function already when the next call has
    others.  *awaited*: the tasks are of coroutine functions, which run in this process.
    """

    __slots__ = ("awaited", "before", "fn", "initializer", "relay", "seed", "shape", "watch")

    def __init__(
        self,
        fn: Callable[..., Any] | None,
        shape: str,
        initializer: Callable[[], object] | None = None,
        before: Callable[[int], object] | None = None,
        seed: int | None = None,
    ) -> None:
        self.fn = fn
        self.shape = shape
        self.initializer = initializer
        self.before = before
        self.seed = seed
        self.relay: Any = None
        self.watch: Callable[[object], object] | None = None
        self.awaited = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (self.fn, self.shape, self.initializer, self.before)

    def with_seed(self, seed: int | None) -> Call:
        """Return this call with another *seed*."""
        return Call(self.fn, self.shape, self.initializer, self.before, seed)

    def results(self, items: Sequence[Any], start: int) -> Iterator[Any]:
        """Return an iterator over the results of *items*, the first of which has index *start*.

        A task that raises does not end it.  Made of `map` and `starmap`, so that no frame of ours
        stands between the loop and the task, unless something is to be done before each.
        """
        if self.before is not None:
            return map(self._prepared, items, count(start))
        if self.fn is None:
            return starmap(_apply, items)
        return map(self.fn, items) if self.shape == "item" else starmap(self.fn, items)

    def _prepared(self, item: Any, index: int) -> Any:
        after: Any = self.before(index)  # type: ignore[misc]
        if after is None:
            return next(Call(self.fn, self.shape).results((item,), index))
        try:
            return next(Call(self.fn, self.shape).results((item,), index))
        finally:
            after()


class Chunk:
    """Consecutive tasks: *items* of the input from index *start*, tried *attempts* times before."""

    __slots__ = ("attempts", "items", "start")

    def __init__(self, start: int, items: Sequence[Any], attempts: int = 0) -> None:
        self.start = start
        self.items = items
        self.attempts = attempts

    def __len__(self) -> int:
        return len(self.items)

    def part(self, begin: int, end: int | None = None) -> Chunk:
        """Return the tasks from position *begin* up to *end*, as a chunk of its own."""
        return Chunk(self.start + begin, self.items[begin:end], self.attempts)


class Loss:
    """Why the rest of a chunk has no outcome, and what is to become of it.

    If *suspect*, the index of the task that was running, is known, that task has failed, for good
    if *then* is `"fail"`, and the others run again.  Otherwise *then* says what becomes of them:

    - `"requeue"`: none of it was started, it runs again as it is;
    - `"bisect"`: it runs again in halves; one task left over is the culprit;
    - `"isolate"`: the same, with nothing beside it, for it may take others down;
    - `"fail"`: it must not run again; every task of it has failed.
    """

    __slots__ = ("error", "kind", "seconds", "suspect", "then", "traceback", "worker")

    def __init__(
        self,
        error: BaseException,
        kind: Kind,
        then: Fate,
        suspect: int | None = None,
        seconds: float = 0.0,
        worker: int = 0,
        traceback: str = "",
    ) -> None:
        self.error = error
        self.kind = kind
        self.then = then
        self.suspect = suspect
        self.seconds = seconds
        self.worker = worker
        self.traceback = traceback


class Timing:
    """What a report tells besides, of a call that is watched, in seconds of `perf_counter`.

    The tasks up to *positions[i]*, those before the last mark apart, had run by *ends[i]*: each
    alone, unless they are so short that they are timed together.  *thread* is that in which they
    ran, 0 the caller's.  Of a worker that is sent messages: when it had *received* the request, had
    *loaded* function and settings, and had *packed* the answer; the *peak* of its memory in bytes;
    *sent*: bytes of the request; *unpacking*: seconds the caller took to read the answer.
    """

    __slots__ = (
        *("ends", "loaded", "packed", "peak", "positions", "received", "sent", "thread"),
        "unpacking",
    )

    def __init__(
        self,
        thread: int,
        positions: list[int],
        ends: list[float],
        received: float = 0.0,
        loaded: float = 0.0,
        packed: float = 0.0,
        peak: int = 0,
        sent: int = 0,
    ) -> None:
        self.thread = thread
        self.positions = positions
        self.ends = ends
        self.received = received
        self.loaded = loaded
        self.packed = packed
        self.peak = peak
        self.sent = sent
        self.unpacking = 0.0


class Report:
    """What became of the first `len(values)` tasks of *chunk*.

    *caught* holds the failed ones by their position in the chunk (their value is None).  *seconds*
    is the time they took where they ran, *cpu* the processor time of it.  The rest of the chunk was
    not tried, its time being up, or is lost if there is a *loss*.  *worker* is the process id of
    where they ran, 0 for the caller's, *began* when they began, in seconds of `perf_counter`;
    *bytes* counts the answer of a worker that sent one, *written* is what its tasks have written
    there, as rows of records by the index of the task; *timing* is there if the call is watched.
    """

    __slots__ = (
        *("began", "bytes", "caught", "chunk", "cpu", "loss", "seconds", "timing", "values"),
        *("worker", "written"),
    )

    def __init__(
        self,
        chunk: Chunk,
        values: list[Any],
        caught: dict[int, Caught] | None = None,
        seconds: float = 0.0,
        cpu: float = 0.0,
        loss: Loss | None = None,
        began: float = 0.0,
        worker: int = 0,
        written: dict[int, bytes] | None = None,
    ) -> None:
        self.chunk = chunk
        self.values = values
        self.caught = caught or {}
        self.seconds = seconds
        self.cpu = cpu
        self.loss = loss
        self.began = began
        self.worker = worker
        self.bytes = 0
        self.written = written
        self.timing: Timing | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all tasks of the chunk were run, and none has failed."""
        return len(self.values) == len(self.chunk.items) and not self.caught


class Batch:
    """Consecutive tasks finished for good: *values* from index *start*.

    *failures* holds the failed ones by position (their value is None).  *error* is what the input
    raised when it was asked for task *start*; such a batch is empty.
    """

    __slots__ = ("error", "failures", "start", "values")

    def __init__(
        self,
        start: int,
        values: list[Any],
        failures: dict[int, Failure] | None = None,
        error: Exception | None = None,
    ) -> None:
        self.start = start
        self.values = values
        self.failures = failures or {}
        self.error = error


class Unsendable(Exception):
    """A chunk that cannot be pickled; its text names the part that refuses."""


class PackingTooSlow(Exception):
    """A call takes longer to pickle than it was given; its argument says how many seconds."""
