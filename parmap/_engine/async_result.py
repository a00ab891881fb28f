"""A result that is to come, as `multiprocessing.pool` has it."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    Callback = Callable[[Any], object] | None
    Done = Callable[[Future[Any]], object]

T = TypeVar("T")


class AsyncResult(Generic[T]):
    """The result, to come, of a task or a map: what `Pool.apply_async` and its kin return.

    Like that of `multiprocessing.pool`: when it is ready, its callback has returned.
    """

    __module__ = "parmap"

    def __init__(
        self,
        submit: Callable[[Done], Future[T]],
        is_here: Callable[[], bool],
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> None:
        """Call back when the future is done that *submit* returns, with what it brings.

        *submit* is given what to call then, and sees to it that the pool's thread does.  *is_here*
        tells whether that thread is the current one.
        """
        self._is_here = is_here
        self._callbacks = callback, error_callback
        self._finished = Event()
        self._future = submit(self._finish)

    def _finish(self, future: Future[T]) -> None:
        callback, error_callback = self._callbacks
        del self._callbacks
        try:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                if error_callback is not None:
                    error_callback(error)
            elif callback is not None:
                callback(future.result())
        finally:
            self._finished.set()

    def get(self, timeout: float | None = None) -> T:
        """Return the result, or raise what the task raised.

        Raises:
            multiprocessing.TimeoutError: it is not there in *timeout* seconds; a `TimeoutError`,
                too.  The task goes on.
            RuntimeError: it is waited for in a callback that it would have to wait for.
            concurrent.futures.CancelledError: the pool was terminated before it had begun.
        """
        self.wait(timeout)
        if not self.ready():
            raise _timeout_error()(f"the result is not there after {timeout} s")
        return self._future.result()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, up to *timeout* seconds."""
        if not self.ready() and self._is_here():
            raise RuntimeError(
                "a callback cannot wait for a result that comes only when it has returned; give "
                "that a callback of its own"
            )
        self._finished.wait(timeout)

    def ready(self) -> bool:
        """Tell whether the result is there."""
        return self._finished.is_set()

    def successful(self) -> bool:
        """Tell whether the result is a value; raises ValueError as long as it is not there."""
        if not self.ready():
            raise ValueError(f"{self!r} is not ready")
        return not self._future.cancelled() and self._future.exception() is None


def submit_to(executor: Executor, work: Callable[[], T], done: Done) -> Future[T]:
    """Have *executor* call *work*; return the future, with *done* as a callback.

    The work does not begin before the callback is registered: a thread of the executor calls it.
    """
    has_callback = Event()

    def begin() -> T:
        has_callback.wait()
        return work()

    future = executor.submit(begin)
    try:
        future.add_done_callback(done)
    finally:
        has_callback.set()
    return future


def _timeout_error() -> type[TimeoutError]:
    """Return what those expect who know `multiprocessing`, and those who do not."""
    import multiprocessing

    class ResultTimeout(multiprocessing.TimeoutError, TimeoutError):
        __module__ = "parmap"

    return ResultTimeout
