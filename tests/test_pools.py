"""The executors of other libraries: what is theirs stays theirs, whatever their releases do."""

import concurrent.futures
import gc
import multiprocessing
import multiprocessing.pool
import os
import pickle
import queue
import signal
import socket
import struct
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial

import pytest
import work
from conftest import needs_proc

import parmap
from parmap._executors import multiprocessing as parmap_pool
from parmap._executors import pool_workers
from parmap._executors.marshalling import Pickled
from parmap._executors.queued import Queued
from parmap._records.machine import imported
from parmap._records.work import Call, Chunk
from parmap._wire.channel import Watched
from parmap._workers import child

# Modules in the middle of their import

SLOW_MODULE = """
    import threading
    early = 1
    began.set()
    assert go_on.wait(30)
    {end}
    late = 2
"""


@pytest.fixture
def slow_import(tmp_path, monkeypatch):
    """Return a function that lets a thread stop in the middle of an import that ends with *end*."""
    began, go_on = threading.Event(), threading.Event()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.began", began, raising=False)
    monkeypatch.setattr("builtins.go_on", go_on, raising=False)
    threads = []

    def start(name, end="pass"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(SLOW_MODULE).format(end=end))

        def load():
            try:
                __import__(name)
            except ZeroDivisionError:
                pass

        threads.append(threading.Thread(target=load))
        threads[-1].start()
        assert began.wait(30)
        return go_on

    yield start
    go_on.set()
    for thread in threads:
        thread.join()


def asked_in_a_thread(name):
    """Ask for the module *name* in a thread until it waits; return it, and the list for answers."""
    answer = []
    thread = threading.Thread(target=lambda: answer.append(imported(name)))
    thread.start()
    work.wait_until(lambda: answer or "importlib" in where_is(thread), "a thread to ask or answer")
    return thread, answer


def where_is(thread):
    """Return the file whose code *thread* is running."""
    frame = sys._current_frames().get(thread.ident)
    return frame.f_code.co_filename if frame else ""


def test_a_module_is_not_looked_up_half_made(slow_import):
    """Who asks for a module that another thread is importing gets it when it is whole."""
    go_on = slow_import("slow_and_whole")
    thread, answer = asked_in_a_thread("slow_and_whole")

    assert not answer
    go_on.set()
    thread.join()
    assert answer[0].late == 2


def test_a_module_whose_import_fails_is_not_there(slow_import):
    """Who asks for a module whose import then fails in the other thread gets None."""
    go_on = slow_import("slow_and_broken", "1 / 0")
    thread, answer = asked_in_a_thread("slow_and_broken")
    go_on.set()
    thread.join()

    assert answer == [None]


def test_nothing_is_imported_to_look(tmp_path, monkeypatch):
    """A module that the program has not imported, or has forbidden, is None and stays out."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "never_asked_for.py").write_text("")
    monkeypatch.setitem(sys.modules, "forbidden_here", None)

    assert imported("never_asked_for") is None
    assert imported("forbidden_here") is None
    assert "never_asked_for" not in sys.modules
    assert imported("sys") is sys


def test_in_the_middle_of_its_own_import_a_module_is_as_far_as_it_is(tmp_path, monkeypatch):
    """A module that asks for itself while it is imported waits for nobody."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "asks_for_itself.py").write_text(
        "from parmap._records.machine import imported\nme = imported(__name__)\nlate = 1\n"
    )

    module = __import__("asks_for_itself")

    assert module.me is module


@pytest.mark.parametrize("name", ["concurrent.futures", "multiprocessing.pool", "joblib"])
def test_a_library_in_the_middle_of_its_import_is_no_executor_yet(monkeypatch, name):
    """What is not an executor is refused as ever while a library has not got its classes yet."""
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    with pytest.raises(TypeError, match="executor must be"):
        parmap.pmap(abs, [-1], executor=object())


# What is lent stays as it is

# A worker that dies in the middle of a result: its executor waits for the rest of it for ever.
MIDWAY = """\
import multiprocessing, os, signal, struct, sys, traceback
from pathlib import Path
from parmap import Failure, WorkerCrashed, pmap

def task(x):
    if x == 3:
        frame = sys._getframe()
        while "result_queue" not in frame.f_locals:
            frame = frame.f_back
        results = frame.f_locals["result_queue"]._writer
        os.write(results.fileno(), struct.pack("!i", 1000) + b"a part of it")
        os._exit(3)
    return os.getpid()

def meet(x):
    Path(f"{x}.here").touch()
    while not (Path("0.here").exists() and Path("1.here").exists()):
        pass
    return os.getpid()

def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

def main():
    pool = MAKE
    pids = set(pmap(meet, range(2), executor=pool, chunksize=1))
    assert len(pids) == 2
    try:
        pmap(task, range(8), executor=pool, chunksize=1)
    except WorkerCrashed as error:
        print("in the middle of a result" in str(error))
    print(sum(map(alive, pids)))
    # It is of no use any more, and every call says so.
    results = pmap(task, range(40), executor=pool, chunksize=1, on_error="return")
    print({result.kind for result in results if isinstance(result, Failure)})

if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
    finally:  # the executor would wait for ever
        sys.stdout.flush()
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
        os._exit(0)
"""


@needs_proc
@pytest.mark.parametrize(
    "make",
    [
        "__import__('concurrent.futures').futures.ProcessPoolExecutor(2)",
        "__import__('loky').ProcessPoolExecutor(2)",
        "__import__('joblib').Parallel(2)",
    ],
    ids=["ProcessPoolExecutor", "loky", "joblib"],
)
def test_a_lent_executor_is_never_killed(script, make):
    """If it is stuck in the result of a worker that died, the call says so and kills nobody."""
    done = script(MIDWAY.replace("MAKE", make))

    assert done.stdout == "True\n1\n{'crash'}\n"


KILLED = """\
import multiprocessing, os, signal, sys
import parmap._executors.multiprocessing
from parmap import ExecutorUnavailable, pmap
from work import wait_until

if __name__ == "__main__":
    parmap._executors.multiprocessing.DEAF = 0.5
    pool = multiprocessing.get_context("METHOD").Pool(2)
    print(pmap(abs, range(-3, 0), executor=pool))
    wait_until(pool._inqueue._rlock._semlock._is_zero, "a worker to wait for more")
    for process in list(pool._pool):
        os.kill(process.pid, signal.SIGKILL)
    try:
        pmap(abs, range(40), executor=pool, chunksize=1, on_error="return")
    except ExecutorUnavailable as error:
        print(error)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_lent_pool_that_is_dead_is_not_waited_for(script, monkeypatch, method):
    """A Pool whose workers were killed while they waited is dead, and the call says so."""
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(work.__file__))

    done = script(KILLED.replace("METHOD", method))

    assert done.stdout.startswith("[3, 2, 1]\nthe pool takes no more tasks")


@pytest.fixture
def slow_parallel():
    """Return a joblib.Parallel that stops while it is entered, what it waits for, and its log."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")

    class Slow(joblib.Parallel):
        began, go_on, log = threading.Event(), threading.Event(), []

        def __enter__(self):
            self.began.set()
            assert self.go_on.wait(30)
            self.log.append("entered")
            return super().__enter__()

        def _effective_n_jobs(self):  # what a call does next
            self.log.append("used")
            return super()._effective_n_jobs()

        def __exit__(self, *error):
            self.log.append("left")
            super().__exit__(*error)

    parallel = Slow(n_jobs=2, backend="threading")
    yield parallel
    parallel.go_on.set()


def mapping(parallel):
    """Start a thread that maps on *parallel*; return it, and the list for its results."""
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(parmap.pmap(work.double, range(20), executor=parallel))
    )
    thread.start()
    return thread, results


def test_a_lent_parallel_is_used_by_nobody_before_it_is_entered(slow_parallel):
    """The second of two threads with the same Parallel waits until the first has entered it."""
    first = mapping(slow_parallel)
    assert slow_parallel.began.wait(30)
    second = mapping(slow_parallel)
    work.wait_until(
        lambda: slow_parallel.log or "executors/joblib" in where_is(second[0]),
        "the second thread to use it or to wait",
    )
    slow_parallel.go_on.set()
    for thread, _ in (first, second):
        thread.join()

    assert slow_parallel.log[0] == "entered"
    assert slow_parallel.log[-1] == "left"
    assert slow_parallel.log.count("entered") == slow_parallel.log.count("left")
    assert first[1] == second[1] == [2 * x for x in range(20)]


def test_a_lent_parallel_is_left_whoever_is_entering_another(slow_parallel, monkeypatch):
    """A call that ends while another thread enters a Parallel does not wait for it for ever."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    monkeypatch.setattr("parmap._executors.joblib.PATIENCE", 0.01)
    other = joblib.Parallel(n_jobs=2, backend="threading")
    results = parmap.pimap(work.double, range(100), executor=other)
    assert next(results) == 0
    thread, _ = mapping(slow_parallel)
    assert slow_parallel.began.wait(30)
    results.close()

    assert other._managed_backend  # the other thread will do it
    slow_parallel.go_on.set()
    thread.join()
    assert not other._managed_backend


def test_the_collector_may_leave_a_parallel_while_another_is_entered():
    """A lost call on a lent Parallel, found while this thread enters one, is closed at once."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    other = joblib.Parallel(n_jobs=2, backend="threading")

    class Collecting(joblib.Parallel):
        def __enter__(self):
            gc.collect()
            return super().__enter__()

    def lose():
        lost = types.SimpleNamespace()
        lost.itself, lost.results = lost, parmap.pimap(work.double, range(100), executor=other)
        assert next(lost.results) == 0

    gc.disable()
    try:
        lose()
        assert other._managed_backend
        parallel = Collecting(n_jobs=2, backend="threading")
        assert parmap.pmap(work.double, [1, 2], executor=parallel) == [2, 4]
    finally:
        gc.enable()

    assert not other._managed_backend
    assert not parallel._managed_backend


# Interpreters

interpreters = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="InterpreterPoolExecutor comes with Python 3.14"
)


@pytest.fixture(scope="module")
def interpreter_pool():
    """Return an executor with two interpreters, made when they can find what the tests map."""
    from concurrent.futures import InterpreterPoolExecutor

    with InterpreterPoolExecutor(2) as pool:
        yield pool


@interpreters
@pytest.mark.parametrize("chunksize", ["auto", 1, 7])
def test_interpreters_give_what_the_loop_gives(interpreter_pool, chunksize):
    """Functions of a module, lambdas and closures run in other interpreters, in order."""
    for fn in (work.double, lambda x: x + 1, partial(work.add, 3), str):
        found = parmap.pmap(fn, range(50), executor=interpreter_pool, chunksize=chunksize)

        assert found == [fn(x) for x in range(50)]
    assert list(parmap.pimap(abs, range(-9, 0), executor=interpreter_pool)) == [*range(9, 0, -1)]


@interpreters
def test_failures_in_interpreters(interpreter_pool):
    """An exception in another interpreter is raised here as itself, or becomes its Failure."""
    task = partial(work.refuse, 3)

    with pytest.raises(ValueError, match="no 3") as caught:
        parmap.pmap(task, range(6), executor=interpreter_pool)
    results = parmap.pmap(task, range(6), executor=interpreter_pool, on_error="return")

    assert "task 3 failed" in caught.value.__notes__[0]
    assert isinstance(results[3], parmap.Failure)
    assert [x for n, x in enumerate(results) if n != 3] == [0, 1, 2, 4, 5]


@interpreters
def test_what_cannot_be_sent_to_interpreters_is_named(interpreter_pool):
    """A function that cannot be pickled is the same clear error as with processes."""
    lock = threading.Lock()

    with pytest.raises(pickle.PicklingError, match="lock"):
        parmap.pmap(lambda x: lock, [1, 2], executor=interpreter_pool)


@interpreters
def test_the_initializer_runs_in_every_interpreter(interpreter_pool, tmp_path):
    """Each interpreter is initialized before its first task, and once."""
    path = tmp_path / "log"
    folder = tmp_path / "met"
    folder.mkdir()

    def task(x):
        work.meet(folder, 2, x)  # so that both have tasks
        return str(path) in work.MARKS

    found = parmap.pmap(
        task, range(2), executor=interpreter_pool, chunksize=1, initializer=partial(work.mark, path)
    )

    assert found == [True, True]
    assert len(path.read_text().split()) == 2
    assert str(path) not in work.MARKS  # this interpreter has modules of its own


# Clusters: the base of the adapters is enough for them


class Reference:
    def __init__(self, key):
        self.key = key


class Client:
    """A made-up cluster: what it is given goes as bytes to workers, which are threads here."""

    def __init__(self, workers):
        self.num_workers = 0
        self.stored, self.sent = [], []
        self.on_scale = lambda workers: None
        self._jobs = queue.SimpleQueue()
        self.scale(workers)

    def put(self, data):
        self.stored.append(data)
        return Reference(len(self.stored) - 1)

    def submit(self, function, *arguments):
        future = concurrent.futures.Future()
        self.sent.append(pickle.dumps((function, arguments)))
        self._jobs.put((future, self.sent[-1]))
        return future

    def scale(self, workers):
        for _ in range(self.num_workers, workers):
            threading.Thread(target=self._work, daemon=True).start()
        self.num_workers = workers
        self.on_scale(workers)

    def close(self):
        for _ in range(self.num_workers):
            self._jobs.put((None, None))

    def _work(self):
        while True:
            future, data = self._jobs.get()
            if future is None:
                return
            function, arguments = pickle.loads(data)
            found = [self.stored[a.key] if isinstance(a, Reference) else a for a in arguments]
            future.set_result(pickle.loads(pickle.dumps(function(*found))))


class Cluster(Queued):
    """The adapter of `Client`, such as one of a real cluster would be."""

    def __init__(self, call, workers=None, lent=None):
        super().__init__(call, workers, lent)
        lent.on_scale = self._scaled

    @staticmethod
    def accepts(instance):
        return isinstance(instance, Client)

    def _marshal(self, call, seconds):
        return Pickled(call, seconds, put=self._pool.put)

    def _send(self, task, done):
        future = self._pool.submit(*task)
        future.add_done_callback(done)
        return future

    def _scaled(self, workers):
        self.workers = workers
        self.wake()


@pytest.fixture
def client(monkeypatch):
    """Return the client of a cluster with one worker, whose adapter parmap knows."""
    monkeypatch.setattr("parmap._choice.plan.LENDERS", {__name__: "cluster"})
    monkeypatch.setattr("parmap._choice.plan._adapter", {"cluster": Cluster}.__getitem__)
    with closing(Client(1)) as client:
        yield client


def test_a_function_is_put_once_into_a_cluster(client):
    """Many chunks refer to the function that was put where the workers find it."""
    task = partial(max, 2**800_000)

    assert parmap.pmap(task, range(40), executor=client, chunksize=2) == [2**800_000] * 40
    assert len(client.stored) == 1
    assert len(client.sent) == 20
    assert max(map(len, client.sent)) < 10_000 < len(client.stored[0])


def test_a_function_that_is_packed_anew_is_put_again(client):
    """Chunks refer to the function as it is now: its module may have to travel with it."""
    marshaller = Pickled(Call(partial(max, 2**800_000), "item"), 0.1, put=client.put)
    _, _, first = marshaller.outgoing(Chunk(0, [1]))
    _, _, second = marshaller.outgoing(Chunk(1, [1]))
    marshaller._serialized._pack()
    _, _, third = marshaller.outgoing(Chunk(2, [1]))

    assert first is second
    assert third is not first


def test_a_large_function_goes_once_to_each_worker_of_a_pool():
    """As many chunks have the function along as there are workers, one more for each lost."""
    sizes = []

    class Weighed(concurrent.futures.Executor):
        """Two workers, it says; both are this process, which forgets all before chunk 10."""

        _max_workers = 2

        def submit(self, fn, /, *args):
            sizes.append(len(pickle.dumps(args)))
            if len(sizes) == 10:
                child._calls.clear()
            future = concurrent.futures.Future()
            future.set_result(fn(*args))
            return future

    task = partial(max, 2**800_000)

    assert parmap.pmap(task, range(40), executor=Weighed(), chunksize=2) == [2**800_000] * 40
    large = [n for n, size in enumerate(sizes) if size > 10_000]
    assert large[:2] == [0, 1]
    assert 1 <= len(sizes) - 20 <= 4, "what was in the queue when it was forgotten is sent twice"
    assert len(large) == 2 + len(sizes) - 20


def test_what_keeps_no_function_gets_it_with_each_chunk():
    """Where each chunk has a fresh process, the function goes along again after a few attempts."""
    sizes = []

    class Forgetful(concurrent.futures.Executor):
        _max_workers = 2

        def submit(self, fn, /, *args):
            sizes.append(len(pickle.dumps(args)))
            child._calls.clear()
            future = concurrent.futures.Future()
            future.set_result(fn(*args))
            return future

    task = partial(max, 2**800_000)

    assert parmap.pmap(task, range(40), executor=Forgetful(), chunksize=2) == [2**800_000] * 40
    assert all(size > 10_000 for size in sizes[-8:])
    assert 20 < len(sizes) <= 32


def test_workers_that_a_cluster_gains_get_tasks_at_once(client, tmp_path):
    """Tasks that wait for each other end when workers are added while the call waits."""

    def grow():
        work.wait_until(lambda: os.listdir(tmp_path), "the first task")
        client.scale(3)

    thread = threading.Thread(target=grow)
    thread.start()
    found = parmap.pmap(partial(work.meet, tmp_path, 3), range(3), executor=client, chunksize=1)
    thread.join()

    assert found == [os.getpid()] * 3


def test_failures_in_a_cluster(client):
    """A task that fails there is raised here as itself, and the others have their results."""
    task = partial(work.refuse, 3)

    with pytest.raises(ValueError, match="no 3"):
        parmap.pmap(task, range(6), executor=client)
    results = parmap.pmap(task, range(6), executor=client, on_error="return")

    assert [x for n, x in enumerate(results) if n != 3] == [0, 1, 2, 4, 5]


# The private names that the adapters know


def _futures(context="spawn"):
    context = multiprocessing.get_context(context)
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
    assert pool.submit(abs, -1).result() == 1
    return pool, pool.shutdown


def _loky():
    loky = pytest.importorskip("loky", reason="loky is not installed")
    pool = loky.ProcessPoolExecutor(1)
    assert pool.submit(abs, -1).result() == 1
    return pool, partial(pool.shutdown, kill_workers=True)


def _joblibs_loky():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    assert joblib.Parallel(2)([joblib.delayed(abs)(-1)]) == [1]
    module = sys.modules["joblib.externals.loky.reusable_executor"]
    return module._executor, lambda: None


def _pool():
    pool = multiprocessing.get_context("spawn").Pool(1)
    return pool, pool.terminate


def _thread_pool():
    pool = multiprocessing.pool.ThreadPool(1)
    return pool, pool.terminate


def _thread_pool_executor():
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.submit(abs, -1).result()
    return pool, pool.shutdown


def _parallel():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    parallel = joblib.Parallel(2)
    parallel.__enter__()
    parallel(joblib.delayed(abs)(x) for x in range(2))
    return parallel, partial(parallel.__exit__, None, None, None)


def _threads():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    return joblib.Parallel(2, backend="threading")._backend, lambda: None


def _module(name):
    return lambda: (pytest.importorskip(name), lambda: None)


# Which object, the private name, a check of what is found there, what it is for.
PRIVATE = [
    (_futures, "_processes", dict, "see and kill workers"),
    (_futures, "_executor_manager_thread", threading.Thread, "wait for its end"),
    (_futures, "_result_queue._writer._handle", int, "end a wait for half a result"),
    (_futures, "_safe_to_dynamically_spawn_children", bool, "start all workers at once"),
    (_futures, "_max_workers", int, "know the number of workers"),
    (_loky, "_processes", dict, "see workers"),
    (_loky, "_max_workers", int, "know the number of workers"),
    (_joblibs_loky, "_processes", dict, "see and kill workers"),
    (_joblibs_loky, "_result_queue._writer._handle", int, "end a wait for half a result"),
    (_pool, "_pool", list, "watch workers"),
    (_pool, "_processes", int, "know the number of workers"),
    (_pool, "_maxtasksperchild", (int, type(None)), "tell a death from an end"),
    (_pool, "_inqueue._rlock._semlock._is_zero", Callable, "see that it is dead"),
    (_pool, "_outqueue._wlock._semlock._is_zero", Callable, "see that it is dead"),
    (_pool, "_inqueue._reader.poll", Callable, "see that it is dead"),
    (_pool, "_outqueue._reader.poll", Callable, "see that it is dead"),
    (_pool, "_result_handler", threading.Thread, "see that it is dead"),
    *((_pool, part, object, "end it without locks") for part in parmap_pool.PARTS),
    (_thread_pool, "_state", str, "see that it was terminated"),
    (_thread_pool, "_processes", int, "know the number of workers"),
    (_thread_pool_executor, "_max_workers", int, "know the number of workers"),
    (_parallel, "_managed_backend", bool, "see whether it was entered"),
    (_parallel, "_effective_n_jobs", Callable, "know the number of workers"),
    (_parallel, "_backend._workers._processes", dict, "see workers"),
    (_threads, "_get_pool", Callable, "start its threads once"),
    (_parallel, "_backend.submit", Callable, "run a chunk"),
    (_parallel, "_backend.retrieve_result_callback", Callable, "get its answer"),
    (_parallel, "_backend.get_nested_backend", Callable, "wrap it as joblib does"),
    (_parallel, "_backend.abort_everything", Callable, "replace workers"),
    (_module("joblib.parallel"), "BatchedCalls", type, "wrap a chunk as joblib does"),
    (_module("joblib.parallel"), "get_active_backend", Callable, "know what is configured"),
    (_module("joblib.externals.loky.reusable_executor"), "_executor", object, "kill workers"),
    (
        _module("joblib.externals.loky.backend.resource_tracker"),
        "ensure_running",
        Callable,
        "start the tracker before Ctrl-C is blocked",
    ),
    (_module("loky.backend.resource_tracker"), "ensure_running", Callable, "the same"),
    (_module("multiprocessing.resource_tracker"), "ensure_running", Callable, "the same"),
    (_module("threading"), "_register_atexit", Callable, "end workers before a library waits"),
    (_module("concurrent.futures.thread"), "_threads_queues", Mapping, "know its threads"),
    (_module("subprocess"), "_args_from_interpreter_flags", Callable, "hand on -X, -W and so on"),
    (_module("multiprocessing.process"), "current_process()._config", dict, "be a worker"),
]


@pytest.mark.parametrize(
    ("make", "name", "kind", "use"), PRIVATE, ids=[f"{name}: {use}" for _, name, _, use in PRIVATE]
)
def test_private_names_are_where_the_adapters_look(make, name, kind, use):
    """A release that moves a private name fails here, before its users find calls slower."""
    thing, close = make()
    try:
        for part in name.split("."):
            thing = getattr(thing, part.removesuffix("()"))
            thing = thing() if part.endswith("()") else thing

        assert isinstance(thing, kind), use
    finally:
        close()


def test_the_process_objects_of_pools_know_their_parent():
    """How a fork tells its own workers from its parent's, and when a worker is dead."""
    pool, close = _futures()
    (process,) = pool._processes.values()
    close()

    assert process._parent_pid == os.getpid()
    assert process.exitcode == 0


@pytest.mark.parametrize("name", ["futures", "a ProcessPoolExecutor", "a loky executor"])
def test_futures_do_without_private_names(places, monkeypatch, name):
    """Where workers and the thread of an executor cannot be found, calls still are the loop."""
    monkeypatch.setattr("parmap._executors.queued.workers_of", lambda executor: [])
    monkeypatch.setattr("parmap._executors.futures.workers_of", lambda executor: [])
    monkeypatch.setattr("parmap._executors.futures._thread_of", lambda executor: None)

    assert parmap.pmap(work.double, range(20), **places(name).options) == [*range(0, 40, 2)]


def test_nothing_follows_a_message_that_a_dead_worker_has_cut(monkeypatch):
    """A pool whose worker died while it sent ends in silence, and who starts late gets the lock."""
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    pool = multiprocessing.get_context("spawn").Pool(1)
    lock, messages = pool._outqueue._wlock, pool._outqueue._writer
    lock.acquire()
    sentinel = pickle.dumps(None)
    os.write(messages.fileno(), struct.pack("!i", 4 + len(sentinel)))

    parmap_pool._terminate(pool)

    assert not raised
    function, arguments = pool._outqueue._wlock.__reduce__()
    assert function(*arguments) is lock


def test_a_pool_of_another_release_is_terminated_as_it_says(places, monkeypatch):
    """Where the parts of a Pool are not those that are known, its own `terminate` ends it."""
    monkeypatch.setattr("parmap._executors.multiprocessing.PARTS", ("_moved_elsewhere",))

    found = parmap.pmap(work.double, range(20), **places("multiprocessing").options)

    assert found == [*range(0, 40, 2)]


def test_a_lent_pool_whose_workers_cannot_be_watched_is_refused():
    """A Pool that hides its workers is a clear error: a call could wait for a dead one."""

    class Opaque(multiprocessing.pool.ThreadPool):
        def __init__(self):
            self._processes = 1

        def __del__(self):
            pass

    with pytest.raises(parmap.ExecutorUnavailable, match="_pool"):
        parmap.pmap(abs, [-1], executor=Opaque())


def test_a_parallel_of_another_release_is_refused(monkeypatch):
    """A joblib.Parallel without what the adapter needs is a clear error."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    monkeypatch.setattr("parmap._executors.joblib.PRIVATE", ("_moved_elsewhere",))

    for executor in ("joblib", joblib.Parallel(2)):
        with pytest.raises(parmap.ExecutorUnavailable, match="_moved_elsewhere"):
            parmap.pmap(abs, [-1], executor=executor)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="terminate_workers is new in Python 3.14")
def test_workers_are_killed_the_public_way(monkeypatch):
    """Where a ProcessPoolExecutor can end its workers itself, it does, and they are dead."""
    import loky  # noqa: F401 - registers its start method

    pool, close = _futures("loky")
    told = []
    end = type(pool).terminate_workers
    monkeypatch.setattr(
        type(pool), "terminate_workers", lambda self: (told.append(self), end(self))
    )
    processes = [*pool._processes.values()]

    pool_workers.kill_workers(pool)
    close()

    assert told == [pool]
    for process in processes:
        # A thread of the executor waits for it, too: the one that comes second learns it later.
        work.wait_until(lambda process=process: process.exitcode is not None, "its end")
        assert process.exitcode in (-signal.SIGKILL, -signal.SIGTERM)


def test_no_signal_comes_from_a_dead_worker_where_that_is_an_option_of_sockets(monkeypatch):
    """Where a message cannot say that no SIGPIPE is wanted, the socket is told so once."""
    option = socket.SO_KEEPALIVE  # stands for the one that this system may not have
    monkeypatch.setattr("parmap._wire.channel.NO_SIGPIPE", option)
    ours, theirs = socket.socketpair()

    with theirs, closing(Watched(ours, -1)):
        assert ours.getsockopt(socket.SOL_SOCKET, option)
