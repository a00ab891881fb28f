"""On a real cluster of Dask: what it adds to the promises that hold everywhere."""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import clusters
import pytest
import work

import parmap
import parmap.aio
from parmap import ExecutorUnavailable, Failure, TaskTimeout, WorkerCrashed, pimap, pmap

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
pytestmark = pytest.mark.clusters

XS = range(300)


@pytest.fixture(scope="module")
def client():
    """A client of two workers that no test harms."""
    with clusters.dask() as client:
        yield client


@pytest.fixture
def fragile(request):
    """A client of two workers of this test's own, to be killed; the parameter: their options."""
    with clusters.dask(clusters.WORKERS, *getattr(request, "param", ())) as client:
        yield client


either_nanny = pytest.mark.parametrize(
    "fragile", [(), ("--no-nanny",)], indirect=True, ids=["nanny", "no-nanny"]
)


def pids(client):
    return set(client.run(os.getpid).values())


def left(client):
    """Return the keys that the scheduler knows of us."""
    return client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))


def is_clean(client):
    """Wait until nothing of any call is left on the cluster, nor in the client."""

    def clean():
        gc.collect()  # what Dask's own exceptions hold in a circle is cancelled, but not forgotten
        return not client.futures and not left(client)

    work.wait_until(clean, "the cluster to forget")
    return True


def draw(_):
    return random.random(), parmap.rng().random()


def kill_itself(culprits, x):
    if x in culprits:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def log_pid(path, x):
    work.log(path, os.getpid())
    return x


def log_and_wait(folder, x):
    work.log(folder / "begun", os.getpid())
    return work.wait_for(folder / "gate", x)


def lines(path):
    return path.read_text().split() if path.exists() else []


def mapping(executor):
    """Return a function that maps: with *executor* "dask" on the cluster that it runs on."""
    options = {"executor": executor} if executor else {}

    def inner(n):
        return pmap(lambda x: 2 * x, range(n), **options)

    return inner  # by value: Dask's scheduler loads what is submitted


# Which client


@pytest.mark.parametrize("imports", ["", "import distributed"])
def test_without_a_client_the_error_says_how_to_make_one(script, imports):
    """With no client, imported or not, `executor="dask"` says what to write."""
    done = script(
        f"{imports}\nimport parmap\n"
        "try:\n    parmap.pmap(abs, [1], executor='dask')\n"
        "except parmap.ExecutorUnavailable as error:\n    print(error)"
    )

    assert "client = Client()" in done.stdout
    assert "Client('tcp://HOST:8786')" in done.stdout


def test_a_client_of_an_event_loop_is_refused(client):
    """An asynchronous client is a TypeError that names `aio.pmap`."""

    async def main():
        async with distributed.Client(client.scheduler.address, asynchronous=True) as other:
            with pytest.raises(TypeError, match=r"await aio\.pmap"):
                pmap(abs, [1], executor=other)

    asyncio.run(main())


def test_a_closed_client_is_refused(client):
    """A closed client is an ExecutorUnavailable, at once."""
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()

    with pytest.raises(ExecutorUnavailable, match="its client is closed"):
        pmap(abs, [1], executor=other)


def test_the_doors_take_a_client(client):
    """A client is an executor for `parallel_config` and for `aio`, too."""
    home = os.getpid()
    with parmap.parallel_config(executor=client):
        assert home not in pmap(work.pid, XS)

    assert home not in asyncio.run(parmap.aio.pmap(work.pid, XS, executor=client))


def test_the_executor_of_a_client_is_an_executor(client):
    """`client.get_executor()` runs tasks as any Executor does, and cannot kill one."""
    with client.get_executor() as executor:
        assert pmap(lambda x: 2 * x, XS, executor=executor) == [2 * x for x in XS]
        with pytest.raises(ValueError, match="timeout=1"):
            pmap(abs, XS, executor=executor, timeout=1)


def test_workers_limit_what_runs_at_once(client, tmp_path):
    """With `workers=1`, one task runs at a time."""

    def alone(x):
        (tmp_path / "running").touch(exist_ok=False)
        (tmp_path / "running").unlink()
        return x

    assert pmap(alone, XS, executor="dask", workers=1, chunksize=3) == list(XS)


# Options


def test_worker_replacement_is_refused(client):
    """`max_tasks_per_worker=` is a ValueError, before anything runs."""
    with pytest.raises(ValueError, match="max_tasks_per_worker=1"):
        pmap(abs, [1], executor=client, max_tasks_per_worker=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_random_numbers_are_those_of_the_loop(threads):
    """A seed gives a task the same numbers, also where a worker has several threads."""
    with clusters.dask(1, "--nthreads", str(threads)) as client:
        found = pmap(draw, range(40), seed=7, executor=client, chunksize=3)

    assert found == pmap(draw, range(40), seed=7, executor="serial")


def test_a_task_that_hangs_is_killed(client):
    """`timeout=` ends the task that hangs, names it, and leaves the workers alone."""
    before = pids(client)
    results = pmap(
        hang_on_three,
        range(10),
        timeout=1,
        on_error="return",
        executor=client,
    )

    failure = results.pop(3)
    assert results == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert (failure.index, failure.kind) == (3, "timeout")
    assert type(failure.exception) is TaskTimeout
    assert pids(client) == before


def hang_on_three(x):
    if x == 3:
        threading.Event().wait()
    return x


def test_prints_and_records_come_in_order(client, capsys, caplog):
    """What tasks print and log is relayed, in the order of the tasks."""

    def talk(x):
        print("says", x)
        logging.getLogger("talk").warning("logs %d", x)
        return x

    with caplog.at_level("WARNING", logger="talk"):
        assert pmap(talk, XS, executor=client, chunksize=7) == list(XS)

    assert capsys.readouterr().out.splitlines() == [f"says {x}" for x in XS]
    assert [r.getMessage() for r in caplog.records if r.name == "talk"] == [f"logs {x}" for x in XS]


def test_progress_counts_tasks(client, bars):
    """A bar is at the number of tasks in the end."""
    pmap(work.double, XS, executor=client, progress=bars)

    (bar,) = bars.made
    assert (bar.n, bar.total) == (len(XS), len(XS))


# What is on the cluster


def test_an_endless_input_is_drawn_as_it_is_read(client):
    """`pimap` over an endless generator draws a bounded number of items."""
    drawn = itertools.count()
    with contextlib.closing(
        pimap(work.double, (next(drawn) for _ in itertools.repeat(0)), executor=client, chunksize=5)
    ) as results:
        assert list(itertools.islice(results, 20)) == [2 * x for x in range(20)]

    assert next(drawn) < 500
    assert is_clean(client)


def test_a_large_function_crosses_once_to_each_worker(client, monkeypatch):
    """A function with 100 MB in it is put once, and each worker has it once."""
    weight, put = os.urandom(100_000_000), []
    scatter = type(client).scatter
    monkeypatch.setattr(
        type(client), "scatter", lambda *args, **where: put.append(args) or scatter(*args, **where)
    )
    before = received_bytes(client)

    found = pmap(lambda x: len(weight) + x, range(400), executor=client, chunksize=1)

    assert found == [len(weight) + x for x in range(400)]
    assert len(put) == 1
    assert received_bytes(client) - before < 1.5 * len(weight)  # each had it from another, once
    assert is_clean(client)


def received_bytes(client):
    """Return how many bytes workers have had from each other."""
    read = client.run(
        lambda dask_worker: sum(entry["total"] for entry in dask_worker.transfer_incoming_log)
    )
    return sum(read.values())


def test_large_items_go_beside_the_graph(client):
    """Items of 20 MB are sent without a warning, and nothing of them stays."""
    blocks = [bytes([n]) * 20_000_000 for n in range(6)]

    assert pmap(len, blocks, executor=client) == [len(block) for block in blocks]
    assert is_clean(client)


def test_after_a_call_nothing_is_left(client):
    """The cluster has forgotten all of a call that has ended well."""
    assert pmap(work.double, XS, executor=client, chunksize=3) == [2 * x for x in XS]
    assert is_clean(client)


def test_an_error_cancels_what_waits(client, tmp_path):
    """After a task has raised, what waits on the cluster is cancelled."""

    def task(x):
        work.log(tmp_path / "log", x)
        return work.refuse(2, x)

    with pytest.raises(ValueError, match="no 2"):
        pmap(task, range(10_000), executor=client, chunksize=1)

    assert is_clean(client)
    assert len(lines(tmp_path / "log")) < 1000


def test_closing_cancels_what_waits(client, tmp_path):
    """A lazy map that is closed leaves nothing on the cluster but the task that runs."""
    results = pimap(partial(log_and_wait, tmp_path), XS, executor=client, chunksize=1)
    done = threading.Event()

    def read():
        with contextlib.suppress(Exception):
            next(results)
        done.set()

    reader = threading.Thread(target=read)
    reader.start()
    work.wait_until(lambda: len(lines(tmp_path / "begun")) == 2, "two tasks to begin")
    (tmp_path / "gate").touch()
    assert done.wait(60)
    reader.join()
    results.close()

    assert is_clean(client)


def test_ctrl_c_cancels_what_waits(client, script, tmp_path):
    """Ctrl-C ends the call with one KeyboardInterrupt, and the cluster is free for the next."""
    done = script(
        f"""
        import os, pathlib, signal, threading, time
        from distributed import Client
        import parmap
        begun, gate = pathlib.Path({str(tmp_path / "begun")!r}), {str(tmp_path / "gate")!r}

        def task(x):
            begun.touch()
            while not os.path.exists(gate):
                time.sleep(0.01)

        def interrupt():
            while not begun.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        with Client({client.scheduler.address!r}) as client:
            threading.Thread(target=interrupt).start()
            try:
                parmap.pmap(task, range(100), executor=client)
            except KeyboardInterrupt:
                while client.futures:
                    time.sleep(0.01)
                print("interrupted")
        """.replace("\n        ", "\n")
    )
    (tmp_path / "gate").touch()

    assert done.stdout == "interrupted\n"
    assert is_clean(client)


def test_two_threads_may_call_at_once(client):
    """Two calls on one client from two threads have their own results."""
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(pmap, work.double, XS, executor=client, chunksize=3)
        two = threads.submit(pmap, str, XS, executor=client, chunksize=2)

        assert one.result(60) == [2 * x for x in XS]
        assert two.result(60) == list(map(str, XS))
    assert is_clean(client)


@pytest.mark.parametrize("executor", [None, "dask"])
def test_a_map_in_a_task_of_dask(client, executor):
    """As many tasks of Dask as there are workers map, here or on the cluster, and none waits."""
    futures = [client.submit(mapping(executor), 20 + n, pure=False) for n in range(4)]

    assert client.gather(futures) == [[2 * x for x in range(20 + n)] for n in range(4)]


@pytest.mark.parametrize("executor", [None, "dask"])
def test_a_map_in_a_task_of_ours(client, executor):
    """A map in a task on the cluster may be one on the cluster, too."""
    found = pmap(mapping(executor), range(6), executor=client, chunksize=1)

    assert found == [[2 * x for x in range(n)] for n in range(6)]
    assert is_clean(client)


# What happens to the cluster


@either_nanny
def test_a_worker_that_is_killed_loses_nothing(fragile, tmp_path):
    """One worker gets SIGKILL in the middle of a map, and the result is complete."""
    before = pids(fragile)
    results = pimap(partial(log_pid, tmp_path / "log"), range(600), executor=fragile, chunksize=2)
    found = [next(results)]
    work.wait_until(lambda: len(set(lines(tmp_path / "log"))) == 2, "both workers to have a task")
    os.kill(before.pop(), signal.SIGKILL)

    assert found + list(results) == list(range(600))
    assert is_clean(fragile)


@pytest.mark.parametrize(
    ("fragile", "culprits"),
    [((), {7, 30, 31, 150, 290}), (("--no-nanny",), {30})],  # one worker is left to go on
    indirect=["fragile"],
    ids=["nanny", "no-nanny"],
)
def test_culprits_are_named_and_no_innocents(fragile, culprits):
    """Tasks that kill their worker fail, each by name; two workers may die, all else is done."""
    before = ended_workers(fragile)

    results = pmap(partial(kill_itself, culprits), XS, executor=fragile, on_error="return")

    failures = [r for r in results if isinstance(r, Failure)]
    assert {f.index for f in failures} == culprits
    assert {f.kind for f in failures} == {"crash"}
    assert all(type(f.exception) is WorkerCrashed for f in failures)
    assert [r for x, r in enumerate(results) if x not in culprits] == [
        2 * x for x in XS if x not in culprits
    ]
    # As many as run a culprit before the first death is known; the rest runs beside workers.
    assert 1 <= ended_workers(fragile) - before <= 2


def ended_workers(client):
    """Return how many workers have gone so far."""
    return sum(event["action"] == "remove-worker" for _, event in client.get_events("all"))


def test_a_crash_raises(fragile):
    """With `on_error="raise"`, the first culprit's WorkerCrashed is raised, and names it."""
    with pytest.raises(WorkerCrashed) as caught:
        pmap(partial(kill_itself, {40}), XS, executor=fragile)

    assert "task 40 " in str(caught.value.__notes__)
    assert is_clean(fragile)


def test_a_crash_may_be_tried_again(fragile, tmp_path):
    """With `retries=`, a task whose process dies is run again."""

    def once(x):
        if x == 5 and len(lines(tmp_path / "log")) < 2:
            work.log(tmp_path / "log", x)
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    # The first death is of a worker of the cluster, which is no attempt.
    assert pmap(once, XS, executor=fragile, retries=1) == list(XS)
    assert len(lines(tmp_path / "log")) == 2


def test_a_worker_that_joins_gets_work(tmp_path):
    """A worker that comes in the middle of a map runs tasks of it."""

    def task(x):
        work.log(tmp_path / "log", os.getpid())
        if x > 50:
            work.wait_until(lambda: len(set(lines(tmp_path / "log"))) == 2, "the other worker")
        return x

    with clusters.dask(1) as client:
        results = pimap(task, range(200), executor=client, chunksize=5)
        found = [next(results)]
        with clusters.dask_worker(client.scheduler.address):
            assert found + list(results) == list(range(200))


def test_a_worker_that_is_retired_loses_nothing(fragile, tmp_path):
    """A worker that is retired in the middle of a map leaves the rest to the other."""
    results = pimap(partial(log_pid, tmp_path / "log"), range(600), executor=fragile, chunksize=2)
    found = [next(results)]
    fragile.retire_workers([next(iter(fragile.nthreads()))])

    assert found + list(results) == list(range(600))
    assert is_clean(fragile)


def test_workers_that_restart_lose_nothing(fragile, tmp_path):
    """`client.restart()` in the middle of a map, and the result is complete."""
    weight = os.urandom(1_000_000)

    def task(x):
        work.log(tmp_path / "begun", os.getpid())
        return x, len(weight)

    results = pimap(task, range(2000), executor=fragile, chunksize=20)
    found = [next(results)]
    fragile.restart()

    assert found + list(results) == [(x, len(weight)) for x in range(2000)]


def test_both_workers_killed_at_once_lose_nothing(fragile):
    """All workers die, with all that was put there, and what nannies start goes on."""
    weight = os.urandom(1_000_000)
    results = pimap(lambda x: x + len(weight), range(2000), executor=fragile, chunksize=20)
    found = [next(results)]
    for pid in pids(fragile):
        os.kill(pid, signal.SIGKILL)

    assert found + list(results) == [x + len(weight) for x in range(2000)]
    assert is_clean(fragile)


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_dies_is_an_error(fragile, tmp_path):
    """The scheduler dies in the middle: an ExecutorUnavailable says so, and results are kept."""
    results = pmap_beside(tmp_path, fragile, on_error="return")
    os.kill(fragile.scheduler_program.pid, signal.SIGKILL)

    found = results()
    assert all(isinstance(r, Failure) or r == x for x, r in enumerate(found))
    errors = [r.exception for r in found if isinstance(r, Failure)]
    assert {type(error) for error in errors} == {ExecutorUnavailable}
    assert "Dask" in str(errors[0])


@pytest.mark.filterwarnings("ignore")
def test_a_client_that_is_closed_is_an_error(client, tmp_path):
    """The client is closed in the middle: an ExecutorUnavailable says so."""
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    results = pmap_beside(tmp_path, other)
    other.close()

    with pytest.raises(ExecutorUnavailable, match=r"client is (closing|closed)"):
        results()
    (tmp_path / "gate").touch()


def pmap_beside(folder, client, **options):
    """Begin a map of tasks that wait in another thread; return what returns its result."""
    threads = ThreadPoolExecutor(1)
    task = partial(log_and_wait, folder)
    future = threads.submit(pmap, task, range(50), executor=client, chunksize=1, **options)
    threads.shutdown(wait=False)
    work.wait_until(lambda: len(lines(folder / "begun")) == 2, "two tasks to begin")
    return partial(future.result, 60)


def test_a_scheduler_that_stands_still_keeps_nobody(fragile):
    """While the scheduler does not answer, `deadline=` ends the call nevertheless."""
    pid = fragile.scheduler_program.pid
    results = pimap(work.double, itertools.count(), executor=fragile, deadline=3)
    assert next(results) == 0
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TaskTimeout, match="deadline"):
            list(results)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert is_clean(fragile)


def test_a_cluster_without_workers_starts_some():
    """A map on an adaptive cluster of no worker has it start one, and ends."""
    cluster = distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with cluster, distributed.Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=2, interval="100 ms")
        weight = os.urandom(1_000_000)

        assert pmap(lambda x: x + len(weight), XS, executor=client) == [x + len(weight) for x in XS]
        assert pmap(draw, range(5), seed=1, executor=client) == pmap(draw, range(5), seed=1)


def test_a_cluster_that_stays_without_workers_is_warned_of(monkeypatch):
    """A map on a cluster that has no worker says so, and waits until its deadline."""
    monkeypatch.setattr("parmap._executors.cluster.DESERTED", 0.0)

    with (
        clusters.dask(0) as client,
        pytest.warns(RuntimeWarning, match="no worker"),
        pytest.raises(TaskTimeout, match="deadline"),
    ):
        pmap(abs, XS, executor=client, deadline=2)


@pytest.fixture
def without_parmap(tmp_path):
    """The options for a program of Dask's in which parmap cannot be imported."""
    (tmp_path / "block.py").write_text("import sys\nsys.modules['parmap'] = None\n")
    return "--preload", str(tmp_path / "block.py")


def test_a_worker_without_parmap_is_an_error(without_parmap):
    """Where workers have no parmap, the error says what to install, and they live on."""
    with clusters.dask(1, *without_parmap) as client:
        before = pids(client)
        with pytest.raises(ExecutorUnavailable, match="parmap-py"):
            pmap(abs, XS, executor=client)
        assert pids(client) == before


def test_a_scheduler_needs_no_parmap(without_parmap):
    """The scheduler does not look into what it hands on."""
    weight = os.urandom(1_000_000)
    with clusters.dask(1, scheduler_options=without_parmap) as client:
        assert pmap(lambda x: x + len(weight), XS, executor=client) == [x + len(weight) for x in XS]
