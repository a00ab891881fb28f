"""The contract: what a map promises, the same in every place where tasks can run.

The oracle is the sequential twin, `list(map(...))`.
"""

import asyncio
import dataclasses
import errno
import gc
import io
import itertools
import json
import multiprocessing
import operator
import os
import pickle
import signal
import sys
import threading
import traceback
import types
import urllib.error
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import closing
from functools import partial

import pytest
import work
import zoo
from conftest import ABROAD, COSTLY, EVERYWHERE, SIDE_BY_SIDE

from parmap import ExecutorUnavailable, Failure, partition, pcall, pimap, pmap, pstarmap, shutdown
from parmap._executors.serial import Serial
from parmap._executors.threads import Threads
from parmap._records.work import Call, Chunk

MANY = 3_000


def text_of(error):
    return "".join(traceback.format_exception(error))


# Results


def test_results_are_a_list_in_the_order_of_the_input(where):
    """The result is a real list, equal to the loop's, in the order of the input."""
    result = pmap(work.double, range(MANY), **where.options)

    assert type(result) is list
    assert result == list(map(work.double, range(MANY)))


def test_order_holds_when_the_first_task_ends_last(side_by_side, tmp_path):
    """A task that is overtaken keeps its place."""
    gate = tmp_path / "gate"

    def task(x):
        if x == 0:
            return work.wait_for(gate, x)
        if x == 1:
            gate.touch()
        return x

    result = pmap(task, range(20), chunksize=1, **side_by_side.options)

    assert result == list(range(20))


def test_empty_input_gives_an_empty_list(where):
    """No items, no results, whichever form the nothing has."""
    assert pmap(work.double, [], **where.options) == []
    assert pmap(work.add, [1, 2], iter(()), **where.options) == []
    assert list(pimap(work.double, (), **where.options)) == []
    assert pstarmap(work.add, {}, **where.options) == []
    assert pcall([], **where.options) == []


def test_one_item(where):
    """A single item is mapped like any other."""
    assert pmap(work.double, [21], **where.options) == [42]


def test_several_iterables_end_with_the_shortest(where):
    """Several iterables are taken together, endless ones too, until the shortest ends."""
    inputs = lambda: (iter(range(20)), itertools.repeat(3), itertools.count(100))

    result = pmap(work.gather, *inputs(), **where.options)

    assert result == list(map(work.gather, *inputs()))


def test_a_generator_is_iterated_once(where):
    """The input is asked for one iterator, and drawn to its end exactly once."""
    source = work.Source(range(50))

    assert pmap(work.double, source, **where.options) == list(map(work.double, range(50)))
    assert (source.opened, source.drawn) == (1, 50)


VALUES = [
    None,
    float("nan"),
    float("-inf"),
    -0.0,
    0,
    False,
    "",
    b"",
    [],
    (),
    {},
    set(),
    "\ud800",
    "naïve \0 text",
    1 << 200,
    3 + 4j,
    Ellipsis,
    NotImplemented,
    range(3),
    slice(1, 2),
    work.Colour.RED,
    work.Point(1),
    work.Pair(1, 2),
    len,
    int,
    work.double,
    ValueError("a value, not an error"),
    [[1, [2, (3,)]], {"k": {4}}],
]


def test_values_come_back_as_they_went(where):
    """Falsy values, None, NaN, oddities and own types come back equal, of the same type."""
    result = pmap(work.echo, VALUES, **where.options)

    assert list(map(repr, result)) == list(map(repr, VALUES))
    assert list(map(type, result)) == list(map(type, VALUES))
    assert result[VALUES.index(work.Colour.RED)] is work.Colour.RED


def test_a_failure_given_as_input_is_a_value(where):
    """A Failure, or an exception, that a task returns is a result and nothing else."""
    failure = Failure(3, "x", ValueError("old"), "text", "error", 1, 0.0, 1)

    for on_error in ("raise", "return", repr):
        (back, error) = pmap(
            work.echo, [failure, OSError(5, "x")], on_error=on_error, **where.options
        )

        assert isinstance(back, Failure)
        assert (back.index, back.input, back.exception.args) == (3, "x", ("old",))
        assert isinstance(error, OSError)
        if where.name in COSTLY:
            break


def test_large_items_cross_in_both_directions(where):
    """Items and results far larger than a pipe do not block each other."""
    items = [bytes([i]) * 3_000_000 for i in range(8)]

    result = pmap(work.echo, items, chunksize=1, **where.options)

    assert [(len(r), r[:1], r[-1:]) for r in result] == [(3_000_000, i[:1], i[:1]) for i in items]


def test_arrays_come_back_writable_and_exact(where):
    """NumPy arrays and scalars keep dtype, shape, NaN and writability, small and large."""
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    items = [
        np.arange(5, dtype="int16"),
        np.array([1.0, np.nan, np.inf], dtype="float32"),
        np.arange(200_000, dtype="float64").reshape(400, 500),
        np.asfortranarray(np.ones((300, 400))),
        np.array(["a", None, 3], dtype=object),
        np.zeros((0, 3), dtype=complex),
        np.float32(1.5),
        np.datetime64("2024-02-29"),
    ]

    def touch(a):
        if a.ndim and a.dtype.kind == "f":
            a += 1
        return a

    twins = [item.copy() for item in items]
    result = pmap(touch, items, **where.options)

    for back, expected in zip(result, map(touch, twins), strict=True):
        assert type(back) is type(expected)
        assert back.dtype == expected.dtype
        assert back.shape == expected.shape
        np.testing.assert_array_equal(back, expected)
        if isinstance(back, np.ndarray):
            assert back.flags.writeable


def test_arrays_may_be_zipped_and_iterated_by_row(where):
    """A 2-D array is mapped row by row, as a loop does it."""
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    table = np.arange(12.0).reshape(4, 3)

    result = pmap(lambda row, k: float(row.sum()) * k, table, [1, 2, 3, 4], **where.options)

    assert result == [float(row.sum()) * k for row, k in zip(table, [1, 2, 3, 4], strict=True)]


# Anything callable


def test_anything_callable_is_a_task(where):
    """Lambdas, closures, partials, methods, classes, callable objects and local classes run."""
    offset = 100

    class Local:
        def __init__(self, x):
            self.x = x

        def __eq__(self, other):
            return type(other) is Local and other.x == self.x

        __hash__ = None

    def recursive(n):
        return 1 if n < 2 else n * recursive(n - 1)

    adder = work.Adder(5)
    functions = [
        lambda x: x + offset,
        recursive,
        partial(work.add, y=offset),
        adder,
        adder.times,
        work.Adder.name,
        adder.negative,
        work.Point,
        Local,
        str,
        operator.neg,
        operator.methodcaller("__add__", 2),
        "{:>5}".format,
        [10, 20, 30, 40].__getitem__,
        eval("lambda x: x ** 2", {}),
    ]

    tasks = [(fn, (x,), {}) for fn in functions for x in range(4)]
    assert pcall(tasks, **where.options) == [fn(*args) for fn, args, _ in tasks]
    for fn in functions if where.name not in COSTLY else functions[:1]:
        assert pmap(fn, range(4), **where.options) == list(map(fn, range(4)))


def test_doors_agree_with_their_twins(where):
    """`pstarmap`, `pcall` and `pimap` give what starmap, a loop of calls and map give."""
    pairs = [(i, i * i) for i in range(30)]
    calls = [(work.gather, (i,), {"k": -i}) for i in range(30)]

    assert pcall(iter(calls), **where.options) == [f(*a, **k) for f, a, k in calls]
    if where.name not in COSTLY:
        assert pstarmap(work.add, iter(pairs), **where.options) == list(
            itertools.starmap(work.add, pairs)
        )
        assert list(pimap(work.add, range(30), range(9), **where.options)) == list(
            map(work.add, range(30), range(9))
        )


@pytest.mark.parametrize("chunksize", ["auto", 1, 7, 10_000])
def test_chunks_change_nothing(where, chunksize):
    """The results do not depend on the chunk size."""
    if where.name in COSTLY and chunksize == 10_000:
        items = range(5)
    else:
        items = range(200)

    assert pmap(work.double, items, chunksize=chunksize, **where.options) == [2 * x for x in items]


@pytest.mark.parametrize("workers", [None, 1, 3, -1])
def test_workers_change_nothing(places, workers):
    """The results do not depend on the number of workers."""
    for name in ("auto", "serial", "threads", "processes", "joblib"):
        options = places(name).with_workers(workers)

        assert pmap(work.double, range(200), **options) == [2 * x for x in range(200)]


@pytest.mark.parametrize("name", COSTLY)
def test_pools_of_ours_take_a_number_of_workers(places, name):
    """Fewer and more workers than processors give the same list."""
    for workers in (1, 3):
        assert pmap(work.double, range(50), **places(name).with_workers(workers)) == [
            2 * x for x in range(50)
        ]


def test_two_tasks_run_at_the_same_time(side_by_side, tmp_path):
    """Two workers run two tasks side by side, each one of them in a worker of its own."""
    pids = pmap(partial(work.meet, tmp_path, 2), range(2), chunksize=1, **side_by_side.options)

    assert len(set(pids)) == (2 if side_by_side.abroad else 1)
    assert (os.getpid() in pids) != side_by_side.abroad


def test_as_many_threads_as_asked_for_and_no_more():
    """`workers=16` gives sixteen threads at a time, whatever the number of processors."""
    barrier = threading.Barrier(16, timeout=60)
    lock = threading.Lock()
    now = most = 0

    def task(x):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait()
        with lock:
            now -= 1
        return x

    assert pmap(task, range(64), executor="threads", workers=16, chunksize=1) == list(range(64))
    assert most == 16


def test_one_worker_is_one_worker(processes_only):
    """`workers=1` runs every task in the same process, even if more workers are warm."""
    pmap(work.pid, range(10), **processes_only.options)

    assert len(set(pmap(work.pid, range(100), executor="processes", workers=1))) == 1


def test_negative_workers_count_from_all():
    """As in joblib, -n leaves n - 1 processors alone, and at least one worker is left."""
    cpus = os.cpu_count() or 1

    assert len(set(pmap(work.pid, range(50), executor="processes", workers=-cpus))) == 1


def test_an_explicit_executor_runs_tasks_there_and_nowhere_else(where):
    """Tasks run where the executor says, down to the last one."""
    if where.name == "auto":
        pytest.skip("auto may choose: that is its job")

    pids = set(pmap(work.pid, range(200), **where.options))

    assert (os.getpid() in pids) != where.abroad
    assert len(pids) <= (2 if where.abroad else 1)


def test_threads_are_threads(places):
    """Threads and a ThreadPool never run a task in the thread of the caller."""
    for name in ("threads", "a ThreadPoolExecutor", "a ThreadPool"):
        threads = {thread for _, thread in pmap(work.place, range(50), **places(name).options)}

        assert threading.get_ident() not in threads


def test_maps_inside_tasks_run_where_the_task_runs(side_by_side):
    """A nested call runs serially, in its own worker."""
    for outer, inner in pmap(work.nested, [5, 3], chunksize=1, **side_by_side.options):
        assert set(inner) == {outer}


def test_the_function_is_pickled_once_not_for_every_task(abroad, tmp_path):
    """A function is sent once for a call, and loaded at most once in a worker."""
    work.CountsPickling.pickled = 0
    path = tmp_path / "loads"

    result = pmap(work.CountsPickling(path), range(60), chunksize=1, **abroad.options)

    assert result == [-x for x in range(60)]
    assert work.CountsPickling.pickled <= 3
    if abroad.name == "processes":
        assert max(Counter(path.read_text().split()).values()) == 1


def test_an_instance_stays_open_and_its_own(places):
    """A borrowed executor is never shut down and does its owner's work afterwards."""
    for name, own_work in {
        "a ThreadPoolExecutor": lambda ex: ex.submit(pow, 2, 5).result(),
        "a ProcessPoolExecutor": lambda ex: ex.submit(pow, 2, 5).result(),
        "a loky executor": lambda ex: ex.submit(pow, 2, 5).result(),
        "a ThreadPool": lambda ex: ex.apply(pow, (2, 5)),
        "a Pool": lambda ex: ex.apply(pow, (2, 5)),
        "a joblib.Parallel": lambda ex: ex([(pow, (2, 5), {})])[0],
        "an Executor of one's own": lambda ex: ex.submit(pow, 2, 5).result(),
    }.items():
        where = places(name)
        pmap(work.double, range(5), **where.options)
        pmap(partial(work.refuse, 3), range(5), on_error="return", **where.options)
        with pytest.raises(ValueError):
            pmap(partial(work.refuse, 3), range(5), **where.options)

        assert own_work(where.options["executor"]) == 32
        assert pmap(work.double, range(5), **where.options) == [0, 2, 4, 6, 8]


def test_an_instance_that_was_shut_down_is_reported():
    """An executor that its owner has closed gives a clear error; it is not replaced."""
    from concurrent.futures import ThreadPoolExecutor
    from multiprocessing.pool import ThreadPool

    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError):
        pmap(work.double, [1], executor=executor)

    pool = ThreadPool(1)
    pool.terminate()
    pool.join()
    with pytest.raises((RuntimeError, ValueError)):
        pmap(work.double, [1], executor=pool)


def test_what_waits_for_a_thread_is_given_up():
    """A chunk that no thread has begun when the call is closed is never begun."""
    begun, first, gate = [], threading.Event(), threading.Event()

    def task(x):
        begun.append(x)
        first.set()
        gate.wait(30)

    executor = Threads(Call(task, "item"), 1, 0.1)
    executor.submit(Chunk(0, [0]))
    executor.submit(Chunk(1, [1]))
    assert first.wait(30)
    executor.close()
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "parmap-1":
            thread.join(30)

    assert begun == [0]


def futures(call, lent=None):
    from parmap._executors.futures import Futures

    return Futures(call, None if lent else 1, lent)


def pool(call, lent=None):
    from parmap._executors.multiprocessing import Pool

    return Pool(call, None if lent else 1, lent)


def joblibs(call, lent=None):
    from parmap._executors.joblib import Joblib

    return Joblib(call, 2, lent)


def processes(call):
    from parmap._executors.processes import Processes

    return Processes(call, 1, 0.1)


WAKEABLE = {
    "processes": processes,
    "threads": lambda call: Threads(call, 1, 0.1),
    "futures": futures,
    "multiprocessing": pool,
    "joblib": joblibs,
    "a ThreadPoolExecutor": futures,
    "a ProcessPoolExecutor": futures,
    "a ThreadPool": pool,
    "a Pool": pool,
    "a joblib.Parallel": joblibs,
}


@pytest.fixture(params=WAKEABLE)
def executor_for(request, places):
    """Return a function from a call to its executor: for each that can be woken while it waits."""
    where, make = places(request.param), WAKEABLE[request.param]
    return partial(make, lent=where.options["executor"]) if where.borrowed else make


def is_waiting(thread):
    """Tell whether *thread* is in the `wait` of an executor."""
    frame = sys._current_frames().get(thread.ident)
    while frame and not (
        frame.f_code.co_name == "wait" and "_executors" in frame.f_code.co_filename
    ):
        frame = frame.f_back
    return frame is not None


def values_in(executor):
    """Wait for the report of *executor*; return its values."""
    while not (reports := executor.wait(None)):
        pass
    return reports[0].values


def test_a_wait_is_woken(executor_for, tmp_path):
    """A wait returns when another thread wakes it, and the result comes by a later one."""
    gate, woken = tmp_path / "gate", []
    with closing(executor_for(Call(partial(work.wait_for, gate), "item"))) as executor:
        executor.submit(Chunk(0, ["a result"]))
        thread = threading.Thread(target=lambda: woken.append(executor.wait(None)))
        thread.start()
        work.wait_until(lambda: is_waiting(thread), "the thread to wait")
        executor.wake()
        thread.join(30)
        gate.touch()

        assert woken == [[]]
        assert values_in(executor) == ["a result"]


def test_a_wake_before_the_wait_is_not_lost(executor_for, tmp_path):
    """The wait after a wake returns at once, and the next waits for the result."""
    gate = tmp_path / "gate"
    with closing(executor_for(Call(partial(work.wait_for, gate), "item"))) as executor:
        executor.submit(Chunk(0, ["a result"]))
        executor.wake()

        assert executor.wait(None) == []
        gate.touch()
        assert values_in(executor) == ["a result"]


def test_a_thousand_wakes_block_nobody(executor_for):
    """Whoever wakes an executor does not wait for it, however often."""
    with closing(executor_for(Call(abs, "item"))) as executor:
        for _ in range(1000):
            executor.wake()
        executor.submit(Chunk(0, [-1]))

        assert values_in(executor) == [1]


def test_a_wake_after_the_end_is_harmless(executor_for):
    """An executor that was closed can be woken."""
    executor = executor_for(Call(abs, "item"))
    executor.close()

    executor.wake()


def test_serial_needs_no_wake():
    """The wait that runs the task itself returns with its result, woken or not."""
    executor = Serial(Call(abs, "item"), 0.1)
    executor.submit(Chunk(0, [-1]))
    executor.wake()

    assert values_in(executor) == [1]


@pytest.mark.parametrize("allowed", [0, 1])
def test_fewer_threads_than_wanted_may_start(monkeypatch, allowed):
    """Where no more threads can be started, those there are do the work; without any it is said."""
    started = []

    class Rare(threading.Thread):
        def start(self):
            if len(started) == allowed:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr("parmap._executors.threads.Thread", Rare)
    if allowed:
        assert pmap(work.double, range(20), executor="threads", workers=4) == [*range(0, 40, 2)]
    else:
        with pytest.raises(ExecutorUnavailable, match="serial"):
            pmap(work.double, range(20), executor="threads", workers=4)


def test_a_lent_executor_may_cancel_what_it_has():
    """What a lent executor cancels has failed, and says why; all else has its result."""
    submitted = []

    class Fickle(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            submitted.append(future)
            if len(submitted) == 4:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                future.set_result(fn(*args, **kwargs))
            return future

    results = pmap(work.double, range(6), executor=Fickle(), chunksize=1, on_error="return")

    assert [x for x in results if not isinstance(x, Failure)] == [0, 2, 4, 8, 10]
    assert "cancelled" in str(results[3].exception)


def test_a_call_may_be_closed_by_its_executors_own_thread():
    """The collector closes a lost call in any thread, that of its executor included."""
    from parmap._executors.futures import Futures

    executor = Futures(Call(int, "item"), workers=1)
    executor.submit(Chunk(0, [1]))
    thread, steps = executor._pool._executor_manager_thread, []

    def close(_):
        steps.append(threading.current_thread())
        executor.close()
        steps.append("closed")

    ((_, future),) = executor._pending.values()
    future.add_done_callback(close)
    thread.join(30)

    assert steps == [thread, "closed"]
    assert not thread.is_alive()


def test_workers_of_futures_start_together():
    """None starts later, while another may die: Python 3.11's executor cannot bear that."""
    from parmap._executors.futures import Futures
    from parmap._executors.pool_workers import workers_of

    with closing(Futures(Call(int, "item"), workers=3)) as executor:
        executor.submit(Chunk(0, [1]))

        assert len(workers_of(executor._pool)) == 3


# Errors


@pytest.mark.parametrize("chunksize", ["auto", 1])
def test_the_users_own_exception_comes_out(where, chunksize):
    """On "raise" the type and arguments of the task's exception reach the caller."""
    with pytest.raises(ValueError, match="no 7") as caught:
        pmap(partial(work.refuse, 7), range(20), chunksize=chunksize, **where.options)

    assert type(caught.value) is ValueError
    assert caught.value.args == ("no 7",)


def test_the_error_tells_where_it_comes_from(where):
    """The worker's traceback comes with the error, and so does what had caused it there."""
    with pytest.raises(ValueError) as caught:
        pmap(work.raise_from, ["only"], **where.options)

    text = text_of(caught.value)
    assert "in raise_from" in text
    assert "work.py" in text
    assert "inner-key" in text
    if where.abroad:
        assert type(caught.value.__cause__) is KeyError
        assert "in raise_from" in str(caught.value.__cause__.__cause__)
        assert "inner-key" in str(caught.value.__cause__.__cause__)


def test_the_error_names_the_task(where):
    """A note on the exception names the task by its index and its input."""
    words = [f"word{i}" for i in range(40)]

    with pytest.raises(ValueError) as caught:
        pmap(partial(work.refuse, "word33"), words, **where.options)

    (note,) = caught.value.__notes__
    assert "33" in note.replace("word33", "")
    assert "'word33'" in note


def test_a_failure_is_complete(where):
    """A Failure knows task, input, exception, traceback, kind, attempts, seconds and worker."""
    words = [f"word{i}" for i in range(40)]

    results = pmap(partial(work.refuse, "word33"), words, on_error="return", **where.options)

    failure = results.pop(33)
    assert results == words[:33] + words[34:]
    assert isinstance(failure, Failure)
    assert failure.index == 33
    assert "'word33'" in failure.input
    assert type(failure.exception) is ValueError
    assert failure.exception.args == ("no word33",)
    assert "in refuse" in failure.traceback
    assert "ValueError: no word33" in failure.traceback
    assert failure.kind == "error"
    assert failure.attempts == 1
    assert failure.seconds >= 0
    assert isinstance(failure.seconds, float)
    assert isinstance(failure.worker, int)
    assert failure.worker > 0
    if where.name != "auto":
        assert (failure.worker == os.getpid()) != where.abroad
    with pytest.raises(ValueError, match="no word33") as caught:
        failure.unwrap()
    assert "in refuse" in text_of(caught.value)
    again = pickle.loads(pickle.dumps(failure))
    assert repr(dataclasses.replace(again, exception=None)) == repr(
        dataclasses.replace(failure, exception=None)
    )


def test_on_error_may_be_a_function_of_the_failure(where):
    """What the function returns stands in the task's place; it is called here, once a failure."""
    seen = []

    def instead(failure):
        seen.append((failure.index, os.getpid()))
        return -failure.index

    bad = frozenset({2, 11, 19})
    results = pmap(partial(work.refuse, bad), range(20), on_error=instead, **where.options)

    assert results == [-x if x in bad else x for x in range(20)]
    assert sorted(seen) == [(x, os.getpid()) for x in sorted(bad)]


def test_an_error_of_the_on_error_function_reaches_the_caller(where):
    """What the function itself raises comes out as it is."""
    error = KeyError("raised by on_error")

    def instead(failure):
        raise error

    with pytest.raises(KeyError) as caught:
        pmap(partial(work.refuse, 3), range(20), on_error=instead, **where.options)

    assert caught.value is error


def test_all_tasks_may_fail(where):
    """A map of failures only is a list of Failures, each in its place."""
    failures = pmap(
        partial(work.refuse, frozenset(range(50))), range(50), on_error="return", **where.options
    )

    assert [f.index for f in failures] == list(range(50))
    assert [f.exception.args for f in failures] == [(f"no {x}",) for x in range(50)]


def test_the_index_counts_over_the_whole_input(where):
    """Indices are those of the input in every chunk, at every door."""
    bad = partial(work.refuse, frozenset({0, 1, 98, 99}))
    options = where.options | {"on_error": "return", "chunksize": 7}

    for call in (
        lambda: pmap(bad, range(100), **options),
        lambda: pimap(bad, range(100), **options),
        lambda: pstarmap(bad, zip(range(100)), **options),
        lambda: pcall(((bad, (x,), {}) for x in range(100)), **options),
    ):
        assert [f.index for f in partition(call())[1]] == [0, 1, 98, 99]
        if where.name in COSTLY:
            break


def test_the_input_in_a_failure_is_bounded(where):
    """The input is shortened in the record; one that has no repr costs nothing more."""
    items = ["x" * 1_000_000, list(range(100_000)), work.BadRepr()]

    failures = pmap(lambda x: 1 / 0, items, on_error="return", **where.options)

    assert [type(f.exception) for f in failures] == [ZeroDivisionError] * 3
    assert all(len(f.input) < 2_000 for f in failures)


@pytest.mark.parametrize(
    "name",
    [
        "CustomBaseException",
        "SystemExit",
        "KeyboardInterrupt",
        "GeneratorExit",
        "StopIteration",
        "StopAsyncIteration",
        "ExceptionGroup",
        "RecursionError",
    ],
)
def test_whatever_a_task_raises_is_its_failure(where, name):
    """What is not an ordinary Exception fails its task, too, and no other."""
    if where.name in COSTLY and name not in ("SystemExit", "StopIteration"):
        pytest.skip("the same adapters are tried, with a pool that is there already, next door")
    items = [1, 2, name, 3, 4]

    results = pmap(zoo.visit, items, on_error="return", **where.options)

    failure = results.pop(2)
    assert results == [2, 4, 6, 8]
    assert failure.kind == "error"
    assert failure.index == 2
    assert type(failure.exception).__name__ == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CustomBaseException", zoo.CustomBaseException),
        ("SystemExit", SystemExit),
        ("KeyboardInterrupt", KeyboardInterrupt),
        ("GeneratorExit", GeneratorExit),
        ("StopIteration", StopIteration),
    ],
)
def test_whatever_a_task_raises_comes_out(places, name, kind):
    """On "raise" a BaseException comes out as what it is, and the next call works."""
    for place in ("auto", "serial", "threads", "processes", "a Pool", "a loky executor"):
        with pytest.raises(kind):
            pmap(zoo.visit, [1, 2, name, 3], **places(place).options)

        assert pmap(zoo.visit, [1], **places(place).options) == [2]


def _interrupt(_):
    signal.raise_signal(signal.SIGINT)


def _interrupt_a_loop(x):
    async def wait():
        _interrupt(x)
        await asyncio.sleep(0)

    asyncio.run(wait())


class Interrupting(Exception):
    @property
    def __notes__(self):
        _interrupt(self)


def _interrupt_the_traceback(_):
    raise Interrupting


@pytest.mark.parametrize("task", [_interrupt, _interrupt_a_loop, _interrupt_the_traceback])
@pytest.mark.parametrize("name", ["serial", "joblib", "an Executor of one's own"])
def test_ctrl_c_is_not_a_failure_of_the_task(places, name, task):
    """Ctrl-C during a task in the caller's main thread ends the call, whatever on_error is."""
    options = {"joblib": {"executor": "joblib", "workers": 1}}.get(name) or places(name).options
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            pmap(task, [1], on_error="return", **options)
    finally:
        signal.signal(signal.SIGINT, before)


def test_stop_iteration_of_a_task_does_not_end_a_lazy_map(where):
    """A StopIteration out of a task is an error, never the silent end of the results."""
    results = []
    with pytest.raises(RuntimeError) as caught:
        results.extend(pimap(zoo.visit, [1, 2, "StopIteration", 3], **where.options))

    assert "StopIteration" in text_of(caught.value)


def _decode(_):
    b"\xff".decode()


def _parse(_):
    json.loads('{"a": 1,\n x}')


def _open(_):
    open("/no/such/file")  # noqa: SIM115 - it cannot be opened


def _compile(_):
    compile("a b", "f.py", "exec")


def _http(_):
    raise urllib.error.HTTPError("http://h", 404, "Not Found", None, io.BytesIO(b"body"))


def _exit(_):
    raise SystemExit(17)


def _import(_):
    import no_such_module_anywhere  # noqa: F401


ATTRIBUTES = [
    (_decode, UnicodeDecodeError, {"encoding": "utf-8", "start": 0, "end": 1}),
    (_parse, json.JSONDecodeError, {"pos": 10, "lineno": 2, "doc": '{"a": 1,\n x}'}),
    (_open, FileNotFoundError, {"errno": errno.ENOENT, "filename": "/no/such/file"}),
    (_compile, SyntaxError, {"filename": "f.py", "lineno": 1, "offset": 3}),
    (_http, urllib.error.HTTPError, {"code": 404, "msg": "Not Found"}),
    (_exit, SystemExit, {"code": 17}),
    (_import, ModuleNotFoundError, {"name": "no_such_module_anywhere"}),
]


# An HTTPError has a file, and Python 3.14 warns if nobody closes that of a copy.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_exceptions_keep_their_type_and_attributes(where):
    """Libraries catch by type and read errno, filename, pos, code: all that comes along."""
    failures = pcall(
        ((fn, (0,), {}) for fn, _, _ in ATTRIBUTES), on_error="return", **where.options
    )

    for failure, (_, kind, attributes) in zip(failures, ATTRIBUTES, strict=True):
        assert type(failure.exception) is kind
        found = {name: getattr(failure.exception, name) for name in attributes}
        assert found == attributes
    del failures, failure
    gc.collect()  # while that warning is ignored


def test_an_error_in_the_input_reaches_the_caller_unchanged(where):
    """What the input raises is not a task's failure: it comes out itself, whatever on_error is."""
    for error in (work.BrokenInput("boom"), KeyboardInterrupt("in the input")):
        for on_error in ("raise", "return"):
            source = work.broken_source(10, error)

            with pytest.raises(type(error)) as caught:
                pmap(work.double, source, on_error=on_error, **where.options)

            assert caught.value is error
            assert getattr(error, "__notes__", []) == []
            if where.name in COSTLY:
                return


def test_after_an_error_the_next_call_works(where):
    """A failed call leaves the executor as it was."""
    with pytest.raises(ValueError):
        pmap(partial(work.refuse, 0), range(100), **where.options)

    assert pmap(work.double, range(10), **where.options) == [2 * x for x in range(10)]


@pytest.mark.parametrize("name", ["serial", "processes", *COSTLY])
def test_after_the_first_failure_the_rest_is_given_up(name, places, tmp_path):
    """On "raise" tasks that are far away from being their worker's turn never run."""
    path = tmp_path / "log"
    task = partial(work.log_and_refuse, path, 0)

    with pytest.raises(ValueError):
        pmap(task, range(300), chunksize=1, **places(name).with_workers(1))

    pmap(work.double, [1], **places(name).with_workers(1))
    assert len(path.read_text().split()) < (2 if name == "serial" else 300)


# Retries


def test_retries_are_extra_attempts(where, tmp_path):
    """A task that fails twice and is tried three times has a value, the others run once."""
    result = pmap(
        lambda x: work.flaky(tmp_path, 2 if x in (1, 4) else 0, x),
        range(6),
        retries=2,
        **where.options,
    )

    assert result == [1, 3, 1, 1, 3, 1]
    assert len(os.listdir(tmp_path)) == 10


def test_retries_end(where, tmp_path):
    """A task that never succeeds fails with its last error, and says how often it was tried."""
    results = pmap(
        lambda x: work.flaky(tmp_path, 99 if x == 1 else 0, x),
        range(3),
        retries=2,
        on_error="return",
        **where.options,
    )

    failure = results[1]
    assert (results[0], results[2]) == (1, 1)
    assert failure.attempts == 3
    assert failure.exception.args == ("attempt 3 of 1",)
    assert len(os.listdir(tmp_path)) == 5


def test_retries_then_raise(places, tmp_path):
    """On "raise" too, all attempts are made before the call raises."""
    for name in ("auto", "serial", "threads", "processes", "a Pool"):
        folder = tmp_path / name
        folder.mkdir()

        with pytest.raises(ConnectionError, match="attempt 3"):
            pmap(partial(work.flaky, folder, 99), ["x"], retries=2, **places(name).options)

        assert len(os.listdir(folder)) == 3


# What cannot be pickled


def test_a_function_that_cannot_be_sent_is_an_error_at_once(abroad):
    """On an explicit executor the call raises at once and names the path to the culprit."""
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x

    for on_error in ("raise", "return"):
        with pytest.raises((TypeError, pickle.PicklingError)) as caught:
            pmap(locked, range(5), on_error=on_error, **abroad.options)

        assert "fn.<closure lock>" in str(caught.value)
        if abroad.name in COSTLY:
            break
    assert pmap(work.double, range(5), **abroad.options) == [0, 2, 4, 6, 8]


def test_the_search_for_the_culprit_harms_nothing():
    """A function that holds executors, connections and files is refused, and they still work."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as executor,
        here,
        there,
        open(__file__) as file,
    ):
        held = [executor, here, file]
        assert executor.submit(pow, 2, 5).result() == 32

        for fn in (lambda x: held, partial(work.gather, executor)):
            with pytest.raises((TypeError, pickle.PicklingError), match="fn"):
                pmap(fn, range(5), executor="processes", workers=2)

        gc.collect()
        assert executor.submit(pow, 2, 5).result() == 32
        there.send("still connected")
        assert here.recv() == "still connected"
        assert "contract" in file.readline()


def test_a_function_that_cannot_be_sent_runs_here_by_default():
    """With "auto" a function that holds a lock or a file just works, in the caller."""
    lock = threading.Lock()

    def locked(x):
        with lock:
            return x, os.getpid()

    assert pmap(locked, range(5)) == [(x, os.getpid()) for x in range(5)]


def test_a_function_that_cannot_be_sent_runs_here_however_long_it_takes():
    """With "auto" this holds for work that is worth a pool, too."""
    lock = threading.Lock()

    def locked(x):
        with lock:
            return work.countdown(x)[0]

    assert pmap(locked, range(10), workers=2) == list(range(10))


def test_without_pickling_anything_may_be_mapped(places):
    """Where tasks share the caller's memory, locks go in and generators come out."""
    locks = [threading.Lock() for _ in range(5)]
    for name in ("serial", "threads", "a ThreadPoolExecutor", "a ThreadPool"):
        options = places(name).options

        assert pmap(lambda lock: lock, locks, **options) == locks
        (generator,) = pmap(lambda x: (y for y in [x]), [1], **options)
        assert isinstance(generator, types.GeneratorType)


# Initializer


def test_the_initializer_runs_once_in_every_worker_before_its_tasks(where, tmp_path):
    """No task sees a worker that was not initialised, and no worker is initialised twice."""
    path = tmp_path / "log"
    options = where.options | {"initializer": partial(work.mark, path)}
    if where.name == "auto":
        options |= {"on_error": "return"}

    for _ in range(1 if where.name in COSTLY else 2):
        results = pmap(partial(work.marked, path), range(50), chunksize=3, **options)

        assert all(ready for ready, _ in results)
        runs = Counter(map(int, path.read_text().split()))
        assert {pid for _, pid in results} <= set(runs)
        if where.abroad:
            assert set(runs.values()) == {1}


def test_the_initializer_runs_once_in_every_thread(tmp_path):
    """Threads are workers like any other: each is prepared before its first task."""
    path, local = tmp_path / "log", threading.local()
    barrier = threading.Barrier(3, timeout=60)

    def task(_):
        barrier.wait()
        return local.ready, threading.get_ident()

    results = pmap(
        task,
        range(9),
        executor="threads",
        workers=3,
        chunksize=1,
        initializer=partial(work.mark_thread, path, local),
    )

    runs = Counter(map(int, path.read_text().split()))
    assert all(ready for ready, _ in results)
    assert {thread for _, thread in results} <= set(runs)
    assert set(runs.values()) == {1}


def test_the_initializers_error_reaches_the_caller(where, tmp_path):
    """If it raises, the call raises, whatever on_error says, and no task runs."""
    path = tmp_path / "log"
    for on_error in ("raise", "return"):
        with pytest.raises(LookupError, match="the initializer is broken"):
            pmap(
                partial(work.log, path),
                range(5),
                initializer=work.break_down,
                on_error=on_error,
                **where.options,
            )
        if where.name in COSTLY:
            break

    assert not path.exists()
    assert pmap(work.double, range(5), **where.options) == [0, 2, 4, 6, 8]


def test_an_initializer_belongs_to_its_calls(processes_only, tmp_path):
    """A warm worker runs another initializer, too, and none where none is asked for."""
    first, second = tmp_path / "first", tmp_path / "second"
    options = processes_only.with_workers(1)

    pmap(work.double, [1], initializer=partial(work.mark, first), **options)
    pmap(work.double, [1], **options)
    pmap(work.double, [1], initializer=partial(work.mark, second), **options)
    pmap(work.double, [1], initializer=partial(work.mark, first), **options)

    for path in (first, second):
        assert max(Counter(path.read_text().split()).values()) == 1


# Laziness


def test_pimap_is_an_iterator_that_can_be_closed(where):
    """`pimap` gives an iterator with a close() method; after it there is nothing more."""
    results = pimap(work.double, range(10), **where.options)

    assert isinstance(results, Iterator)
    assert iter(results) is results
    assert next(results) == 0
    results.close()
    assert list(results) == []
    results.close()


def test_pimap_reads_ahead_no_more_than_its_buffer(where):
    """With buffersize=n at most n inputs are drawn beyond the results that were consumed."""
    for n in (1, 5) if where.name not in COSTLY else (5,):
        source = work.Source(itertools.count())
        consumed = 0

        with closing(pimap(work.double, source, buffersize=n, **where.options)) as results:
            assert source.drawn <= n
            for result in itertools.islice(results, 40):
                assert result == 2 * consumed
                assert source.drawn - consumed <= n
                consumed += 1
                assert source.drawn - consumed <= n


def test_pimap_counts_results_that_wait_for_their_turn(side_by_side, tmp_path):
    """While the first task takes its time, no more than the buffer is drawn behind it."""
    gate = tmp_path / "gate"

    def inputs():
        yield gate
        for n in itertools.count(2):
            if n == 6:
                gate.touch()  # The buffer is full: nothing more may come before the first result.
            yield None

    source = work.Source(inputs())
    options = side_by_side.options | {"chunksize": 1, "buffersize": 6}

    with closing(pimap(lambda path: work.wait_for(path, 1), source, **options)) as results:
        assert next(results) == 1
        assert source.drawn <= 7


def test_pimap_works_on_endless_input(where):
    """By default, too, it reads ahead a bounded way, and a break ends it."""
    source = work.Source(itertools.count())

    for result in pimap(work.double, source, **where.options):
        if result == 20:
            break

    assert source.drawn <= 2_000_000


def test_close_stops_the_reading(where):
    """After close() nothing more is drawn from the input."""
    source = work.Source(itertools.count())
    results = pimap(work.double, source, **where.options)
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]

    results.close()
    drawn = source.drawn
    assert pmap(work.double, range(20), **where.options) == [2 * x for x in range(20)]

    assert source.drawn == drawn


def test_nothing_of_a_call_is_kept(where):
    """When a call has ended, its items and results are free at once, without the collector."""

    class Thing:
        pass

    gc.disable()
    try:
        things = [Thing() for _ in range(5)]
        kept = [weakref.ref(thing) for thing in things]
        kept += [weakref.ref(thing) for thing in pmap(work.echo, things, **where.options)]
        del things
        work.wait_until(lambda: not any(ref() for ref in kept), "the last of them to go")
    finally:
        gc.enable()


def test_close_while_large_items_are_under_way(where):
    """A map that is given up while large inputs and results cross ends at once, every time."""
    for _ in range(3):
        source = (bytes(1_000_000) for _ in itertools.count())
        results = pimap(work.echo, source, buffersize=6, **where.options)
        assert len(next(results)) == 1_000_000
        results.close()

    assert pmap(work.double, range(3), **where.options) == [0, 2, 4]


def test_a_failure_while_large_items_are_under_way(where):
    """A map that raises while large inputs and results cross raises at once, every time."""

    def task(item):
        if len(item) == 1:
            raise ValueError("the small one")
        return item

    for _ in range(3):
        source = (bytes(1_000_000 if n != 2 else 1) for n in range(40))
        with pytest.raises(ValueError, match="the small one"):
            pmap(task, source, **where.options)

    assert pmap(work.double, range(3), **where.options) == [0, 2, 4]


def test_a_lazy_map_left_alone_leaves_the_executor_free(where):
    """While one lazy map waits for its reader, other calls run, and it goes on afterwards."""
    results = pimap(work.double, range(30), buffersize=4, **where.options)
    assert next(results) == 0

    assert pmap(work.double, range(20), **where.options) == [2 * x for x in range(20)]

    assert list(results) == [2 * x for x in range(1, 30)]


def test_breaking_off_leaves_the_workers_warm(processes_only, tmp_path):
    """A lazy map that is given up leaves the same workers to the next call."""

    def meeting(name):
        (tmp_path / name).mkdir()
        task = partial(work.meet, tmp_path / name, 2)
        return set(pmap(task, range(2), chunksize=1, **processes_only.options))

    shutdown()
    before = meeting("before")
    for result in pimap(work.double, itertools.count(), **processes_only.options):
        if result == 10:
            break
    with closing(pimap(work.double, itertools.count(), **processes_only.options)) as results:
        next(results)

    assert meeting("after") == before


def test_pimap_gives_the_results_before_a_failure(where):
    """Every result before the failing one comes first, then the error, then nothing."""
    results = pimap(partial(work.refuse, 7), range(20), **where.options)
    given = []

    with pytest.raises(ValueError, match="no 7"):
        for result in results:
            given.append(result)

    assert given == list(range(7))
    assert list(results) == []


def test_pimap_gives_the_results_before_an_input_error(where):
    """What was drawn before the input raised is computed and given; then the error comes."""
    error = work.BrokenInput("boom")
    results = pimap(work.double, work.broken_source(9, error), **where.options)
    given = []

    with pytest.raises(work.BrokenInput) as caught:
        for result in results:
            given.append(result)

    assert given == [2 * x for x in range(9)]
    assert caught.value is error


def test_pimap_replaces_failures_like_pmap(where):
    """`on_error` works lazily, too."""
    results = list(pimap(partial(work.refuse, 3), range(6), on_error="return", **where.options))

    assert results.pop(3).exception.args == ("no 3",)
    assert results == [0, 1, 2, 4, 5]


def test_unordered_gives_all_results(where):
    """With ordered=False the results are those of the loop, in some order."""
    results = pimap(work.double, range(300), ordered=False, **where.options)

    assert sorted(results) == [2 * x for x in range(300)]


def test_unordered_gives_first_what_is_ready_first(side_by_side, tmp_path):
    """With ordered=False a task that waits holds up nobody."""
    gate = tmp_path / "gate"
    inputs = [(gate, "held"), (None, "free")]
    options = side_by_side.options | {"chunksize": 1, "ordered": False}

    results = pimap(lambda pair: work.wait_for(*pair), inputs, **options)

    assert next(results) == "free"
    gate.touch()
    assert next(results) == "held"
    assert next(results, "the end") == "the end"


def test_unordered_raises_a_failure(where):
    """With ordered=False the failure of a task is raised as well."""
    given = []
    with pytest.raises(ValueError, match="no 7"):
        for result in pimap(partial(work.refuse, 7), range(20), ordered=False, **where.options):
            given.append(result)

    assert set(given) < set(range(20))
    assert len(set(given)) == len(given)


# What "auto" decides


def test_auto_stays_here_for_small_work():
    """A map that is not worth a pool runs in the caller, like the loop it replaces."""
    assert pmap(work.place, range(20)) == [work.place()] * 20


def test_auto_leaves_for_large_work():
    """A map that is worth a pool gets one."""
    results = pmap(work.countdown, range(40), workers=2)

    assert [x for x, _ in results] == list(range(40))
    assert {pid for _, pid in results} != {os.getpid()}


@pytest.mark.parametrize("options", [{"on_error": "return"}, {"on_error": repr}, {"retries": 1}])
def test_auto_runs_nothing_here_that_may_fail(options):
    """Whoever asks for fault tolerance has no task run in the caller."""
    assert work.place() not in pmap(work.place, range(20), **options)


# joblib's active backend


@pytest.mark.parametrize(
    ("backend", "here"), [("threading", True), ("sequential", True), ("loky", False)]
)
def test_joblib_means_the_active_backend(backend, here):
    """`executor="joblib"` runs where `joblib.parallel_config` says."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")

    with joblib.parallel_config(backend=backend, n_jobs=2):
        pids = set(pmap(work.pid, range(40), executor="joblib"))

    assert (pids == {os.getpid()}) is here


def test_joblib_takes_registered_backends():
    """A backend that somebody registered is as good as joblib's own."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    from joblib._parallel_backends import ThreadingBackend

    used = []

    class Registered(ThreadingBackend):
        def configure(self, *args, **kwargs):
            used.append("configured")
            return super().configure(*args, **kwargs)

    joblib.register_parallel_backend("parmap-test", Registered)
    with joblib.parallel_config(backend="parmap-test", n_jobs=2):
        result = pmap(work.double, range(20), executor="joblib")

    assert result == [2 * x for x in range(20)]
    assert used


def test_a_lent_parallel_is_left_when_the_function_cannot_be_sent():
    """A joblib.Parallel that was entered for a call is left again, even if that cannot begin."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    lock, lent = threading.Lock(), joblib.Parallel(n_jobs=2)

    with pytest.raises(pickle.PicklingError):
        pmap(lambda _: lock, range(3), executor=lent)

    assert not lent._managed_backend


def test_joblibs_threads_heed_ctrl_c():
    """SIGINT is not blocked in threads of joblib: a program that a task starts would inherit it."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")

    with joblib.parallel_config(backend="threading", n_jobs=2):
        blocked = pmap(signal.pthread_sigmask, [signal.SIG_BLOCK] * 2, [[], []], executor="joblib")

    assert blocked == [set(), set()]


def test_joblib_and_parmap_share_a_process():
    """The user's own joblib.Parallel works before, between and after our calls."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")

    def theirs():
        return joblib.Parallel(n_jobs=2)(joblib.delayed(work.double)(x) for x in range(4))

    expected = [0, 2, 4, 6]
    for name in ("processes", "joblib", "processes"):
        assert theirs() == expected
        assert pmap(work.double, range(4), executor=name, workers=2) == expected
    assert theirs() == expected


# The table of places itself


def test_every_executor_of_the_design_is_in_the_table():
    """No place is forgotten by the fixtures of this suite."""
    assert set(ABROAD) <= set(EVERYWHERE)
    assert set(SIDE_BY_SIDE) | {"auto", "serial", "an Executor of one's own"} == set(EVERYWHERE)


def test_an_input_that_is_emptied_ends_the_call(where):
    """A list that `on_error` empties gives what was sent, failures for the rest, and no hang."""
    items = list(range(50))

    def empty(failure):
        items.clear()
        return failure.kind

    results = pmap(partial(work.refuse, 0), items, on_error=empty, retries=1, **where.options)

    assert results[0] == "error"
    assert all(result in (n, "error", "unpicklable") for n, result in enumerate(results))


def test_an_interrupt_while_threads_start_leaves_none(monkeypatch):
    """A thread that was started when Ctrl-C came ends with the call."""
    truly = threading.Thread.start

    def start(thread):
        truly(thread)
        if thread.name == "parmap-2":
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", start)
        pmap(work.double, range(9), executor="threads", workers=3, chunksize=1)

    work.wait_until(lambda: set(threading.enumerate()) <= before, "the threads to end")
