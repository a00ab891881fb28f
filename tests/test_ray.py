"""What is particular to `executor="ray"`; what all executors promise is in the contract suite."""

import gc
import importlib
import itertools
import os
import signal
import tempfile
import threading
from functools import partial
from pathlib import Path

import clusters
import pytest
import work

from parmap import ExecutorUnavailable, WorkerCrashed, pimap, pmap, rng

pytestmark = pytest.mark.clusters
RAY = {"executor": "ray"}


@pytest.fixture
def ray(places):
    """The Ray that this process is connected to."""
    places("ray")
    return importlib.import_module("ray")


@pytest.fixture(scope="module")
def short():
    """A folder whose path leaves room for the names of Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        yield folder


# Deaths


def note_and_wait(folder, x):
    """Leave this process's number in a file, and go on once there is one named go."""
    work.log(Path(folder, "pids"), os.getpid())
    return work.wait_for(Path(folder, "go"), x)


def killed_first(folder, x):
    """Kill the worker in the first attempt for *x*."""
    if not Path(folder, str(x)).exists():
        Path(folder, str(x)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def kill_if(bad, x):
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(ray, tmp_path):
    """A SIGKILL for a worker in the middle of a map costs no result and blames no task."""

    def kill():
        pids = tmp_path / "pids"  # it is there a moment before the first of them is in it
        work.wait_until(lambda: pids.exists() and pids.read_text(), "the first task")
        os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        results = pmap(partial(note_and_wait, tmp_path), range(20), chunksize=2, **RAY)
    finally:
        killer.join()

    assert results == list(range(20))


def test_every_worker_may_be_killed_once(ray, tmp_path):
    """Of tasks that each kill their worker in the first attempt, none is a failure."""
    fn = partial(killed_first, tmp_path)

    results = pmap(fn, range(4), chunksize=1, **RAY, retries=1)

    assert results == list(range(4))


NODE_DIES = """
import os, sys, threading, time
import ray
from ray.cluster_utils import Cluster
from pathlib import Path
import parmap

folder, big = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["FOLDER"]), b"x" * 300_000

def task(x):
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    (folder / f"{node}-{x}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return x, len(big)

def seen(node):
    return any(name.startswith(node.node_id) for name in os.listdir(folder))

def kill():
    while not seen(second):
        time.sleep(0.01)
    cluster.remove_node(second, allow_graceful=False)
    (folder / "go").touch()

head = dict(num_cpus=1, object_store_memory=100_000_000, include_dashboard=False)
cluster = Cluster(True, head_node_args=head)
try:
    second = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    killer = threading.Thread(target=kill)
    killer.start()
    results = parmap.pmap(task, range(40), executor="ray", chunksize=1)
    killer.join()
    assert results == [(x, len(big)) for x in range(40)], results
    print("all", len(results))
finally:
    ray.shutdown()
    cluster.shutdown()
"""


def test_a_node_that_dies_in_the_middle_loses_nothing(script, monkeypatch, short, tmp_path):
    """A node that is killed in the middle of a map costs no result."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_TMPDIR", short)
    monkeypatch.setenv("FOLDER", str(tmp_path / "seen"))
    (tmp_path / "seen").mkdir()

    assert "all 40" in script(NODE_DIES).stdout


def test_a_task_that_always_kills_its_worker_is_named(ray):
    """The task that kills its worker every time is the one failure, of kind crash."""
    results = pmap(partial(kill_if, 5), range(40), on_error="return", **RAY)

    failure = results.pop(5)
    assert (failure.kind, failure.index, failure.attempts) == ("crash", 5, 1)
    assert "SIGKILL" in str(failure.exception)
    assert results == [x for x in range(40) if x != 5]


def test_retries_count_for_crashes(ray):
    """A task that kills its worker has as many attempts as `retries` gives it."""
    results = pmap(partial(kill_if, 2), range(4), on_error="return", retries=2, **RAY)

    assert (results[2].kind, results[2].attempts) == ("crash", 3)


def test_a_crash_is_raised(ray):
    """Without `on_error`, a task that kills its worker raises WorkerCrashed."""
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        pmap(partial(kill_if, 5), range(10), **RAY)


def test_a_timeout_kills_and_names_the_task(ray, tmp_path):
    """A task that takes longer than `timeout` is killed and named, the others have results."""
    fn = partial(note_and_hang, tmp_path, 3)

    results = pmap(fn, range(8), timeout=1, on_error="return", **RAY)

    assert (results[3].kind, results[3].index) == ("timeout", 3)
    assert [r for r in results if r is not results[3]] == [x for x in range(8) if x != 3]
    (pid,) = map(int, (tmp_path / "pid").read_text().split())
    work.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the process")


def note_and_hang(folder, bad, x):
    if x == bad:
        work.log(folder / "pid", os.getpid())
        threading.Event().wait()
    return x


def test_workers_are_not_recycled_by_us(ray):
    """`max_tasks_per_worker` is refused before anything runs: the workers are Ray's."""
    with pytest.raises(ValueError, match="max_tasks_per_worker=1 needs executor='processes'"):
        pmap(work.double, range(3), max_tasks_per_worker=1, **RAY)


# What is in flight


def test_no_more_is_in_flight_than_ray_has_cpus_for(ray):
    """`pimap` draws a bounded part of an endless input, and closes."""
    drawn = itertools.count()
    results = pimap(work.double, drawn, chunksize=1, buffersize=8, **RAY)

    assert list(itertools.islice(results, 100)) == [2 * x for x in range(100)]

    results.close()
    assert next(drawn) < 200


def references():
    """Return how many objects this process holds references to in Ray."""
    worker = importlib.import_module("ray._private.worker").global_worker
    gc.collect()
    return len(worker.core_worker.get_all_reference_counts())


def log_and_wait(folder, bad, x):
    work.log(folder / "began", x)
    if x == bad:
        raise ValueError(f"no {x}")
    return work.wait_for(folder / "go", x)


def test_an_error_ends_what_is_not_begun(ray, tmp_path):
    """After an error no other task begins, and no reference is kept."""
    before = references()

    with pytest.raises(ValueError, match="no 1"):
        pmap(partial(log_and_wait, tmp_path, 1), range(50), chunksize=1, **RAY)

    (tmp_path / "go").touch()
    assert pmap(work.double, range(4), **RAY) == [0, 2, 4, 6]
    assert len((tmp_path / "began").read_text().split()) <= 4
    work.wait_until(lambda: references() <= before, "the last reference to go")


def test_close_ends_what_is_not_begun(ray, tmp_path):
    """After `close()` no other task begins, and no reference is kept."""
    before = references()
    results = pimap(partial(log_and_wait, tmp_path, -1), range(50), chunksize=1, **RAY)
    (tmp_path / "go").touch()
    assert next(results) == 0
    (tmp_path / "go").unlink()

    results.close()

    (tmp_path / "go").touch()
    assert pmap(work.double, range(4), **RAY) == [0, 2, 4, 6]
    assert len((tmp_path / "began").read_text().split()) < 20
    work.wait_until(lambda: references() <= before, "the last reference to go")


ERRORS = """
import os, time
import parmap, ray

ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")

def task(x):
    time.sleep(0.001 * (x % 4))
    if x == 9:
        raise ValueError(x)
    return x

for n in range(60):
    try:
        parmap.pmap(task, range(50), executor="ray", chunksize=1)
    except ValueError as error:
        assert error.args == (9,)
    assert parmap.pmap(abs, range(4), executor="ray", chunksize=1) == [0, 1, 2, 3]
print("alive")
"""


def test_an_error_while_other_tasks_end_harms_nobody(script, monkeypatch, head):
    """Calls that fail while others of their tasks just end leave this process and the next call."""
    # `ray.cancel` of a task that has just begun or ended aborts the process: a race of Ray's.
    monkeypatch.setenv("RAY_ADDRESS", head)

    assert script(ERRORS).stdout == "alive\n"


INTERRUPTED = """
import os, signal, threading, time
from pathlib import Path
import parmap, ray

folder = Path(os.environ["FOLDER"])
ray.init(os.environ["RAY_ADDRESS"], logging_level="ERROR")

def task(x):
    (folder / str(x)).touch()
    while not (folder / "go").exists():
        time.sleep(0.01)

def interrupt():
    while not os.listdir(folder):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    parmap.pmap(task, range(50), executor="ray", chunksize=1)
except KeyboardInterrupt:
    (folder / "go").touch()
    print("interrupted")
print(parmap.pmap(abs, [-1, -2, -3], executor="ray"), len(os.listdir(folder)) <= 5)
"""


def test_ctrl_c_ends_what_is_not_begun(script, monkeypatch, tmp_path, head):
    """After Ctrl-C no other task begins, and Ray is as usable as it was."""
    (tmp_path / "seen").mkdir()
    monkeypatch.setenv("FOLDER", str(tmp_path / "seen"))
    monkeypatch.setenv("RAY_ADDRESS", head)

    assert script(INTERRUPTED).stdout == "interrupted\n[1, 2, 3] True\n"


def test_a_large_function_is_put_once(ray, monkeypatch):
    """A function of 100 MB is put once for its 400 tasks."""
    big, put, truly = bytes(100_000_000), [], ray.put
    monkeypatch.setattr(ray, "put", lambda data: put.append(1) or truly(data))

    results = pmap(lambda x: (x, len(big)), range(400), **RAY)

    assert results == [(x, len(big)) for x in range(400)]
    assert len(put) == 1


# As elsewhere


def number(x):
    return x, rng().random()


def test_a_seed_gives_the_numbers_that_it_gives_serially(ray):
    """Random numbers with `seed` are those of a serial call."""
    assert pmap(number, range(30), seed=3, **RAY) == pmap(
        number, range(30), seed=3, executor="serial"
    )


PRINTS = """
import os, sys
import parmap, ray

ray.init(os.environ["RAY_ADDRESS"], logging_level="ERROR")

def task(x):
    print("out", x)
    print("err", x, file=sys.stderr)

parmap.pmap(task, range(20), executor="ray")
"""


def test_what_tasks_print_comes_once_and_in_order(script, monkeypatch, head):
    """What tasks print comes once, in order, though Ray shows the output of its workers, too."""
    monkeypatch.setenv("RAY_ADDRESS", head)

    done = script(PRINTS)

    assert done.stdout == "".join(f"out {x}\n" for x in range(20))
    assert [line for line in done.stderr.splitlines() if "err" in line] == [
        f"err {x}" for x in range(20)
    ]


def test_two_threads_may_call_at_once(ray, tmp_path):
    """Two calls that run at the same time have their own results."""
    results = {}

    def call(n):
        results[n] = pmap(partial(work.add, n), range(200), **RAY)

    threads = [threading.Thread(target=call, args=(1000 * n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {1000 * n: [1000 * n + x for x in range(200)] for n in range(2)}


# Calls in tasks


def inner(executor, x):
    options = {} if executor is None else {"executor": executor}
    return pmap(partial(work.add, x), range(5), **options)


def test_a_call_in_a_task_runs_there(ray):
    """A call without `executor` in a task of Ray's runs serially."""
    place, places = pmap(work.nested, [3], **RAY)[0]

    assert places == [place] * 3


def test_a_call_in_a_task_may_use_ray(ray):
    """Calls on Ray in tasks that have all of its CPUs lend those to their own tasks."""
    assert pmap(partial(inner, "ray"), range(6), chunksize=1, **RAY) == [
        [x + y for y in range(5)] for x in range(6)
    ]


def test_a_call_beside_a_worker_is_refused(ray):
    """A call on Ray in a task with a timeout, which might wait for its own CPU, is refused."""
    with pytest.raises(ExecutorUnavailable, match=r"beside Ray's worker.*serially"):
        pmap(partial(inner, "ray"), range(2), timeout=60, **RAY)


def test_a_remote_function_may_map(ray):
    """A call on Ray works in a remote function of the user's."""
    remote = ray.remote(num_cpus=1)(inner)

    assert ray.get([remote.remote("ray", x) for x in range(2)]) == [
        [x + y for y in range(5)] for x in range(2)
    ]


# Which Ray


@pytest.fixture(scope="module")
def head():
    """The address of a Ray that this process is not connected to."""
    with clusters.ray_head() as (address, _):
        yield address


LOCAL = """
import warnings
import parmap

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    results = [parmap.pmap(abs, range(-3, 3), executor="ray", workers=1) for _ in range(2)]
import ray
print(results[0] == results[1] == list(map(abs, range(-3, 3))))
print(int(ray.cluster_resources()["CPU"]))
print(*(str(w.message) for w in caught if "parmap" in w.filename or "executor" in str(w.message)))
"""


def test_without_any_ray_one_is_started(script, monkeypatch, short):
    """Where no Ray is, a local one is started, once, says so, and ends with the program."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_TMPDIR", short)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    right, cpus, said = script(LOCAL).stdout.splitlines()

    assert (right, cpus) == ("True", "1")
    assert said.count("executor='ray' has started Ray on this machine") == 1


CONNECTED = """
import parmap, ray

print(parmap.pmap(abs, [-1, -2], executor="ray"), ray.get_runtime_context().gcs_address)
"""


def test_ray_address_is_honoured(script, monkeypatch, head):
    """A program connects to the Ray that RAY_ADDRESS names, and says nothing."""
    monkeypatch.setenv("RAY_ADDRESS", head)

    done = script(CONNECTED)

    assert done.stdout.startswith("[1, 2] ")
    assert done.stdout.strip().endswith(head.rpartition(":")[2])
    assert "has started" not in done.stderr


def test_a_ray_that_is_not_there_is_an_error(script, monkeypatch):
    """An address where no Ray answers is an ExecutorUnavailable that names RAY_ADDRESS."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{clusters.free_port()}")

    done = script(CONNECTED, check=False)

    assert done.returncode == 1
    assert "ExecutorUnavailable: executor='ray' cannot connect to Ray" in done.stderr
    assert "RAY_ADDRESS" in done.stderr
    assert not done.left


def test_without_ray_the_cure_is_named(monkeypatch):
    """Where Ray is not installed, the error says how to install it."""
    monkeypatch.setitem(importlib.import_module("sys").modules, "ray", None)

    with pytest.raises(ExecutorUnavailable, match=r"pip install 'parmap-py\[ray\]'"):
        pmap(work.double, range(3), **RAY)


def test_a_pool_of_rays_is_refused(ray):
    """Ray's own Pool as an instance is a TypeError that says what to pass instead."""
    pool = importlib.import_module("ray.util.multiprocessing").Pool(1)
    try:
        with pytest.raises(TypeError, match="executor='ray' runs tasks in the cluster"):
            pmap(work.double, range(3), executor=pool)
    finally:
        pool.terminate()
        pool.join()


HEADLESS = """
import os, signal, sys, time
import parmap, ray
from parmap._executors import ray as adapter

adapter.PATIENCE = 2
ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
gone = False
try:
    options = dict(executor="ray", on_error="return")
    for x in parmap.pimap(lambda x: time.sleep(0.05) or x, range(10_000), **options):
        if x == 20 and not gone:
            os.kill(int(os.environ["VICTIM"]), signal.SIGKILL)
            gone = True
except parmap.ExecutorUnavailable as error:
    print(gone, error)
ray.shutdown()
"""


@pytest.mark.parametrize("victim", ["all", "gcs_server", "raylet"])
def test_a_head_that_dies_ends_the_call(script, monkeypatch, victim):
    """If Ray's head dies, or a part of it, the call ends in an ExecutorUnavailable."""
    with clusters.ray_head() as (address, process):
        monkeypatch.setenv("RAY_ADDRESS", address)
        pid = -process.pid if victim == "all" else clusters.member(process, victim)
        monkeypatch.setenv("VICTIM", str(pid))

        done = script(HEADLESS, check=False)

    assert "True Ray does not answer" in done.stdout
    assert "ray.shutdown()" in done.stdout


def test_a_shutdown_in_the_middle_ends_the_call(script, monkeypatch, head):
    """If Ray is shut down in the middle, the call ends in an ExecutorUnavailable."""
    monkeypatch.setenv("RAY_ADDRESS", head)

    assert "Ray was shut down in the middle of the call" in script(SHUT_DOWN).stdout


SHUT_DOWN = """
import parmap, ray

results = parmap.pimap(abs, iter(range(1_000_000)), executor="ray")
next(results)
ray.shutdown()
try:
    list(results)
except parmap.ExecutorUnavailable as error:
    print(error)
print(parmap.pmap(abs, [-1], executor="ray"))
"""
