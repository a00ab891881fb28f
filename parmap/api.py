"""The doors: each shapes its input, and hands over.

    door ---> plan.choose ---> scheduler.Run ---> batches ---> a list, or an iterator

What the doors share stands here once: how a call is started, and what becomes of failures.  The
types that users see, with their overloads, are in `__init__.pyi`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from functools import partial
from time import monotonic

from .auto import brief
from .callables import asynchronous
from .chunking import Sizes
from .errors import short_repr
from .events import Call
from .machine import usable_cpus
from .options import DEFAULTS, check, resolve
from .plan import careful, choose, count
from .scheduler import Run
from .source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, NoReturn, TypeVar

    from .events import Batch, Report
    from .outcome import Failure

    R = TypeVar("R")

READ_ON = 0.002  # seconds a reader may take before the workers are seen to


def pmap(fn: Callable[..., R], /, *iterables: Iterable[Any], **options: Any) -> list[R]:
    """Return `list(map(fn, *iterables))`, computed in parallel.

    Guaranteed: the results are those of the loop, in the order of the input; each iterable is
    iterated once, by the caller's thread; whatever a task does, the others are not affected; no
    `if __name__ == "__main__"` is needed, and *fn* may be a lambda.

    Not guaranteed: that tasks start in the order of the input, or see what others changed: in
    another process a task works on copies.  Where tasks run elsewhere, items are drawn ahead of
    them: an item must stay valid after the next is drawn.  In the caller an iterator is drawn one
    item at a time.

    Args:
        fn: called once for each task with one item of each iterable.  Any callable.
        *iterables: any number of iterables; the shortest ends the call.
        executor: where tasks run.  `"auto"` (default): in the caller as long as that is quickest,
            else in processes.  `"serial"`: in the caller.  `"threads"`.  `"processes"`: worker
            processes of parmap, which stay warm between calls.  `"multiprocessing"`: a Pool.
            `"futures"`: a ProcessPoolExecutor.  `"joblib"`: the active backend of joblib.  Or a
            `concurrent.futures.Executor`, `multiprocessing.pool.Pool` or `joblib.Parallel`, which
            is borrowed, and never shut down.
        workers: how many tasks run at the same time.  None: as many as there are usable CPUs, for
            threads min(32, CPUs + 4).  Negative as in joblib: -2 means all CPUs but one.
        chunksize: tasks per message; `"auto"`: learnt from the time that tasks take.
        on_error: `"raise"`: the first failure in time is raised here, the rest cancelled.
            `"return"`: a `Failure` stands in the task's place.  A function: what it returns for
            the `Failure` does.
        retries: further attempts for a task that fails, takes longer than *timeout*, or whose
            worker dies.
        timeout: seconds that a task may take, from its start; None: any.  A task that takes longer
            is killed with its worker and fails with TaskTimeout; no other is touched.  It is killed
            when the call waits for results next, at once unless an iterable, *on_error* or the
            reader of a `pimap` takes its time; one that ends before that fails, too.  The
            unpickling of its input and the pickling of its result have as long again.  The loading
            of the function and the initializer have no limit.  Only in worker processes of parmap:
            with `"auto"` it makes all tasks run there.
        progress: True, a label, a dict of tqdm arguments or a tqdm class: show a bar on stderr.
        initializer: called once in each worker before its first task; what it raises, the call
            raises, or WorkerCrashed if it ends worker after worker.  Bind arguments with
            `functools.partial`.
        max_tasks_per_worker: a worker process is replaced after so many tasks, which helps against
            tasks that leave memory behind.  Only in worker processes of parmap, like *timeout*.

    Returns:
        A list with one result for each task, in the order of the input.

    Raises:
        TypeError: *fn* is not callable or a coroutine function, an argument not iterable, or an
            option unknown.
        ValueError: an option is out of range, or one that the executor cannot honour.
        ExecutorUnavailable: the executor cannot run here.
        pickle.PicklingError: *fn* cannot be sent to another process, and the executor needs it.
        Exception: what the first failing task raised, under `on_error="raise"`, with a note naming
            the task, its own causes and, at their end, the worker's traceback; or what an iterable
            raised.

    A task that kills its worker fails with WorkerCrashed.  What else its worker had done in the
    last 5 ms (0.15 ms for each of more than 33 workers) and not sent yet runs again, and so do
    tasks whose results cannot be unpickled here, with those beside them.  With
    `"multiprocessing"`, `"futures"` and `"joblib"` everything that was under way in other workers
    does, too.

    Example:
        >>> from parmap import pmap
        >>> pmap(lambda x: x * x, range(5))
        [0, 1, 4, 9, 16]
    """
    try:
        return _results("pmap", Call(fn, _shape(iterables)), iterables, options)
    except BaseException as error:
        shorten(error)
        raise


def pstarmap(fn: Callable[..., R], iterable: Iterable[Iterable[Any]], /, **options: Any) -> list[R]:
    """Return `list(itertools.starmap(fn, iterable))`, computed in parallel.

    Args:
        fn: called once for each item of *iterable*, with what is in the item as its arguments.
        iterable: an iterable of lists or tuples.
        **options: as for `pmap`, with the same guarantees.

    Example:
        >>> from parmap import pstarmap
        >>> pstarmap(pow, [(2, 3), (3, 2)])
        [8, 9]
    """
    try:
        return _results("pstarmap", Call(fn, "args"), (iterable,), options)
    except BaseException as error:
        shorten(error)
        raise


def pcall(tasks: Iterable[Any], /, **options: Any) -> list[Any]:
    """Return `[fn(*args, **kwargs) for fn, args, kwargs in tasks]`, computed in parallel.

    Args:
        tasks: an iterable of `(fn, args, kwargs)`, which `delayed`, or joblib's, makes.
        **options: as for `pmap`, with the same guarantees.

    Raises:
        TypeError: also when an item of *tasks* is not such a tuple.

    Example:
        >>> from parmap import delayed, pcall
        >>> pcall([delayed(pow)(2, 3), delayed(round)(2.567, ndigits=1)])
        [8, 2.6]
    """
    try:
        return _results("pcall", Call(None, "task"), (tasks,), options)
    except BaseException as error:
        shorten(error)
        raise


def pimap(
    fn: Callable[..., R],
    /,
    *iterables: Iterable[Any],
    ordered: bool = True,
    buffersize: int | None = None,
    **options: Any,
) -> Stream[R]:
    """Return an iterator over `map(fn, *iterables)`, computed in parallel ahead of its reader.

    Guaranteed: the input, which may be endless, is drawn from only as far ahead of the results
    that were read as *buffersize* says; all results before a failing task are given before its
    exception is raised; when the iterator is closed or thrown away, no more input is drawn and
    nothing goes on running, but the workers stay warm.

    Not guaranteed: that results are given before more input is drawn.  An input that waits for
    results of the same map waits for ever.

    Args:
        fn: as for `pmap`.
        *iterables: as for `pmap`.
        ordered: False gives each result as soon as it is there.
        buffersize: how many tasks may be drawn and not read yet, 1 or more.  None: enough to keep
            the workers busy.
        **options: as for `pmap`.

    Returns:
        An iterator with `close()`, which is also a context manager that closes it.

    Raises:
        RuntimeError: also when a task raised StopIteration, which cannot leave an iterator.

    Example:
        >>> from itertools import count
        >>> from parmap import pimap
        >>> squares = pimap(lambda x: x * x, count())
        >>> next(squares), next(squares), next(squares)
        (0, 1, 4)
        >>> squares.close()
    """
    _check_buffersize(buffersize)
    call = Call(fn, _shape(iterables))
    started = _start(call, *_checked("pimap", call, iterables, options), "executor" in options)
    return Stream(started, ordered=ordered, buffersize=buffersize)


def delayed(fn: Callable[..., R], /) -> Callable[..., Any]:
    """Return a function whose call `delayed(fn)(*args, **kwargs)` makes a task for `pcall`.

    Example:
        >>> from parmap import delayed
        >>> delayed(sorted)([2, 1], reverse=True)[1:]
        (([2, 1],), {'reverse': True})
    """
    _check_callable(fn, "delayed")

    def task(*args: Any, **kwargs: Any) -> Any:
        return fn, args, kwargs

    return task


def partition(results: Iterable[R | Failure], /) -> tuple[list[R], list[Failure]]:
    """Return the values in *results* and the Failures in it, each in their order.

    Example:
        >>> from parmap import partition, pmap
        >>> values, failures = partition(pmap(lambda x: 1 / x, [1, 0, 2], on_error="return"))
        >>> values, [failure.index for failure in failures]
        ([1.0, 0.5], [1])
    """
    from .outcome import Failure

    values: list[R] = []
    failures: list[Failure] = []
    for result in results:
        if isinstance(result, Failure):
            failures.append(result)
        else:
            values.append(result)
    return values, failures


def warm(workers: int | None = None) -> None:
    """Start the workers of `executor="processes"`, so that the next call need not.

    Returns when they are ready.  They wait for calls until `shutdown` or the end of the process.

    Args:
        workers: how many; as for `pmap`.

    Example:
        >>> from parmap import shutdown, warm
        >>> warm(2)
        >>> shutdown()
    """
    check({"workers": workers}, "warm")
    from .executors import lanes

    lanes.warm(count(workers, usable_cpus()))


def shutdown() -> None:
    """End the warm workers, and wait until they are gone.  Calls under way keep theirs.

    The next call that needs workers starts new ones.
    """
    from .executors import lanes

    lanes.shutdown()


class _Started:
    """A call under way, and what must be closed after it."""

    __slots__ = ("bar", "on_error", "run")

    def __init__(self, run: Run, on_error: Any, bar: Any) -> None:
        self.run = run
        self.on_error = on_error
        self.bar = bar

    def close(self) -> None:
        try:
            self.run.close()
        finally:
            if self.bar is not None:
                self.bar.close()


def _results(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> list[Any]:
    """Return the results of a call of *door*."""
    source, options = _checked(door, call, iterables, given)
    first = brief(call, source) if options is DEFAULTS else None
    if first is not None and source.is_over() and not first.caught and source.error is None:
        return first.values
    return _collect(_start(call, source, options, "executor" in given, first))


def _checked(
    door: str, call: Call, iterables: tuple[Iterable[Any], ...], given: dict[str, Any]
) -> tuple[Source, dict[str, Any]]:
    """Check everything that can be checked; return the input and all options."""
    options = resolve(given, door, call.fn)
    if call.shape != "task":
        _check_callable(call.fn, door)
    _check_iterables(iterables, door)
    call.initializer = options["initializer"]
    return Source(iterables, _check_task if call.shape == "task" else None), options


def _start(
    call: Call, source: Source, options: dict[str, Any], asked: bool, first: Report | None = None
) -> _Started:
    """Prepare a call, of which *first* was done already; *asked*: it named its executor."""
    executor = choose(call, source, options, asked=asked)
    bar = None
    if options["progress"] is not False:
        from .progress import Bar

        try:
            bar = Bar(options["progress"], source.total)
        except BaseException:  # of a class or arguments of the caller's
            executor.close()
            raise
    size = options["chunksize"]
    sizes = Sizes(
        None if size == "auto" else int(size),
        getattr(executor, "known", None),
        careful=careful(options),
        most=options["max_tasks_per_worker"],
    )
    run = Run(source, executor, sizes, int(options["retries"]), (bar,) if bar else (), first)
    return _Started(run, options["on_error"], bar)


def _shape(iterables: tuple[Iterable[Any], ...]) -> str:
    return "item" if len(iterables) == 1 else "args"


def _collect(started: _Started) -> list[Any]:
    """Return the results of all tasks; raise what ends the call."""
    parts: dict[int, list[Any]] = {}
    try:
        ended_by = _gather(started, parts)
    finally:
        started.close()
    if ended_by is not None:
        _raise(ended_by)
    return _joined(parts)


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


def _gather(started: _Started, parts: dict[int, list[Any]]) -> Failure | Exception | None:
    """Put the results into *parts*, by index; return what ends the call before its time."""
    while batches := started.run.advance():
        for batch in batches:
            if batch.error is not None:
                return batch.error
            if batch.failures and started.on_error == "raise":
                return batch.failures[min(batch.failures)]
            _settle(batch, started.on_error)
            parts[batch.start] = batch.values
    return None


def _raise(ended_by: Failure | Exception) -> NoReturn:
    if isinstance(ended_by, Exception):
        raise ended_by
    ended_by.unwrap()


def shorten(error: BaseException) -> None:
    """Leave of what *error* came through the frame of the door that calls this, and the task's.

    Ours between them say nothing to a user, and hold the exception in a circle.  A fault of our own
    keeps its frames.
    """
    door: Any = BaseException.__getattribute__(error, "__traceback__")
    inner = door.tb_next
    last = door.tb_frame.f_code
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        last, inner = inner.tb_frame.f_code, inner.tb_next
    if inner is not None or last.co_name == "unwrap" or isinstance(error, KeyboardInterrupt):
        door.tb_next = inner


_PACKAGE = os.path.dirname(__file__) + os.sep


def _settle(batch: Batch, on_error: Any) -> None:
    """Put into the place of each failure of *batch* what *on_error* says."""
    for position, failure in batch.failures.items():
        batch.values[position] = failure if on_error == "return" else on_error(failure)


class Stream(Iterator["R"]):
    """The iterator that `pimap` returns: closes the call when it ends or is thrown away."""

    __module__ = "parmap"

    def __init__(self, started: _Started, *, ordered: bool, buffersize: int | None) -> None:
        # The generator does not refer to this object: one that is dropped is closed at once.
        self._results: Generator[R, None, None] = _read(started, ordered, buffersize)
        self._started = started
        self._at_exit = partial(_close_unread, self._results, started)
        # Registered now, this runs before the exit handlers of the pool that may be below.
        atexit.register(self._at_exit)

    def __iter__(self) -> Stream[R]:
        return self

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
        self._started.close()
        atexit.unregister(self._at_exit)


def _close_unread(results: Generator[Any, None, None], started: _Started) -> None:
    """Close a call at the end of the program, unless a daemon thread is in the middle of it."""
    if not results.gi_running:  # type: ignore[attr-defined]
        started.close()


def _read(started: _Started, ordered: bool, buffersize: int | None) -> Generator[Any, None, None]:
    """Yield the results, and see to it that the workers stay busy meanwhile."""
    run = started.run
    waiting: dict[int, Batch] = {}  # what is finished and not read, by its first index
    ended_by: Failure | Exception | None = None
    read = 0
    try:
        while batches := run.advance(read + (buffersize or run.horizon(read))):
            waiting.update((batch.start, batch) for batch in batches)
            while batch := waiting.pop(read if ordered else next(iter(waiting), -1), None):
                values = batch.values
                if batch.error is not None:
                    ended_by = batch.error  # raised when all results before it are read
                elif batch.failures and started.on_error == "raise":
                    position = min(batch.failures)
                    values, ended_by = values[:position], batch.failures[position]
                else:
                    _settle(batch, started.on_error)
                due = monotonic() + READ_ON
                for value in values:
                    read += 1
                    yield value
                    if monotonic() > due:  # the reader is slow: see to the workers meanwhile
                        more = run.advance(read + (buffersize or run.horizon(read)), block=False)
                        waiting.update((batch.start, batch) for batch in more)
                        due = monotonic() + READ_ON
                if ended_by is not None and not isinstance(ended_by, Exception):
                    _raise(ended_by)
        if ended_by is not None:
            _raise(ended_by)
    finally:
        started.close()


def _check_callable(fn: object, door: str) -> None:
    if not callable(fn):
        got = f"{short_repr(fn)} of type {type(fn).__name__}"
        raise TypeError(f"{door}() must be given a callable first, got {got}")
    if cure := asynchronous(fn):
        raise TypeError(f"{door}() was given {short_repr(fn)}; {cure}")


def _check_iterables(iterables: tuple[object, ...], door: str) -> None:
    if not iterables:
        raise TypeError(f"{door}() needs at least one iterable after the function")
    for position, iterable in enumerate(iterables, 2 if door != "pcall" else 1):
        kind = type(iterable)
        if not hasattr(kind, "__iter__") and not hasattr(kind, "__getitem__"):
            cure = ""
            if isinstance(iterable, int) and position > 2:
                cure = (
                    f"; options are given by name: {door}(fn, xs, workers={iterable}), or "
                    f"chunksize={iterable} for so many tasks in a message"
                )
            got = short_repr(iterable)
            raise TypeError(f"{door}() argument {position} must be an iterable, got {got}{cure}")


def _check_task(task: Any, index: int) -> Any:
    """Return *task*; raise TypeError unless it is `(function, args, kwargs)`."""
    if isinstance(task, tuple) and len(task) == 3:
        fn, args, kwargs = task
        if callable(fn) and isinstance(args, (tuple, list)) and isinstance(kwargs, dict):
            if cure := asynchronous(fn):
                raise TypeError(f"task {index} is of {short_repr(fn)}; {cure}")
            return task
    raise TypeError(
        f"task {index} must be a tuple (function, args, kwargs), as delayed(function)(...) makes "
        f"it, got {short_repr(task)}"
    )


def _check_buffersize(buffersize: object) -> None:
    if buffersize is not None and (
        isinstance(buffersize, bool) or not isinstance(buffersize, int) or buffersize < 1
    ):
        raise ValueError(f"buffersize must be None or a number of tasks, got {buffersize!r}")
