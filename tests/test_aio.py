"""The doors for asyncio: the same results, a loop that runs on, and ends that leave nothing."""

import asyncio
import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from itertools import count

import pytest
import work
from conftest import COSTLY, SIDE_BY_SIDE

import parmap
from parmap import Failure, TaskTimeout, aio, parallel_config, pmap

PATIENCE = 60


def run(coroutine):
    """Run *coroutine* on a new loop, with a limit."""

    async def limited():
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    return asyncio.run(limited())


async def items_of(iterable):
    for item in iterable:
        yield item


async def listed(results):
    return [result async for result in results]


async def until(condition):
    """Wait until *condition* holds, letting others have the loop."""
    while not condition():
        await asyncio.sleep(0.001)


# Results


def test_the_list_is_that_of_the_loop(where):
    """`await aio.pmap` gives what the loop gives, on every executor."""
    assert run(aio.pmap(work.double, range(300), **where.options)) == [2 * n for n in range(300)]


def test_several_iterables_and_tuples(where_cheaply):
    """Several iterables end with the shortest; `pstarmap` unpacks its items."""
    options = where_cheaply.options

    assert run(aio.pmap(work.add, count(), [1, 2], **options)) == [1, 3]
    assert run(aio.pstarmap(work.add, [(1, 2), (3, 4)], **options)) == [3, 7]
    assert run(aio.pmap(work.double, [], **options)) == []


def test_the_iterator_gives_the_results_in_order(where_cheaply):
    """`async for` over `aio.pimap` gives the loop's results, in its order."""
    results = run(listed(aio.pimap(work.double, range(300), **where_cheaply.options)))

    assert results == [2 * n for n in range(300)]


def test_unordered_results_are_all_there(where_cheaply):
    """With ordered=False each result is given once."""
    results = aio.pimap(work.double, range(100), ordered=False, **where_cheaply.options)

    assert sorted(run(listed(results))) == [2 * n for n in range(100)]


def test_an_asynchronous_input(where):
    """What is iterated with `async for` is mapped like a list."""
    results = run(aio.pmap(work.double, items_of(range(200)), **where.options))

    assert results == [2 * n for n in range(200)]


def test_asynchronous_and_plain_inputs_are_taken_together(where_cheaply):
    """Both kinds make the arguments of a task, and the shortest ends the call, whichever it is."""
    options = where_cheaply.options

    assert run(aio.pmap(work.add, items_of(count()), [1, 2, 3], **options)) == [1, 3, 5]
    assert run(aio.pmap(work.add, count(), items_of([1, 2]), **options)) == [1, 3]
    assert run(aio.pmap(work.add, items_of([1]), items_of(count()), **options)) == [1]
    assert run(aio.pstarmap(work.add, items_of([(1, 2)]), **options)) == [3]


def test_an_endless_asynchronous_input_is_drawn_as_far_as_said(where_cheaply):
    """An iterator over an endless input draws no more than *buffersize* beyond what was read."""
    drawn, read = [], 0

    async def numbers():
        for n in count():
            drawn.append(n)
            assert len(drawn) <= read + 8
            yield n

    async def main():
        nonlocal read
        results = aio.pimap(work.double, numbers(), buffersize=8, **where_cheaply.options)
        async with results:
            async for result in results:
                assert result == 2 * read
                read += 1
                if read == 100:
                    break

    run(main())
    assert read == 100


def test_an_endless_plain_input_is_drawn_as_far_as_said(where_cheaply):
    """The same holds for a plain generator, which the call's own thread iterates."""
    drawn, read = [], 0

    def numbers():
        for n in count():
            drawn.append(n)
            yield n

    async def main():
        nonlocal read
        async with aio.pimap(
            work.double, numbers(), buffersize=8, **where_cheaply.options
        ) as results:
            async for result in results:
                assert len(drawn) <= read + 1 + 8
                assert result == 2 * read
                read += 1
                if read == 100:
                    break

    run(main())
    assert len(drawn) <= 108


def test_one_result_at_a_time():
    """A *buffersize* of 1 draws an item, gives its result, and only then draws the next."""
    drawn = []

    def numbers():
        for n in range(5):
            drawn.append(n)
            yield n

    async def main():
        results = aio.pimap(work.double, numbers(), buffersize=1, executor="threads")
        return [(result, len(drawn)) async for result in results]

    assert [result for result, _ in run(main())] == [0, 2, 4, 6, 8]


# Failures


def test_a_failure_is_raised_with_its_note(where_cheaply):
    """The first failure is raised as what the task raised, with the note that names the task."""
    with pytest.raises(ValueError, match="no 3") as caught:
        run(aio.pmap(lambda x: work.refuse(3, x), range(6), **where_cheaply.options))

    assert any("task 3 failed" in note for note in caught.value.__notes__)


def test_failures_are_returned_or_replaced(where_cheaply):
    """on_error takes the same values, and means the same."""
    fn = lambda x: work.refuse(1, x)

    results = run(aio.pmap(fn, range(3), on_error="return", **where_cheaply.options))
    replaced = run(aio.pmap(fn, range(3), on_error=lambda f: f.index, **where_cheaply.options))

    assert isinstance(results[1], Failure)
    assert results[1].index == 1
    assert replaced == [0, 1, 2]


def test_all_results_before_a_failure_are_given():
    """The iterator gives what comes before the failing task, then raises."""
    seen = []

    async def main():
        async for result in aio.pimap(lambda x: work.refuse(5, x), range(10), executor="threads"):
            seen.append(result)

    with pytest.raises(ValueError, match="no 5"):
        run(main())
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_input_raises_comes_after_its_results(asynchronous):
    """An error of the input is raised as it is, after the results of the items before it."""
    seen = []

    def numbers():
        yield from range(4)
        raise OSError("the line is cut")

    async def main():
        iterable = items_of(numbers()) if asynchronous else numbers()
        async for result in aio.pimap(work.double, iterable, executor="threads"):
            seen.append(result)

    with pytest.raises(OSError, match="the line is cut"):
        run(main())
    assert seen == [0, 2, 4, 6]


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, asyncio.CancelledError])
def test_what_means_something_else_to_who_awaits(error):
    """A task that raises what ends iterators, or cancels, is a RuntimeError caused by that."""

    def task(_):
        raise error("of the task")

    async def read():
        return await listed(aio.pimap(task, [1], executor="threads"))

    for awaited in (lambda: aio.pmap(task, [1], executor="threads"), read):
        if error is StopAsyncIteration and awaited is not read:
            continue  # which a coroutine may raise
        with pytest.raises(RuntimeError) as caught:
            run(awaited())
        assert type(caught.value.__cause__) is error


def test_an_input_that_is_cancelled_is_an_error():
    """A CancelledError that the input raises by itself does not pass for its end."""

    async def numbers():
        yield 1
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="CancelledError"):
        run(aio.pmap(work.double, numbers(), executor="threads"))


def test_a_crash_costs_one_task(processes_only):
    """A worker that dies fails its task; the others are done."""
    fn = lambda x: os._exit(3) if x == 2 else x

    results = run(aio.pmap(fn, range(5), on_error=lambda f: f.kind, **processes_only.options))

    assert results == [0, 1, "crash", 3, 4]


def test_retries_timeout_and_progress_mean_the_same(processes_only, bars, tmp_path):
    """A task that hangs is killed, tried again, and counted once."""

    def task(x):
        if x == 1 and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            threading.Event().wait()
        return x

    options = processes_only.options | {"retries": 1, "timeout": 2, "progress": bars}

    assert run(aio.pmap(task, range(4), **options)) == [0, 1, 2, 3]
    assert [bar.n for bar in bars.made] == [4]


def test_options_are_checked_where_they_are_given():
    """A wrong option or argument is an error before anything runs."""
    with pytest.raises(TypeError, match="no option"):
        aio.pimap(work.double, [1], worker=2)
    with pytest.raises(ValueError, match="buffersize"):
        aio.pimap(work.double, [1], buffersize=0)
    with pytest.raises(TypeError, match="iterable"):
        run(aio.pmap(work.double, 3))
    with pytest.raises(TypeError, match=r"aio\.pmap"):
        pmap(work.double, items_of([1]))
    with pytest.raises(TypeError, match="pickle or copy"):
        aio.pimap(work.double, [1]).__reduce__()


def test_the_defaults_of_the_context_hold():
    """What `parallel_config` sets where the call is made holds for it."""

    async def main():
        with parallel_config(executor="threads", workers=2):
            return await aio.pmap(lambda _: threading.current_thread().name, [1])

    assert run(main()) == ["parmap-1"]


def test_context_variables_reach_tasks_input_and_handlers():
    """Threads of the call see the context of who awaits it."""

    async def main():
        work.VARIABLE.set("seen")
        get = lambda _: work.VARIABLE.get()
        inputs = (work.VARIABLE.get() for _ in range(2))
        failing = lambda x: 1 / 0
        return (
            await aio.pmap(get, inputs, executor="threads"),
            await aio.pmap(failing, [1], executor="threads", on_error=get),
        )

    assert run(main()) == (["seen", "seen"], ["seen"])


# The loop runs on


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_the_loop_runs_while_tasks_do(places, tmp_path, name):
    """A task that waits for what the loop does next gets it: the loop is not blocked."""
    where = places(name)

    async def main():
        call = asyncio.create_task(
            aio.pmap(lambda path: work.wait_for(path, "done"), [tmp_path / "gate"], **where.options)
        )
        await asyncio.sleep(0)
        (tmp_path / "gate").touch()
        return await call

    assert run(main()) == ["done"]


def test_the_loops_own_threads_are_not_needed():
    """A call runs though the loop's default executor is full."""
    gate = threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, gate.wait)
        try:
            return await aio.pmap(work.double, range(3), executor="threads")
        finally:
            gate.set()
            await blocked

    assert run(main()) == [0, 2, 4]


def test_an_input_that_waits_does_not_block_the_loop():
    """A plain generator may wait for what the loop does: another thread iterates it."""
    gate = threading.Event()

    def numbers():
        yield 1
        assert gate.wait(PATIENCE)
        yield 2

    async def main():
        call = asyncio.create_task(aio.pmap(work.double, numbers(), executor="threads"))
        await asyncio.sleep(0)
        gate.set()
        return await call

    assert run(main()) == [2, 4]


def test_calls_side_by_side():
    """Calls on the same loop run at the same time, each with its own results."""

    async def main():
        calls = [aio.pmap(lambda x, k=k: k * x, range(20), executor="threads") for k in range(8)]
        return await asyncio.gather(*calls)

    assert run(main()) == [[k * x for x in range(20)] for k in range(8)]


class Items(list):
    """A list that can be referred to weakly."""


def test_a_call_that_is_over_keeps_nothing():
    """Input and function are let go when the call ends, without the help of the collector."""

    class Function:
        def __call__(self, x):
            return x

    async def main(kind):
        fn, items = Function(), Items(range(6))
        if kind == "map":
            await aio.pmap(fn, items, executor="threads", workers=2)
        elif kind == "cancelled":
            await cancelled(aio.pmap(fn, items, executor="threads"), lambda: True)
        else:
            await listed(aio.pimap(fn, items, executor="threads", workers=2))
        return weakref.ref(fn), weakref.ref(items)

    def is_gone(refs):
        return not any(ref() for ref in refs)

    gc.collect()
    gc.disable()
    try:
        for kind in ("map", "stream", "cancelled"):
            work.wait_until(partial(is_gone, run(main(kind))), kind, 10)
    finally:
        gc.enable()


# Cancellation


def of_calls():
    """Return the threads that drive calls."""
    return [t for t in threading.enumerate() if t.name == "parmap-call"]


async def cancelled(coroutine, condition):
    """Cancel *coroutine* when *condition* holds; return when that has come through."""
    call = asyncio.create_task(coroutine)
    await until(condition)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("name", [name for name in SIDE_BY_SIDE if name not in COSTLY])
def test_cancelling_stops_the_work(places, tmp_path, name):
    """When the cancellation is passed on, no other task begins."""
    where, marks = places(name), tmp_path / "marks"

    def task(x):
        work.log(marks, str(x))
        work.wait_for(tmp_path / "gate", x)

    async def main():
        begun = lambda: marks.exists() and marks.read_text().count("\n") >= 1
        await cancelled(aio.pmap(task, range(50), chunksize=1, **where.options), begun)
        (tmp_path / "gate").touch()
        before = marks.read_text()
        await aio.pmap(work.double, range(4), **where.options)
        return before, marks.read_text()

    before, after = run(main())
    # An executor of somebody else's may have had another task or two in its queue.
    assert after == before or (where.borrowed and after.count("\n") < 10)


def test_cancelling_leaves_the_workers_warm(tmp_path):
    """The next call has the same workers, as long as their tasks are short."""
    options = {"executor": "processes", "workers": 2}
    marks = tmp_path / "marks"

    def task(_):
        work.log(marks, "x")
        return work.pid()

    async def pids(name):
        (tmp_path / name).mkdir()
        meet = partial(work.meet, tmp_path / name, 2)
        return set(await aio.pmap(meet, range(2), chunksize=1, **options))

    async def main():
        parmap.shutdown()
        before = await pids("before")
        await cancelled(aio.pmap(task, count(), **options), marks.exists)
        return before, await pids("after")

    before, after = run(main())
    assert len(before) == 2
    assert after == before


def test_cancelling_while_the_call_begins():
    """A call that is cancelled before it has begun runs nothing."""
    ran = []

    async def main():
        call = asyncio.create_task(aio.pmap(ran.append, range(1000), executor="threads"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(main())
    assert not ran


def test_cancelling_in_the_first_step(tmp_path):
    """A call that is cancelled while its thread starts workers gives them back."""

    async def main():
        call = asyncio.create_task(aio.pmap(work.double, count(), executor="processes", workers=2))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await aio.pmap(work.double, [1, 2], executor="processes", workers=2)

    assert run(main()) == [2, 4]


def test_a_second_cancellation_does_not_wait():
    """Who cancels twice gets the cancellation at once, though a task in a thread goes on."""
    gate, begun = threading.Event(), threading.Event()

    def task(_):
        begun.set()
        assert gate.wait(PATIENCE)

    async def main():
        call = asyncio.create_task(aio.pmap(task, [1], executor="serial"))
        await until(begun.is_set)
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert of_calls()
        gate.set()

    run(main())
    work.wait_until(lambda: not of_calls(), "the thread of the call to end")


def test_a_timeout_around_a_call(tmp_path):
    """`asyncio.timeout` ends a call like any other coroutine, and a task that waits with it."""
    forever = lambda _: work.wait_for(tmp_path / "never", None)

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await aio.pmap(forever, [1], executor="processes", workers=1)
        return await aio.pmap(work.double, [1], executor="processes", workers=1)

    assert run(main()) == [2]


@pytest.mark.parametrize("name", [name for name in SIDE_BY_SIDE if name not in COSTLY])
def test_closing_an_iterator_stops_the_work(places, name):
    """After `aclose` nothing is drawn and no thread of the call is left; it may be called twice."""
    where, drawn = places(name), []

    def numbers():
        for n in count():
            drawn.append(n)
            yield n

    async def main():
        results = aio.pimap(work.double, numbers(), **where.options)
        async with aclosing(results):
            assert await anext(results) == 0
        before = len(drawn)
        await results.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        return before, len(drawn)

    before, after = run(main())
    assert after == before
    work.wait_until(lambda: not of_calls(), "the thread of the call to end")


def test_an_iterator_that_is_thrown_away_is_closed():
    """The loop closes an iterator that nobody holds any more, and at its own end all others."""

    async def main():
        async for _ in aio.pimap(work.double, count(), executor="threads"):
            break
        gc.collect()
        await until(lambda: not of_calls())
        kept = aio.pimap(work.double, items_of(count()), executor="threads")
        assert await anext(kept) == 0
        return kept

    assert run(main())
    work.wait_until(lambda: not of_calls(), "the thread of the call to end")


def test_an_iterator_that_is_never_read_starts_nothing():
    """Until the first result is asked for there is no thread, and the input is not touched."""

    async def main():
        results = aio.pimap(work.double, work.Source(range(3)), executor="threads")
        assert not of_calls()
        await results.aclose()

    run(main())


def test_a_loop_that_is_closed_meanwhile():
    """A call whose loop is gone ends by itself, and leaves its workers."""
    loop = asyncio.new_event_loop()
    results = aio.pimap(work.double, count(), executor="threads", workers=2)

    assert loop.run_until_complete(anext(results)) == 0
    loop.close()
    del results
    gc.collect()

    work.wait_until(lambda: not of_calls(), "the thread of the call to end")


PENDING = """\
import asyncio, itertools, os, time
from parmap import aio

def task(x):
    return x

async def main():
    results = aio.pimap(task, itertools.count(), executor=EXECUTOR)
    assert await anext(results) == 0
    return results

loop = asyncio.new_event_loop()
results = loop.run_until_complete(main())
print("end")
"""


@pytest.mark.parametrize("name", ["auto", "threads", "processes", "futures", "multiprocessing"])
def test_the_program_ends_with_a_call_under_way(script, name):
    """A program that forgets a call, loop and all, ends without a word, and leaves no process."""
    done = script(PENDING.replace("EXECUTOR", repr(name)))

    assert done.stdout == "end\n"
    assert "Traceback" not in done.stderr


INTERRUPTED = """\
import asyncio, os, pathlib, signal, threading
from parmap import aio

def task(x):
    pathlib.Path("begun").touch()
    threading.Event().wait()

async def wait(x):
    pathlib.Path("begun").touch()
    await asyncio.Event().wait()

async def main():
    await aio.pmap(FUNCTION, range(4), executor=EXECUTOR)

def interrupt():
    while not pathlib.Path("begun").exists():
        pass
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt).start()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("function", "executor"), [("task", "processes"), ("task", "threads"), ("wait", "auto")]
)
def test_ctrl_c_ends_the_call(script, function, executor):
    """Ctrl-C ends the loop with a KeyboardInterrupt, and what ran with it."""
    source = INTERRUPTED.replace("EXECUTOR", repr(executor)).replace("FUNCTION", function)

    assert script(source).stdout == "interrupted\n"


# Coroutine functions on the running loop


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def test_coroutine_functions_run_on_the_running_loop():
    """Tasks of a coroutine function share the loop of who awaits them."""

    async def where(_):
        return asyncio.get_running_loop(), threading.get_ident()

    async def main():
        found = set(await aio.pmap(where, range(3)))
        return found == {(asyncio.get_running_loop(), threading.get_ident())}

    assert run(main())
    assert run(aio.pmap(double, items_of(range(100)))) == [2 * n for n in range(100)]
    assert run(aio.pstarmap(double, [(1,), (2,)])) == [2, 4]
    assert run(listed(aio.pimap(double, range(100)))) == [2 * n for n in range(100)]


def test_cancelling_cancels_coroutines_and_waits_for_them():
    """Tasks see the cancellation, and may clean up; when it is passed on, they have ended."""
    begun, ended = [], []

    async def task(x):
        begun.append(x)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(x)

    async def main():
        await cancelled(aio.pmap(task, range(10), workers=3), lambda: len(begun) == 3)
        return list(begun), list(ended)

    begun_then, ended_then = run(main())
    assert begun_then == [0, 1, 2]
    assert sorted(ended_then) == [0, 1, 2]


def test_a_failure_cancels_the_other_coroutines():
    """Under on_error="raise" what still runs is cancelled before the error is raised."""
    ended = []

    async def task(x):
        if x == 3:
            raise ValueError("no 3")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(x)

    with pytest.raises(ValueError, match="no 3"):
        run(aio.pmap(task, range(4)))
    assert sorted(ended) == [0, 1, 2]


def test_a_coroutine_that_takes_too_long_is_cancelled_on_the_loop():
    """timeout= cancels the task; it fails with TaskTimeout, the others go on."""

    async def task(x):
        if x == 1:
            await asyncio.Event().wait()
        return x

    zero, failure, two = run(aio.pmap(task, range(3), timeout=0.05, on_error="return"))

    assert (zero, two) == (0, 2)
    assert isinstance(failure.exception, TaskTimeout)
