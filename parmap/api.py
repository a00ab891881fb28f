"""The doors: each shapes its input, and hands over.

    door ---> launch ---> plan.choose ---> scheduler.Run ---> batches ---> a list, or an iterator

What a map of a few cheap items does without is imported with the first call that needs it.

The types that users see, with their overloads, are in `__init__.pyi`.
"""

from __future__ import annotations

import threading  # noqa: F401 - if first imported at the end of the program, it ends nothing there

from ._choice.arguments import check_all, check_callable
from ._choice.history import run_at_once
from ._choice.options import DEFAULTS, check, tracing
from ._engine.results import collect
from ._records.stack_frames import shorten
from ._records.work import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from ._engine.results import Stream
    from ._engine.scheduler import Run
    from ._records.failure import Failure

    R = TypeVar("R")


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
        fn: called once for each task with one item of each iterable.  Any callable.  A coroutine
            function is awaited, by an event loop of the call's own in this thread.
        *iterables: any number of iterables; the shortest ends the call.
        executor: where tasks run.  `"auto"` (default): in the caller as long as that is quickest,
            else in processes.  `"serial"`: in the caller.  `"threads"`.  `"processes"`: worker
            processes of parmap, which stay warm between calls.  `"multiprocessing"`: a Pool.
            `"futures"`: a ProcessPoolExecutor.  `"joblib"`: the active backend of joblib.  Or a
            `concurrent.futures.Executor`, `multiprocessing.pool.Pool` or `joblib.Parallel`, which
            is borrowed, and never shut down.
        workers: how many tasks run at the same time.  None: as many as there are usable CPUs, for
            threads min(32, CPUs + 4), of coroutine functions 32.  Negative as in joblib: -2 means
            all CPUs but one.
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
            with `"auto"` it makes all tasks run there; or for coroutines, which are cancelled.
        deadline: seconds that the whole call may take, from the moment it is made; None: any.  What
            has no result then fails with TaskTimeout: what runs in worker processes is killed, in a
            thread it goes on unheeded, and what has not begun never does.  In the caller the clock
            is looked at between tasks; with `"auto"` no task runs there.  See *Raises* for an input
            that goes on.
        seed: a whole number from which each task has random numbers of its own, by its index: those
            of `random`, `numpy.random` and `parmap.rng()` are the same on every executor, with any
            *workers*, *chunksize* and attempt; the caller's own go on untouched.  Not in threads,
            which share them.
        progress: True, a label, a dict of tqdm arguments or a tqdm class, `tqdm.rich.tqdm` say:
            show a bar on stderr, where that is a terminal, or in a notebook; with a class, or with
            `{"disable": False}`, wherever it goes.
        initializer: called once in each worker before its first task; what it raises, the call
            raises, or WorkerCrashed if it ends worker after worker.  Bind arguments with
            `functools.partial`.
        max_tasks_per_worker: a worker process is replaced after so many tasks, which helps against
            tasks that leave memory behind.  Only in worker processes of parmap, like *timeout*.
        relay: what tasks print, log and warn in other processes is printed, logged and warned
            here.  True (default): in the order of the tasks, where results are; at most 64 KiB of
            a task.  `"at_once"`: as it comes, in worker processes of parmap while the task runs.
            False: it goes to the worker's own stdout and stderr.

    Returns:
        A list with one result for each task, in the order of the input.

    Raises:
        TypeError: *fn* is not callable or an async generator function, an argument not iterable,
            or an option unknown.
        ValueError: an option is out of range, or one that the executor cannot honour.
        RuntimeError: *fn* is a coroutine function, and this thread has a running event loop.
        ExecutorUnavailable: the executor cannot run here.
        TaskTimeout: also when an input that is not in memory has not ended as long again (at least
            1 s) after the *deadline*: then it is not drawn from any more.
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
        call = Call(fn, "item" if len(iterables) == 1 else "args")
        return run_all("pmap", call, iterables, options)
    except BaseException as error:
        shorten(error)
        raise


def pstarmap(fn: Callable[..., R], iterable: Iterable[Iterable[Any]], /, **options: Any) -> list[R]:
    """Return `list(itertools.starmap(fn, iterable))`, computed in parallel.

    Args:
        fn: called once for each item of *iterable*, with what is in the item as its arguments.
        iterable: an iterable of lists or tuples; what is none fails its task, with TypeError.
        **options: as for `pmap`, with the same guarantees.

    Example:
        >>> from parmap import pstarmap
        >>> pstarmap(pow, [(2, 3), (3, 2)])
        [8, 9]
    """
    try:
        return run_all("pstarmap", Call(fn, "args"), (iterable,), options)
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
        return run_all("pcall", Call(None, "task"), (tasks,), options)
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

    A *deadline* counts from this call, whatever its reader does meanwhile: who reads slowly leaves
    the tasks less time, and what runs is killed when the next result is asked for.

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
    from .lazy import stream

    call = Call(fn, "item" if len(iterables) == 1 else "args")
    return stream("pimap", call, iterables, ordered, buffersize, options)


def run_all(
    door: str,
    call: Call,
    iterables: tuple[Iterable[Any], ...],
    given: dict[str, Any],
    begun: Callable[[Run], object] | None = None,
) -> list[Any]:
    """Return the results of a call of *door*; *begun* is called with its run, if it has one."""
    source, options = check_all(door, call, iterables, given)
    at_once = options is DEFAULTS and tracing.get() is None
    first = run_at_once(call, source) if at_once else None
    if first is not None and first.is_whole and source.is_over() and source.error is None:
        return first.values
    from ._choice.launch import launch

    run = launch(call, source, options, asked="executor" in given, first=first)
    if begun is not None:
        begun(run)
    return collect(run, options["on_error"])


def delayed(fn: Callable[..., R], /) -> Callable[..., Any]:
    """Return a function whose call `delayed(fn)(*args, **kwargs)` makes a task for `pcall`.

    Nothing is called, and nothing copied: a task refers to its arguments until it runs.

    Args:
        fn: any callable.

    Returns:
        A function that returns `(fn, args, kwargs)`.

    Raises:
        TypeError: *fn* is not callable.

    Example:
        >>> from parmap import delayed
        >>> delayed(sorted)([2, 1], reverse=True)[1:]
        (([2, 1],), {'reverse': True})
    """
    check_callable(fn, "delayed")

    def task(*args: Any, **kwargs: Any) -> Any:
        return fn, args, kwargs

    return task


def partition(results: Iterable[R | Failure], /) -> tuple[list[R], list[Failure]]:
    """Return the values in *results* and the Failures in it, each in their order.

    Args:
        results: what a map with `on_error="return"` gave, a list or an iterator.

    Returns:
        Two lists.  `failure.index` says where in the input a failure belongs; the values do not
        know any more where they stood.

    Example:
        >>> from parmap import partition, pmap
        >>> values, failures = partition(pmap(lambda x: 1 / x, [1, 0, 2], on_error="return"))
        >>> values, [failure.index for failure in failures]
        ([1.0, 0.5], [1])
    """
    from ._records.failure import Failure

    every = list(results)
    values = [result for result in every if not isinstance(result, Failure)]
    return values, [result for result in every if isinstance(result, Failure)]


def warm(workers: int | None = None) -> None:
    """Start the workers of `executor="processes"`, so that the next call need not.

    Returns when they are ready.  They wait for calls until `shutdown` or the end of the process.

    Args:
        workers: how many; as for `pmap`.

    Raises:
        ExecutorUnavailable: no worker process can be started here.

    Example:
        >>> from parmap import shutdown, warm
        >>> warm(2)
        >>> shutdown()
    """
    from ._choice.plan import prestart

    check({"workers": workers}, "warm")
    prestart(workers)


def shutdown() -> None:
    """End the warm workers, and wait until they are gone.  Calls under way keep theirs.

    The next call that needs workers starts new ones.

    Example:
        >>> from parmap import pmap, shutdown
        >>> pmap(abs, [-1, 2], executor="processes")
        [1, 2]
        >>> shutdown()
    """
    from ._workers.warm import shutdown

    shutdown()


for _door in (delayed, partition, pcall, pimap, pmap, pstarmap, shutdown, warm):
    _door.__module__ = "parmap"  # in tracebacks and pickles, the public name
