"""Coroutine functions: their tasks take turns on one event loop, and are tasks like any other."""

import asyncio
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import pytest
import work
import zoo

from parmap import (
    Failure,
    Pool,
    TaskTimeout,
    delayed,
    parallel_config,
    pcall,
    pimap,
    pmap,
    pstarmap,
)


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


async def add(x, y):
    return x + y


class Gauge:
    """How many tasks are in here at the same time, and how many there were at most."""

    def __init__(self):
        self.now = self.most = 0

    async def task(self, x):
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.now -= 1
        return x


# Results


@pytest.mark.parametrize("executor", ["auto", "serial"])
def test_every_door_gives_the_loops_results(executor):
    """The results are what the coroutines return, in the order of the input."""
    options = {"executor": executor}

    assert pmap(double, range(500), **options) == [2 * n for n in range(500)]
    assert pmap(add, count(), iter([1, 2]), **options) == [1, 3]
    assert pstarmap(add, [(1, 2), (3, 4)], **options) == [3, 7]
    assert pcall((delayed(add)(n, y=1) for n in range(3)), **options) == [1, 2, 3]
    assert list(pimap(double, range(500), **options)) == [2 * n for n in range(500)]
    assert pmap(double, [], **options) == []


def test_unordered_results_come_as_they_end():
    """With ordered=False a task that waits for a later one does not hold it up."""
    gate = []

    async def task(x):
        if x == 0:
            while not gate:
                await asyncio.sleep(0)
        if x == 1:
            gate.append(x)
        return x

    assert list(pimap(task, range(2), ordered=False)) == [1, 0]
    gate.clear()
    assert list(pimap(task, range(2))) == [0, 1]


def test_as_many_run_at_a_time_as_there_are_workers():
    """*workers* tasks are under way at the same time, 32 by default, one on "serial"."""
    for options, most in (({"workers": 5}, 5), ({}, 32), ({"executor": "serial"}, 1)):
        gauge = Gauge()

        assert pmap(gauge.task, range(100), **options) == list(range(100))
        assert gauge.most == most


def test_a_chunk_of_tasks_runs_one_after_the_other():
    """With chunksize= the tasks of a chunk wait for one another."""
    gauge = Gauge()

    assert pmap(gauge.task, range(40), chunksize=20) == list(range(40))
    assert gauge.most == 2


def test_tasks_run_in_the_callers_thread():
    """No thread and no process is needed: what tasks change is changed here."""

    async def task(_):
        return work.place()

    assert pmap(task, range(3)) == [work.place()] * 3


def test_the_threads_own_loop_is_left_alone():
    """A loop that the caller has set as its current one stays that, and is not run."""

    async def task(_):
        return id(asyncio.get_running_loop())

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        assert id(loop) not in pmap(task, range(3))
        assert asyncio.get_event_loop() is loop
        assert loop.run_until_complete(double(2)) == 4
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_call_inside_a_worker_works(where_cheaply):
    """A task on any executor may map a coroutine function."""
    assert pmap(lambda n: pmap(double, range(n)), [2, 3], **where_cheaply.options) == [
        [0, 2],
        [0, 2, 4],
    ]


def test_an_endless_input_is_drawn_no_further_than_said():
    """*buffersize* holds for coroutine functions."""
    source = work.Source(count())

    with pimap(double, source, buffersize=3) as results:
        assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
        assert source.drawn <= 5 + 3


def test_context_variables_are_those_of_the_caller():
    """Each task has a copy of the caller's context, what it sets no other sees."""

    async def task(x):
        before = work.VARIABLE.get("nothing")
        work.VARIABLE.set(x)
        await asyncio.sleep(0)
        return before, work.VARIABLE.get()

    token = work.VARIABLE.set("the caller's")
    try:
        assert pmap(task, range(3)) == [("the caller's", x) for x in range(3)]
        assert work.VARIABLE.get() == "the caller's"
    finally:
        work.VARIABLE.reset(token)


# Failures


def test_what_tasks_raise_is_their_failure():
    """Whatever a task raises, BaseException included, fails it alone."""
    raised = [ValueError("x"), KeyboardInterrupt("x"), SystemExit(3), asyncio.CancelledError("x")]

    async def task(x):
        await asyncio.sleep(0)
        if x < len(raised):
            raise raised[x]
        return x

    results = pmap(task, range(6), on_error="return")

    assert [type(f.exception) for f in results[:4]] == [type(error) for error in raised]
    assert [f.kind for f in results[:4]] == ["error"] * 4
    assert results[4:] == [4, 5]


def test_a_task_that_cancels_itself_fails_alone():
    """Who cancels the task that it runs in fails, and the next in its chunk runs as usual."""

    async def task(x):
        if x == 0:
            asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return x

    failure, one, two = pmap(task, range(3), chunksize=3, on_error="return")

    assert isinstance(failure.exception, asyncio.CancelledError)
    assert (one, two) == (1, 2)


def test_the_first_failure_is_raised_with_its_note():
    """Under on_error="raise" it is the task's own exception, with the note that names the task."""

    async def task(x):
        return work.refuse(3, x)

    with pytest.raises(ValueError, match="no 3") as caught:
        pmap(task, range(10))

    assert any("task 3 failed" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("name", zoo.ERRORS)
def test_odd_exceptions_are_captured(name):
    """The zoo of exceptions fails its tasks, and nothing else."""

    async def task(x):
        return zoo.ERRORS[name]() if x == 1 else x

    zero, failure, two = pmap(task, range(3), on_error="return")

    assert isinstance(failure, Failure)
    assert (zero, two) == (0, 2)


def test_wrong_arguments_are_the_tasks_failure():
    """A call that does not fit is a failure, with the note that says what would."""
    (failure,) = pmap(add, [(1, 2)], on_error="return")

    assert isinstance(failure.exception, TypeError)
    assert any("pstarmap" in note for note in failure.exception.__notes__)


def test_retries_are_for_the_tasks_that_failed():
    """A task that fails is tried again, and its attempts are counted."""
    tries = []

    async def task(x):
        tries.append(x)
        return work.refuse(1, x)

    zero, failure, two = pmap(task, range(3), retries=2, on_error="return")

    assert (zero, two, failure.attempts) == (0, 2, 3)
    assert sorted(tries) == [0, 1, 1, 1, 2]


def test_a_task_that_takes_too_long_is_cancelled():
    """It sees the cancellation, fails with TaskTimeout, and its record says where it stood."""
    ended = []

    async def hang():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hang")

    async def task(x):
        if x == 1:
            await hang()
        return x

    zero, failure, two = pmap(task, range(3), timeout=0.02, on_error="return")

    assert (zero, two) == (0, 2)
    assert failure.kind == "timeout"
    assert isinstance(failure.exception, TaskTimeout)
    assert "in hang" in failure.traceback
    assert "in hang" in str(failure.exception)
    assert ended == ["hang"]


def test_a_timeout_of_the_tasks_own_is_its_error():
    """A TimeoutError that a task raises is not taken for the call's timeout."""

    async def task(x):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    (failure,) = pmap(task, [1], timeout=60, on_error="return")

    assert failure.kind == "error"
    assert type(failure.exception) is TimeoutError


def test_who_does_not_heed_the_cancellation_has_failed():
    """A task that takes too long has failed, whatever it returns then."""

    async def task(x):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return x

    (failure,) = pmap(task, [1], timeout=0.01, on_error="return")

    assert isinstance(failure.exception, TaskTimeout)


def test_progress_counts_the_tasks(bars):
    """The bar counts what is done."""
    pmap(double, range(7), progress=bars)

    assert [(bar.n, bar.closings) for bar in bars.made] == [(7, 1)]


def test_the_initializer_runs_once_before_the_tasks():
    """The loop is one worker; what the initializer raises, the call raises."""
    seen = []

    async def task(x):
        return list(seen)

    def initializer():
        seen.append("here")

    assert pmap(task, range(3), initializer=initializer) == [["here"]] * 3
    with pytest.raises(ValueError, match="no 0"):
        pmap(task, range(3), initializer=partial(work.refuse, 0, 0))


# Ends


def test_closing_an_iterator_cancels_what_runs():
    """When `close` returns, tasks have been cancelled and have ended."""
    ended = []

    async def task(x):
        try:
            if x:
                await asyncio.Event().wait()
            return x
        finally:
            await asyncio.sleep(0)
            ended.append(x)

    with pimap(task, range(3)) as results:
        assert next(results) == 0

    assert sorted(ended) == [0, 1, 2]


def test_a_failure_cancels_the_others():
    """Under on_error="raise" no task is left when the error is raised, nor a warning."""
    ended = []

    async def task(x):
        try:
            await asyncio.sleep(0)
            if x == 2:
                raise ValueError("no 2")
            await asyncio.Event().wait()
        finally:
            ended.append(x)

    with pytest.raises(ValueError, match="no 2"):
        pmap(task, range(4))
    assert sorted(ended) == [0, 1, 2, 3]


def test_an_iterator_is_closed_inside_a_running_loop():
    """One that was begun outside may be thrown away in a coroutine."""
    ended = []

    async def task(x):
        try:
            if x:
                await asyncio.Event().wait()
            return x
        finally:
            ended.append(x)

    results = pimap(task, range(2))
    assert next(results) == 0

    async def main():
        results.close()

    asyncio.run(main())
    assert sorted(ended) == [0, 1]


def test_ctrl_c_ends_the_call():
    """SIGINT cancels the tasks and is raised as KeyboardInterrupt, after their ends."""
    ended = []

    async def task(x):
        try:
            if x == 3:
                os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            ended.append(x)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            pmap(task, range(4), on_error="return")
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(ended) == [0, 1, 2, 3]


# What is refused


@pytest.mark.parametrize(
    "executor", ["threads", "processes", "multiprocessing", "futures", "joblib", "an instance"]
)
def test_other_executors_are_refused_with_the_reason(executor):
    """Who asks for a place where no event loop runs is told so, wherever the option comes from."""
    with ThreadPoolExecutor(1) as pool:
        options = {"executor": pool if executor == "an instance" else executor}
        for call in (
            lambda: pmap(double, [1], **options),
            lambda: pimap(double, [1], **options),
            lambda: pcall([(double, (1,), {})], **options),
        ):
            with pytest.raises(ValueError, match="one event loop"):
                call()
        with parallel_config(**options), pytest.raises(ValueError, match="one event loop"):
            pmap(double, [1])


def test_options_of_worker_processes_are_refused():
    """max_tasks_per_worker has no meaning here, and says so."""
    with pytest.raises(ValueError, match="max_tasks_per_worker=2"):
        pmap(double, [1], max_tasks_per_worker=2)


def test_under_a_running_loop_the_cure_is_named():
    """In a notebook or a coroutine, `pmap` would block the loop: it says what to write."""

    async def main():
        for call in (
            lambda: pmap(double, [1]),
            lambda: pimap(double, [1]),
            lambda: pcall([delayed(double)(1)]),
        ):
            with pytest.raises(RuntimeError, match=r"await aio\.pmap"):
                call()
        return await asyncio.to_thread(pmap, double, [1])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(main()) == [2]


def test_a_pool_maps_coroutine_functions_and_refuses_single_ones():
    """The maps of a Pool run them; what is submitted alone has no loop, and the error says so."""
    with Pool(2) as pool:
        assert pool.map(double, range(3)) == [0, 2, 4]
        assert pool.map_async(double, range(3)).get() == [0, 2, 4]
        for submit in (pool.submit, pool.apply_async):
            with pytest.raises(TypeError, match=r"asyncio\.run"):
                submit(double, [1])


def test_tasks_of_one_call_are_all_of_a_kind():
    """`pcall` refuses to mix coroutine functions with others, and names the task."""
    mixed = [delayed(double)(1), delayed(abs)(-1)]

    for tasks in (mixed, iter(mixed), mixed[::-1]):
        with pytest.raises(TypeError, match="task 1 is of"):
            pcall(tasks)


def test_an_error_of_the_first_task_is_raised_as_before():
    """That `pcall` looks at the first task changes nothing about what its input raises."""

    def broken():
        raise OSError("broken")
        yield

    with pytest.raises(OSError, match="broken"):
        pcall(broken())
    with pytest.raises(TypeError, match="task 0 must be"):
        pcall([3])
    assert pcall(iter([])) == []


def test_no_thread_is_left():
    """A call of a coroutine function starts no thread."""
    before = threading.active_count()

    pmap(double, range(10))

    assert threading.active_count() == before
    assert "asyncio" in sys.modules
