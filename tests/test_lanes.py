"""Worker processes of our own: how many there are, how long they live, and who has them."""

import os
import subprocess
import time
from collections import Counter

import pytest
import work
from conftest import is_alive, needs_proc

import parmap
from parmap import ExecutorUnavailable, TaskTimeout, pmap, shutdown, warm
from parmap.executors import lanes


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
        truly = lanes.Lane

        def start(place):
            if not left:
                raise OSError("no more processes")
            left.pop()
            return truly(place)

        monkeypatch.setattr(lanes, "Lane", start)

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
