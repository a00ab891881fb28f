"""What happens to workers, not to tasks: they die while idle, or cannot begin, or are lent."""

import alone
import pytest
from alone import POOLS, in_new_workers, options_of, script
from conftest import needs_proc
from table import OWN_WORKERS

pytestmark = needs_proc


IDLE = """\
import os, signal
from contextlib import suppress
from parmap import pmap
def task(x):
    return x, os.getpid()
for _ in range(5):
    pairs = pmap(task, range(20), **OPTIONS)
    assert [x for x, _ in pairs] == list(range(20))
    for pid in {pid for _, pid in pairs}:
        with suppress(ProcessLookupError):  # a pool that ends with its call
            os.kill(pid, signal.SIGKILL)
"""


# When an idle worker of joblib's pool dies, joblib itself waits for ever for another, now and then.
@pytest.mark.parametrize("executor", [name for name in POOLS if name != "joblib"])
def test_workers_may_die_between_calls(tmp_path, executor):
    """Workers killed while they are idle are not missed by the next call."""
    alone.run(tmp_path, script(tmp_path, IDLE, OPTIONS=options_of(executor))).check()


FAILING = """\
import os, pathlib
with pathlib.Path("starts").open("a") as file:
    file.write("x")
if pathlib.Path("starts").stat().st_size <= DEATHS:
    os._exit(3)
"""
START = """\
from parmap import ExecutorUnavailable, Failure, WorkerCrashed, pmap
try:
    results = pmap(lambda x: x + 1, range(3), **OPTIONS)
except (ExecutorUnavailable, WorkerCrashed) as error:
    print(type(error).__name__)
else:
    print([r.type if isinstance(r, Failure) else r for r in results])
"""


@pytest.mark.parametrize("executor", POOLS)
def test_a_worker_may_die_at_its_start(tmp_path, executor):
    """For an interpreter that dies before it is a worker comes another."""
    in_new_workers(tmp_path, FAILING.replace("DEATHS", "1"))
    source = script(tmp_path, START, OPTIONS=options_of(executor))

    assert alone.run(tmp_path, source).check().stdout == "[1, 2, 3]\n"


@pytest.mark.parametrize("executor", POOLS)
def test_all_workers_may_die_at_their_start(tmp_path, executor):
    """If none survives its start, that is said after a few attempts."""
    in_new_workers(tmp_path, FAILING.replace("DEATHS", "1000"))
    source = script(tmp_path, START, OPTIONS=options_of(executor))

    end = alone.run(tmp_path, source).check()

    assert end.stdout == ("ExecutorUnavailable\n" if executor in OWN_WORKERS else "WorkerCrashed\n")
    assert len((tmp_path / "starts").read_text()) < 50


LENT = """\
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from parmap import Failure, pmap
def task(x):
    if x == 30:
        os._exit(3)
    return 2 * x
with MAKE as pool:
    results = pmap(task, range(40), executor=pool, chunksize=1, on_error="return")
    failed = {n for n, result in enumerate(results) if isinstance(result, Failure)}
    assert 30 in failed and len(failed) <= MOST, failed
    assert {results[n].kind for n in failed} == {"crash"}
    assert all(result == 2 * n for n, result in enumerate(results) if n not in failed)
    try:
        pmap(task, range(40), executor=pool, chunksize=1)
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("make", "most"),
    [
        # Four are in flight; what comes later finds it broken.
        ("ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('fork'))", 3 + 10),
        ("multiprocessing.get_context('fork').Pool(2)", 4),
    ],
    ids=["ProcessPoolExecutor", "Pool"],
)
def test_a_crash_in_a_lent_pool(tmp_path, make, most):
    """What had finished is kept, what was in flight has failed, and nobody waits for it."""
    end = alone.run(tmp_path, script(tmp_path, LENT, MAKE=make, MOST=most))

    assert end.check().stdout in ("WorkerCrashed\n", "ExecutorUnavailable\n")


REPLACED = """\
import multiprocessing, os, time
from parmap import pmap
def task(x):
    if x in CULPRITS:
        time.sleep(DELAY)
        os._exit(3)
    return x
with multiprocessing.get_context("fork").Pool(**POOL) as pool:
    results = pmap(task, range(10), executor=pool, chunksize=1, on_error="return")
kinds = [result if isinstance(result, int) else result.kind for result in results]
assert all(kind in (n, "crash") for n, kind in enumerate(kinds)), kinds
assert all(kinds[n] == "crash" for n in CULPRITS), kinds
"""


@pytest.mark.parametrize(
    ("pool", "culprits", "delay"),
    [
        ({"processes": 1}, range(10), 0),
        ({"processes": 2, "maxtasksperchild": 1}, [9], 1),  # long enough to be seen
    ],
    ids=["all", "recycled"],
)
def test_a_worker_that_a_lent_pool_has_replaced_may_die(tmp_path, pool, culprits, delay):
    """Nobody waits for a worker that came later than the call."""
    source = script(tmp_path, REPLACED, CULPRITS=culprits, POOL=pool, DELAY=delay)

    alone.run(tmp_path, source).check()


TERMINATED = """\
import threading
from multiprocessing.pool import ThreadPool
from parmap import ExecutorUnavailable, pmap
running, raised, over = threading.Event(), threading.Event(), threading.Event()
def task(x):
    running.set()
    over.wait()
def terminate():
    running.wait()
    pool._state = "TERMINATE"  # what `terminate` does first; then it waits for the tasks
    raised.wait()
    over.set()
    pool.terminate()
pool = ThreadPool(2)
threading.Thread(target=terminate).start()
try:
    pmap(task, range(4), executor=pool, chunksize=1)
except ExecutorUnavailable as error:
    print(error)
raised.set()
"""


def test_a_lent_pool_may_be_terminated(tmp_path):
    """A pool that another thread terminates during a call ends the call."""
    end = alone.run(tmp_path, script(tmp_path, TERMINATED)).check()

    assert end.stdout.startswith("the pool ")


SENDING = """\
import os, signal, sys, threading, time
from parmap import Failure, pmap
def dies_when_it_sends(thread):
    while sys._current_frames()[thread].f_code.co_name != "_send":
        time.sleep(0.0001)
    os.kill(os.getpid(), signal.SIGKILL)
def task(x):
    if x == 3:
        sender = threading.get_ident()
        threading.Thread(target=dies_when_it_sends, args=[sender], daemon=True).start()
        return bytes(100 << 20)
    return x
results = pmap(task, range(4), chunksize=1, on_error="return", **OPTIONS)
print([result.kind if isinstance(result, Failure) else result for result in results])
"""


@pytest.mark.parametrize("executor", [name for name in POOLS if name not in OWN_WORKERS])
def test_a_worker_may_die_in_the_middle_of_a_result(tmp_path, executor):
    """Nobody waits for the rest of a result that a worker was sending when it died."""
    end = alone.run(tmp_path, script(tmp_path, SENDING, OPTIONS=options_of(executor)))

    if executor != "joblib":  # its own tracker reports what is left of its own pool, now and then
        end.check()
    assert end.stdout == "[0, 1, 2, 'crash']\n"


HELD = """\
import gc, os, pathlib, signal, threading, time
from parmap import pimap
busy, killed = pathlib.Path("busy"), pathlib.Path("killed")
def task(x):
    if x:
        busy.touch()
    while not (killed if x else busy).exists():
        time.sleep(0.001)
    return os.getpid()
def held():
    results = pimap(task, range(2), chunksize=1, executor="multiprocessing", workers=2)
    os.kill(next(results), signal.SIGKILL)  # it waits for more, and holds the lock of the queue
    killed.touch()
    list(results)
    busy.unlink()
    killed.unlink()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))
gc.disable()
print(held() == held() == held())
"""


def test_a_pool_leaves_nothing_when_an_idle_worker_dies(tmp_path):
    """A pool of ours that died with the lock of its queue ends, with its threads and its pipes."""
    end = alone.run(tmp_path, script(tmp_path, HELD)).check()

    assert end.stdout == "True\n"
