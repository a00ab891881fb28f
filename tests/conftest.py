"""Where the tests run their tasks, and what is checked around every one of them."""

import contextlib
import dataclasses
import importlib.util
import io
import multiprocessing
import os
import subprocess
import sys
import uuid
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import clusters
import pytest
import work
from worlds import forget, slow  # noqa: F401 - fixtures

import parmap

HARD_TIMEOUT = 90
TRACKERS = ("resource_tracker", "semaphore_tracker")


# Processes, as /proc shows them


def processes():
    """Yield the folders of all live processes; zombies are not alive."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if stat(folder)[0] != "Z":
                yield folder


def stat(folder):
    """Return the fields of a process after its name: state, parent, ..."""
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()


def children():
    """Return the pids of this process's children; what only tracks resources is none."""
    found = set()
    for folder in processes():
        with contextlib.suppress(OSError):
            if stat(folder)[1] == str(os.getpid()):
                command = (folder / "cmdline").read_text()
                if not any(word in command for word in TRACKERS):
                    found.add(int(folder.name))
    return found


def is_alive(pid):
    return Path(f"/proc/{pid}") in set(processes())


def with_token(token):
    """Return the pids of the processes that were started with *token* in their environment."""
    found = set()
    for folder in processes():
        with contextlib.suppress(OSError):
            if token.encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
    return found


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="there is no /proc on this system"
)


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left():
    """Check at the very end that nothing the tests ran is still there."""
    before = children()
    yield
    parmap.shutdown()
    if "joblib" in sys.modules:  # Its warm workers are its own, and it leaves them to the exit.
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(max_workers=1).shutdown(wait=True, kill_workers=True)
    work.wait_until(lambda: children() <= before, "the last child process to end")


@pytest.fixture(autouse=True)
def _defaults_are_back():
    """Check after each test that no default of its calls has stayed behind."""
    yield
    try:
        assert parmap.pmap(work.place, [None]) == [work.place()]
        with pytest.raises(ValueError, match="no 0"):
            parmap.pmap(partial(work.refuse, 0), [0])
    finally:
        parmap.parallel_config().apply()


# Executors


class Inline(Executor):
    """An executor of somebody else's making: it runs at once, here, and says nothing of itself."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def _loky_context():
    pytest.importorskip("loky", reason="loky is not installed")
    return multiprocessing.get_context("loky")


def _loky_executor():
    loky = pytest.importorskip("loky", reason="loky is not installed")
    pool = loky.ProcessPoolExecutor(2)
    return pool, partial(pool.shutdown, kill_workers=True)


def _process_pool_executor():
    pool = ProcessPoolExecutor(2, mp_context=_loky_context())
    return pool, pool.shutdown


def _thread_pool_executor():
    pool = ThreadPoolExecutor(2)
    return pool, pool.shutdown


def _pool():
    pool = _loky_context().Pool(2)
    return pool, partial(_end_pool, pool)


def _thread_pool():
    pool = ThreadPool(2)
    return pool, partial(_end_pool, pool)


def _end_pool(pool):
    pool.terminate()
    pool.join()


def _joblib_parallel():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    return joblib.Parallel(n_jobs=2), lambda: None


BORROWED = {
    "a ThreadPoolExecutor": _thread_pool_executor,
    "a ProcessPoolExecutor": _process_pool_executor,
    "a loky executor": _loky_executor,
    "a ThreadPool": _thread_pool,
    "a Pool": _pool,
    "a joblib.Parallel": _joblib_parallel,
    "an Executor of one's own": lambda: (Inline(), lambda: None),
}
OWN = ["auto", "serial", "threads", "processes", "multiprocessing", "futures", "joblib"]
EVERYWHERE = OWN + list(BORROWED)

# Each of these is started once, when the first test asks for it: `pytest -m clusters`.
CLUSTERS = {"dask": clusters.dask, "ray": clusters.ray}

# Where the tasks run in other processes, and where each call starts a pool of its own.
ABROAD = [
    "processes",
    "multiprocessing",
    "futures",
    "joblib",
    "a ProcessPoolExecutor",
    "a loky executor",
    "a Pool",
    "a joblib.Parallel",
]
COSTLY = ["multiprocessing", "futures"]
ONE_AT_A_TIME = ["auto", "serial", "an Executor of one's own"]
SIDE_BY_SIDE = [name for name in EVERYWHERE if name not in ONE_AT_A_TIME]


@dataclasses.dataclass(frozen=True)
class Where:
    """A place to run tasks: the options that lead there, and what kind of place it is."""

    name: str
    options: dict

    @property
    def abroad(self):
        return self.name in ABROAD or self.name in CLUSTERS

    @property
    def borrowed(self):
        return self.name in BORROWED

    @property
    def workers(self):
        return 1 if self.name in ONE_AT_A_TIME else 2

    def with_workers(self, n):
        return self.options if self.borrowed else self.options | {"workers": n}


def and_clusters(names):
    """Return *names*, and those of the clusters, which are for `pytest -m clusters`."""
    return [*names, *(pytest.param(name, marks=pytest.mark.clusters) for name in CLUSTERS)]


@pytest.fixture(scope="session")
def places():
    """Return a function from the name of a place to the place; instances are made once."""
    made = {}
    with contextlib.ExitStack() as stack:

        def place(name):
            if name in OWN:
                if name == "joblib":
                    pytest.importorskip("joblib", reason="joblib is not installed")
                return Where(name, {"executor": name, "workers": 2})
            if name in CLUSTERS:
                if name not in made:
                    stack.enter_context(CLUSTERS[name]())
                    made[name] = Where(name, {"executor": name})
                return made[name]
            if name not in made:
                instance, close = BORROWED[name]()
                stack.callback(close)
                made[name] = Where(name, {"executor": instance})
            return made[name]

        yield place


@pytest.fixture(params=and_clusters(EVERYWHERE))
def where(request, places):
    """Every place where tasks can run."""
    return places(request.param)


@pytest.fixture(params=and_clusters(name for name in EVERYWHERE if name not in COSTLY))
def where_cheaply(request, places):
    """The places that are there already when a call begins."""
    return places(request.param)


@pytest.fixture(params=and_clusters(ABROAD))
def abroad(request, places):
    """Every place where tasks run in other processes."""
    return places(request.param)


@pytest.fixture(params=and_clusters(name for name in ABROAD if name not in COSTLY))
def abroad_cheaply(request, places):
    """The places in other processes that are there already when a call begins."""
    return places(request.param)


@pytest.fixture(params=and_clusters(SIDE_BY_SIDE))
def side_by_side(request, places):
    """Every place that runs two tasks at the same time."""
    return places(request.param)


@pytest.fixture
def processes_only(places):
    """The place where a crash costs one task."""
    return places("processes")


# Progress


@pytest.fixture
def bars():
    """Return a tqdm class that draws nothing and keeps its instances in `made`."""
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed")

    class Bars(tqdm.tqdm):
        made = []
        monitor_interval = 0

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs | {"file": io.StringIO(), "disable": False})
            self.keywords = kwargs
            self.closings = 0
            type(self).made.append(self)

        def close(self):
            self.closings = getattr(self, "closings", 0) + 1
            super().close()

    return Bars


# Notebooks


def outputs_of(cell):
    """Execute a notebook of one *cell*, its source, and return the outputs of that."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
    return book.cells[0].outputs


# Scripts


@dataclasses.dataclass(frozen=True)
class Done:
    """How a script ended, and the processes that it left behind."""

    returncode: int
    stdout: str
    stderr: str
    left: set


def environment(token, *folders):
    root = str(Path(parmap.__file__).parents[1])
    paths = [root, *folders, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TEST_RUN": token}


@pytest.fixture
def script(tmp_path):
    """Return a function that runs source text in a fresh interpreter and waits for all of it.

    *how* is "file", "-c", "stdin", "cells" (fed to an InteractiveInterpreter, as notebooks do) or
    "ipython"; cells are parted by lines of ``# %%``.  A process that is left after the end gets a
    while to go; one that does not is killed and reported.
    """
    token = uuid.uuid4().hex

    def run(source, how="file", check=True):
        command, text = _commands(tmp_path, source)[how]
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment(token) | {"IPYTHONDIR": str(tmp_path / "ipython")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stdout, stderr = process.communicate(text, timeout=HARD_TIMEOUT)
        finally:
            left = _wait_and_kill(token, process)
        done = Done(process.returncode, stdout, stderr, left)
        if check:
            assert done.returncode == 0, f"{stdout}\n{stderr}"
            assert not left, "processes were left behind"
        return done

    return run


def _commands(folder, source):
    (folder / "script.py").write_text(source, "utf-8")
    (folder / "cells.py").write_text(CELLS, "utf-8")
    return {
        "file": (["script.py"], ""),
        "-c": (["-c", source], ""),
        "stdin": (["-"], source),
        "cells": (["cells.py"], source),
        "ipython": (["-m", "IPython", "--quick", "--colors=NoColor", "-c", source], ""),
    }


CELLS = """
import code, sys
interpreter = code.InteractiveInterpreter(sys.modules["__main__"].__dict__)
for n, cell in enumerate(sys.stdin.read().split("# %%")):
    interpreter.runcode(compile(cell, f"<cell {n}>", "exec"))
"""


def _wait_and_kill(token, process):
    if process.poll() is None:
        process.kill()
        process.wait()
    with contextlib.suppress(TimeoutError):
        work.wait_until(lambda: not with_token(token), "a script's processes to end", 20)
    left = with_token(token)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    return left


def installed(name):
    return importlib.util.find_spec(name) is not None
