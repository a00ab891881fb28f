"""The object that libraries ask for where they say `pool=`, `workers=` or `executor=`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from ._choice.arguments import check_callable
from ._choice.background import TERMINATED, Background
from ._choice.options import check, over, resolve
from ._choice.plan import count
from ._engine.async_result import AsyncResult, submit_to
from ._records.errors import short_repr
from ._records.machine import usable_cpus
from ._records.stack_frames import shorten
from ._records.work import Call
from .api import pimap, run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Self

    from ._engine.async_result import Callback
    from ._engine.results import Stream
    from ._engine.scheduler import Run

T = TypeVar("T")

LOST = ("executor", "workers", "timeout", "max_tasks_per_worker", "progress")
"""Options that a pool loses on its way into another process, where it is a serial one."""


class _Tasks:
    """What is done later: tasks and maps that are submitted; and the life of a pool."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._background = Background(resolve(options, "Pool"), asked="executor" in options)
        self._runs: WeakSet[Run] = WeakSet()  # of maps that are under way
        self._lock = Lock()
        self._maps: ThreadPoolExecutor | None = None
        self._mapping: list[Thread] = []  # the thread of those maps
        self._state = "open"

    def _check_open(self) -> None:
        if self._state != "open":
            raise ValueError(f"the pool is not running any more: it was {self._state}")

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have `fn(*args, **kwargs)` run; return its `concurrent.futures.Future`.

        It can be cancelled until the task is handed to a worker.  Its callbacks run one after
        another, in a thread of the pool.

        Raises:
            RuntimeError: the pool was closed.
        """
        check_callable(fn, "Pool.submit", awaits=False)
        try:
            return self._background.submit((fn, args, kwargs))
        except ValueError:
            raise RuntimeError(f"cannot submit a task: the pool was {self._state}") from None

    def apply(
        self, fn: Callable[..., T], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None
    ) -> T:
        """Return `fn(*args, **kwds)`, computed by a worker; raise what it raised."""
        return self.apply_async(fn, args, kwds).get()

    def apply_async(
        self,
        fn: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult[T]:
        """Have `fn(*args, **kwds)` run, and *callback* called with its result.

        Or *error_callback* with what it raised.  Callbacks run one after another, in a thread of
        the pool; they may submit tasks, but not wait for them.
        """
        self._check_open()
        check_callable(fn, "Pool.apply_async", awaits=False)
        background, task = self._background, (fn, tuple(args), dict(kwds or {}))
        submit = partial(background.submit, task)
        return AsyncResult(submit, lambda: background.is_here, callback, error_callback)

    def map_async(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult[list[T]]:
        """Have `map(fn, iterable)` run; several of them one after another.

        *iterable* is read before this returns.  The callbacks are those of `apply_async`.
        """
        call = Call(fn, "item")
        return self._later(call, "map_async", iterable, chunksize, callback, error_callback)

    def starmap_async(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callback = None,
        error_callback: Callback = None,
    ) -> AsyncResult[list[T]]:
        """Have `starmap(fn, iterable)` run, as `map_async` does."""
        call = Call(fn, "args")
        return self._later(call, "starmap_async", iterable, chunksize, callback, error_callback)

    def _later(
        self,
        call: Call,
        method: str,
        iterable: Iterable[Any],
        chunksize: int | None,
        *callbacks: Callback,
    ) -> AsyncResult[list[Any]]:
        check_callable(call.fn, f"Pool.{method}")
        items = list(iterable)
        with self._lock:
            self._check_open()
            if self._maps is None:
                # Nothing in there refers to this object: one that is dropped is closed.
                begin, name = self._mapping.append, "parmap-pool-maps"
                self._maps = ThreadPoolExecutor(1, name, lambda: begin(current_thread()))
            work = partial(copy_context().run, self._all, call, method, (items,), chunksize, {})
            submit, mapping = partial(submit_to, self._maps, work), self._mapping
            return AsyncResult(submit, lambda: current_thread() in mapping, *callbacks)

    def _all(
        self,
        call: Call,
        method: str,
        iterables: Sequence[Iterable[Any]],
        chunksize: int | None,
        options: dict[str, Any],
    ) -> list[Any]:
        """Return the results of all tasks of *call*, of whose run `terminate` knows."""
        options = self._over(chunksize, options)
        return run_all(f"Pool.{method}", call, tuple(iterables), options, self._begin)

    def _begin(self, run: Run) -> None:
        with self._lock:
            self._runs.add(run)
        if self._state == "terminated":  # before it could be told
            run.give_up(TERMINATED)

    def _over(self, chunksize: int | None, options: dict[str, Any]) -> dict[str, Any]:
        """Return the pool's options, and over them *options* and *chunksize*."""
        if chunksize is not None:
            options["chunksize"] = chunksize
        return over(self._options, options)

    def close(self) -> None:
        """Take no more tasks; what was submitted is done.  May be called twice."""
        with self._lock:
            if self._state == "open":
                self._state = "closed"
            self._background.close()
            if self._maps is not None:
                self._maps.shutdown(wait=False)

    def terminate(self) -> None:
        """Take no more tasks, cancel what has not begun, and kill what runs in worker processes.

        Whoever waits for that gets ExecutorUnavailable, or CancelledError.  What runs in threads
        ends by itself.
        """
        with self._lock:
            self._state = "terminated"
            if self._maps is not None:
                self._maps.shutdown(wait=False, cancel_futures=True)
            runs = list(self._runs)
        for run in runs:
            run.give_up(TERMINATED)
        self._background.stop()

    def join(self) -> None:
        """Wait until what was submitted is done; raises ValueError unless the pool was closed."""
        if self._state == "open":
            raise ValueError("the pool is still running: close() or terminate() it first")
        self._background.join()
        if self._maps is not None and current_thread() not in self._mapping:
            self._maps.shutdown()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, as `concurrent.futures.Executor.shutdown` does.

        Args:
            wait: return when what was submitted is done.
            cancel_futures: cancel what has not begun.
        """
        self.close()
        if cancel_futures:
            self._background.cancel()
            if self._maps is not None:
                self._maps.shutdown(wait=False, cancel_futures=True)
        if wait:
            self.join()

    def __del__(self) -> None:
        if hasattr(self, "_state"):
            self.close()


class Pool(_Tasks):
    """The doors of parmap as methods of an object that is like `multiprocessing.Pool`.

    For libraries that ask for a pool or an executor, and for tasks that are submitted while others
    run.  The workers are those of every call of parmap: started when they are needed, and warm
    afterwards, also for the next pool.

    Guaranteed: what `pmap` guarantees, by each method; calls may overlap, from several threads;
    tasks may be submitted at any time, also by callbacks.  At the end of a `with` block, and of the
    program, what was submitted is done; if the block raises, the pool is terminated.

    Not guaranteed: that calls of `map` and its kin that overlap have no more than *workers* workers
    together: each has as many.  Tasks that are submitted share as many, and maps that are
    submitted run one after another.

    It can be pickled, and arrives in another process as a serial one.

    Args:
        workers: how many tasks run at the same time, as for `pmap`.
        **options: any options of `pmap`; those of a method's call win over them.  With
            `executor="auto"`, tasks that are submitted run in worker processes, never in this one.
            With `"threads"`, it is what `multiprocessing.dummy.Pool` is.

    Raises:
        TypeError: an option is unknown, or a value has the wrong type.
        ValueError: an option is out of range; from a method, also that the pool was closed.

    Example:
        >>> from parmap import Pool
        >>> with Pool(2) as pool:
        ...     future = pool.submit(pow, 2, 5)
        ...     pool.map(abs, [-1, 2]), future.result()
        ([1, 2], 32)
    """

    __module__ = "parmap"

    def __init__(self, workers: int | None = None, **options: Any) -> None:
        if workers is not None:
            options["workers"] = workers
        check(options, "Pool")
        super().__init__(options)

    @property
    def size(self) -> int:
        """How many workers it asks for; the usable CPUs if its options do not say."""
        return count(self._options.get("workers"), usable_cpus())

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        **options: Any,
    ) -> list[T]:
        """Return `pmap(fn, *iterables)` with the pool's options and *options*.

        *chunksize* may also be the last argument, without its name, as in `multiprocessing`.
        """
        try:
            self._check_open()
            xs, size = _without_size(iterables, chunksize)
            return self._all(Call(fn, "item" if len(xs) == 1 else "args"), "map", xs, size, options)
        except BaseException as error:
            shorten(error)
            raise

    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        **options: Any,
    ) -> list[T]:
        """Return `pstarmap(fn, iterable)` with the pool's options and *options*."""
        try:
            self._check_open()
            return self._all(Call(fn, "args"), "starmap", (iterable,), chunksize, options)
        except BaseException as error:
            shorten(error)
            raise

    def imap(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        **options: Any,
    ) -> Stream[T]:
        """Return `pimap(fn, *iterables)` with the pool's options and *options*.

        *chunksize* may also be the last argument, without its name, as in `multiprocessing`.
        """
        self._check_open()
        xs, size = _without_size(iterables, chunksize)
        stream = pimap(fn, *xs, **self._over(size, options))
        self._begin(stream._run)
        return stream

    def imap_unordered(
        self, fn: Callable[..., T], /, *iterables: Iterable[Any], **options: Any
    ) -> Stream[T]:
        """Return what `imap` returns, each result as soon as it is there."""
        return self.imap(fn, *iterables, ordered=False, **options)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        (self.close if kind is None else self.terminate)()
        self.join()

    def __repr__(self) -> str:
        executor = self._options.get("executor", "auto")
        where = executor if isinstance(executor, str) else short_repr(executor)
        return f"<parmap.Pool: {where}, {self.size} workers, {self._state}>"

    def __reduce__(self) -> Any:
        kept = {name: value for name, value in self._options.items() if name not in LOST}
        return partial(Pool, executor="serial", **kept), ()


def _without_size(
    iterables: tuple[Any, ...], chunksize: int | None
) -> tuple[tuple[Any, ...], int | None]:
    """Return the iterables and the chunk size, which may be the last of *iterables*."""
    kind = type(iterables[-1]) if len(iterables) > 1 else object
    if chunksize is None and hasattr(kind, "__index__") and not hasattr(kind, "__iter__"):
        return iterables[:-1], iterables[-1]  # an array has both
    return iterables, chunksize
