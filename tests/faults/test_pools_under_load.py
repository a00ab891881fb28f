"""Pools that are ended, and programs that end, while tasks are submitted and hang."""

import os
import signal

import alone
import pytest
from alone import POOLS, Program, options_of, script
from conftest import needs_proc
from test_endings import check_interrupted

pytestmark = needs_proc

TERMINATED = """\
import pathlib, threading, time
from concurrent.futures import CancelledError
import faulty
from parmap import ExecutorUnavailable, Pool
def task(x):
    pathlib.Path(f"busy-{x}").touch()
    return faulty.FAULT(x)
pool = Pool(**OPTIONS)
futures = [pool.submit(task, x) for x in range(100)]
more = pool.map_async(task, range(100, 200))
refused = threading.Event()
def go_on():
    try:
        while True:
            futures.append(pool.submit(task, 200))
            time.sleep(0.001)
    except RuntimeError:
        refused.set()
threading.Thread(target=go_on).start()
while len(list(pathlib.Path().glob("busy-*"))) < 2:
    time.sleep(0.01)
pool.terminate()
assert refused.wait(20)
pool.join()
for wait in [future.result for future in futures] + [more.get]:
    try:
        wait(0)
    except (CancelledError, ExecutorUnavailable):
        pass
    else:
        print("a task has a result")
print("all have ended")
"""


@pytest.mark.parametrize("executor", POOLS)
@pytest.mark.parametrize("fault", ["sleeps", "is_stuck_in_c"])
def test_a_pool_is_terminated_under_load(tmp_path, executor, fault):
    """Whatever its tasks hang in, and whoever submits more, each future ends, and all processes."""
    source = script(tmp_path, TERMINATED, FAULT=fault, OPTIONS=options_of(executor))

    end = alone.run(tmp_path, source)

    assert end.check(stderr=end.stderr).stdout == "all have ended\n"


WAITING = """\
import pathlib
import faulty
from parmap import Pool
def task(x):
    pathlib.Path(f"busy-{x}").touch()
    return faulty.sleeps(x)
pool = Pool(**OPTIONS)
futures = [pool.submit(task, x) for x in range(5)]
WAIT
"""


@pytest.mark.parametrize("executor", ["auto", "processes"])
@pytest.mark.parametrize("wait", ["futures[0].result()", "pool.close(); pool.join()"])
def test_ctrl_c_ends_who_waits_for_a_pool(tmp_path, executor, wait):
    """SIGINT ends a program that waits for a task, or for the pool; nothing is left."""
    text = WAITING.replace("WAIT", f"with pool:\n    {wait}")
    source = script(tmp_path, text, OPTIONS=options_of(executor))
    with Program(tmp_path, source) as program:
        program.wait_for("busy-0", "busy-1")
        os.kill(program.process.pid, signal.SIGINT)

        check_interrupted(program.end())


@pytest.mark.parametrize("executor", ["auto", "processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_of_a_pool_follow_a_parent_that_is_killed(tmp_path, number, executor):
    """When the program is killed while it waits for its pool, no worker is left."""
    source = script(tmp_path, WAITING.replace("WAIT", ""), OPTIONS=options_of(executor))
    with Program(tmp_path, source) as program:
        program.wait_for("busy-0", "busy-1")
        os.kill(program.process.pid, number)

        program.end().check(code=-number)
