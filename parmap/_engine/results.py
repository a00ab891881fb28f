"""What becomes of finished tasks: a list, or an iterator."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from functools import partial
from time import monotonic

from .._records.stack_frames import shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeVar

    from .._records.failure import Failure
    from .._records.work import Batch
    from .scheduler import Run

    R = TypeVar("R")


READ_ON = 0.002  # seconds a reader may take before the workers are seen to


def collect(run: Run, on_error: Any) -> list[Any]:
    """Return the results of all tasks; raise what ends the call."""
    parts: dict[int, list[Any]] = {}
    try:
        while batches := run.advance():
            for batch in batches:
                parts[batch.start], ended_by = _values(batch, on_error)
                if isinstance(ended_by, Exception):
                    raise ended_by
                if ended_by is not None:
                    ended_by.unwrap()
    finally:
        run.close()
    return _joined(parts)


def _values(batch: Batch, on_error: Any) -> tuple[list[Any], Failure | Exception | None]:
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


class Stream(Iterator["R"]):
    """The iterator that `pimap` returns: closes the call when it ends or is thrown away."""

    __module__ = "parmap"

    def __init__(self, run: Run, on_error: Any, *, ordered: bool, buffersize: int | None) -> None:
        # The generator does not refer to this object: one that is dropped is closed at once.
        self._results: Generator[R, None, None] = _read(run, on_error, ordered, buffersize)
        self._run = run
        self._at_exit = partial(_close_unread, self._results, run)
        # Registered now, this runs before the exit handlers of the pool that may be below.
        atexit.register(self._at_exit)

    def __next__(self) -> R:
        try:
            return next(self._results)
        except StopIteration:
            raise
        except BaseException as error:
            shorten(error)
            raise

    def __enter__(self) -> Stream[R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Draw no more input, stop what runs, and give the workers back.  May be called twice."""
        self._results.close()
        self._run.close()
        atexit.unregister(self._at_exit)


def _close_unread(results: Generator[Any, None, None], run: Run) -> None:
    """Close a call at the end of the program, unless a daemon thread is in the middle of it."""
    if not results.gi_running:  # type: ignore[attr-defined]
        run.close()


def _read(
    run: Run, on_error: Any, ordered: bool, buffersize: int | None
) -> Generator[Any, None, None]:
    """Yield the results, and see to it that the workers stay busy meanwhile."""
    waiting: dict[int, Batch] = {}  # what is finished and not read, by its first index
    error: Exception | None = None
    read = 0
    try:
        while batches := run.advance(read + (buffersize or run.horizon(read))):
            waiting.update((batch.start, batch) for batch in batches)
            while batch := waiting.pop(read if ordered else next(iter(waiting), -1), None):
                values, ended_by = _values(batch, on_error)
                due = monotonic() + READ_ON
                for value in values:
                    read += 1
                    yield value
                    if monotonic() > due:  # the reader is slow: see to the workers meanwhile
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
