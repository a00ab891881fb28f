"""The object with `map`: its maps are the doors, and tasks are submitted while others run."""

import asyncio
import concurrent.futures
import gc
import itertools
import multiprocessing
import os
import pickle
import threading
import weakref
from functools import partial

import numpy as np
import pytest
import work

from parmap import ExecutorUnavailable, Failure, Pool, TaskTimeout, WorkerCrashed, pmap, shutdown
from parmap._choice.background import Background
from parmap._engine.submitted import Submitted

PATIENCE = 60


@pytest.fixture
def pool(where):
    """A pool in every place where tasks can run."""
    with Pool(**where.options) as made:
        yield made


@pytest.fixture
def processes():
    with Pool(2, executor="processes") as made:
        yield made


# Maps


def test_maps_give_what_the_loops_give(pool):
    """Each map equals its loop, also of several iterables, one of them endless, or none."""
    pairs = [(1, 2), [3, 4], (5, 6)]

    assert pool.map(work.double, range(50)) == list(map(work.double, range(50)))
    assert pool.map(work.add, [1, 2, 3], itertools.count()) == [1, 3, 5]
    assert pool.starmap(work.add, pairs) == list(itertools.starmap(work.add, pairs))
    assert list(pool.imap(lambda x: -x, range(50))) == [-x for x in range(50)]
    assert sorted(pool.imap_unordered(work.double, range(50))) == [*range(0, 100, 2)]
    assert pool.map(work.double, []) == []


def test_a_chunk_size_may_be_the_last_argument(processes):
    """What `multiprocessing` takes as the third argument means the same here, in each method."""
    pids = processes.map(work.pid, range(8), 8)

    assert len(set(pids)) == 1
    assert processes.starmap(work.add, [(1, 2)], 5) == [3]
    assert list(processes.imap(work.double, [1, 2], 5)) == [2, 4]
    assert list(processes.imap_unordered(work.double, [1], 5)) == [2]
    assert processes.map_async(work.double, [1, 2], 5).get(PATIENCE) == [2, 4]
    assert processes.starmap_async(work.add, [(1, 2)], 5).get(PATIENCE) == [3]
    assert processes.map(work.add, [1, 2], np.array([3, 4]), np.int64(2)) == [4, 6]
    assert processes.map(work.add, [1, 2], np.array([3, 4])) == [4, 6]
    with pytest.raises(ValueError, match="chunksize must be"):
        processes.map(work.double, [1, 2], 0)


def test_options_of_a_call_win_over_those_of_the_pool():
    """The pool's options hold for each map, unless the call has its own."""
    with Pool(on_error="return", executor="threads") as pool:
        values = pool.map(partial(work.refuse, 1), range(3))
        assert [type(value) for value in values] == [int, Failure, int]
        with pytest.raises(ValueError, match="no 1"):
            pool.map(partial(work.refuse, 1), range(3), on_error="raise")


def test_maps_of_several_threads_overlap(processes, tmp_path):
    """Two threads map at the same time: each task waits for one of the other's."""
    found = {}

    def mapping(me, other):
        def task(x):
            (tmp_path / f"{me}{x}").touch()
            return work.wait_for(tmp_path / f"{other}{x}", x)

        found[me] = processes.map(task, range(3))

    threads = [threading.Thread(target=mapping, args=names) for names in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert found == {"a": [0, 1, 2], "b": [0, 1, 2]}


# Tasks that are submitted


def test_submitted_tasks_give_what_calls_give(pool):
    """Each future has the result of its call, lambdas and keyword arguments included."""
    futures = [pool.submit(lambda x, y=0: x - y, x, y=1) for x in range(50)]

    assert [future.result(PATIENCE) for future in futures] == [x - 1 for x in range(50)]
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(dict, kwds={"a": 1}) == {"a": 1}


def test_no_task_runs_in_the_thread_that_submits_it(pool, where):
    """A task that is submitted runs elsewhere: in another thread, or another process."""
    process, thread = pool.submit(work.place).result(PATIENCE)

    assert (process, thread) != work.place()
    if where.name == "auto":
        assert process != os.getpid()


def test_futures_are_those_of_the_standard_library(processes):
    """What waits for futures waits for these: `as_completed`, `wait`, asyncio."""
    futures = [processes.submit(work.double, x) for x in range(10)]
    found = [future.result() for future in concurrent.futures.as_completed(futures, PATIENCE)]
    assert sorted(found) == [*range(0, 20, 2)]

    async def main():
        loop = asyncio.get_running_loop()
        wrapped = asyncio.wrap_future(processes.submit(work.double, 1))
        return await asyncio.gather(wrapped, loop.run_in_executor(processes, work.double, 2))

    assert asyncio.run(main()) == [2, 4]


def test_tasks_are_submitted_while_others_run(processes, tmp_path):
    """A task that is submitted later runs beside one that waits for it."""
    first = processes.submit(work.wait_for, tmp_path / "gate", "first")
    assert processes.submit(work.double, 1).result(PATIENCE) == 2
    (tmp_path / "gate").touch()

    assert first.result(PATIENCE) == "first"


def test_callbacks_may_submit(pool):
    """A callback submits the next task, and so on; none is lost."""
    done = threading.Event()
    found = []

    def again(n):
        found.append(n)
        if n == 5:
            done.set()
        else:
            pool.apply_async(work.add, (n, 1), callback=again)

    pool.apply_async(work.add, (0, 0), callback=again)

    assert done.wait(PATIENCE)
    assert found == [0, 1, 2, 3, 4, 5]


def test_a_failure_is_the_tasks_own(pool):
    """A task that raises fails alone, with its own exception, a note that names it, and a cause."""
    good, bad = pool.submit(work.double, 1), pool.submit(work.refuse, 3, 3)

    with pytest.raises(ValueError, match="no 3") as caught:
        bad.result(PATIENCE)
    assert "failed in attempt 1" in caught.value.__notes__[0]
    assert good.result(PATIENCE) == 2


def test_options_hold_for_submitted_tasks(tmp_path):
    """Retries, a timeout, and what stands for failures are those of the pool."""
    with Pool(2, retries=1) as pool:
        assert pool.submit(work.flaky, tmp_path, 1, "a").result(PATIENCE) == 2
    with Pool(2, on_error="return") as pool:
        assert pool.submit(work.refuse, 1, 1).result(PATIENCE).kind == "error"
    with Pool(2, on_error=lambda failure: failure.kind) as pool:
        assert pool.submit(work.refuse, 1, 1).result(PATIENCE) == "error"
    with Pool(2, timeout=0.05) as pool:
        endless = pool.submit(work.wait_for, tmp_path / "never", 1)
        assert pool.submit(work.double, 1).result(PATIENCE) == 2
        with pytest.raises(TaskTimeout):
            endless.result(PATIENCE)


def test_a_crash_costs_one_task(processes):
    """A task that kills its worker fails; those beside it, and those after it, do not."""
    futures = [processes.submit(os._exit if x == 3 else work.double, x) for x in range(8)]

    with pytest.raises(WorkerCrashed):
        futures.pop(3).result(PATIENCE)
    assert [future.result(PATIENCE) for future in futures] == [0, 2, 4, 8, 10, 12, 14]
    assert processes.submit(work.double, 1).result(PATIENCE) == 2


def test_what_cannot_be_sent_fails_alone(processes):
    """An argument that cannot be pickled is its task's failure, which names it."""
    bad = processes.submit(work.echo, threading.Lock())
    good = processes.submit(work.double, 1)

    with pytest.raises((TypeError, pickle.PicklingError), match="lock"):
        bad.result(PATIENCE)
    assert good.result(PATIENCE) == 2


def test_a_worker_that_cannot_be_initialized_fails_all(tmp_path):
    """What the initializer raises, each waiting task has; the pool is not hung by it."""

    def initializer():
        if not (tmp_path / "mended").exists():
            raise LookupError("not yet")

    with Pool(2, executor="processes", initializer=initializer) as pool:
        futures = [pool.submit(work.double, x) for x in range(5)]
        for future in futures:
            with pytest.raises(LookupError, match="not yet"):
                future.result(PATIENCE)
        (tmp_path / "mended").touch()
        assert pool.submit(work.double, 1).result(PATIENCE) == 2


def test_what_was_not_handed_out_can_be_cancelled(tmp_path):
    """A future that is cancelled in time never runs; one that runs cannot be cancelled."""
    with Pool(1, executor="processes") as pool:
        running = pool.submit(work.wait_for, tmp_path / "gate", 1)
        waiting = pool.submit((tmp_path / "ran").touch)
        work.wait_until(running.running, "the first task to be handed out")
        assert waiting.cancel()
        assert not running.cancel()
        (tmp_path / "gate").touch()

        assert pool.submit(work.double, 1).result(PATIENCE) == 2
        assert not (tmp_path / "ran").exists()


# What CPython's own tests of executors promise


def test_arguments_may_have_any_name(processes):
    """Keyword arguments called like the parameters of `submit` are the task's."""
    future = processes.submit(work.gather, 1, self=2, fn=3, func=4)

    assert future.result(PATIENCE) == ((1,), {"self": 2, "fn": 3, "func": 4})


def test_exceptions_that_are_false_are_raised(processes):
    """An exception whose truth value or length says that it is nothing is one all the same."""

    class Falsy(Exception):
        def __bool__(self):
            return False

    class Empty(Exception):
        def __len__(self):
            return 0

    def task(kind):
        raise kind

    for kind in (Falsy, Empty):
        with pytest.raises(kind):
            processes.map(task, [kind])
        assert type(processes.submit(task, kind).exception(PATIENCE)) is kind


def test_no_reference_to_a_task_is_kept():
    """When its result is there, nobody holds the function, its arguments, or the result."""

    class Argument:
        def method(self):
            return Argument()

    with Pool(1, executor="threads") as pool:
        argument = Argument()
        kept = [weakref.ref(argument)]
        future = pool.submit(argument.method)
        kept.append(weakref.ref(future.result(PATIENCE)))
        del argument, future
        pool.submit(work.double, 1).result(PATIENCE)  # whose task has taken the place of that
        work.wait_until(lambda: gc.collect() >= 0 and not any(ref() for ref in kept), "references")


def test_a_shutdown_right_after_many_tasks_does_them_all():
    """However short the time between the last task and the end, each future has its result."""
    for _ in range(20):
        with Pool(3, executor="threads") as pool:
            futures = [pool.submit(work.double, x) for x in range(30)]
        assert [future.result(0) for future in futures] == [*range(0, 60, 2)]


# Results that come later


def test_callbacks_are_called_before_the_result_is_ready(pool):
    """When a result is ready its callback has been called with it, or with the error."""
    called = []
    for method, *given in (
        (pool.apply_async, work.double, (2,)),
        (pool.map_async, work.double, [1, 2]),
        (pool.starmap_async, work.add, [(1, 2)]),
    ):
        result = method(*given, callback=called.append)
        value = result.get(PATIENCE)
        assert called.pop() == value
        assert result.ready()
        assert result.successful()
    failed = pool.apply_async(work.refuse, (1, 1), error_callback=called.append)
    failed.wait(PATIENCE)

    assert not failed.successful()
    assert isinstance(called.pop(), ValueError)
    with pytest.raises(ValueError, match="no 1"):
        failed.get()


def test_a_result_that_is_not_there_says_so(processes, tmp_path):
    """Who waits with a limit gets the exception that `multiprocessing` raises, and Python's."""
    result = processes.apply_async(work.wait_for, (tmp_path / "gate", "found"))

    assert not result.ready()
    for kind in (multiprocessing.TimeoutError, TimeoutError):
        with pytest.raises(kind, match="not there after 0"):
            result.get(0.001)
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    (tmp_path / "gate").touch()
    assert result.get(PATIENCE) == "found"


@pytest.mark.parametrize("method", ["apply_async", "map_async"])
def test_a_callback_that_would_wait_for_ever_is_told(processes, method):
    """A callback that waits for what comes after it gets an error instead of a hang."""
    raised = []

    def callback(_):
        try:
            getattr(processes, method)(work.double, (1,)).get(PATIENCE)
        except RuntimeError as error:
            raised.append(str(error))

    getattr(processes, method)(work.double, (1,), callback=callback).wait(PATIENCE)

    assert "a callback cannot wait" in raised[0]


@pytest.mark.parametrize("method", ["apply_async", "map_async"])
def test_callbacks_run_in_a_thread_of_the_pool(processes, monkeypatch, method):
    """However soon a result is there, its callback does not run in the thread that asked for it."""
    add = concurrent.futures.Future.add_done_callback

    def add_late(future, done):  # who registers after the task was handed out is too late
        concurrent.futures.wait([future], 0.2)
        add(future, done)

    monkeypatch.setattr(concurrent.futures.Future, "add_done_callback", add_late)
    threads = []

    def callback(_):
        threads.append(threading.current_thread())

    getattr(processes, method)(work.double, (1,), callback=callback).wait(PATIENCE)

    assert threads != [threading.current_thread()]
    assert len(threads) == 1


def test_a_callback_that_raises_harms_nobody(processes, caplog):
    """What a callback raises is logged, as a Future's is, and the pool goes on."""
    result = processes.apply_async(work.double, (1,), callback=lambda _: 1 / 0)

    assert result.get(PATIENCE) == 2
    assert processes.apply(work.double, (2,)) == 4
    assert "exception calling callback" in caplog.text


# Life


@pytest.mark.parametrize("end", ["close", "terminate", "shutdown"])
def test_a_pool_that_was_ended_takes_nothing(end):
    """Every method of a pool that has ended says so; to end it again does nothing."""
    pool = Pool(2, executor="threads")
    getattr(pool, end)()
    getattr(pool, end)()

    with pytest.raises(RuntimeError, match="cannot submit"):
        pool.submit(work.double, 1)
    for method in ("map", "imap", "imap_unordered", "starmap", "map_async", "starmap_async"):
        with pytest.raises(ValueError, match="not running"):
            getattr(pool, method)(work.double, [1])
    with pytest.raises(ValueError, match="not running"):
        pool.apply(work.double, (1,))
    with pytest.raises(ValueError, match="not running"), pool:
        pass
    pool.join()


def test_only_a_closed_pool_can_be_joined():
    """To wait for the end of a pool that goes on is an error, not a hang."""
    with Pool(executor="threads") as pool, pytest.raises(ValueError, match="still running"):
        pool.join()


def test_what_was_submitted_is_done_at_the_end_of_the_block(pool, where, tmp_path):
    """Leaving the block waits for tasks and maps; nothing that was submitted is lost."""
    with Pool(**where.options) as inner:
        futures = [inner.submit(work.double, x) for x in range(20)]
        result = inner.map_async(work.double, range(20))

    assert [future.result(0) for future in futures] == [*range(0, 40, 2)]
    assert result.get(0) == [*range(0, 40, 2)]


def test_a_block_that_raises_terminates(tmp_path):
    """What runs is killed, what waits is cancelled, and everybody who waits hears of it."""
    with pytest.raises(KeyError), Pool(2, executor="processes") as pool:
        running = [pool.submit(work.wait_for, tmp_path / "never", x) for x in range(2)]
        waiting = pool.submit(work.double, 1)
        mapping = pool.map_async(partial(work.wait_for, tmp_path / "never"), range(3))
        work.wait_until(lambda: all(one.running() for one in running), "tasks to run")
        raise KeyError

    for future in running:
        with pytest.raises(ExecutorUnavailable, match="terminated"):
            future.result(PATIENCE)
    assert waiting.cancelled() or isinstance(waiting.exception(0), ExecutorUnavailable)
    with pytest.raises((ExecutorUnavailable, concurrent.futures.CancelledError)):
        mapping.get(PATIENCE)


def test_terminate_ends_the_maps_of_other_threads(tmp_path):
    """A thread that is in the middle of a map gets ExecutorUnavailable."""
    pool = Pool(2, executor="processes")
    raised = []

    def task(x):
        (tmp_path / str(x)).touch()
        work.wait_for(tmp_path / "never", x)

    def mapping():
        try:
            pool.map(task, range(2))
        except ExecutorUnavailable as error:
            raised.append(str(error))

    thread = threading.Thread(target=mapping)
    thread.start()
    work.wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "two tasks to begin")
    pool.terminate()
    thread.join(PATIENCE)

    assert raised == ["the pool was terminated before this had ended"]
    pool.join()


def test_a_shutdown_may_cancel_what_waits(tmp_path):
    """With cancel_futures, what runs is done, and the rest never begins."""
    pool = Pool(1, executor="processes")
    running = pool.submit(work.wait_for, tmp_path / "gate", "done")
    waiting = [pool.submit((tmp_path / "ran").touch) for _ in range(3)]
    work.wait_until(running.running, "the first task to be handed out")
    pool.shutdown(wait=False, cancel_futures=True)
    (tmp_path / "gate").touch()
    pool.join()

    assert running.result(0) == "done"
    assert all(future.cancelled() for future in waiting)
    assert not (tmp_path / "ran").exists()


def test_a_pool_that_is_dropped_does_what_was_submitted(tmp_path):
    """Without anybody who holds the pool its futures still end, and so does its thread."""
    pool = Pool(2, executor="processes")
    future, gone = pool.submit(work.wait_for, tmp_path / "gate", "done"), weakref.ref(pool)
    assert pool.map_async(work.double, [1]).get(PATIENCE) == [2]
    thread = pool._background._thread
    del pool
    gc.collect()
    assert gone() is None
    (tmp_path / "gate").touch()

    assert future.result(PATIENCE) == "done"
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_workers_are_those_of_every_call():
    """After a rest a pool has no worker: the next call of anybody gets the same."""
    shutdown()
    with Pool(1, executor="processes") as pool:
        pid = pool.submit(work.pid).result(PATIENCE)
        work.wait_until(lambda: pool._background._run is None, "the pool to rest")
        assert pmap(work.pid, [0], executor="processes", workers=1) == [pid]
        assert pool.submit(work.pid).result(PATIENCE) == pid


def test_it_arrives_elsewhere_as_a_serial_one():
    """A copy of a pool, and a bound method of it, map in the process that they arrive in."""
    with Pool(2, executor="processes", retries=1, timeout=9) as pool:
        copy = pickle.loads(pickle.dumps(pool))
        method = pickle.loads(pickle.dumps(pool.map))
        assert "serial" in repr(copy)
        assert copy.map(work.place, [0]) == method(work.place, [0]) == [work.place()]

        inside = pool.submit(lambda: (os.getpid(), pool.map(work.pid, range(3)))).result(PATIENCE)
        assert inside[1] == [inside[0]] * 3


def test_it_says_what_it_is():
    """The repr names the executor, the workers and the state; the size is that of the options."""
    pool = Pool(3, executor="threads")
    assert (repr(pool), pool.size) == ("<parmap.Pool: threads, 3 workers, open>", 3)
    pool.close()
    assert "closed" in repr(pool)


def test_wrong_options_are_refused_when_it_is_made():
    """A pool with an unknown or a wrong option is not made; the error says what to write."""
    with pytest.raises(TypeError, match="workers=4"):
        Pool(processes=4)
    with pytest.raises(ValueError, match="workers must be"):
        Pool(0)
    with pytest.raises(TypeError, match=r"Pool.submit\(\) must be given a callable"):
        Pool().submit(None)


def test_what_was_submitted_is_done_before_the_program_ends(script):
    """A script that ends with tasks under way in its pool, and others waiting, does them all."""
    done = script(
        """
import time
from pathlib import Path
from parmap import Pool

def write(n):
    time.sleep(0.01)
    Path(f"done-{n}").touch()

pool = Pool(2)
for n in range(20):
    pool.submit(write, n)
later = pool.map_async(write, range(20, 30))
import atexit
atexit.register(lambda: print(len(list(Path().glob("done-*")))))
"""
    )

    assert done.stdout.split() == ["30"]
    assert done.stderr == ""


def test_a_fork_has_a_pool_of_its_own(script):
    """In a forked child the pool works, with a thread and workers of the child's."""
    done = script(
        """
import os, sys, warnings
from parmap import Pool
warnings.simplefilter("ignore")
pool = Pool(2)
print(pool.submit(abs, -1).result(), flush=True)
if (pid := os.fork()) == 0:
    print(pool.submit(abs, -2).result(60), flush=True)
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
print(pool.submit(abs, -3).result(60))
"""
    )

    assert done.stdout.split() == ["1", "2", "3"]


# The feed below it


def test_tasks_are_handed_out_until_none_comes_for_a_while():
    """For the run the feed ends with a rest; what comes afterwards is for the next run."""
    feed = Submitted(rest=0.0)
    futures = [concurrent.futures.Future() for _ in range(4)]
    for n in range(3):
        feed.put((futures[n], n))
    futures[1].cancel()

    assert feed.begin()
    assert (feed.remaining, feed.take(1), feed.take(5)) == (3, [0], [2])
    assert feed.begun == {0: futures[0], 1: futures[2]}
    assert feed.later
    feed.wait()
    assert feed.ended
    feed.put((futures[3], 3))
    assert not feed.ended
    assert feed.begin()
    assert feed.take(5) == [3]
    assert feed.begun[2] is futures[3]
    feed.close()
    assert not feed.begin()


def test_nothing_is_left_without_an_end():
    """When the call fails, every future has an error: those handed out, and those that wait."""
    feed = Submitted(rest=0.0)
    futures = [concurrent.futures.Future() for _ in range(3)]
    for n, future in enumerate(futures):
        feed.put((future, n))
    feed.take(1)
    futures[2].cancel()
    feed.fail(OSError("gone"))

    assert [type(future.exception()) for future in futures[:2]] == [OSError, OSError]
    assert futures[2].cancelled()


def test_a_call_that_cannot_start_fails_its_tasks(monkeypatch):
    """Where no executor can be had, each future says why, and the thread takes the next task."""

    def nowhere(*_, **__):
        raise ExecutorUnavailable("none today")

    with Pool(2) as pool:
        with monkeypatch.context() as patched:
            patched.setattr("parmap._choice.background.launch", nowhere)
            with pytest.raises(ExecutorUnavailable, match="none today"):
                pool.submit(work.double, 1).result(PATIENCE)
        assert pool.submit(work.double, 1).result(PATIENCE) == 2


def test_a_background_that_never_began_can_be_ended():
    """Without a task there is no thread, and nothing to wait for."""
    background = Background({"on_error": "raise", "initializer": None}, asked=False)
    background.finish()
    background.stop()
    assert background._thread is None
