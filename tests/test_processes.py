"""Worker processes of our own: how many there are, how long they live, and who has them."""

import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import work
from conftest import is_alive, needs_proc

import parmap
from parmap import ExecutorUnavailable, TaskTimeout, WorkerCrashed, pimap, pmap, shutdown, warm
from parmap._executors import processes
from parmap._records.work import Call, Chunk
from parmap._workers import lease, process
from parmap._workers import warm as warm_workers
from parmap._workers.status_block import LEAVING, RUNNING


def pid(_):
    return os.getpid()


def hang_at(x, culprit=3):
    while x == culprit:
        time.sleep(1)
    return x


@pytest.fixture
def few(monkeypatch):
    """Return a function after which only so many workers can be started."""
    shutdown()

    def limit(number):
        left = [None] * number
        truly = process.WorkerProcess

        def start(environment):
            if not left:
                raise OSError("no more processes")
            left.pop()
            return truly(environment)

        monkeypatch.setattr(process, "WorkerProcess", start)

    yield limit
    shutdown()


@pytest.mark.parametrize("items", [range(40), iter(range(40))], ids=["sized", "unsized"])
def test_fewer_workers_do_all_the_work(few, items):
    """If only some of the workers can be started, these do all tasks."""
    few(1)

    assert pmap(abs, items, executor="processes", workers=3) == [*range(40)]


def test_no_worker_is_a_clear_error(few):
    """If none can be started, the error says why and what needs none."""
    few(0)

    with pytest.raises(ExecutorUnavailable, match=r"no more processes.*executor='threads'"):
        pmap(abs, range(4), executor="processes", workers=2)


def test_a_worker_does_no_more_tasks_than_it_may():
    """With max_tasks_per_worker no process runs more tasks, over several calls."""
    shutdown()
    done = Counter()

    for _ in range(3):
        options = {"executor": "processes", "workers": 2, "max_tasks_per_worker": 3}
        done.update(pmap(pid, range(7), **options))

    assert sum(done.values()) == 21
    assert max(done.values()) <= 3


def test_auto_keeps_what_can_be_killed_out_of_the_caller():
    """With timeout or max_tasks_per_worker, auto runs no task in the caller."""
    assert os.getpid() not in pmap(pid, range(4), timeout=60)
    assert os.getpid() not in pmap(pid, range(4), max_tasks_per_worker=60)


def test_a_timeout_is_a_timeout_error():
    """The call raises TaskTimeout, which is a TimeoutError, and names the task and where it was."""
    with pytest.raises(TimeoutError) as caught:
        pmap(hang_at, range(6), timeout=0.2)

    assert type(caught.value) is TaskTimeout
    assert "in hang_at" in str(caught.value)
    assert "task 3 failed in attempt 1" in caught.value.__notes__[0]


def test_a_timeout_is_for_each_task_not_for_its_chunk_or_call():
    """Many tasks, each shorter than the timeout, may take much longer together."""
    results = pmap(hang_at, range(10, 60), timeout=0.2, chunksize=50, workers=1)

    assert results == [*range(10, 60)]
    assert pmap(time.sleep, [0.15] * 4, timeout=0.3, chunksize=4, workers=1) == [None] * 4


def test_a_timeout_touches_no_neighbour():
    """What shares a chunk or a moment with a task that hangs is completed."""
    results = pmap(hang_at, range(40), timeout=0.3, workers=2, on_error="return")

    assert [x for x in results if isinstance(x, int)] == [*range(3), *range(4, 40)]
    assert (results[3].kind, results[3].attempts) == ("timeout", 1)


def test_a_task_that_ends_too_late_has_failed():
    """A task longer than the timeout is a timeout, even if nobody waited for it meanwhile."""
    slow, fast = pimap(
        time.sleep, iter([0.5, 0]), timeout=0.2, on_error="return", executor="processes", workers=1
    )
    lazy = pimap(time.sleep, [0, 0.5], timeout=0.2, on_error="return", workers=1)
    assert next(lazy) is None
    time.sleep(0.7)  # the reader is busy while the task is

    assert (slow.kind, fast, next(lazy).kind) == ("timeout", None, "timeout")


@pytest.mark.parametrize("end", ["crash", "hang"])
def test_what_happens_to_one_worker_touches_no_other(end, tmp_path):
    """While a task dies or hangs, those of the other worker run once each, in one process."""

    def task(x):
        if x == 0:
            time.sleep(0.3 if end == "crash" else 600)
            os._exit(3)
        work.log(tmp_path / "log", x)
        time.sleep(0.01)
        return os.getpid()

    options = {"chunksize": 1, "workers": 2, "timeout": 0.5, "on_error": "return"}
    failure, *pids = pmap(task, range(100), executor="processes", **options)

    assert failure.kind == ("crash" if end == "crash" else "timeout")
    assert Counter((tmp_path / "log").read_text().split()) == {str(x): 1 for x in range(1, 100)}
    assert failure.worker not in pids
    assert len(set(pids)) == 2  # the neighbour, and the one that was started instead


def test_workers_that_die_while_the_reader_is_away_cost_nothing():
    """A worker killed between two reads of a lazy map had no task, and no task is blamed."""

    def task(x):
        return x, os.getpid()

    options = {"buffersize": 2, "chunksize": 1, "workers": 2, "on_error": "return"}
    results = pimap(task, range(20), executor="processes", **options)
    for n, result in enumerate(results):
        x, worker = result
        assert x == n
        if n in (3, 9):
            os.kill(worker, signal.SIGKILL)


def test_a_worker_that_cannot_begin_is_replaced(monkeypatch):
    """With a timeout, a worker that something keeps from the next task does not keep the call."""
    monkeypatch.setattr("parmap._workers.timeout.BEGUN", 0.5)

    def task(x):
        if x == 0:
            threading.Timer(0.2, re.match, ["(a+)+$", "a" * 40 + "b"]).start()  # holds the GIL
        return x

    options = {"buffersize": 1, "workers": 1, "timeout": 0.5, "executor": "processes"}
    results = pimap(task, range(4), **options)
    assert next(results) == 0
    time.sleep(0.5)  # the thread holds it by now

    assert list(results) == [1, 2, 3]


def test_a_worker_that_leaves_its_group_is_killed_too():
    """A task that hangs, and wants another process group, which it may not have, is timed out."""

    def task(x):
        with suppress(PermissionError):
            os.setpgid(0, caller)
        time.sleep(600)

    caller = os.getpgrp()
    (failure,) = pmap(task, [1], timeout=0.5, on_error="return")

    assert failure.kind == "timeout"


def test_a_child_that_comes_back_from_a_task_is_no_worker():
    """A task may fork, and both may return: the parent's result counts, for this call and later."""

    def task(x):
        if not os.fork():
            return "child"
        return x

    assert pmap(task, range(8), executor="processes", workers=2) == [*range(8)]
    assert pmap(abs, range(40), executor="processes", workers=2) == [*range(40)]


def test_a_limit_that_a_task_sets_is_not_the_next_ones():
    """After a task has limited its process, the next task runs in another."""

    def task(x):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1, before))
        return before

    limits = pmap(task, range(40), executor="processes", workers=2, chunksize=1)

    assert len(set(limits)) == 1


def test_a_worker_that_leaves_is_not_lent_again():
    """The same if the call is given up at that moment: the next call gets another worker."""

    def task(x):
        resource.setrlimit(resource.RLIMIT_NOFILE, (99, limit))
        time.sleep(0.02)
        return x

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    results = pimap(task, range(10), executor="processes", workers=2, chunksize=1)
    next(results)
    results.close()

    assert all(worker.status[RUNNING] != LEAVING for worker in warm_workers.idle)


def test_a_worker_that_starts_while_its_call_ends_is_known_to_be_there(monkeypatch):
    """What is heard of a worker when its call is given up counts for `warm` and the next call."""
    monkeypatch.setattr(lease, "GRACE", 30.0)
    shutdown()
    call = processes.Processes(Call(abs, "item"), 1, 0.005)
    call.submit(Chunk(0, [-1]))
    call.close()

    assert [worker.ready for worker in warm_workers.idle] == [True]
    warm(1)
    assert len(warm_workers.idle) == 1


def test_a_call_without_a_descriptor_says_that_it_has_no_workers(monkeypatch):
    """What a call needs itself, before its first worker, is missed as a worker would be."""

    def none():
        raise OSError("Too many open files")

    monkeypatch.setattr(lease, "Waker", none)
    with pytest.raises(ExecutorUnavailable, match="no worker process can be started: Too many"):
        pmap(abs, [-1, 2], executor="processes")
    with pytest.raises(ExecutorUnavailable, match="no worker process can be started: Too many"):
        warm(1)


def test_an_initializer_that_dies_is_one_error():
    """What no worker survives before its first task is raised, not blamed on each task."""
    with pytest.raises(WorkerCrashed, match="exit code 3 while it loaded the function or was init"):
        pmap(abs, range(100), initializer=partial(os._exit, 3), on_error="return")


def test_an_input_that_no_worker_survives_is_to_blame():
    """If workers die while a task is sent to them, that task fails, and the others complete."""
    limit = 64 << 20
    small = pmap(len, [b"x"] * 3, executor="processes", initializer=partial(_may_have, limit))
    items = [b"x"] * 20 + [bytes(limit)] + [b"x"] * 20

    results = pmap(
        len, items, initializer=partial(_may_have, limit), executor="processes", on_error="return"
    )

    assert small == [1] * 3
    assert results.pop(20).index == 20
    assert results == [1] * 40


def _may_have(size):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + size // 2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def test_workers_and_caller_agree_on_what_is_known():
    """A call that could not be sent changes nothing in what the worker is thought to have."""

    def functions():
        return [partial(divmod, n) for n in range(1, 10)]

    for function in functions()[:8]:
        pmap(function, [1], executor="processes", workers=1)
    with pytest.raises(pickle.PicklingError):
        pmap(functions()[0], [threading.Lock()], executor="processes", workers=1)
    found = [pmap(functions()[n], [1], executor="processes", workers=1) for n in (8, 0, 1, 2)]

    assert found == [[divmod(n + 1, 1)] for n in (8, 0, 1, 2)]


def test_a_second_ctrl_c_leaves_no_worker_busy(monkeypatch):
    """An interrupt while a call is given up does not spare the workers that it has left."""
    shutdown()
    results = pimap(time.sleep, [0, 600, 600], executor="processes", workers=2, chunksize=1)
    assert next(results) is None
    busy = [worker._process for worker in warm_workers.lent]
    with monkeypatch.context() as patch:
        patch.setattr(process.WorkerProcess, "readable", lambda worker, seconds: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            results.close()

    assert len(busy) == 2
    assert all(process.returncode is not None for process in busy)
    assert not warm_workers.lent


def test_a_worker_whose_first_message_was_cut_is_not_lent_again(monkeypatch):
    """If Ctrl-C comes in the middle of what a waiting worker says, the next call gets another."""
    shutdown()
    call = processes.Processes(Call(abs, "item"), 1, 0.005, at_once=1)
    (worker,) = warm_workers.lent
    assert worker.readable(60)
    with monkeypatch.context() as patch:
        patch.setattr("parmap._wire.channel.Watched._read", lambda channel, size: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            worker.channel.receive()
    call.close()

    assert not warm_workers.idle


def test_odd_modules_and_streams_are_the_tasks_own_affair():
    """What a task leaves in `sys` for the worker to stumble over costs no result."""

    class Odd(types.ModuleType):
        def __getattr__(self, name):
            raise ImportError(name)

        def flush(self):
            raise TypeError("not now")

    def task(x):
        sys.modules["odd"] = Odd("odd")
        sys.stdout = Odd("stdout")
        return x

    assert pmap(task, range(4), executor="processes") == [*range(4)]
    shutdown()


# Other tests leave threads, of loky say, and Python 3.12 warns of any fork beside a thread.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_does_not_read_on():
    """A lazy map that was begun before a fork says in the child that it belongs to the parent."""
    results = pimap(abs, range(100), executor="processes", workers=2, buffersize=4)
    assert next(results) == 0
    child = os.fork()
    if not child:
        try:
            next(results)
        except ExecutorUnavailable:
            os._exit(0)
        finally:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(results) == [*range(1, 100)]


def test_a_nested_call_can_have_a_timeout():
    """Inside a worker, where calls run serially, a timeout is honoured too."""

    def outer(_):
        return pmap(hang_at, [2, 3, 4], timeout=0.2, on_error="return")

    ((first, second, third),) = pmap(outer, [None], executor="processes")

    assert (first, second.kind, third) == (2, "timeout", 4)


def test_warm_workers_are_replaced_when_their_modules_are_edited(tmp_path, monkeypatch):
    """A module edited between two calls is imported anew, by workers that had it already."""
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "edited_between_calls.py"
    module.write_text("def answer(x):\n    return 'old'\n")

    def ask(x):
        import edited_between_calls

        return edited_between_calls.answer(x)

    shutdown()
    warm(1)
    assert pmap(ask, [1], executor="processes", workers=1) == ["old"]
    module.write_text("def answer(x):\n    return 'newer'\n")

    assert pmap(ask, [1, 2], executor="processes", workers=1) == ["newer"] * 2


@needs_proc
@pytest.mark.parametrize("end", ["hang", "crash"])
def test_what_a_killed_task_had_started_dies_with_it(end, tmp_path):
    """A program that a task runs when it times out, or takes its worker down, is killed too."""

    def run(path):
        program = subprocess.Popen(["sleep", "600"])
        path.write_text(str(program.pid))
        if end == "crash":
            os._exit(1)
        program.wait()

    path = tmp_path / "pid"
    (failure,) = pmap(run, [path], timeout=0.5, on_error="return")

    assert failure.kind == ("crash" if end == "crash" else "timeout")
    work.wait_until(lambda: not is_alive(int(path.read_text())), "the program to end")


def test_workers_run_the_callers_parmap(tmp_path, monkeypatch):
    """Another parmap that comes first on the path of a new interpreter is not the workers'."""
    (tmp_path / "parmap").mkdir()
    (tmp_path / "parmap" / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shutdown()

    where = pmap(lambda _: __import__("parmap").__file__, [1], executor="processes")

    assert where == [parmap.__file__]
    shutdown()
