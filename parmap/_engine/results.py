"""What becomes of finished tasks: a list, or an iterator."""

from __future__ import annotations

import atexit
from _thread import RLock
from functools import partial
from itertools import chain
from operator import length_hint
from time import monotonic

from .._records.stack_frames import shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, NoReturn, TypeVar

    from .._records.failure import Failure
    from .._records.work import Batch
    from .scheduler import Run

    R = TypeVar("R")


READ_ON = 0.002  # seconds a reader may take before the workers are seen to
FASTER = 8  # times as much as before may be handed out at once: 20,000 after five blocks


def collect(run: Run, on_error: Any) -> list[Any]:
    """Return the results of all tasks; raise what ends the call."""
    parts: dict[int, list[Any]] = {}
    try:
        while batches := run.advance():
            for batch in batches:
                parts[batch.start], ended_by = values_of(batch, on_error)
                if isinstance(ended_by, Exception):
                    raise ended_by
                if ended_by is not None:
                    ended_by.unwrap()
    finally:
        run.close()
    return _joined(parts)


def values_of(batch: Batch, on_error: Any) -> tuple[list[Any], Failure | Exception | None]:
    """Return the results of *batch*, up to what ends the call, and that."""
    if not batch.failures:
        return batch.values, batch.error
    if on_error == "raise":
        position = min(batch.failures)
        return batch.values[:position], batch.failures[position]
    values = list(batch.values)
    for position, failure in batch.failures.items():
        values[position] = failure if on_error == "return" else on_error(failure)
    return values, None


def _joined(parts: dict[int, list[Any]]) -> list[Any]:
    """Return one list of all *parts*, in order; the largest is not copied."""
    largest = max(parts, key=lambda start: len(parts[start]), default=0)
    results = parts.pop(largest, [])
    before: list[Any] = []
    for start in sorted(parts):
        if start < largest:
            before += parts.pop(start)
        else:
            results += parts.pop(start)
    results[:0] = before
    return results


class Stream(chain["R"]):
    """The iterator that lazy doors return: closes the call when it ends or is thrown away.

    A `chain` of blocks of results, so that between two of them no Python code runs.
    """

    __module__ = "parmap"
    _blocks: _Blocks
    _run: Run
    _at_exit: partial[None]

    def __new__(
        cls, run: Run, on_error: Any, *, ordered: bool, buffersize: int | None
    ) -> Stream[R]:
        # The blocks do not refer to this object: one that is dropped is closed at once.
        blocks = _Blocks(_read(run, on_error, ordered, buffersize))
        self: Stream[R] = super().from_iterable(blocks)  # type: ignore[assignment]
        self._blocks, self._run = blocks, run
        self._at_exit = partial(_close_unread, blocks.results, run)
        # Registered now, this runs before the exit handlers of the pool that may be below.
        atexit.register(self._at_exit)
        return self

    def __enter__(self) -> Stream[R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle or copy a 'Stream' object")

    def close(self) -> None:
        """Draw no more input, stop what runs, and give the workers back.  May be called twice."""
        self._blocks.close()
        self._run.close()
        atexit.unregister(self._at_exit)


class _Blocks:
    """Iterators over the blocks that *results* yields.

    Threads that read the same stream are given the same block: `chain` may keep that of either.
    """

    def __init__(self, results: Generator[list[Any], None, None]) -> None:
        self.results = results
        self._lock = RLock()
        self._block: list[Any] = []
        self._items = iter(self._block)

    def __iter__(self) -> _Blocks:
        return self

    def __next__(self) -> Iterator[Any]:
        with self._lock:
            if self.results.gi_running:  # type: ignore[attr-defined]  # in this thread
                return _refuse()
            if not length_hint(self._items):
                try:
                    self._block = next(self.results)
                except StopIteration:
                    raise
                except BaseException as error:
                    shorten(error)
                    raise
                self._items = iter(self._block)
        return self._items  # nothing comes between this and `chain`, no other thread either

    def close(self) -> None:
        """Have no results any more, not even those of a block that was begun."""
        self.results.close()
        self._block.clear()


def _refuse() -> Iterator[Any]:
    """Raise as a generator would that is read by its own code; an error of the blocks ends them."""
    raise ValueError("a task, or what interrupts this, reads the results that it belongs to")
    yield  # type: ignore[unreachable]


def _close_unread(results: Generator[Any, None, None], run: Run) -> None:
    """Close a call at the end of the program, unless a daemon thread is in the middle of it."""
    if not results.gi_running:  # type: ignore[attr-defined]
        run.close()


def _read(
    run: Run, on_error: Any, ordered: bool, buffersize: int | None
) -> Generator[list[Any], None, None]:
    """Yield the results in blocks, and see to it that the workers stay busy meanwhile.

    A block is as large as its reader, who was that quick before, reads within `READ_ON`.
    """
    waiting: dict[int, Batch] = {}  # what is finished and not read, by its first index
    error: Exception | None = None
    read, size = 0, 1
    try:
        while batches := run.advance(read + (buffersize or run.horizon(read))):
            waiting.update((batch.start, batch) for batch in batches)
            while batch := waiting.pop(read if ordered else next(iter(waiting), -1), None):
                values, ended_by = values_of(batch, on_error)
                due = monotonic() + READ_ON
                done = 0
                while block := values[done : done + size]:
                    given = monotonic()
                    done += len(block)
                    yield block
                    read += len(block)
                    now = monotonic()
                    fits = int(len(block) * READ_ON / (now - given + 1e-9))
                    size = max(1, min(FASTER * size, fits))
                    if now > due:  # the reader is slow: see to the workers meanwhile
                        more = run.advance(read + (buffersize or run.horizon(read)), block=False)
                        waiting.update((batch.start, batch) for batch in more)
                        due = monotonic() + READ_ON
                if isinstance(ended_by, Exception):
                    error = ended_by  # raised when all results are read
                elif ended_by is not None:
                    ended_by.unwrap()
        if error is not None:
            raise error
    finally:
        run.close()
