"""How programs end: by signals and by themselves, while tasks are under way."""

import os
import signal

import alone
import pytest
from alone import POOLS, Program, in_new_workers, options_of, script
from conftest import needs_proc
from table import ABROAD, OWN_WORKERS
from work import wait_until

pytestmark = needs_proc

FAULTS = ["sleeps", "is_stuck_in_c"]
WORKERS = [(executor, fault) for executor in POOLS for fault in FAULTS]
# What a task has started is in the process group of its worker, and ends with it.
OURS = ["waits_for_a_child", "hangs_in_another_group"]
WITH_CHILDREN = [*WORKERS, *((executor, fault) for executor in OWN_WORKERS for fault in OURS)]

BUSY = """\
import pathlib
import faulty
from parmap import pmap
def task(x):
    pathlib.Path(f"busy-{x}").touch()
    return faulty.FAULT(x)
pmap(task, range(4), **OPTIONS)
"""


def signalled(folder, executor, fault, send, options=None):
    """Start a program, *send* it a signal when two of its tasks are busy, and wait for its end."""
    source = script(folder, BUSY, FAULT=fault, OPTIONS=options or options_of(executor))
    with Program(folder, source) as program:
        program.wait_for("busy-0", "busy-1")
        send(program.process.pid, executor)
        return program.end()


@pytest.mark.parametrize(("executor", "fault"), WITH_CHILDREN)
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["parent", "group"])
def test_ctrl_c_ends_the_program(tmp_path, kill, executor, fault):
    """SIGINT, to the parent alone or to the group, gives one traceback, and nothing is left."""
    end = signalled(tmp_path, executor, fault, lambda pid, _: kill(pid, signal.SIGINT))

    check_interrupted(end)


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["parent", "group"])
@pytest.mark.parametrize("executor", ["auto", "threads"])
def test_ctrl_c_ends_a_program_whose_own_threads_run_tasks(tmp_path, kill, executor):
    """The same where tasks that sleep run in the caller or in its threads."""
    options = {"executor": executor, "workers": 2}

    end = signalled(tmp_path, executor, "sleeps", lambda pid, _: kill(pid, signal.SIGINT), options)

    check_interrupted(end)


BOOTING = """\
import os, pathlib, time
pathlib.Path(f"booting-{os.getpid()}").touch()
time.sleep(1)
"""


@pytest.mark.parametrize("executor", POOLS)
def test_ctrl_c_while_workers_start(tmp_path, executor):
    """SIGINT to the group while interpreters of workers start is said once, by the program."""
    in_new_workers(tmp_path, BOOTING)
    source = script(tmp_path, BUSY, FAULT="sleeps", OPTIONS=options_of(executor))
    with Program(tmp_path, source) as program:
        wait_until(lambda: len(list(tmp_path.glob("booting-*"))) == 2, "two workers to start")
        os.killpg(program.process.pid, signal.SIGINT)

        check_interrupted(program.end())


def check_interrupted(end):
    lines = end.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):", end.stderr
    assert lines[-1] == "KeyboardInterrupt", end.stderr
    assert end.stderr.count("Traceback") == lines.count("KeyboardInterrupt") == 1, end.stderr
    end.check(code=-signal.SIGINT, stderr=end.stderr)


@pytest.mark.parametrize(("executor", "fault"), WITH_CHILDREN)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_follow_a_parent_that_is_killed(tmp_path, number, executor, fault):
    """When the parent alone is killed, no worker is left, whatever it is busy with."""
    end = signalled(tmp_path, executor, fault, lambda pid, _: os.kill(pid, number))

    if executor in OWN_WORKERS:
        end.check(code=-number)
    else:  # loky's tracker of resources clears up, and says so
        end.check(code=-number, stderr=end.stderr)


HALF = """\
import itertools, pathlib, time
import faulty
from parmap import pimap
def task(x):
    if x:
        pathlib.Path(f"busy-{x}").touch()
        faulty.FAULT(x)
    return x
results = pimap(task, itertools.count(), chunksize=1, **OPTIONS)
print(next(results))
while not (pathlib.Path("busy-1").exists() and pathlib.Path("busy-2").exists()):
    time.sleep(0.01)
"""


@pytest.mark.parametrize(("executor", "fault"), WITH_CHILDREN)
def test_a_program_may_end_while_a_lazy_map_is_busy(tmp_path, executor, fault):
    """With a half consumed pimap whose tasks do not end, the program ends in silence."""
    source = script(tmp_path, HALF, FAULT=fault, OPTIONS=options_of(executor))

    end = alone.run(tmp_path, source)

    assert end.check().stdout == "0\n"


DAEMON = """\
import pathlib, threading, time
import faulty
from parmap import pimap, pmap
def task(x):
    pathlib.Path(f"busy-{x}").touch()
    return faulty.sleeps(x)
def call():
    list(DOOR(task, range(4), **OPTIONS))
threading.Thread(target=call, daemon=True).start()
while not (pathlib.Path("busy-0").exists() and pathlib.Path("busy-1").exists()):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("door", ["pmap", "pimap"])
@pytest.mark.parametrize("executor", [*POOLS, "threads"])
def test_a_program_may_end_while_a_daemon_thread_maps(tmp_path, executor, door):
    """A daemon thread in the middle of a map does not keep the program, and leaves nothing."""
    end = alone.run(tmp_path, script(tmp_path, DAEMON, DOOR=door, OPTIONS=options_of(executor)))

    if executor == "joblib":  # its tracker of resources clears up now and then, and says so
        end.check(stderr=end.stderr)
    else:
        end.check()


THREAD = """\
import pathlib, threading, time
from parmap import pmap
def task(x):
    pathlib.Path(f"busy-{x}").touch()
    time.sleep(0.1)
    return 2 * x
def call():
    print(pmap(task, range(12), chunksize=1, **OPTIONS))
threading.Thread(target=call).start()
while not pathlib.Path("busy-0").exists():
    time.sleep(0.01)
"""


@pytest.mark.parametrize("executor", [*POOLS, "threads"])
def test_a_program_ends_after_its_threads(tmp_path, executor):
    """A thread that Python waits for at the end of the program maps on to the end of its call."""
    end = alone.run(tmp_path, script(tmp_path, THREAD, OPTIONS=options_of(executor))).check()

    assert end.stdout == f"{[2 * x for x in range(12)]}\n"


UNREAD = """\
import atexit, itertools
def last():
    try:
        for _ in range(100):
            next(results)
    except RuntimeError as error:
        print(type(error).__name__)
atexit.register(last)
from parmap import pimap
results = pimap(abs, itertools.count(), chunksize=1, **OPTIONS)
next(results)
"""


@pytest.mark.parametrize("executor", [*POOLS, "threads", "serial"])
def test_a_lazy_map_read_on_at_exit_says_that_it_was_closed(tmp_path, executor):
    """Once the exit handlers of parmap have run, a pimap ends with an error, not with a wait."""
    end = alone.run(tmp_path, script(tmp_path, UNREAD, OPTIONS=options_of(executor)))

    assert end.stdout == "ExecutorUnavailable\n"
    if executor != "joblib":  # its own tracker reports what is left of its own pool
        end.check()


WARM = "pmap(abs, range(3), **OPTIONS)"
AT_EXIT = """\
import atexit
from parmap import ExecutorUnavailable, pmap
def last():
    try:
        print(pmap(lambda x: x + 1, range(3), **OPTIONS))
    except ExecutorUnavailable as error:
        print(type(error).__name__)
BEFORE
atexit.register(last)
"""


@pytest.mark.parametrize(
    ("executor", "before"),
    [(executor, "") for executor in (*POOLS, "threads")]
    # joblib's own tracker of its own pool reports what that leaves
    + [(executor, WARM) for executor in (*POOLS, "threads") if executor != "joblib"],
)
def test_a_map_at_exit_works_or_says_why_not(tmp_path, executor, before):
    """A pmap inside an atexit handler gives its results; pools that cannot any more say so."""
    source = script(tmp_path, AT_EXIT, BEFORE=before, OPTIONS=options_of(executor))

    end = alone.run(tmp_path, source).check()

    results = ["[1, 2, 3]\n"]
    if executor not in OWN_WORKERS:  # Python starts no threads for them any more
        results.append("ExecutorUnavailable\n")
    assert end.stdout in results


LEAVING = """\
import os, sys
from parmap import pmap
print(pmap(lambda x: x + 1, range(3), **OPTIONS), flush=True)
LEAVE(5)
"""


@pytest.mark.parametrize(
    ("executor", "leave"),
    [(executor, "sys.exit") for executor in POOLS]
    # joblib's own tracker of its own pool reports a program that left without clearing up
    + [(executor, "os._exit") for executor in ABROAD if executor != "joblib"],
)
def test_a_program_may_leave_right_after_a_map(tmp_path, executor, leave):
    """sys.exit and os._exit right after a pmap: silence, and nothing is left."""
    source = script(tmp_path, LEAVING, LEAVE=leave, OPTIONS=options_of(executor))

    end = alone.run(tmp_path, source)

    assert end.check(code=5).stdout == "[1, 2, 3]\n"


FORKED = """\
import multiprocessing, os
from parmap import pimap
def task(x):
    return x
results = pimap(task, range(60), chunksize=1, **OPTIONS)
next(results)
child = multiprocessing.get_context("fork").Process(target=results.close)
child.start()
child.join()
print(child.exitcode, list(results) == list(range(1, 60)))
"""


@pytest.mark.parametrize("executor", [*POOLS, "threads"])
def test_a_fork_of_the_program_ends_by_itself(tmp_path, executor):
    """A fork in the middle of a map ends in silence, and takes nothing from its parent's map."""
    end = alone.run(tmp_path, script(tmp_path, FORKED, OPTIONS=options_of(executor)))

    assert end.check().stdout == "0 True\n"
