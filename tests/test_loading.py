"""Workers load a function before they are relied on: what that costs, and who waits for it."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from parmap import WorkerCrashed, shutdown
from parmap._executors import processes
from parmap._executors.processes import Processes
from parmap._executors.threads import Threads
from parmap._records.work import Call, Chunk
from parmap._workers import lease, loading, process, warm
from parmap._workers.loading import NONE, PER_MODULE, expected, learn, packages

AN_AGE = 60.0  # seconds to pickle a function: no limit
NEEDED = frozenset(["slowly_loaded", "none.such"])


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Let every test begin without workers, and without what was learnt of packages."""
    shutdown()
    monkeypatch.setattr(loading, "_measured", {})
    monkeypatch.setattr(loading, "_known", {})
    yield
    shutdown()


@pytest.fixture
def slowly(tmp_path, monkeypatch):
    """Return a function of a module that workers import when a file is there, and the file."""
    gate = tmp_path / "gate"
    gate.touch()
    (tmp_path / "slowly_loaded.py").write_text(
        "import os, time\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.001)\n"
        "def task(x): return -x, os.getpid()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import slowly_loaded

    gate.unlink()
    yield slowly_loaded.task, gate
    sys.modules.pop("slowly_loaded")


def ahead(fn, workers=2):
    return Processes(Call(fn, "item"), workers, 0.02, packing=AN_AGE)


def until(executor, condition):
    """Wait for what *executor* tells until *condition* holds; the test has a limit of its own."""
    reports = []
    while not condition():
        reports += executor.wait(0.05)
    return reports


def test_a_worker_counts_when_it_has_loaded_the_function(slowly):
    """Until then nothing is to be sent, and the executor is not ready; at last all count."""
    task, gate = slowly
    executor = ahead(task)
    assert (executor.window, executor.ready) == (0, False)
    assert executor.wait(0.0) == []

    gate.touch()
    until(executor, lambda: executor.ready)

    assert executor.window == 2
    executor.submit(Chunk(0, [1, 2]))
    (report,) = until(executor, lambda: not executor._lease.is_busy)
    assert [value for value, _ in report.values] == [-1, -2]
    executor.close()


def test_the_first_loads_ahead_of_the_last(slowly):
    """One worker fewer than wanted loads at first: the caller has a core for its own tasks."""
    task, gate = slowly
    executor = ahead(task, workers=3)

    assert len(executor._lease) == 2
    gate.touch()
    until(executor, lambda: executor.ready)
    assert len(executor._lease) == 3
    executor.close()


def test_the_last_loads_when_that_is_worth_it(slowly, monkeypatch):
    """Where loading takes long, the caller stays a worker until the call has lasted longer."""
    task, gate = slowly
    late = [0.0]
    monkeypatch.setattr(lease, "monotonic", lambda: time.monotonic() + late[0])
    monkeypatch.setattr(processes, "expected", lambda packages: 100.0)
    executor = ahead(task)
    gate.touch()
    until(executor, lambda: executor.window)

    late[0] = lease.LAST / 2 * 99
    executor.submit(Chunk(0, [1]))
    (report,) = until(executor, lambda: not executor._lease.is_busy)
    assert report.values[0][0] == -1
    assert (len(executor._lease), executor.window, executor.ready) == (1, 1, False)

    late[0] = lease.LAST / 2 * 101
    until(executor, lambda: executor.ready)
    assert (len(executor._lease), executor.window) == (2, 2)
    executor.close()


def test_who_is_left_loading_serves_the_next_call(slowly):
    """A call that ends meanwhile does not stop the loading, and nobody loads it again."""
    task, gate = slowly
    first = ahead(task)
    first.close()
    (worker,) = warm.idle
    assert worker.is_loading

    second = ahead(task)
    assert warm.idle == []
    gate.touch()
    until(second, lambda: second.ready)

    assert worker in warm.lent
    second.submit(Chunk(0, [5]))
    second.submit(Chunk(1, [6]))
    reports = until(second, lambda: not second._lease.is_busy)
    assert worker.pid in [pid for report in reports for _, pid in report.values]
    second.close()


def test_who_has_loaded_meanwhile_is_known_to_have(slowly):
    """What a worker tells while no call has it counts for the next, with what it has cost."""
    task, gate = slowly
    ahead(task).close()
    (worker,) = warm.idle
    needed = packages(task)
    assert warm.prepared(needed) == 0

    gate.touch()
    while worker.is_loading:
        assert worker.readable(60)
        warm.prepared(needed)

    assert warm.prepared(needed) == 1
    assert warm.outlook(needed) == 0.0
    assert loading._measured[needed] > 0.0


def test_who_never_ends_loading_is_given_up(slowly, monkeypatch):
    """A worker that hangs in an import is killed by who looks for one, when it had time enough."""
    task, _ = slowly
    ahead(task).close()
    (worker,) = warm.idle
    monkeypatch.setattr(process, "HANGING", 0.0)

    warm.prepared(NONE)
    monkeypatch.undo()
    second = ahead(abs)
    until(second, lambda: second.window)

    assert not worker.is_alive()
    second.close()


def test_who_loads_for_another_call_is_not_waited_for(slowly):
    """A call that asked for processes takes other workers than one that may take long."""
    task, _ = slowly
    ahead(task).close()
    (worker,) = warm.idle

    executor = Processes(Call(abs, "item"), 1, 0.02)
    executor.submit(Chunk(0, [-1]))
    (report,) = until(executor, lambda: not executor._lease.is_busy)
    executor.close()

    assert report.values == [1]
    assert worker.is_loading
    assert worker in warm.idle


def test_the_end_of_the_program_does_not_wait_for_who_loads(slowly):
    """A worker in the middle of an import is killed at once."""
    task, _ = slowly
    ahead(task).close()
    (worker,) = warm.idle

    shutdown()

    assert worker._process.returncode == -signal.SIGKILL


def test_who_dies_of_loading_is_replaced_only_so_often(tmp_path, monkeypatch):
    """A module that ends the process which imports it does not do so without end."""
    here = os.getpid()
    (tmp_path / "deadly.py").write_text(
        f"import os, signal\nif os.getpid() != {here}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "def task(x): return x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import deadly

    executor = ahead(deadly.task)
    with pytest.raises(WorkerCrashed, match="while it loaded the function"):
        until(executor, lambda: False)
    executor.close()
    sys.modules.pop("deadly")


def test_what_has_crashed_a_worker_is_not_for_the_caller():
    """From the first crash on all workers are relied on, so that the caller runs nothing more."""
    executor = ahead(crash)
    until(executor, lambda: executor.window)
    executor.submit(Chunk(0, [signal.SIGKILL]))
    (report,) = until(executor, lambda: executor.ready)

    assert report.loss.suspect == 0
    assert executor.window == 2
    executor.close()


def crash(number):
    os.kill(os.getpid(), number)


# What loading costs


def function_of(source, name="__main__", **names):
    """Return the function `f` that *source* defines in a module *name* with *names*."""
    module = ModuleType(name)
    vars(module).update(names)
    exec(source, vars(module))
    return module.f


def foreign(name):
    """Return an object whose class comes from the package *name*."""
    return type("Foreign", (), {"__module__": f"{name}.inner"})()


@pytest.mark.parametrize(
    ("fn", "needed"),
    [
        (len, set()),
        (os.path.join, set()),
        (function_of("def f(x): return x"), set()),
        (function_of("def f(x): return lib.go(x)", lib=ModuleType("lib.sub")), {"lib"}),
        (function_of("def f(x): return [lib for _ in x]", lib=ModuleType("lib")), {"lib"}),
        (function_of("def f(x): return (lambda: lib)()", lib=ModuleType("lib")), {"lib"}),
        (function_of("def f(x): return thing", thing=foreign("made")), {"made"}),
        (function_of("def f(x): return 1", thing=foreign("made")), set()),
        (
            function_of("def g(x): return lib\ndef f(x): return g(x)", lib=ModuleType("lib")),
            {"lib"},
        ),
        (function_of("def f(x): return f(x)"), set()),
        (function_of("def f(x): return x", "pack.mod", lib=ModuleType("lib")), {"pack", "lib"}),
        (partial(function_of("def f(x, y): return lib", lib=ModuleType("lib")), 1), {"lib"}),
        (foreign("made"), {"made"}),
    ],
)
def test_what_a_function_needs(fn, needed):
    """Its packages are those of its module, or of what it refers to if that is the script."""
    assert packages(fn) == needed


def test_what_may_be_anything_is_not_asked_twice():
    """An object that raises whatever is done with it makes nothing worse than unknown."""

    class Odd:
        def __getattr__(self, name):
            raise ZeroDivisionError

        __class__ = property(lambda self: 1 / 0)

    assert packages(function_of("def f(x): return odd", odd=Odd())) <= {__name__}


def test_what_was_measured_counts_more_than_a_guess(monkeypatch):
    """Until it was measured, the modules that the caller has of a package tell what it costs."""
    for name in ("lib", "lib.a", "lib.b", "library"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    lib = frozenset(["lib"])

    assert expected(NONE) == 0.0
    assert expected(lib) == pytest.approx(3 * PER_MODULE)
    learn(lib, 7.0)
    assert expected(lib) == 7.0
    assert expected(frozenset(["lib", "library"])) == pytest.approx(4 * PER_MODULE)


def test_the_modules_of_the_items_are_loaded_as_well(slowly):
    """What the items need is there before the first of them arrives, and counts as loaded."""
    _, gate = slowly
    executor = Processes(
        Call(abs, "item"),
        1,
        0.02,
        packing=AN_AGE,
        modules=NEEDED,
    )
    (worker,) = set(executor._lease._by_fd.values())
    assert executor.wait(0.0) == []
    assert worker.is_loading

    gate.touch()
    until(executor, lambda: executor.ready)

    assert worker.packages == {"slowly_loaded", "none"}
    executor.close()


@pytest.mark.parametrize(
    ("items", "needed"),
    [
        ((1, "a", b"", None, [foreign("made")]), set()),
        ((foreign("made"), 1), {"made.inner"}),
        (((1, foreign("made")), foreign("found")), {"made.inner", "found.inner"}),
        ((Path(),), set()),
    ],
)
def test_what_items_need(items, needed):
    """Modules of the items, or of what a tuple holds, if they are not of the standard library."""
    assert loading.modules(*items) == needed


# What is handed back


def test_threads_hand_back_what_they_have_not_begun():
    """Recalled, each chunk comes back, the one that runs after its task."""
    begun, go_on = threading.Event(), threading.Event()

    def task(x):
        begun.set()
        assert go_on.wait(60)
        return x

    executor = Threads(Call(task, "item"), 1, 60.0)
    executor.submit(Chunk(0, [0, 1]))
    executor.submit(Chunk(2, [2]))
    assert begun.wait(60)
    executor.recall()
    go_on.set()
    reports = []
    while len(reports) < 2:
        reports += executor.wait(60)
    executor.close()

    assert {report.chunk.start: report.values for report in reports} == {0: [0], 2: []}


def test_processes_hand_back_what_they_have_not_begun(tmp_path):
    """Recalled, a worker ends its chunk after the task that runs, and serves on."""
    began, gate = tmp_path / "began", tmp_path / "gate"

    def task(x):
        began.touch()
        while not gate.exists():
            time.sleep(0.001)
        return x

    executor = Processes(Call(task, "item"), 1, 60.0)
    executor.submit(Chunk(0, [0, 1]))
    while not began.exists():
        assert executor.wait(0.01) == []
    executor.recall()
    gate.touch()
    (report,) = until(executor, lambda: not executor._lease.is_busy)
    assert report.values == [0]

    executor.submit(Chunk(1, [1, 2]))
    (report,) = until(executor, lambda: not executor._lease.is_busy)
    assert report.values == [1, 2]
    executor.close()
